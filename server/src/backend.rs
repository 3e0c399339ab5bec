//! The interface between the routes and whatever answers searches.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use magpie_core::ModelId;
use magpie_core::listing::{Found, Listing};
use magpie_core::remote::Parsed;
use magpie_core::shard::ColumnKind;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

use crate::guard::Meter;
use crate::release::ServedRelease;

/// A boxed future with the result of a backend call.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// A searchable catalogue. Implementations shed load themselves: they reject a search rather than queue it until its
/// answer would come too late.
pub trait SearchBackend: Send + Sync + 'static {
    /// Returns the best listings for a query, best first; ties are ordered by listing id. Scores are cosines. A search ends
    /// soon after its deadline, and soon after the future is dropped.
    fn search(&self, query: Parsed, budget: RequestBudget) -> Answering<'_, SearchAnswer>;

    /// Returns the listing with this id.
    fn listing(&self, id: String, deadline: Instant) -> Answering<'_, Option<Listing>>;

    /// Returns the thumbnail of a listing's photo as a JPEG; `None` if the catalogue does not have it.
    fn picture(&self, id: String, photo: String, deadline: Instant) -> Answering<'_, Option<Vec<u8>>> {
        let _ = (id, photo, deadline);
        Box::pin(async { Ok(None) })
    }

    /// Describes the catalogue that is being served; `None` while there is not any.
    fn status(&self) -> Option<Status>;

    /// Loads the latest catalogue, checks it, and switches to it. Searches in flight finish on the old one. Of two reloads at
    /// once, the later one wins.
    ///
    /// # Errors
    /// Why the new catalogue is not used; the old one keeps answering.
    fn reload(&self) -> Result<Status, String>;

    /// Whether a newer catalogue is available.
    fn is_outdated(&self) -> bool;

    /// The release that is searched, for phones to fetch; `None` where the catalogue is not one.
    fn release(&self) -> Option<Arc<ServedRelease>> {
        None
    }

    /// The number of searches that wait, and how long one that is queued now is expected to wait.
    fn queue(&self) -> (usize, Duration) {
        (0, Duration::ZERO)
    }

    /// Adds the backend's own metrics to the server's registry.
    fn register(&self, registry: &mut Registry) {
        let _ = registry;
    }
}

/// What a search may take: time, and the tokens of whoever asks.
#[derive(Debug, Clone)]
pub struct RequestBudget {
    /// When the client will have stopped waiting.
    pub deadline: Instant,
    meter: Option<Meter>,
}

impl RequestBudget {
    /// A budget that nobody pays for.
    pub fn until(deadline: Instant) -> RequestBudget {
        RequestBudget { deadline, meter: None }
    }

    pub(crate) fn metered(deadline: Instant, meter: Option<Meter>) -> RequestBudget {
        RequestBudget { deadline, meter }
    }

    /// Charges CPU time that the search has taken.
    pub fn spend(&self, time: Duration) {
        if let Some(meter) = &self.meter {
            meter.spend(time);
        }
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchAnswer {
    /// Best first.
    pub listings: Vec<Found>,
    /// `false` where there are fewer than requested because the search gave up: others may meet the conditions.
    pub complete: bool,
}

/// The catalogue that a backend serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The catalogue's name.
    pub catalog: String,
    /// The model that made its embeddings.
    pub model_id: ModelId,
    /// The dimension of its embeddings.
    pub dim: u32,
    /// The number of listings; a listing in two shards counts twice.
    pub listings: u64,
    /// The number of photos.
    pub photos: u64,
    /// The highest sequence number of its shards, which grows from build to build.
    pub sequence: u64,
    /// The number of shards.
    pub shards: usize,
    /// The columns that filters can use.
    pub columns: Vec<ColumnInfo>,
}

/// A filter column of a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// The kind of its values.
    pub kind: ColumnKind,
}

/// Why a backend did not answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The embedding comes from another model than the catalogue's.
    #[error("the catalogue's model is {catalog}")]
    WrongModel {
        /// The catalogue's model.
        catalog: ModelId,
    },
    /// The request does not fit the catalogue, e.g. its filter uses an unknown column.
    #[error("{0}")]
    Unfit(String),
    /// The backend is overloaded.
    #[error("the server is overloaded")]
    Overloaded,
    /// The deadline passed before the work was done.
    #[error("the deadline has passed")]
    Late,
    /// The external search engine could not be reached or sent an invalid response. The text is for the log.
    #[error("{0}")]
    Upstream(String),
    /// The catalogue is damaged, or the program has a bug. The text is for the log.
    #[error("{0}")]
    Broken(String),
}
