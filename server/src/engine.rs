//! What answers searches.

use std::pin::Pin;
use std::time::Instant;

use magpie_core::ModelId;
use magpie_core::listing::{Found, Listing};
use magpie_core::remote::Parsed;
use magpie_core::shard::ColumnKind;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

/// An answer that is being worked on.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'a>>;

/// A catalogue that can be searched. Implementations bound their own work: they turn a search away rather than let it
/// wait beyond its use.
pub trait Engine: Send + Sync + 'static {
    /// The best listings for a query, best first, ties in the order of listing ids. Scores are cosines.
    fn search(&self, query: Parsed, deadline: Instant) -> Answering<'_, Vec<Found>>;

    /// The listing with an id.
    fn listing(&self, id: String, deadline: Instant) -> Answering<'_, Option<Listing>>;

    /// The small picture of a listing's photo, as a JPEG; `None` where the catalogue has none.
    fn picture(&self, id: String, photo: String, deadline: Instant) -> Answering<'_, Option<Vec<u8>>> {
        let _ = (id, photo, deadline);
        Box::pin(async { Ok(None) })
    }

    /// The engine's kind in a word.
    fn name(&self) -> &'static str;

    /// What is being searched; `None` while there is nothing.
    fn status(&self) -> Option<Status>;

    /// Looks for a newer catalogue and changes over to it. Searches that are under way keep the old one.
    ///
    /// # Errors
    /// What is wrong with the newer one; the old one goes on answering.
    fn reload(&self) -> Result<Status, String>;

    /// Whether there is a newer catalogue.
    fn is_outdated(&self) -> bool;

    /// Adds the engine's own metrics to the server's.
    fn register(&self, registry: &mut Registry) {
        let _ = registry;
    }
}

/// What an engine searches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The catalogue's name.
    pub catalog: String,
    /// The model of its embeddings.
    pub model_id: ModelId,
    /// The coordinates of its embeddings.
    pub dim: u32,
    /// Its listings; one that is in two shards counts twice.
    pub listings: u64,
    /// Its photos.
    pub photos: u64,
    /// The highest number of its shards, which grows from build to build.
    pub sequence: u64,
    /// Its shards.
    pub shards: usize,
    /// The columns that filters can name.
    pub columns: Vec<ColumnInfo>,
}

/// A filter column of a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The embedding is of another model than the catalogue's.
    #[error("the catalogue's model is {catalog}")]
    WrongModel {
        /// The catalogue's model.
        catalog: ModelId,
    },
    /// The request does not fit the catalogue: a filter on a column that is not there.
    #[error("{0}")]
    Unfit(String),
    /// There is too much to do.
    #[error("there is too much to do")]
    Overloaded,
    /// The deadline passed before the work was done.
    #[error("the deadline has passed")]
    Late,
    /// The engine is another program, and could not be reached or gave no sensible answer. The text is for the log.
    #[error("{0}")]
    Upstream(String),
    /// The catalogue is damaged, or there is a mistake in the program. The text is for the log.
    #[error("{0}")]
    Broken(String),
}
