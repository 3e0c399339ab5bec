//! A search backend that blocks until the test releases it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use magpie_core::listing::Listing;
use magpie_core::remote::Parsed;
use magpie_server::{
    Answering, BackendError, CatalogSource, Embedded, OpenChecks, RequestBudget, SearchAnswer, SearchBackend, Status,
};
use tokio::sync::Semaphore;

use super::{PATIENCE, eventually};

/// Shards whose searches wait until [`BlockingBackend::open`]. So a test decides how long they take, whatever the
/// machine's speed.
pub(crate) struct BlockingBackend {
    shards: Embedded,
    /// Permits for concurrent searches; more are rejected.
    places: Semaphore,
    arrived: AtomicUsize,
    opened: Semaphore,
}

impl BlockingBackend {
    pub(crate) fn new(shards: Vec<PathBuf>, places: usize) -> BlockingBackend {
        let shards = Embedded::open(CatalogSource::Shards(shards), OpenChecks::default(), 1, PATIENCE).unwrap();
        BlockingBackend {
            shards,
            places: Semaphore::new(places),
            arrived: AtomicUsize::new(0),
            opened: Semaphore::new(0),
        }
    }

    /// Waits until this many searches are blocked.
    pub(crate) fn wait_for(&self, searches: usize) {
        assert!(eventually(|| self.arrived.load(Ordering::Relaxed) >= searches), "{:?}", self.arrived);
    }

    /// Releases the blocked searches, and lets later ones pass.
    pub(crate) fn open(&self) {
        self.opened.close();
    }
}

impl SearchBackend for BlockingBackend {
    fn search(&self, query: Parsed, _: RequestBudget) -> Answering<'_, SearchAnswer> {
        Box::pin(async move {
            let _place = self.places.try_acquire().map_err(|_| BackendError::Overloaded)?;
            self.arrived.fetch_add(1, Ordering::Relaxed);
            // No permits are ever added: this returns when the semaphore is closed.
            let _ = self.opened.acquire().await;
            // The request's own deadline may have passed while it was blocked.
            self.shards.search(query, RequestBudget::until(Instant::now() + PATIENCE)).await
        })
    }

    fn listing(&self, id: String, deadline: Instant) -> Answering<'_, Option<Listing>> {
        self.shards.listing(id, deadline)
    }

    fn status(&self) -> Option<Status> {
        self.shards.status()
    }

    fn reload(&self) -> Result<Status, String> {
        self.shards.reload()
    }

    fn is_outdated(&self) -> bool {
        self.shards.is_outdated()
    }
}

/// A time that no test waits for.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);
