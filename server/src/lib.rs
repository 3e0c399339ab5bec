//! The full catalogue over HTTP: embeddings come in, listings go out. Apps never send photos.
//!
//! `api` holds the routes, `state` what they share. `backend` is the interface of search backends, of which there are
//! two: `embedded` searches shards or a release (`shard_set`, `release`) on a thread pool (`pool`), `opensearch` queries an
//! external cluster. `downloads` serves a release to phones. `encode` compresses responses, `trace` handles W3C Trace
//! Context, `guard` does authentication and rate limiting with the tokens of `token_file`, `log` writes the log, `page` is
//! the demo page, `serve` accepts connections, reloads and shuts down gracefully. `settings` and `limits` check what is
//! configured.

mod api;
mod args;
mod backend;
mod downloads;
mod embedded;
mod encode;
mod guard;
mod limits;
mod log;
mod metrics;
mod openapi;
mod opensearch;
#[cfg(feature = "page")]
mod page;
mod pool;
mod problem;
mod release;
mod serve;
mod settings;
mod shard_set;
mod state;
mod token_file;
mod trace;

pub use args::{Args, Command, LoadArgs};
pub use backend::{Answering, BackendError, ColumnInfo, RequestBudget, SearchAnswer, SearchBackend, Status};
pub use embedded::{CatalogSource, Embedded, OpenChecks};
pub use guard::Tokens;
pub use log::start as start_log;
pub use openapi::document;
pub use opensearch::{Cluster, LoadOptions, Loaded, OpenSearch, load};
pub use release::ServedRelease;
pub use serve::{Server, Stop};
pub use settings::{Overrides, Settings};
pub use token_file::hash_token;
