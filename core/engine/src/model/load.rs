//! Loads the network of a pack by its file format.

use super::compiled;
use super::guard::guarded;
#[cfg(feature = "onnx")]
use super::import;
use super::loaded::{LoadOptions, LoadedNetwork};
use super::pack::{Form, Pack};

/// Loads the network of a pack.
pub(super) fn load(pack: &Pack, options: &LoadOptions) -> Result<LoadedNetwork, String> {
    let manifest = pack.manifest();
    guarded(|| {
        if !options.isa.is_available() {
            return Err(format!("this CPU does not have {}", options.isa));
        }
        match pack.form() {
            Form::Compiled if !options.fuse => {
                Err("a compiled network runs on the project's own kernels only".to_owned())
            }
            Form::Compiled => LoadedNetwork::fused(manifest, compiled::graph(pack.network())?, options),
            #[cfg(feature = "onnx")]
            Form::Onnx => import::load(manifest, pack.network(), options),
            #[cfg(not(feature = "onnx"))]
            Form::Onnx => {
                let advice = "compile the pack with `magpie model compile`, or build with the feature `onnx`";
                Err(format!("this build reads compiled networks only: {advice}"))
            }
        }
    })
}
