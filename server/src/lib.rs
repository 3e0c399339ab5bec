//! The full catalogue over HTTP: embeddings come in, listings go out. Apps never send photos.
//!
//! `api` holds the routes, `state` what they share. `backend` is the interface of search backends, of which there are
//! two: `embedded` searches memory-mapped shards on a thread pool (`pool`), `opensearch` queries an external cluster.
//! `encode` compresses responses, `trace` handles W3C Trace Context, `guard` does authentication and rate limiting,
//! `log` writes the log, `page` is the demo page, `serve` accepts connections and shuts down gracefully.

mod api;
mod args;
mod backend;
mod embedded;
mod encode;
mod guard;
mod log;
mod metrics;
mod openapi;
mod opensearch;
#[cfg(feature = "page")]
mod page;
mod pool;
mod problem;
mod serve;
mod settings;
mod shard_set;
mod state;
mod trace;

pub use args::{Args, Command, LoadArgs};
pub use backend::{Answering, BackendError, ColumnInfo, SearchBackend, Status};
pub use embedded::Embedded;
pub use guard::Tokens;
pub use log::start as start_log;
pub use openapi::document;
pub use opensearch::{Cluster, LoadOptions, Loaded, OpenSearch, load};
pub use serve::{Server, Stop};
pub use settings::{Overrides, Settings};
