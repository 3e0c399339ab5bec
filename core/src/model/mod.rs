//! The network: a model pack, checked, loaded and run.
//!
//! tract reads the ONNX file. What it holds of quantised layers is taken out and run by `int8`; the rest, if there is
//! any, runs on tract, which hosts what was taken out as operators of its own.

mod fuse;
mod heads;
mod host;
mod manifest;
mod network;
mod onnx;
mod pack;
mod session;

pub use manifest::{EmbeddingSpec, HeadSpec, InputSpec, MANIFEST_FORMAT, Manifest, NetworkSpec};
pub use network::{LoadOptions, LoadReport};
pub use pack::Pack;
pub use session::{Model, Output, Session};
