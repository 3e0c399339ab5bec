#![cfg_attr(feature = "onnx", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "onnx"), doc = "On-device visual search: a photo goes in, catalogue listings come out.")]

pub mod attributes;
#[cfg(feature = "model")]
pub mod bench;
pub mod confidence;
#[cfg(feature = "model")]
pub mod corrections;
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
pub use magpie_index::{catalog, joined, listing, search, shard, vector};

/// The number of cases of a property test: a tenth, or all of them where the environment variable `MAGPIE_LONG` is 1.
#[cfg(test)]
fn cases(full: u32) -> u32 {
    if std::env::var_os("MAGPIE_LONG").is_some_and(|value| value == "1") { full } else { full.div_ceil(10) }
}
