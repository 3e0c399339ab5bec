//! Visual search that runs on the phone: a photo goes in, catalogue listings come out.
//!
//! A [`Model`](model::Model) turns a photo into an [`Embedding`] and [`Attributes`](attributes::Attributes); a
//! [`Shard`](shard::Shard) is a compressed catalogue mapped from a file; an [`Engine`](engine::Engine) puts the two
//! together. The photo never leaves the process, and nothing here does network I/O.
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
//! For a camera, [`image::Frame`] takes its planes as they come, and [`live`] decides
//! which frames deserve a search.
//!
//! The layout and what may depend on what is drawn in `core/ARCHITECTURE.md`; the file format is specified in
//! `core/docs/SHARD_FORMAT.md`.

#[cfg(target_endian = "big")]
compile_error!("shards are little-endian and mapped without conversion: big-endian targets are not supported");

pub mod attributes;
#[cfg(feature = "build")]
pub mod build;
pub mod confidence;
pub mod cpu;
mod embedding;
#[cfg(feature = "model")]
pub mod engine;
mod error;
mod ids;
#[cfg(feature = "image")]
pub mod image;
#[cfg(feature = "model")]
#[cfg_attr(not(feature = "onnx"), allow(dead_code, unused_imports, reason = "nothing makes graphs without ONNX"))]
mod int8;
pub mod joined;
pub mod listing;
#[cfg(feature = "image")]
pub mod live;
#[cfg(feature = "model")]
pub mod model;
pub mod recipe;
pub mod remote;
pub mod search;
pub mod shard;
pub mod vector;

pub use embedding::Embedding;
pub use error::{Error, FilterError, ModelError, PhotoError, Result, ShardError};
pub use ids::{CatalogId, ListingRow, ModelId, PhotoRow};
