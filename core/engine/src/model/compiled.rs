//! A compiled network: the layers that the project's own kernels run, without the ONNX file that they came from.
//!
//! It opens faster than the ONNX file, and needs no tract, which makes the library of an app smaller. It holds for every
//! CPU: weights are packed when it is loaded. The bytes, little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `MAGPNET` and a zero |
//! | 4 | format, [`FORMAT`] |
//! | 4 | zero |
//! | 32 | model id of the pack that it was compiled from |
//! | 32 | BLAKE3 of all that follows |
//! | the rest | the layers, see `int8::stored` |
//!
//! A reader refuses another magic number, another format, a model id that is not the manifest's, and a wrong checksum.

use super::manifest::Manifest;
use crate::ModelId;
use crate::error::ModelError;
use magpie_int8::{LayerGraph, stored};

/// The file beside the manifest.
pub(super) const FILE: &str = "network.compiled";

const MAGIC: &[u8; 8] = b"MAGPNET\0";
const FORMAT: u32 = 1;
const HEADER: usize = 80;

/// The file for a graph.
#[cfg(feature = "onnx")]
pub(super) fn write(graph: &LayerGraph, model: ModelId) -> Result<Vec<u8>, String> {
    let layers = stored::write(graph).map_err(|e| e.to_string())?;
    let checksum = blake3::hash(&layers);
    Ok([MAGIC, &FORMAT.to_le_bytes()[..], &[0; 4], &model.0, checksum.as_bytes(), &layers].concat())
}

/// Whether some bytes claim to be a compiled network.
pub(super) fn is_compiled(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Checks everything but what the layers compute.
///
/// # Errors
/// [`ModelError::Changed`] where it was compiled from another model or is damaged, [`ModelError::Load`] where it is no
/// such file, or of another format.
pub(super) fn check(manifest: &Manifest, bytes: &[u8]) -> Result<(), ModelError> {
    let Some((header, layers)) = bytes.split_at_checked(HEADER).filter(|_| is_compiled(bytes)) else {
        return Err(ModelError::Load(format!("{FILE} is no compiled network")));
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

/// The layers of a file that was checked.
pub(super) fn graph(bytes: &[u8]) -> Result<LayerGraph, String> {
    stored::read(bytes.get(HEADER..).unwrap_or_default()).map_err(|e| e.to_string())
}
