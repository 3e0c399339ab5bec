//! The file format of a compiled network: the layers for the project's own kernels, without ONNX.
//!
//! It opens faster than the ONNX file and does not need tract, which makes an app's library smaller. The file does not
//! depend on the CPU: weights are packed for its kernels at load time. The layout, little-endian:
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic: `MAGPNET` and a zero byte |
//! | 4 | format, [`FORMAT`] |
//! | 4 | reserved, zero |
//! | 32 | model id of the pack that it was compiled from |
//! | 32 | BLAKE3 of the rest |
//! | the rest | the layers, see `magpie_int8::stored` |
//!
//! A reader rejects a different magic or format, a model id that is not the manifest's, and a wrong checksum.

use super::fault::NetworkFault;
use super::manifest::Manifest;
use crate::ModelId;
use crate::error::ModelError;
use magpie_int8::{LayerGraph, stored};

/// The file name, in the folder of the manifest.
pub(super) const FILE: &str = "network.compiled";

const MAGIC: &[u8; 8] = b"MAGPNET\0";
const FORMAT: u32 = 1;
const HEADER: usize = 80;

/// Serialises a graph as a compiled network.
#[cfg(feature = "onnx")]
pub(super) fn write(graph: &LayerGraph, model: ModelId) -> Result<Vec<u8>, NetworkFault> {
    let layers = stored::write(graph)?;
    let checksum = blake3::hash(&layers);
    Ok([MAGIC, &FORMAT.to_le_bytes()[..], &[0; 4], &model.0, checksum.as_bytes(), &layers].concat())
}

/// Whether the bytes start with the magic of a compiled network.
pub(super) fn is_compiled(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Checks the header and the checksum; the layers are not parsed.
///
/// # Errors
/// [`ModelError::Changed`] if the file was compiled from another model or is damaged, [`ModelError::Load`] if it is not
/// a compiled network or has another format.
pub(super) fn check(manifest: &Manifest, bytes: &[u8]) -> Result<(), ModelError> {
    let Some((header, layers)) = bytes.split_at_checked(HEADER).filter(|_| is_compiled(bytes)) else {
        return Err(ModelError::Load(format!("{FILE} is not a compiled network")));
    };
    let format = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if format != FORMAT {
        let found = format!("{FILE} has format {format}, this version reads {FORMAT}");
        return Err(ModelError::Load(format!("{found}: compile the pack again, or update the app")));
    }
    let changed = |what, expected: String, found: String| Err(ModelError::Changed { what, expected, found });
    let mut model = ModelId([0; 32]);
    model.0.copy_from_slice(&header[16..48]);
    if model != manifest.model_id {
        return changed("the model id it was compiled from", manifest.model_id.to_string(), model.to_string());
    }
    let (expected, found) = (&header[48..], blake3::hash(layers));
    if expected != found.as_bytes() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        return changed("the checksum of its layers", hex(expected), found.to_hex().to_string());
    }
    Ok(())
}

/// Parses the layers of a file that [`check`] accepted.
pub(super) fn graph(bytes: &[u8]) -> Result<LayerGraph, NetworkFault> {
    debug_assert!(bytes.len() >= HEADER, "the header was checked");
    Ok(stored::read(bytes.get(HEADER..).unwrap_or_default())?)
}
