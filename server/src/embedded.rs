//! The built-in backend: memory-mapped shards, searched on a thread pool.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use magpie_core::joined::{ShardAnswer, join};
use magpie_core::listing::{Found, Listing};
use magpie_core::remote::{Parsed, merge};
use magpie_core::search::SearchScratch;

use crate::backend::{Answering, BackendError, SearchBackend, Status};
use crate::pool::WorkerPool;
use crate::shard_set::ShardSet;

/// Searches the shards of one catalogue.
pub struct Embedded {
    paths: Vec<PathBuf>,
    verify: bool,
    current: RwLock<Arc<ShardSet>>,
    /// The files of the last attempt to open the shards, successful or not.
    tried: Mutex<Vec<FileMark>>,
    pool: WorkerPool,
}

/// Identifies a version of a file, to notice that it was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileMark {
    len: u64,
    changed: Option<SystemTime>,
    /// The inode number, or 0 where there are none: a file that replaces another has a new one.
    number: u64,
}

impl FileMark {
    fn of(path: &Path) -> Option<FileMark> {
        let data = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(&data);
        #[cfg(not(unix))]
        let number = 0;
        Some(FileMark { len: data.len(), changed: data.modified().ok(), number })
    }

    /// The marks of all files; `None` if one is missing, i.e. about to be replaced.
    fn all(paths: &[PathBuf]) -> Option<Vec<FileMark>> {
        paths.iter().map(|path| FileMark::of(path)).collect()
    }
}

impl Embedded {
    /// Opens the shards and starts the search threads. With `verify`, every byte of them is checked first.
    ///
    /// # Errors
    /// Which file cannot be used and why, or that the threads cannot be started.
    pub fn open(paths: Vec<PathBuf>, verify: bool, threads: usize, longest_wait: Duration) -> Result<Embedded, String> {
        // Taken before opening, so that a file that is replaced meanwhile counts as changed.
        let tried = Mutex::new(FileMark::all(&paths).unwrap_or_default());
        let current = RwLock::new(Arc::new(ShardSet::open(&paths, verify)?));
        let pool =
            WorkerPool::new(threads, longest_wait).map_err(|e| format!("cannot start the search threads: {e}"))?;
        Ok(Embedded { paths, verify, current, tried, pool })
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
        deadline: Instant,
    ) -> Result<Vec<Found>, BackendError> {
        let mut look = ShardAnswer::first_look(&query.params);
        loop {
            let start = |at| {
                let (catalog, query) = (Arc::clone(catalog), Arc::clone(query));
                self.pool.start(deadline, move |scratch| catalog.look(at, &query, look, scratch))
            };
            let started: Vec<_> = (0..catalog.shards.len()).map(start).collect::<Result<_, _>>()?;
            let mut parts = Vec::new();
            for part in started {
                parts.push(part.done().await?);
            }
            // Comparing vectors and reading texts takes CPU time, so it also runs on the pool.
            let (query, catalog) = (Arc::clone(query), Arc::clone(catalog));
            let work = move |_: &mut SearchScratch| {
                let (joined, more) = join(parts, &query.params);
                if more { Ok(None) } else { catalog.fetch(&joined).map(Some) }
            };
            if let Some(found) = self.pool.run(deadline, work).await? {
                return Ok(found);
            }
            look = ShardAnswer::wider(look);
        }
    }

    /// The number of jobs in the queue.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }
}

impl SearchBackend for Embedded {
    fn search(&self, query: Parsed, deadline: Instant) -> Answering<'_, Vec<Found>> {
        let catalog = self.current();
        if query.embedding.model() != catalog.status.model_id {
            let wrong = BackendError::WrongModel { catalog: catalog.status.model_id };
            return Box::pin(async { Err(wrong) });
        }
        Box::pin(async move {
            let query = Arc::new(query);
            if query.params.near_duplicates.is_some() && catalog.shards.len() > 1 {
                return self.search_joined(&catalog, &query, deadline).await;
            }
            let start = |at| {
                let (catalog, query) = (Arc::clone(&catalog), Arc::clone(&query));
                self.pool.start(deadline, move |scratch| catalog.search(at, &query, scratch))
            };
            // All shards are queued before the first is awaited, so that they are searched in parallel.
            let started: Vec<_> = (0..catalog.shards.len()).map(start).collect::<Result<_, _>>()?;
            let mut best: Option<Vec<Found>> = None;
            for shard in started {
                let found = shard.done().await?;
                best = Some(match best {
                    None => found,
                    // A listing in two shards keeps the later shard's fields.
                    Some(best) => {
                        let merged = merge(best, found, query.params.k, query.params.per.as_ref());
                        merged.into_iter().map(|sourced| sourced.found).collect()
                    }
                });
            }
            Ok(best.unwrap_or_default())
        })
    }

    fn listing(&self, id: String, deadline: Instant) -> Answering<'_, Option<Listing>> {
        let catalog = self.current();
        Box::pin(self.pool.run(deadline, move |_| catalog.listing(&id)))
    }

    fn picture(&self, id: String, photo: String, deadline: Instant) -> Answering<'_, Option<Vec<u8>>> {
        let catalog = self.current();
        Box::pin(self.pool.run(deadline, move |_| catalog.picture(&id, &photo)))
    }

    fn status(&self) -> Option<Status> {
        Some(self.current().status.clone())
    }

    fn reload(&self) -> Result<Status, String> {
        // Remembered even if opening fails, so that a bad file is not opened again until it changes.
        let marks = FileMark::all(&self.paths).unwrap_or_default();
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = marks;
        let catalog = Arc::new(ShardSet::open(&self.paths, self.verify)?);
        let status = catalog.status.clone();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = catalog;
        Ok(status)
    }

    fn is_outdated(&self) -> bool {
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        FileMark::all(&self.paths).is_some_and(|marks| marks != *tried)
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
        let embedded = Embedded::open(vec![path], true, 1, minute).expect("a shard");
        let search = || {
            let request = SearchRequest::new(&embedding, None, &SearchParams::default());
            embedded.search(request.parse().expect("a valid request"), Instant::now() + minute)
        };
        assert_eq!(search().await.map(|found| found.len()), Ok(1));
        // The only thread is busy until it is released, and each job is expected to take two minutes.
        let (release, released) = mpsc::channel::<()>();
        let (running, ran) = tokio::sync::oneshot::channel();
        let work = move |_: &mut SearchScratch| {
            let _ = running.send(());
            let _ = released.recv();
            Ok(())
        };
        let busy = embedded.pool.start(Instant::now() + minute, work).expect("an empty queue");
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
        assert_eq!(found.map(|found| found.len()), Ok(1));
        assert_eq!(busy.done().await, Ok(()));
    }
}
