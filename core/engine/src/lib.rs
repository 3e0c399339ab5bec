//! Visual search that runs on the phone: a photo goes in, catalogue listings come out.
//!
//! A [`Model`](model::Model) turns a photo into an [`Embedding`] and [`Attributes`](attributes::Attributes); a
//! [`Shard`](shard::Shard) is a compressed catalogue, memory-mapped from a file; an [`Engine`](engine::Engine) combines
//! the two. The photo never leaves the process, and nothing here does network I/O.
//!
//! ```no_run
//! # #[cfg(feature = "onnx")] {
//! use magpie_core::engine::{Engine, SearchOptions};
//! use magpie_core::model::{Model, Pack};
//! use magpie_core::shard::Shard;
//!
//! # fn main() -> Result<(), magpie_core::Error> {
//! let model = Model::load(&Pack::open("models/packs/default")?)?;
//! let engine = Engine::new(model, Shard::open("catalogue.magpie")?)?;
//! let photo = std::fs::read("mug.jpg").expect("a readable photo");
//! for found in engine.search_photo(&photo, &SearchOptions::default())?.listings {
//!     println!("{:.3} {}", found.score, found.listing.id);
//! }
//! # Ok(()) }
//! # }
//! ```
//!
//! For a camera, `image::Frame` takes the planes in the camera's own layout, and `live` decides which frames deserve a
//! search.
//!
//! `core/ARCHITECTURE.md` draws the layout and the allowed dependencies; `core/docs/SHARD_FORMAT.md` specifies the file
//! format.

pub mod attributes;
pub mod confidence;
#[cfg(feature = "model")]
pub mod engine;
mod error;
#[cfg(feature = "model")]
pub mod model;
pub mod remote;

#[cfg(feature = "image")]
pub use error::PhotoError;
pub use error::{Error, FilterError, ModelError, Result, ShardError};
pub use magpie_cpu as cpu;
#[cfg(feature = "image")]
pub use magpie_image::{self as image, live, recipe};
#[cfg(feature = "build")]
pub use magpie_index::builder;
pub use magpie_index::{CatalogId, Embedding, Error as IndexError, ListingRow, ModelId, PhotoRow};
pub use magpie_index::{joined, listing, search, shard, vector};
