//! The network: a model pack, checked and run by tract.

mod heads;
mod manifest;
mod network;
mod pack;

pub use manifest::{EmbeddingSpec, HeadSpec, InputSpec, MANIFEST_FORMAT, Manifest, NetworkSpec};
pub use network::{Model, Output};
pub use pack::Pack;
