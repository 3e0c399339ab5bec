//! The facade: an engine combines a model and a shard; a photo goes in, listings come out.

mod cancel;
mod corrected;
mod embed;
mod facade;
mod options;
mod results;
mod server_search;
mod stages;

pub use cancel::Cancel;
pub use embed::{embed, embed_decoded, embed_timed};
pub use facade::Engine;
pub use options::SearchOptions;
pub use results::{Matches, SearchResults};
pub use server_search::{AskOptions, Begun, ServerSearch};
pub use stages::Stages;
pub(crate) use stages::as_ms;
