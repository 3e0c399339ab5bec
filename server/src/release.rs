//! A release on disk, as a publisher or `magpie update` has left it: what is searched, and what phones fetch.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use axum::body::Bytes;
use magpie_release::{
    FileEntry, KeySet, MANIFEST_FILE, MAX_ENVELOPE_BYTES, MAX_REMOVED_BYTES, Manifest, PublicKey, Store, publish,
    read_removed,
};

/// The file that says what `magpie update` has installed.
const CURRENT: &str = "current";

/// One publication of a release: its files never change, and phones get the manifest that is searched.
#[derive(Debug)]
pub struct ServedRelease {
    pub(crate) folder: PathBuf,
    pub(crate) manifest: Manifest,
    /// The manifest in its envelope.
    pub(crate) signed: Bytes,
    /// The entity tag of the manifest.
    pub(crate) tag: String,
}

/// The files of a part of a release.
pub(crate) struct PartPaths {
    pub(crate) shard: Option<PathBuf>,
    removed: Option<(PathBuf, FileEntry)>,
}

impl PartPaths {
    /// Reads the ids that the part removes from those before.
    pub(crate) fn removed(&self) -> Result<Vec<String>, String> {
        let Some((path, file)) = &self.removed else { return Ok(Vec::new()) };
        let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        if file.bytes > MAX_REMOVED_BYTES {
            return Err(fault(&format!(
                "{} bytes of removed ids, at most {MAX_REMOVED_BYTES} can be read",
                file.bytes
            )));
        }
        let mut bytes = Vec::new();
        let open = File::open(path).map_err(|e| fault(&e))?;
        open.take(file.bytes + 1).read_to_end(&mut bytes).map_err(|e| fault(&e))?;
        read_removed(&bytes).map_err(|e| fault(&e))
    }
}

/// Parses public keys: 64 digits each.
pub(crate) fn trusted(keys: &[String]) -> Result<Option<KeySet>, String> {
    let keys: Result<Vec<PublicKey>, String> = keys.iter().map(|key| key.trim().parse()).collect();
    let keys = keys.map_err(|e| format!("--trust: {e}"))?;
    Ok((!keys.is_empty()).then(|| KeySet::new(keys)))
}

impl ServedRelease {
    /// Reads the manifest of a folder: that of a publisher, or one in which `magpie update` has installed a release. With
    /// keys, they or those that replaced them have to have signed it.
    ///
    /// # Errors
    /// Why the manifest cannot be used.
    pub(crate) fn read(folder: &Path, keys: Option<&KeySet>) -> Result<ServedRelease, String> {
        let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", folder.display());
        let path = folder.join(MANIFEST_FILE);
        // The bytes are read once: what is checked, searched and served is the same publication.
        let signed = match File::open(&path) {
            Ok(file) => {
                let mut bytes = Vec::new();
                file.take(MAX_ENVELOPE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|e| fault(&e))?;
                bytes
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let installed = Store::at(folder).signed_manifest().map_err(|e| fault(&e))?;
                installed.ok_or_else(|| fault(&"there is no release: publish one there, or install one"))?
            }
            Err(e) => return Err(fault(&e)),
        };
        let manifest = publish::parse_manifest(folder, &signed, keys).map_err(|e| fault(&e))?;
        let tag = format!("\"{}\"", blake3::hash(&signed).to_hex());
        Ok(ServedRelease { folder: folder.to_owned(), manifest, signed: signed.into(), tag })
    }

    /// The mark of the file whose replacement means a new publication.
    pub(crate) fn mark(folder: &Path) -> Option<FileMark> {
        FileMark::of(&folder.join(MANIFEST_FILE)).or_else(|| FileMark::of(&folder.join(CURRENT)))
    }

    fn path(&self, file: &FileEntry) -> PathBuf {
        self.folder.join(file.path())
    }

    /// The base, then the deltas.
    pub(crate) fn parts(&self) -> Vec<PartPaths> {
        let base = PartPaths { shard: Some(self.path(&self.manifest.base)), removed: None };
        let deltas = self.manifest.deltas.iter().map(|delta| PartPaths {
            shard: delta.shard.map(|file| self.path(&file)),
            removed: delta.removed.map(|file| (self.path(&file), file)),
        });
        std::iter::once(base).chain(deltas).collect()
    }

    /// Compares files with the manifest, byte by byte, apart from those that `known` says are right: what is searched, and
    /// the packed forms that phones fetch. Returns all of them.
    ///
    /// # Errors
    /// Which file is missing or damaged.
    pub(crate) fn verify(&self, known: &VerifiedFiles) -> Result<Vec<(PathBuf, FileMark)>, String> {
        let pack = self.manifest.model.pack.iter().map(|file| file.hash);
        let pack: std::collections::HashSet<_> = pack.collect();
        let mut right = Vec::new();
        let packed = |file: &FileEntry| file.packed.is_some().then(|| file.wire());
        for file in self.manifest.files().into_iter().flat_map(|file| [Some(file), packed(&file)]).flatten() {
            let path = self.path(&file);
            let fault = |detail: &dyn std::fmt::Display| format!("{}: {detail}", path.display());
            // Where `magpie update` was given a model, its pack is not installed.
            if pack.contains(&file.hash) && !path.exists() {
                continue;
            }
            let mark = FileMark::of(&path).ok_or_else(|| fault(&"it is missing"))?;
            if mark.len != file.bytes {
                return Err(fault(&format!("{} bytes, the manifest says {}", mark.len, file.bytes)));
            }
            if known.has(&path, &mark) {
                right.push((path, mark));
                continue;
            }
            let mut hasher = blake3::Hasher::new();
            let open = File::open(&path).map_err(|e| fault(&e))?;
            // Not more than the manifest says, should somebody append to it.
            std::io::copy(&mut open.take(file.bytes), &mut hasher).map_err(|e| fault(&e))?;
            if *hasher.finalize().as_bytes() != file.hash.0 {
                return Err(fault(&"its bytes do not have the hash that the manifest says"));
            }
            right.push((path, mark));
        }
        Ok(right)
    }
}

/// Identifies a version of a file, to notice that it was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileMark {
    len: u64,
    changed: Option<std::time::SystemTime>,
    /// The inode number, or 0 where there are none: a file that replaces another has a new one.
    number: u64,
}

impl FileMark {
    pub(crate) fn of(path: &Path) -> Option<FileMark> {
        let data = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(&data);
        #[cfg(not(unix))]
        let number = 0;
        Some(FileMark { len: data.len(), changed: data.modified().ok(), number })
    }
}

/// Files that were read and found right, so that a reload for a small delta does not read a large base again.
#[derive(Debug, Default)]
pub(crate) struct VerifiedFiles(HashMap<PathBuf, FileMark>);

impl VerifiedFiles {
    pub(crate) fn has(&self, path: &Path, mark: &FileMark) -> bool {
        self.0.get(path) == Some(mark)
    }

    /// Remembers these files, and forgets all others.
    pub(crate) fn replace(&mut self, files: impl IntoIterator<Item = (PathBuf, FileMark)>) {
        self.0 = files.into_iter().collect();
    }
}
