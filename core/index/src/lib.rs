#![cfg_attr(feature = "build", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "build"), doc = "Searches shards; see README.md. Its example needs the feature `build`.")]

#[cfg(target_endian = "big")]
compile_error!("shards are little-endian and mapped without conversion: big-endian targets are not supported");

#[cfg(feature = "build")]
pub mod builder;
pub mod catalog;
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

#[cfg(test)]
mod testing;
