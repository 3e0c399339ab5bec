//! The network: a model pack, checked, loaded and run.
//!
//! Quantised layers of an ONNX file are extracted into subgraphs, which `magpie-int8` runs. If other nodes remain,
//! tract runs them and hosts the subgraphs as custom operators. A network that consists of quantised layers only can be
//! compiled and is then loaded without tract.

mod compiled;
mod fault;
#[cfg(feature = "onnx")]
mod fuse;
mod heads;
#[cfg(feature = "onnx")]
mod host;
#[cfg(feature = "onnx")]
mod import;
mod left;
mod load;
mod loaded;
mod manifest;
#[cfg(feature = "onnx")]
mod onnx;
mod pack;
mod session;
mod signature;
#[cfg(feature = "onnx")]
mod tract_plan;

pub use left::{LeftNode, LeftReason};
pub use loaded::{LoadOptions, LoadReport};
pub use manifest::{EmbeddingSpec, HeadSpec, InputSpec, MANIFEST_FORMAT, Manifest, NetworkSpec};
pub use pack::{Form, Pack};
pub use session::{Model, Output, Session};
