//! Loads the network of a pack by its file format.

use super::compiled;
use super::fault::{NetworkFault, guarded};
#[cfg(feature = "onnx")]
use super::import;
use super::loaded::{LoadOptions, LoadedNetwork};
use super::pack::{Form, Pack};

/// Loads the network of a pack.
pub(super) fn load(pack: &Pack, options: &LoadOptions) -> Result<LoadedNetwork, NetworkFault> {
    let manifest = pack.manifest();
    guarded(|| {
        if !options.isa.is_available() {
            return Err(NetworkFault::MissingIsa(options.isa));
        }
        match pack.form() {
            Form::Compiled if !options.fuse => Err(NetworkFault::NotFused),
            Form::Compiled => LoadedNetwork::fused(manifest, compiled::graph(pack.network())?, options),
            #[cfg(feature = "onnx")]
            Form::Onnx => import::load(manifest, pack.network(), options),
            #[cfg(not(feature = "onnx"))]
            Form::Onnx => Err(NetworkFault::NoOnnx),
        }
    })
}
