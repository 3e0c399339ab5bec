//! The built-in backend: shards or a release, searched on a thread pool.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use magpie_core::joined::{ShardAnswer, join};
use magpie_core::listing::Listing;
use magpie_core::remote::{Parsed, merge};
use magpie_core::search::SearchScratch;
use magpie_release::KeySet;

use crate::backend::{Answering, BackendError, RequestBudget, SearchAnswer, SearchBackend, Status};
use crate::pool::{Ticket, WorkerPool};
use crate::release::{FileMark, ServedRelease, VerifiedFiles, trusted};
use crate::settings::Settings;
use crate::shard_set::{ShardSet, StopWanted};

/// What is searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogSource {
    /// The shards of one catalogue.
    Shards(Vec<PathBuf>),
    /// The folder of a release.
    Release(PathBuf),
}

/// How a catalogue is opened, and which ones are accepted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenChecks {
    /// Read and check every byte before serving it.
    pub verify: bool,
    /// Read the files into memory instead of mapping them.
    pub load: bool,
    /// On a reload, accept another model, another catalogue and an older sequence.
    pub reload_any: bool,
    /// Public keys that have to have signed a release: 64 digits each. None: signatures are not looked at.
    pub trust: Vec<String>,
}

impl Default for OpenChecks {
    fn default() -> Self {
        OpenChecks { verify: true, load: false, reload_any: false, trust: Vec::new() }
    }
}

/// Searches one catalogue: shards, or a release.
pub struct Embedded {
    source: CatalogSource,
    checks: OpenChecks,
    keys: Option<KeySet>,
    current: RwLock<Arc<ShardSet>>,
    /// Held during a reload, so that two at once cannot go backwards.
    reloading: Mutex<VerifiedFiles>,
    /// The files of the last attempt to open the catalogue, successful or not.
    tried: Mutex<Option<Vec<FileMark>>>,
    /// Whether that attempt failed.
    failed: AtomicBool,
    pool: WorkerPool,
}

impl Embedded {
    /// Opens the catalogue of the settings and starts the search threads.
    ///
    /// # Errors
    /// Which file cannot be used and why, or that the threads cannot be started.
    pub fn of(settings: &Settings) -> Result<Embedded, String> {
        let source = match &settings.release {
            Some(folder) => CatalogSource::Release(folder.clone()),
            None => CatalogSource::Shards(settings.shards.clone()),
        };
        let (verify, load, reload_any) = (settings.verify, settings.load, settings.reload_any);
        let checks = OpenChecks { verify, load, reload_any, trust: settings.trust.clone() };
        Embedded::open(source, checks, settings.threads, settings.max_wait)
    }

    /// Opens a catalogue and starts the search threads.
    ///
    /// # Errors
    /// Which file cannot be used and why, or that the threads cannot be started.
    pub fn open(
        source: CatalogSource,
        checks: OpenChecks,
        threads: usize,
        longest_wait: Duration,
    ) -> Result<Embedded, String> {
        let keys = trusted(&checks.trust)?;
        // Taken before opening, so that a file that is replaced meanwhile counts as changed.
        let tried = Mutex::new(source.marks());
        let mut verified = VerifiedFiles::default();
        let current = RwLock::new(Arc::new(source.open(&checks, keys.as_ref(), &mut verified)?));
        let pool =
            WorkerPool::new(threads, longest_wait).map_err(|e| format!("cannot start the search threads: {e}"))?;
        Ok(Embedded {
            source,
            checks,
            keys,
            current,
            reloading: Mutex::new(verified),
            tried,
            failed: AtomicBool::new(false),
            pool,
        })
    }

    fn current(&self) -> Arc<ShardSet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Searches all shards and removes near-duplicates across them. Asks each shard for more listings as long as too
    /// few of them remain.
    async fn search_joined(
        &self,
        catalog: &Arc<ShardSet>,
        query: &Arc<Parsed>,
        ticket: &Ticket<'_>,
    ) -> Result<SearchAnswer, BackendError> {
        let mut look = ShardAnswer::first_look(&query.params);
        loop {
            let start = |at| {
                let (catalog, query) = (Arc::clone(catalog), Arc::clone(query));
                ticket.start(move |scratch, stop| catalog.look(at, &query, look, scratch, stop))
            };
            let started: Vec<_> = (0..catalog.catalogs.len()).map(start).collect::<Result<_, _>>()?;
            let mut parts = Vec::new();
            for part in started {
                parts.push(part.done().await?);
            }
            // Comparing vectors and reading texts takes CPU time, so it also runs on the pool.
            let (query_of_join, set) = (Arc::clone(query), Arc::clone(catalog));
            let work = move |_: &mut SearchScratch, _: StopWanted<'_>| {
                let (joined, more) = join(parts, &query_of_join.params);
                if more { Ok(None) } else { set.fetch(&joined).map(Some) }
            };
            if let Some(listings) = ticket.start(work)?.done().await? {
                let complete = listings.len() >= query.params.k || !catalog.may_have_more(look);
                return Ok(SearchAnswer { listings, complete });
            }
            look = ShardAnswer::wider(look);
        }
    }

    /// The number of jobs in the queue.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }
}

impl CatalogSource {
    /// Opens the catalogue and, if asked, reads and checks every byte that is not known to be right.
    fn open(
        &self,
        checks: &OpenChecks,
        keys: Option<&KeySet>,
        verified: &mut VerifiedFiles,
    ) -> Result<ShardSet, String> {
        // Marks are taken before the files are read: one that is replaced meanwhile is not taken for verified.
        let marked = |paths: Vec<PathBuf>| -> Vec<(Option<FileMark>, PathBuf)> {
            paths.into_iter().map(|path| (FileMark::of(&path), path)).collect()
        };
        let mut right = Vec::new();
        let (set, files) = match self {
            CatalogSource::Shards(paths) => {
                let files = marked(paths.clone());
                (ShardSet::of_shards(paths, checks.load)?, files)
            }
            CatalogSource::Release(folder) => {
                let release = ServedRelease::read(folder, keys)?;
                let files = marked(release.parts().into_iter().filter_map(|part| part.shard).collect());
                if checks.verify {
                    right = release.verify(verified)?;
                }
                (ShardSet::of_release(release, checks.load)?, files)
            }
        };
        if checks.verify {
            for (shard, (mark, path)) in set.shards().zip(files) {
                if !mark.as_ref().is_some_and(|mark| verified.has(&path, mark)) {
                    shard.verify().map_err(|e| format!("{}: {e}", path.display()))?;
                }
                right.extend(mark.map(|mark| (path, mark)));
            }
            verified.replace(right);
        }
        set.canary()?;
        Ok(set)
    }

    /// The marks of the files whose replacement means a new catalogue; `None` if one is missing, i.e. about to be replaced.
    fn marks(&self) -> Option<Vec<FileMark>> {
        match self {
            CatalogSource::Shards(paths) => paths.iter().map(|path| FileMark::of(path)).collect(),
            // A file that comes after its manifest changes the folder of files.
            CatalogSource::Release(folder) => {
                Some(vec![ServedRelease::mark(folder)?, FileMark::of(&folder.join("files"))?])
            }
        }
    }
}

/// Why a catalogue must not follow the one that is served, if so.
fn refusal(new: &ShardSet, old: &ShardSet) -> Option<String> {
    let (is, was) = (&new.status, &old.status);
    let detail = if is.model_id != was.model_id {
        // Every app would get 409 from here on.
        format!("its model is {}, the apps that search here have {}", is.model_id, was.model_id)
    } else if is.catalog != was.catalog {
        format!("it is the catalogue '{}', this server has '{}'", is.catalog.escape_debug(), was.catalog.escape_debug())
    } else if is.sequence < was.sequence {
        format!("its sequence is {}, older than {}", is.sequence, was.sequence)
    } else {
        let signed = |set: &ShardSet| set.release.as_ref().map(|release| release.signed.clone());
        if is.sequence > was.sequence || signed(new) == signed(old) {
            return None;
        }
        format!("publication {} was another one before", is.sequence)
    };
    Some(format!("{detail}; --reload-any takes it"))
}

impl SearchBackend for Embedded {
    fn search(&self, query: Parsed, budget: RequestBudget) -> Answering<'_, SearchAnswer> {
        let catalog = self.current();
        if query.embedding.model() != catalog.status.model_id {
            let wrong = BackendError::WrongModel { catalog: catalog.status.model_id };
            return Box::pin(async { Err(wrong) });
        }
        Box::pin(async move {
            let query = Arc::new(query);
            let ticket = self.pool.admit(budget)?;
            if query.params.near_duplicates.is_some() && catalog.catalogs.len() > 1 {
                return self.search_joined(&catalog, &query, &ticket).await;
            }
            let start = |at| {
                let (catalog, query) = (Arc::clone(&catalog), Arc::clone(&query));
                ticket.start(move |scratch, stop| catalog.search(at, &query, scratch, stop))
            };
            // All shards are queued before the first is awaited, so that they are searched in parallel.
            let started: Vec<_> = (0..catalog.catalogs.len()).map(start).collect::<Result<_, _>>()?;
            let mut best: Option<SearchAnswer> = None;
            for shard in started {
                let found = shard.done().await?;
                best = Some(match best {
                    None => found,
                    // A listing in two shards keeps the later shard's fields.
                    Some(best) => {
                        let per = query.params.per.as_ref();
                        let merged = merge(best.listings, found.listings, query.params.k, per).into_iter();
                        let listings = merged.map(|sourced| sourced.found).collect();
                        SearchAnswer { listings, complete: best.complete && found.complete }
                    }
                });
            }
            let mut best = best.unwrap_or(SearchAnswer { listings: Vec::new(), complete: true });
            best.complete |= best.listings.len() >= query.params.k;
            Ok(best)
        })
    }

    fn listing(&self, id: String, deadline: Instant) -> Answering<'_, Option<Listing>> {
        let catalog = self.current();
        Box::pin(self.pool.run(RequestBudget::until(deadline), move |_, _| catalog.listing(&id)))
    }

    fn picture(&self, id: String, photo: String, deadline: Instant) -> Answering<'_, Option<Vec<u8>>> {
        let catalog = self.current();
        Box::pin(self.pool.run(RequestBudget::until(deadline), move |_, _| catalog.picture(&id, &photo)))
    }

    fn status(&self) -> Option<Status> {
        Some(self.current().status.clone())
    }

    fn reload(&self) -> Result<Status, String> {
        let mut verified = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        self.failed.store(true, Ordering::Relaxed);
        // Remembered even if opening fails, so that a bad file is not opened again until it changes.
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = self.source.marks();
        let catalog = self.source.open(&self.checks, self.keys.as_ref(), &mut verified)?;
        if let Some(why) = refusal(&catalog, &self.current()).filter(|_| !self.checks.reload_any) {
            return Err(why);
        }
        let status = catalog.status.clone();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
        self.failed.store(false, Ordering::Relaxed);
        Ok(status)
    }

    fn is_outdated(&self) -> bool {
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(marks), tried) = (self.source.marks(), tried.as_deref()) else { return false };
        // While a release is good, only its manifest says that there is a new one.
        let is_good = !self.failed.load(Ordering::Relaxed) && matches!(self.source, CatalogSource::Release(_));
        match tried {
            Some(tried) if is_good => marks.first() != tried.first(),
            tried => tried != Some(&*marks),
        }
    }

    fn release(&self) -> Option<Arc<ServedRelease>> {
        self.current().release.clone()
    }

    fn queue(&self) -> (usize, Duration) {
        (self.pool.waiting(), self.pool.wait())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_core::builder::{Identity, ShardBuilder};
    use magpie_core::remote::SearchRequest;
    use magpie_core::search::SearchParams;
    use magpie_core::{Embedding, ModelId};
    use std::sync::mpsc;

    #[tokio::test]
    async fn searches_that_would_wait_too_long_are_rejected() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.magpie");
        let model_id = ModelId([7; 32]);
        let identity = Identity { model_id, catalog: "a".to_owned(), sequence: 1, writer: "tests".to_owned() };
        let embedding = Embedding::new(&[0.5; 8], model_id).expect("a direction");
        let mut builder = ShardBuilder::new(identity, 8, Vec::new());
        builder.add("mug", "mug.jpg", &[], &embedding).expect("a listing");
        builder.write(&path).expect("a shard");

        let minute = Duration::from_secs(60);
        let source = CatalogSource::Shards(vec![path]);
        let embedded = Embedded::open(source, OpenChecks::default(), 1, minute).expect("a shard");
        let search = || {
            let request = SearchRequest::new(&embedding, None, &SearchParams::default());
            embedded.search(request.parse().expect("a valid request"), RequestBudget::until(Instant::now() + minute))
        };
        assert_eq!(search().await.map(|found| found.listings.len()), Ok(1));
        // The only thread is busy until it is released, and each job is expected to take two minutes.
        let (release, released) = mpsc::channel::<()>();
        let (running, ran) = tokio::sync::oneshot::channel();
        let work = move |_: &mut SearchScratch, _: StopWanted<'_>| {
            let _ = running.send(());
            let _ = released.recv();
            Ok(())
        };
        let busy = embedded.pool.admit(RequestBudget::until(Instant::now() + minute));
        let busy = busy.and_then(|ticket| ticket.start(work)).expect("an empty queue");
        ran.await.expect("a thread that runs it");
        embedded.pool.assume_mean(2 * minute);
        let queued = search();
        let excess = async {
            assert_eq!(embedded.waiting(), 1);
            for _ in 0..32 {
                assert_eq!(search().await, Err(BackendError::Overloaded));
            }
            drop(release);
        };
        // Polls the first one first, which queues its search.
        let (found, ()) = tokio::join!(biased; queued, excess);
        assert_eq!(found.map(|found| found.listings.len()), Ok(1));
        assert_eq!(busy.done().await, Ok(()));
    }

    #[test]
    fn a_search_that_nobody_waits_for_stops() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.magpie");
        let identity =
            Identity { model_id: ModelId([7; 32]), catalog: "a".to_owned(), sequence: 1, writer: "tests".to_owned() };
        let embedding = Embedding::new(&[0.5; 8], identity.model_id).expect("a direction");
        let mut builder = ShardBuilder::new(identity, 8, Vec::new());
        builder.add("mug", "mug.jpg", &[], &embedding).expect("a listing");
        builder.write(&path).expect("a shard");
        let set = ShardSet::of_shards(&[path], false).expect("a shard");
        let query = Parsed { embedding, filter: None, params: SearchParams::default() };
        let mut scratch = SearchScratch::default();
        assert_eq!(set.search(0, &query, &mut scratch, &|| true), Err(BackendError::Late));
        assert_eq!(set.search(0, &query, &mut scratch, &|| false).map(|found| found.listings.len()), Ok(1));
    }
}
