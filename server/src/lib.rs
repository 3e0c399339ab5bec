//! The full catalogue over HTTP: embeddings come in, listings go out. No app sends a photo.
//!
//! `api` is what a client sees; `engine` is what answers searches: `embedded`, mapped shards searched on the threads of a
//! `pool`, or `opensearch`, a cluster beside the server. `encode` makes replies smaller, `page` shows the catalogue to
//! people. `trace` says which trace a request belongs to. `guard` turns requests away that must not or cannot be served,
//! `serve` accepts connections and ends without losing a request.

mod api;
mod embedded;
mod encode;
mod engine;
mod guard;
mod metrics;
mod openapi;
mod opensearch;
#[cfg(feature = "page")]
mod page;
mod pool;
mod problem;
mod serve;
mod settings;
mod trace;

pub use embedded::Embedded;
pub use engine::{Answering, ColumnInfo, Engine, EngineError, Status};
pub use guard::Tokens;
pub use openapi::document;
pub use opensearch::{Cluster, LoadOptions, Loaded, OpenSearch, load};
pub use serve::{Server, Stop};
pub use settings::{Args, Command, LoadArgs, Overrides, Settings};
