//! The interface between the routes and whatever answers searches.

use std::pin::Pin;
use std::time::Instant;

use magpie_core::ModelId;
use magpie_core::listing::{Found, Listing};
use magpie_core::remote::Parsed;
use magpie_core::shard::ColumnKind;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

/// A boxed future with the result of a backend call.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// A searchable catalogue. Implementations shed load themselves: they reject a search rather than queue it until its
/// answer would come too late.
pub trait SearchBackend: Send + Sync + 'static {
    /// Returns the best listings for a query, best first; ties are ordered by listing id. Scores are cosines.
    fn search(&self, query: Parsed, deadline: Instant) -> Answering<'_, Vec<Found>>;

    /// Returns the listing with this id.
    fn listing(&self, id: String, deadline: Instant) -> Answering<'_, Option<Listing>>;

    /// Returns the thumbnail of a listing's photo as a JPEG; `None` if the catalogue does not have it.
    fn picture(&self, id: String, photo: String, deadline: Instant) -> Answering<'_, Option<Vec<u8>>> {
        let _ = (id, photo, deadline);
        Box::pin(async { Ok(None) })
    }

    /// Describes the catalogue that is being served; `None` while there is not any.
    fn status(&self) -> Option<Status>;

    /// Loads the latest catalogue and switches to it. Searches in flight finish on the old one.
    ///
    /// # Errors
    /// Why the new catalogue cannot be used; the old one keeps answering.
    fn reload(&self) -> Result<Status, String>;

    /// Whether a newer catalogue is available.
    fn is_outdated(&self) -> bool;

    /// Adds the backend's own metrics to the server's registry.
    fn register(&self, registry: &mut Registry) {
        let _ = registry;
    }
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
