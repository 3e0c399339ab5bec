//! Guarantees that matter to users, checked on real packs and real shards.
#![allow(missing_docs, clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

mod architecture;
#[cfg(feature = "onnx")]
mod bad_packs;
mod bad_photos;
mod bad_shards;
mod compat;
#[cfg(feature = "onnx")]
mod confidence;
#[cfg(feature = "onnx")]
mod corrections;
mod every_photo;
#[cfg(feature = "onnx")]
mod fused_network;
mod large_catalogues;
#[cfg(feature = "onnx")]
mod left_to_tract;
mod lying_shards;
mod parity;
mod photo_search;
mod real_photos;
mod search_options;
mod search_promises;
mod wild_photos;
