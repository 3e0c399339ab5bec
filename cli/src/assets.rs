//! What the binary carries: the default model pack and the demo catalogue.

use std::path::{Path, PathBuf};

use magpie_core::model::{Model, Pack};

use crate::failure::{Failure, Result};

const MANIFEST: &[u8] = include_bytes!("../../models/packs/default/manifest.json");
const NETWORK: &[u8] = include_bytes!("../../models/packs/default/model.onnx");

/// The demo's catalogue, as `magpie build` reads it.
pub(crate) const DEMO_CATALOG: &str = include_str!("../demo/catalog.csv");
/// The demo's queries: `photo,listing_id`.
pub(crate) const DEMO_QUERIES: &str = include_str!("../demo/queries.csv");

/// The demo's pictures: `photos/…` and `queries/…`, sorted by name.
static DEMO_PICTURES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/demo_pictures.rs"));

/// A picture of the demo by its name, e.g. `queries/mug-01.jpg`.
pub(crate) fn demo_picture(name: &str) -> Option<&'static [u8]> {
    let at = DEMO_PICTURES.binary_search_by_key(&name, |(name, _)| name).ok()?;
    Some(DEMO_PICTURES[at].1)
}

/// Opens a pack's folder, or the pack that the binary carries.
pub(crate) fn pack(folder: Option<&Path>) -> Result<Pack> {
    match folder {
        Some(folder) => Pack::open(folder).map_err(|e| Failure::of(folder, e)),
        None => Ok(Pack::from_bytes(MANIFEST, NETWORK.to_vec())?),
    }
}

/// The manifest of a pack's folder, or of the pack that the binary carries, as it is.
pub(crate) fn manifest(folder: Option<&Path>) -> Result<Vec<u8>> {
    let Some(folder) = folder else { return Ok(MANIFEST.to_vec()) };
    let path = folder.join("manifest.json");
    std::fs::read(&path).map_err(|e| Failure::io(&path, e))
}

/// Loads the model of a pack's folder, or of the pack that the binary carries.
pub(crate) fn model(folder: Option<&PathBuf>) -> Result<Model> {
    let pack = pack(folder.map(PathBuf::as_path))?;
    match folder {
        Some(folder) => Model::load(&pack).map_err(|e| Failure::of(folder, e)),
        None => Ok(Model::load(&pack)?),
    }
}
