//! The external backend: an OpenSearch cluster, for a catalogue that is too large for one machine.
//!
//! A document is a listing with its photos nested in it. So OpenSearch returns listings rather than photos, and keeps
//! all photos of a listing in one shard. `schema` defines the index; `load` writes `records` to it in `bulk` requests;
//! `query` builds search requests, `reply` parses and checks responses, `rules` applies the search options that
//! OpenSearch cannot; `cluster` sends the requests.

mod bulk;
mod cluster;
mod load;
mod query;
mod records;
mod reply;
mod rules;
mod schema;

use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant};

use magpie_core::listing::Listing;
use magpie_core::remote::Parsed;
use magpie_core::search::MAX_K;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub use cluster::Cluster;
pub use load::{LoadOptions, Loaded, load};

use crate::backend::{Answering, BackendError, RequestBudget, SearchAnswer, SearchBackend, Status};
use cluster::{Call, ClusterError};
use query::KnnQuery;
use schema::IndexMeta;

/// Timeout for reading the description of an index.
const LOOK: Duration = Duration::from_secs(10);

/// Longest response to a search, in bytes: a base, plus a share for each listing, up to a maximum.
const REPLY_BASE: usize = 256 << 10;
const REPLY_PER_LISTING: usize = 32 << 10;
const REPLY_MOST: usize = 32 << 20;

/// Searches the OpenSearch index that an alias points to.
pub struct OpenSearch {
    cluster: Arc<Cluster>,
    alias: String,
    current: RwLock<Arc<ActiveIndex>>,
    /// Permits for concurrent requests to the cluster.
    places: Semaphore,
    longest_wait: Duration,
    runtime: Handle,
}

/// The index that the alias points to, as of the last look.
struct ActiveIndex {
    index: String,
    meta: IndexMeta,
    shards: usize,
}

impl OpenSearch {
    /// Reads the description of the index. Must be called on a tokio runtime; [`SearchBackend::reload`] and
    /// [`SearchBackend::is_outdated`] use it too, and must be called from threads that may block.
    ///
    /// At most `places` searches run concurrently; a search that waits longer than `longest_wait` is rejected.
    ///
    /// # Errors
    /// The cluster's error, or that the alias does not exist.
    pub async fn open(
        cluster: Cluster,
        alias: String,
        places: usize,
        longest_wait: Duration,
    ) -> Result<OpenSearch, String> {
        let current = ActiveIndex::look(&cluster, &alias).await?;
        Ok(OpenSearch {
            cluster: Arc::new(cluster),
            alias,
            current: RwLock::new(Arc::new(current)),
            places: Semaphore::new(places.max(1)),
            longest_wait,
            runtime: Handle::current(),
        })
    }

    /// The number of requests that were retried.
    pub fn retries(&self) -> u64 {
        self.cluster.retries()
    }

    fn current(&self) -> Arc<ActiveIndex> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn switch_to(&self, fresh: ActiveIndex) -> Arc<ActiveIndex> {
        let fresh = Arc::new(fresh);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        fresh
    }

    /// Reads the description of the index from a thread that may block. Does not use `block_on`, which panics if the
    /// runtime shuts down meanwhile.
    fn look_and_wait(&self) -> Result<ActiveIndex, String> {
        let (cluster, alias) = (Arc::clone(&self.cluster), self.alias.clone());
        let (send, receive) = mpsc::channel();
        self.runtime.spawn(async move { send.send(ActiveIndex::look(&cluster, &alias).await) });
        receive.recv().unwrap_or_else(|_| Err("the server is shutting down".to_owned()))
    }

    /// Searches the current index. If it has been deleted, looks up its successor and searches that, once.
    async fn find(&self, lookup: &Lookup, deadline: Instant) -> Result<SearchAnswer, BackendError> {
        let wait = tokio::time::timeout(self.longest_wait, self.places.acquire()).await;
        let Ok(Ok(_place)) = wait else { return Err(BackendError::Overloaded) };
        let current = self.current();
        match self.find_in(&current, lookup, deadline).await {
            Err(FindError::NoIndex) => {}
            Err(FindError::Failed(error)) => return Err(error),
            Ok(answer) => return Ok(answer),
        }
        // The index was deleted, so the alias points to another one by now.
        let look = tokio::time::timeout_at(deadline.into(), ActiveIndex::look(&self.cluster, &self.alias)).await;
        let current = self.switch_to(look.map_err(|_| BackendError::Late)?.map_err(BackendError::Upstream)?);
        self.find_in(&current, lookup, deadline).await.map_err(|error| match error {
            FindError::NoIndex => BackendError::Upstream(format!("the index {} is gone", current.index)),
            FindError::Failed(error) => error,
        })
    }

    async fn ask(
        &self,
        current: &ActiveIndex,
        request: &KnnQuery<'_>,
        deadline: Instant,
    ) -> Result<Vec<reply::Hit>, FindError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let body = request.body(left).to_string();
        // Each replica has its own HNSW graph: route equal queries to the same replicas, to get equal results.
        let preference = blake3::hash(request.body(Duration::ZERO).to_string().as_bytes()).to_hex();
        let path =
            format!("/{}/_search?allow_partial_search_results=false&preference={}", current.index, &preference[..16]);
        let most = (REPLY_BASE + request.size() * REPLY_PER_LISTING).min(REPLY_MOST);
        let call = Call::json("POST", path, body).most(most);
        let reply = self.cluster.call(&call, deadline).await.map_err(FindError::from)?;
        reply::hits(&reply, &current.meta, request).map_err(FindError::Failed)
    }

    async fn find_in(
        &self,
        current: &ActiveIndex,
        lookup: &Lookup,
        deadline: Instant,
    ) -> Result<SearchAnswer, FindError> {
        let failed = FindError::Failed;
        let meta = &current.meta;
        let query = match lookup {
            Lookup::Near(query) => query,
            Lookup::Id(id) => {
                let hits = self.ask(current, &KnnQuery::by_id(id), deadline).await?;
                let listings = hits.into_iter().map(|hit| hit.found(meta)).collect();
                return Ok(SearchAnswer { listings, complete: true });
            }
        };
        if query.embedding.model() != meta.model_id {
            return Err(failed(BackendError::WrongModel { catalog: meta.model_id }));
        }
        let mut size = rules::look_at(&query.params);
        loop {
            let request = KnnQuery::nearest(meta, query, size).map_err(|e| failed(BackendError::Unfit(e)))?;
            let hits = self.ask(current, &request, deadline).await?;
            let hits_ended = hits.len() < size;
            let everything = hits_ended || size >= MAX_K;
            let (found, more) = rules::apply(hits, meta, &query.params);
            if everything || !more {
                let complete = !more || found.len() >= query.params.k || hits_ended;
                return Ok(SearchAnswer { listings: found, complete });
            }
            size = (size * 4).min(MAX_K);
        }
    }
}

/// What to look up in the index.
enum Lookup {
    /// The listings nearest to a query.
    Near(Parsed),
    /// The listing with an id.
    Id(String),
}

/// Why a search of an index failed.
enum FindError {
    NoIndex,
    Failed(BackendError),
}

impl From<ClusterError> for FindError {
    fn from(fault: ClusterError) -> FindError {
        match fault {
            ClusterError::NotFound => FindError::NoIndex,
            ClusterError::Late => FindError::Failed(BackendError::Late),
            ClusterError::Busy => FindError::Failed(BackendError::Overloaded),
            ClusterError::Unreachable(detail) | ClusterError::Refused(detail) => {
                FindError::Failed(BackendError::Upstream(detail))
            }
        }
    }
}

impl ActiveIndex {
    async fn look(cluster: &Cluster, alias: &str) -> Result<ActiveIndex, String> {
        let deadline = Instant::now() + LOOK;
        let call = Call::get(format!("/{alias}"));
        let reply = cluster.call(&call, deadline).await.map_err(|fault| match fault {
            ClusterError::NotFound => {
                format!("the cluster has no catalogue '{alias}': create it with magpie-server load")
            }
            other => other.to_string(),
        })?;
        let (index, meta, shards) = schema::described(&reply)?;
        Ok(ActiveIndex { index, meta, shards })
    }
}

impl SearchBackend for OpenSearch {
    fn search(&self, query: Parsed, budget: RequestBudget) -> Answering<'_, SearchAnswer> {
        // The cluster's CPU time is not known here, so nobody is charged for it.
        Box::pin(async move { self.find(&Lookup::Near(query), budget.deadline).await })
    }

    fn listing(&self, id: String, deadline: Instant) -> Answering<'_, Option<Listing>> {
        Box::pin(async move {
            let found = self.find(&Lookup::Id(id), deadline).await?;
            Ok(found.listings.into_iter().next().map(|found| found.listing))
        })
    }

    fn status(&self) -> Option<Status> {
        let ActiveIndex { meta, shards, .. } = &*self.current();
        Some(Status {
            catalog: meta.catalog.clone(),
            model_id: meta.model_id,
            dim: meta.dim,
            listings: meta.listings,
            photos: meta.photos,
            sequence: meta.sequence,
            shards: *shards,
            columns: meta.columns.clone(),
        })
    }

    fn reload(&self) -> Result<Status, String> {
        self.switch_to(self.look_and_wait()?);
        self.status().ok_or_else(|| "the index has no catalogue".to_owned())
    }

    fn is_outdated(&self) -> bool {
        match self.look_and_wait() {
            Ok(fresh) => fresh.index != self.current().index,
            Err(fault) => {
                tracing::warn!(fault, "cannot check the cluster for a newer index");
                false
            }
        }
    }

    fn register(&self, registry: &mut Registry) {
        let help = "Requests to the search engine that were retried";
        registry.register("engine_retries", help, self.cluster.counter());
    }
}
