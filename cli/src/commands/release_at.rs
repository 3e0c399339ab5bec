//! Releases for `magpie search`, `verify` and `inspect`: in a publisher's folder, or installed.

use std::path::Path;

use magpie_core::catalog::{Catalog, PartFiles};
use magpie_core::shard::Shard;
use magpie_release::publish::{read_release, verify_release};
use magpie_release::{Error, FileEntry, Manifest, Store, read_removed};

use super::key::trusted;
use crate::console::printable;
use crate::failure::{CommandFailure, Result};
use crate::output;

/// Most bytes of the removed ids of a delta.
const MAX_REMOVED_BYTES: u64 = 256 << 20;

/// A folder that holds a release.
pub(crate) enum ReleaseAt<'a> {
    Published(&'a Path),
    Installed(Store),
}

impl ReleaseAt<'_> {
    /// Looks whether a folder holds a release. A model pack has another file.
    pub(crate) fn find(path: &Path) -> Result<Option<ReleaseAt<'_>>> {
        if path.join(magpie_release::MANIFEST_FILE).is_file() {
            return Ok(Some(ReleaseAt::Published(path)));
        }
        let store = Store::at(path);
        match store.current() {
            Ok(None) => Ok(None),
            // The path of a file has nothing in it.
            Err(Error::Io { .. }) if path.is_file() => Ok(None),
            Ok(Some(_)) | Err(Error::Damaged { .. }) => Ok(Some(ReleaseAt::Installed(store))),
            Err(other) => Err(other.into()),
        }
    }

    fn path(&self) -> &Path {
        match self {
            ReleaseAt::Published(path) => path,
            ReleaseAt::Installed(store) => store.folder(),
        }
    }

    pub(crate) fn verify(&self, trust: &[String], json: bool) -> Result<()> {
        let keys = if trust.is_empty() { None } else { Some(trusted(trust)?) };
        let manifest = match self {
            ReleaseAt::Published(path) => verify_release(path, keys.as_ref())?,
            ReleaseAt::Installed(store) => store.verify(keys.as_ref())?,
        };
        let shards = std::iter::once(manifest.base).chain(manifest.deltas.iter().filter_map(|delta| delta.shard));
        for file in shards {
            let path = self.path().join(file.path());
            let shard = Shard::open(&path).map_err(|e| CommandFailure::of(&path, e))?;
            shard.verify().map_err(|e| CommandFailure::of(&path, e))?;
            let model = shard.header().model_id;
            if model.0 != manifest.model.id.0 {
                return Err(CommandFailure::io(&path, format!("it is of model {model}, the manifest says another")));
            }
        }
        let (bytes, signed) = (total(&manifest), keys.is_some());
        if json {
            return output::json(&serde_json::json!({
                "catalog": manifest.catalog, "sequence": manifest.sequence, "files": manifest.files().len(),
                "bytes": bytes, "signature_checked": signed,
            }));
        }
        outln!(
            "{}: publication {} of '{}': {} files, {}, match the manifest; {}",
            self.path().display(),
            manifest.sequence,
            printable(&manifest.catalog),
            manifest.files().len(),
            output::bytes(bytes),
            if signed { "the signature is valid" } else { "the signature was not looked at, give --trust" },
        );
        Ok(())
    }

    fn manifest(&self) -> Result<Manifest> {
        Ok(match self {
            ReleaseAt::Published(path) => read_release(path, None)?,
            ReleaseAt::Installed(store) => store.manifest()?,
        })
    }

    /// Opens the base and the deltas as one catalogue.
    fn catalog(&self) -> Result<Catalog> {
        let manifest = self.manifest()?;
        let path = |file: FileEntry| self.path().join(file.path());
        let removed = |file: FileEntry| {
            let path = path(file);
            if file.bytes > MAX_REMOVED_BYTES {
                let message = format!("{} bytes of removed ids, at most {MAX_REMOVED_BYTES} can be read", file.bytes);
                return Err(CommandFailure::io(&path, message));
            }
            let bytes = std::fs::read(&path).map_err(|e| CommandFailure::io(&path, e))?;
            Ok(read_removed(&bytes)?)
        };
        let mut parts = vec![PartFiles { shard: Some(path(manifest.base)), removed: Vec::new() }];
        for delta in &manifest.deltas {
            let removed = delta.removed.map(removed).transpose()?.unwrap_or_default();
            parts.push(PartFiles { shard: delta.shard.map(path), removed });
        }
        Catalog::open(&parts).map_err(|e| CommandFailure::of(self.path(), e))
    }

    pub(crate) fn inspect(&self, json: bool) -> Result<()> {
        let manifest = self.manifest()?;
        if json {
            return output::json(&manifest);
        }
        let size = |file: &Option<FileEntry>| file.map_or_else(|| "-".to_owned(), |file| output::bytes(file.bytes));
        outln!("catalogue   {} (publication {})", printable(&manifest.catalog), manifest.sequence);
        outln!("issued      {} (Unix time), expires {}", manifest.issued, manifest.expires);
        let pack = if manifest.model.pack.is_empty() { "not in the release" } else { "in the release" };
        outln!("model       {} ({pack})", manifest.model.id);
        outln!("size        {} in {} files\n", output::bytes(total(&manifest)), manifest.files().len());
        let mut rows = vec![vec!["base".to_owned(), size(&Some(manifest.base)), size(&None)]];
        for (at, delta) in manifest.deltas.iter().enumerate() {
            rows.push(vec![format!("delta {}", at + 1), size(&delta.shard), size(&delta.removed)]);
        }
        out!("{}", output::table(&["part", ">shard", ">removed ids"], &rows));
        Ok(())
    }
}

/// Opens the catalogue in a folder: an installed one, or a release.
pub(crate) fn open_catalog(folder: &Path) -> Result<Catalog> {
    let none = || CommandFailure::io(folder, "no catalogue is installed there; 'magpie update' installs one");
    ReleaseAt::find(folder)?.ok_or_else(none)?.catalog()
}

fn total(manifest: &Manifest) -> u64 {
    manifest.files().iter().map(|file| file.bytes).sum()
}
