//! The manifest of what was made, and the files of the model pack that may travel with it.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use magpie_core::shard::FORMAT_WRITTEN;
use magpie_release::publish::{Publication, PublishedPart, ReleaseFolder};
use magpie_release::{Delta, Digest, FileEntry, Manifest, ModelEntry, PackFile};

use super::Publisher;
use crate::assets;
use crate::failure::{CommandFailure, Result};

impl Publisher<'_> {
    /// The manifest of a publication that is valid for so many days from now. `last` is the one that it replaces.
    pub(crate) fn manifest(
        &self,
        publication: &Publication,
        pack: Vec<PackFile>,
        valid_days: u64,
        last: Option<&Manifest>,
    ) -> Result<Manifest> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        // Phones take the time of the newest manifest for the earliest possible one.
        let issued = last.map_or(now, |manifest| now.max(manifest.issued));
        let mut parts = publication.parts.iter();
        let base = parts.next().and_then(|part| part.shard);
        let base = base.ok_or_else(|| CommandFailure::new("there is nothing to publish"))?;
        let delta = |part: &PublishedPart| Delta { base: base.hash, shard: part.shard, removed: part.removed_file };
        Ok(Manifest {
            format: magpie_release::FORMAT_WRITTEN,
            catalog: self.name.to_owned(),
            sequence: self.sequence,
            issued,
            expires: issued + valid_days * 24 * 3600,
            model: ModelEntry { id: Digest(self.model.id().0), pack },
            shard_format: FORMAT_WRITTEN,
            base,
            deltas: parts.map(delta).collect(),
        })
    }
}

/// Adds the files of the model pack in a folder, or of the built-in one, to a release.
pub(crate) fn add_pack(release: &ReleaseFolder, folder: Option<&Path>) -> Result<Vec<PackFile>> {
    let mut files = vec![("manifest.json".to_owned(), assets::manifest(folder)?)];
    let pack = assets::pack(folder)?;
    let network = pack.manifest().network.file.clone();
    files.push(match folder.map(|folder| folder.join(&network)).filter(|path| !path.is_file()) {
        None => (network, pack.network().to_vec()),
        // A compiled pack has no ONNX file.
        Some(path) => (compiled_name(&path)?, pack.compiled()?),
    });
    let add = |(name, bytes): (String, Vec<u8>)| {
        let FileEntry { hash, bytes, .. } = release.add_bytes(&bytes)?;
        Ok(PackFile { name, hash, bytes })
    };
    files.into_iter().map(add).collect()
}

/// The name of a pack's only file other than its manifest.
fn compiled_name(network: &Path) -> Result<String> {
    let folder = network.parent().unwrap_or(Path::new("."));
    let names = std::fs::read_dir(folder).map_err(|e| CommandFailure::io(folder, e))?;
    let names = names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name != "manifest.json" && !name.starts_with('.')).collect();
    match (names.pop(), names.pop()) {
        (Some(name), None) => Ok(name),
        _ => Err(CommandFailure::io(folder, "expected manifest.json and one file with the network")),
    }
}
