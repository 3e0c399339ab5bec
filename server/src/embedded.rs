//! The engine inside the server: mapped shards.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use magpie_core::joined::{ShardAnswer, join};
use magpie_core::listing::{self, Found, Listing};
use magpie_core::remote::{Parsed, merge};
use magpie_core::search::{SearchScratch, Searcher};
use magpie_core::shard::Shard;
use magpie_core::{IndexError, ListingRow};

use crate::engine::{Answering, ColumnInfo, Engine, EngineError, Status};
use crate::pool::Pool;

/// Searches shards of one catalogue.
pub struct Embedded {
    paths: Vec<PathBuf>,
    verify: bool,
    current: RwLock<Arc<Catalog>>,
    /// The files that were opened last, or that could not be.
    tried: Mutex<Vec<Mark>>,
    pool: Pool,
}

/// The shards at one time. Searches hold it until they are done, so that a change does not reach them.
struct Catalog {
    shards: Vec<Shard>,
    status: Status,
}

/// What tells a file from the one that was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    len: u64,
    changed: Option<SystemTime>,
    /// The number of the file, where the system has one: a new file under the old name has another.
    number: u64,
}

impl Mark {
    fn of(path: &Path) -> Option<Mark> {
        let data = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(&data);
        #[cfg(not(unix))]
        let number = 0;
        Some(Mark { len: data.len(), changed: data.modified().ok(), number })
    }

    /// `None` where a file is missing: it is about to be replaced.
    fn all(paths: &[PathBuf]) -> Option<Vec<Mark>> {
        paths.iter().map(|path| Mark::of(path)).collect()
    }
}

impl Embedded {
    /// Opens the shards, and starts the threads that search them.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn open(paths: Vec<PathBuf>, verify: bool, threads: usize, longest_wait: Duration) -> Result<Embedded, String> {
        // Before opening: a file that is replaced meanwhile then counts as changed.
        let tried = Mutex::new(Mark::all(&paths).unwrap_or_default());
        let current = RwLock::new(Arc::new(Catalog::open(&paths, verify)?));
        let pool = Pool::new(threads, longest_wait).map_err(|e| format!("no threads to search on: {e}"))?;
        Ok(Embedded { paths, verify, current, tried, pool })
    }

    fn current(&self) -> Arc<Catalog> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// As one shard with everything in it would answer: which listings repeat others is known only with those of all shards.
    async fn search_joined(
        &self,
        catalog: &Arc<Catalog>,
        query: &Arc<Parsed>,
        deadline: Instant,
    ) -> Result<Vec<Found>, EngineError> {
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
            // Comparing vectors is work for the threads that search.
            let asked = Arc::clone(query);
            let (found, more) = self.pool.run(deadline, move |_| Ok(join(parts, &asked.params))).await?;
            if !more {
                return Ok(found);
            }
            look = ShardAnswer::wider(look);
        }
    }

    /// Searches that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }
}

impl Engine for Embedded {
    fn search(&self, query: Parsed, deadline: Instant) -> Answering<'_, Vec<Found>> {
        let catalog = self.current();
        if query.embedding.model() != catalog.status.model_id {
            let wrong = EngineError::WrongModel { catalog: catalog.status.model_id };
            return Box::pin(async { Err(wrong) });
        }
        Box::pin(async move {
            // All are queued before the first is waited for: as many as there are threads run side by side.
            let query = Arc::new(query);
            if query.params.near_duplicates.is_some() && catalog.shards.len() > 1 {
                return self.search_joined(&catalog, &query, deadline).await;
            }
            let start = |at| {
                let (catalog, query) = (Arc::clone(&catalog), Arc::clone(&query));
                self.pool.start(deadline, move |scratch| catalog.search(at, &query, scratch))
            };
            let started: Vec<_> = (0..catalog.shards.len()).map(start).collect::<Result<_, _>>()?;
            let mut best: Option<Vec<Found>> = None;
            for shard in started {
                let found = shard.done().await?;
                best = Some(match best {
                    None => found,
                    // The later shard's texts count.
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

    fn name(&self) -> &'static str {
        "shards"
    }

    fn status(&self) -> Option<Status> {
        Some(self.current().status.clone())
    }

    fn reload(&self) -> Result<Status, String> {
        // One that cannot be used is not opened again and again: only once it has changed once more.
        let marks = Mark::all(&self.paths).unwrap_or_default();
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = marks;
        let catalog = Arc::new(Catalog::open(&self.paths, self.verify)?);
        let status = catalog.status.clone();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = catalog;
        Ok(status)
    }

    fn is_outdated(&self) -> bool {
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        Mark::all(&self.paths).is_some_and(|marks| marks != *tried)
    }
}

impl Catalog {
    fn open(paths: &[PathBuf], verify: bool) -> Result<Catalog, String> {
        let mut shards = Vec::new();
        for path in paths {
            let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
            let shard = Shard::open(path).map_err(|e| match e {
                named @ IndexError::Io { .. } => named.to_string(),
                other => fault(&other),
            })?;
            if verify {
                shard.verify().map_err(|e| fault(&e))?;
            }
            shards.push(shard);
        }
        let first = shards.first().ok_or_else(|| "there is no shard to serve".to_owned())?;
        let (catalog, header) = (first.catalog().to_owned(), first.header());
        let (model_id, dim) = (header.model_id, header.dim);
        for (shard, path) in shards.iter().zip(paths) {
            let header = shard.header();
            if (header.model_id, header.dim) != (model_id, dim) {
                return Err(format!(
                    "{}: its model is {}, the first shard's is {model_id}",
                    path.display(),
                    header.model_id
                ));
            }
            if shard.catalog() != catalog {
                let found = shard.catalog();
                return Err(format!(
                    "{}: its catalogue is '{found}', the first shard's is '{catalog}'",
                    path.display()
                ));
            }
        }
        let status = Status {
            catalog,
            model_id,
            dim,
            listings: shards.iter().map(|shard| u64::from(shard.header().listing_count)).sum(),
            photos: shards.iter().map(|shard| u64::from(shard.header().photo_count)).sum(),
            sequence: shards.iter().map(|shard| shard.header().sequence).max().unwrap_or(0),
            shards: shards.len(),
            columns: first.columns().map(|(name, kind)| ColumnInfo { name: name.to_owned(), kind }).collect(),
        };
        Ok(Catalog { shards, status })
    }

    /// The best of one shard.
    fn search(&self, at: usize, query: &Parsed, scratch: &mut SearchScratch) -> Result<Vec<Found>, EngineError> {
        let Some(shard) = self.shards.get(at) else { return Ok(Vec::new()) };
        let mut searcher = Searcher::with_scratch(shard, std::mem::take(scratch));
        let candidates = searcher.search(&query.embedding, query.filter.as_ref(), &query.params);
        *scratch = searcher.into_scratch();
        listing::fetch(shard, &candidates.map_err(fault)?).map_err(fault)
    }

    /// The best `look` listings of one shard, with what tells whether they repeat others.
    fn look(
        &self,
        at: usize,
        query: &Parsed,
        look: usize,
        scratch: &mut SearchScratch,
    ) -> Result<ShardAnswer, EngineError> {
        let Some(shard) = self.shards.get(at) else { return Ok(ShardAnswer::default()) };
        let mut searcher = Searcher::with_scratch(shard, std::mem::take(scratch));
        let part = ShardAnswer::look(&mut searcher, &query.embedding, query.filter.as_ref(), &query.params, look);
        *scratch = searcher.into_scratch();
        part.map_err(fault)
    }

    fn listing(&self, id: &str) -> Result<Option<Listing>, EngineError> {
        for shard in self.shards.iter().rev() {
            if let Some(row) = shard.find_listing(id).map_err(|e| fault(e.into()))? {
                return whole(shard, row).map(Some);
            }
        }
        Ok(None)
    }
}

impl Catalog {
    fn picture(&self, id: &str, photo: &str) -> Result<Option<Vec<u8>>, EngineError> {
        for shard in self.shards.iter().rev().filter(|shard| shard.has_thumbnails()) {
            let Some(row) = shard.find_listing(id).map_err(|e| fault(e.into()))? else { continue };
            let listing = whole(shard, row)?;
            let place = listing.photos.iter().position(|name| name == photo);
            let photos = shard.photos_of(row).map_err(|e| fault(e.into()))?;
            let found = place.and_then(|place| photos.iter().find(|&&row| usize::from(shard.ordinal_of(row)) == place));
            if let Some(jpeg) = found.and_then(|&photo| shard.thumbnail(photo)) {
                return Ok(Some(jpeg.to_vec()));
            }
        }
        Ok(None)
    }
}

/// A listing; where there is no query, its first photo stands for it.
fn whole(shard: &Shard, row: ListingRow) -> Result<Listing, EngineError> {
    let record = shard.records(&[row]).map_err(|e| fault(e.into()))?.into_iter().next();
    let record = record.ok_or_else(|| EngineError::Broken(format!("listing {} has no record", row.0)))?;
    let fields = shard.fields().iter().cloned().zip(record.values).collect();
    let photo = record.photos.first().cloned().unwrap_or_default();
    Ok(Listing { id: record.id, photo, photos: record.photos, fields })
}

fn fault(error: IndexError) -> EngineError {
    match error {
        IndexError::Filter(filter) => EngineError::Unfit(format!("filter: {filter}")),
        IndexError::ModelMismatch { shard, .. } => EngineError::WrongModel { catalog: shard },
        other => EngineError::Broken(other.to_string()),
    }
}
