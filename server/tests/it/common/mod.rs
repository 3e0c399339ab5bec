//! Builds real shards, runs real servers on free ports, and sends requests to them.

pub(crate) mod blocking;
#[cfg(feature = "page")]
pub(crate) mod browser;
pub(crate) mod nodes;
pub(crate) mod publisher;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use magpie_core::builder::{Field, Identity, ShardBuilder};
use magpie_core::listing::{self, Found};
use magpie_core::remote::{SearchReply, SearchRequest};
use magpie_core::search::{Filter, Per, SearchParams, Searcher};
use magpie_core::shard::Shard;
use magpie_core::{Embedding, ModelId};
use magpie_server::{Cluster, Embedded, OpenSearch, Overrides, SearchBackend, Server, Settings, Stop};
use tokio::sync::oneshot;

use blocking::BlockingBackend;

pub(crate) const MODEL: ModelId = ModelId([0x4d; 32]);
pub(crate) const DIM: usize = 32;
pub(crate) const CATALOG: &str = "Ann's shop";

/// How long a test waits for something that must happen: generous, so that slow machines pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until a condition holds. Returns whether it did in time.
pub(crate) fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    loop {
        match condition() {
            true => return true,
            false if Instant::now() > end => return false,
            false => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// A pseudo-random vector that depends only on the seed.
pub(crate) fn vector(seed: usize) -> Vec<f32> {
    let mut state = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..DIM).map(next).collect()
}

pub(crate) fn embedding(seed: usize) -> Embedding {
    Embedding::new(&vector(seed), MODEL).unwrap()
}

/// Writes a shard of listings with these numbers, two photos each. Each group of eight listings has similar photos.
pub(crate) fn shard(path: &Path, listings: impl Iterator<Item = usize>, sequence: u64) {
    let identity = Identity { model_id: MODEL, catalog: CATALOG.to_owned(), sequence, writer: "tests".to_owned() };
    shard_of(path, listings, identity, None);
}

/// As [`shard`], of another identity, or at another price.
pub(crate) fn shard_of(path: &Path, listings: impl Iterator<Item = usize>, identity: Identity, price: Option<&str>) {
    let model = identity.model_id;
    let fields = ["title", "colour", "price"].map(|name| Field { name: name.to_owned(), filter: name != "title" });
    let mut builder = ShardBuilder::new(identity, DIM, fields.to_vec());
    for listing in listings {
        let colour = ["red", "green", "sea blue"][listing % 3];
        let price = price.map_or_else(|| format!("{}.50", listing % 40), str::to_owned);
        let values = [format!("Mug no. {listing}"), colour.to_owned(), price];
        for photo in 0..2 {
            let (near, own) = (vector(listing / 8), vector(1000 + 2 * listing + photo));
            let mixed: Vec<f32> = near.iter().zip(own).map(|(a, b)| a + 0.4 * b).collect();
            let mixed = Embedding::new(&mixed, model).unwrap();
            builder.add(&format!("mug-{listing:04}"), &format!("{listing}-{photo}.jpg"), &values, &mixed).unwrap();
        }
    }
    builder.write(path).unwrap();
}

/// A running server, and its folder with `a.magpie`. Dropping it ends the server at once.
pub(crate) struct Running {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) stop: Stop,
    /// Ends the server without a graceful shutdown when it is dropped.
    abort: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Serves one shard with 400 listings.
    pub(crate) fn start(change: impl FnOnce(&mut Settings)) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.magpie");
        shard(&path, 0..400, 1);
        Running::serve(folder, vec![path], change)
    }

    pub(crate) fn serve(
        folder: tempfile::TempDir,
        shards: Vec<PathBuf>,
        change: impl FnOnce(&mut Settings),
    ) -> Running {
        Running::embedded(folder, Overrides { shards, ..Overrides::default() }, change)
    }

    /// Serves the release in the folder `release`.
    pub(crate) fn release(folder: tempfile::TempDir, change: impl FnOnce(&mut Settings)) -> Running {
        let release = Some(folder.path().join("release"));
        Running::embedded(folder, Overrides { release, ..Overrides::default() }, change)
    }

    fn embedded(folder: tempfile::TempDir, given: Overrides, change: impl FnOnce(&mut Settings)) -> Running {
        let settings = Running::settings(given, change);
        let backend = Embedded::of(&settings).unwrap();
        Running::run(folder, settings, async move |_| Arc::new(backend) as Arc<dyn SearchBackend>)
    }

    /// Serves the same 400 listings; at most `places` concurrent searches wait at the gate, more are rejected.
    pub(crate) fn gated(places: usize, change: impl FnOnce(&mut Settings)) -> (Running, Arc<BlockingBackend>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.magpie");
        shard(&path, 0..400, 1);
        let gate = Arc::new(BlockingBackend::new(vec![path.clone()], places));
        let backend = Arc::clone(&gate) as Arc<dyn SearchBackend>;
        let settings = Running::settings(Overrides { shards: vec![path], ..Overrides::default() }, change);
        (Running::run(folder, settings, async move |_| backend), gate)
    }

    /// Serves the index of an OpenSearch cluster.
    pub(crate) fn on_cluster(nodes: Vec<String>, index: &str, change: impl FnOnce(&mut Settings)) -> Running {
        let (opensearch, index) = (nodes, Some(index.to_owned()));
        let settings = Running::settings(Overrides { opensearch, index, ..Overrides::default() }, change);
        Running::run(tempfile::tempdir().unwrap(), settings, async |settings: &Settings| {
            let cluster = Cluster::new(&settings.opensearch).unwrap();
            let backend =
                OpenSearch::open(cluster, settings.index.clone(), settings.engine_searches, settings.max_wait);
            Arc::new(backend.await.unwrap()) as Arc<dyn SearchBackend>
        })
    }

    fn settings(given: Overrides, change: impl FnOnce(&mut Settings)) -> Settings {
        let listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut settings = Overrides { listen, linger_ms: Some(0), watch_ms: Some(0), ..given }.settings().unwrap();
        // Tests run concurrently and share the cores, so jobs may have to wait long.
        (settings.max_wait, settings.default_deadline) = (Duration::from_secs(5), Duration::from_secs(10));
        change(&mut settings);
        settings
    }

    fn run(
        folder: tempfile::TempDir,
        settings: Settings,
        backend: impl AsyncFnOnce(&Settings) -> Arc<dyn SearchBackend> + Send + 'static,
    ) -> Running {
        let (send, receive) = std::sync::mpsc::channel();
        let (abort, aborted) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let backend = backend(&settings).await;
                let (server, stop) = Server::bind(settings, backend).await.unwrap();
                send.send((server.address().unwrap(), stop)).unwrap();
                tokio::select! {
                    () = server.run() => {}
                    _ = aborted => {}
                }
            });
        });
        let (address, stop) = receive.recv().unwrap();
        Running { folder, address, stop, abort: Some(abort), thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn reload(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.stop.reload());
    }

    /// Waits until the server has shut down.
    pub(crate) fn join(&mut self) {
        let thread = self.thread.take().unwrap();
        assert!(eventually(|| thread.is_finished()), "the server has not shut down");
        thread.join().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.abort.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

pub(crate) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    config.build().into()
}

pub(crate) fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Got, ureq::Error> {
    let mut response = response?;
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (kind, retry_after) = (header("content-type").unwrap_or_default(), header("retry-after"));
    let (status, body) = (response.status().as_u16(), response.body_mut().read_to_string()?);
    Ok(Got { status, kind, retry_after, body })
}

pub(crate) fn get(url: &str) -> Got {
    read(agent().get(url).call()).unwrap()
}

pub(crate) fn post(agent: &ureq::Agent, url: &str, headers: &[(&str, &str)], body: &str) -> Result<Got, ureq::Error> {
    let mut request = agent.post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read(request.send(body))
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

/// The body of a search request, as a phone sends it.
pub(crate) fn request(seed: usize, filter: Option<&str>, params: &SearchParams) -> String {
    let filter = filter.map(|text| Filter::parse(text).unwrap());
    serde_json::to_string(&SearchRequest::new(&embedding(seed), filter.as_ref(), params)).unwrap()
}

/// Sends a search that must succeed.
pub(crate) fn search(agent: &ureq::Agent, server: &Running, body: &str) -> SearchReply {
    let got = post(agent, &server.url("/v1/search"), &[JSON], body).unwrap();
    assert_eq!((got.status, got.kind.as_str()), (200, "application/json"), "{}", got.body);
    serde_json::from_str(&got.body).unwrap()
}

/// Searches a shard locally with the query of a request body.
pub(crate) fn on_the_phone(shard: &Shard, body: &str) -> Vec<Found> {
    let query = serde_json::from_str::<SearchRequest>(body).unwrap().parse().unwrap();
    let candidates = Searcher::new(shard).search(&query.embedding, query.filter.as_ref(), &query.params).unwrap();
    listing::fetch(shard, &candidates).unwrap()
}

/// Combinations of filter and search options.
pub(crate) fn search_options() -> Vec<(Option<&'static str>, SearchParams)> {
    let params = |k: usize, change: fn(&mut SearchParams)| {
        let mut params = SearchParams::new(k);
        change(&mut params);
        params
    };
    vec![
        (None, params(10, |_| ())),
        (Some("colour=red and price<20"), params(10, |_| ())),
        (Some("colour in ('sea blue', green) or price>=39"), params(50, |_| ())),
        (Some("colour=purple"), params(10, |_| ())),
        (None, params(200, |p| p.min_score = Some(0.1))),
        (None, params(20, |p| p.near_duplicates = Some(0.9))),
        (None, params(12, |p| p.per = Some(Per { column: "colour".to_owned(), most: 3 }))),
        (Some("not colour=red"), params(25, |p| p.recall = 1.0)),
    ]
}
