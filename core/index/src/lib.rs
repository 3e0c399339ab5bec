//! An approximate nearest neighbour index with its listings in one file, memory-mapped and searched where it lies.
//!
//! A [`Shard`](shard::Shard) holds the photos of a catalogue as quantised vectors, in inverted lists, with the listings
//! that they belong to and columns to filter by. [`search`] finds the listings nearest to an [`Embedding`];
//! [`listing::fetch`] reads their texts. With the feature `build`, [`builder`](crate::builder) writes shards.
//!
//! The file format is specified in `core/docs/SHARD_FORMAT.md`.

#[cfg(target_endian = "big")]
compile_error!("shards are little-endian and mapped without conversion: big-endian targets are not supported");

#[cfg(feature = "build")]
pub mod builder;
mod embedding;
mod error;
mod ids;
pub mod joined;
pub mod listing;
pub mod search;
pub mod shard;
pub mod vector;

pub use embedding::{Embedding, MAX_DIM};
pub use error::{Error, FilterError, Result, ShardError};
pub use ids::{CatalogId, ListingRow, ModelId, PhotoRow};
