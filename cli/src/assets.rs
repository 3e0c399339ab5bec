//! The files embedded in the binary: the default model pack and the demo catalogue.

use std::path::{Path, PathBuf};

use magpie_core::model::{Model, Pack};

use crate::failure::{CommandFailure, Result};

const MANIFEST: &[u8] = include_bytes!("../../models/packs/default/manifest.json");
const NETWORK: &[u8] = include_bytes!("../../models/packs/default/model.onnx");

/// The demo's catalogue: a CSV table for `magpie build`.
pub(crate) const DEMO_CATALOG: &str = include_str!("../demo/catalog.csv");
/// The demo's queries: CSV with the columns `photo,listing_id`.
pub(crate) const DEMO_QUERIES: &str = include_str!("../demo/queries.csv");

/// Name and JPEG bytes of each demo picture, `photos/…` and `queries/…`, sorted by name.
static DEMO_PICTURES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/demo_pictures.rs"));

/// Returns the bytes of a demo picture by its name, e.g. `queries/mug-01.jpg`.
///
/// # Errors
/// The demo does not contain this picture.
pub(crate) fn demo_picture(name: &str) -> Result<&'static [u8]> {
    match DEMO_PICTURES.binary_search_by_key(&name, |(name, _)| name) {
        Ok(at) => Ok(DEMO_PICTURES[at].1),
        Err(_) => Err(CommandFailure::new(format!("the demo does not contain the picture {name}"))),
    }
}

/// Opens the model pack in `folder`, or the embedded one.
pub(crate) fn pack(folder: Option<&Path>) -> Result<Pack> {
    match folder {
        Some(folder) => Pack::open(folder).map_err(|e| CommandFailure::of(folder, e)),
        None => Ok(Pack::from_bytes(MANIFEST, NETWORK.to_vec())?),
    }
}

/// Returns the manifest's JSON, byte for byte, of the pack in `folder` or of the embedded one.
pub(crate) fn manifest(folder: Option<&Path>) -> Result<Vec<u8>> {
    let Some(folder) = folder else { return Ok(MANIFEST.to_vec()) };
    let path = folder.join("manifest.json");
    std::fs::read(&path).map_err(|e| CommandFailure::io(&path, e))
}

/// Loads the model of the pack in `folder`, or of the embedded one.
pub(crate) fn model(folder: Option<&PathBuf>) -> Result<Model> {
    let pack = pack(folder.map(PathBuf::as_path))?;
    match folder {
        Some(folder) => Model::load(&pack).map_err(|e| CommandFailure::of(folder, e)),
        None => Ok(Model::load(&pack)?),
    }
}
