//! The network: a model pack, checked, loaded and run.
//!
//! tract reads the ONNX file. What it holds of quantised layers is taken out and run by `int8`; the rest, if there is
//! any, runs on tract, which hosts what was taken out as operators of its own. A network that `int8` runs alone can be
//! compiled, and is then loaded without tract.

mod compiled;
#[cfg(feature = "onnx")]
mod fuse;
mod heads;
#[cfg(feature = "onnx")]
mod host;
#[cfg(feature = "onnx")]
mod import;
mod manifest;
mod network;
#[cfg(feature = "onnx")]
mod onnx;
mod pack;
mod session;

pub use manifest::{EmbeddingSpec, HeadSpec, InputSpec, MANIFEST_FORMAT, Manifest, NetworkSpec};
pub use network::{LoadOptions, LoadReport};
pub use pack::{Form, Pack};
pub use session::{Model, Output, Session};
