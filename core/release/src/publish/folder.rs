//! The folder of a release: what phones fetch, and beside it what the publisher remembers.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::listings::Publication;
use crate::disk::Disk;
use crate::envelope::MAX_ENVELOPE_BYTES;
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::keys::{KeySet, keys_path};
use crate::manifest::{FileEntry, MANIFEST_FILE, MAX_UNPACKED_BYTES, Manifest, Packed};
use crate::packed;
use crate::removed::write_removed;
use crate::store::{FILES, Store, check_file};

const PUBLISHER: &str = ".publisher";
const HISTORY: &str = "history";
const MAX_STATE: u64 = 1 << 30;

/// The folder of a release, opened by its publisher. It is locked until the value is dropped.
#[derive(Debug)]
pub struct ReleaseFolder {
    folder: PathBuf,
    disk: Disk,
    _lock: File,
}

impl ReleaseFolder {
    /// Opens the folder of a release, or creates it.
    ///
    /// # Errors
    /// [`Error::Busy`] while somebody else publishes into it, [`Error::Io`].
    pub fn open(folder: &Path) -> Result<ReleaseFolder> {
        let disk = Disk::default();
        let work = folder.join(PUBLISHER);
        for folder in [&folder.join(FILES), &work.join(HISTORY)] {
            disk.create_folder(folder)?;
        }
        let lock = disk.lock(&work.join("lock"))?;
        Ok(ReleaseFolder { folder: folder.to_owned(), disk, _lock: lock })
    }

    /// The folder for what the publisher remembers. It is not part of the release.
    pub fn work(&self) -> PathBuf {
        self.folder.join(PUBLISHER)
    }

    /// The manifest that was published last, and what the publisher remembers of it, if that is still there. Signatures are
    /// not looked at: who may write the folder is the publisher.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Malformed`] where there is a manifest that cannot be read.
    pub fn last(&self) -> Result<Option<(Manifest, Publication)>> {
        let bytes = self.disk.read(&self.folder.join(MANIFEST_FILE), MAX_ENVELOPE_BYTES as u64)?;
        let Some(bytes) = bytes else { return Ok(None) };
        let state = self.disk.read(&self.state_of(&bytes), MAX_STATE)?;
        let known = state.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
        Ok(Some((Manifest::parse_unverified(&bytes)?, known)))
    }

    /// What is remembered lies under the hash of its manifest, so that a crash between the two does not mix them.
    fn state_of(&self, manifest: &[u8]) -> PathBuf {
        self.work().join(state_name(manifest))
    }

    /// Moves a finished file into the release.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add_file(&self, path: &Path) -> Result<FileEntry> {
        let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
        let mut hasher = blake3::Hasher::new();
        let bytes = self.disk.read_all(&mut file, path, |bytes| {
            hasher.update(bytes);
        })?;
        let entry = FileEntry::new(Digest(*hasher.finalize().as_bytes()), bytes);
        self.disk.sync(&file, path)?;
        self.disk.rename(path, &self.folder.join(entry.path()))?;
        Ok(entry)
    }

    /// Adds a file with these bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add_bytes(&self, bytes: &[u8]) -> Result<FileEntry> {
        let entry = FileEntry::new(Digest::of(bytes), bytes.len() as u64);
        self.disk.replace(&self.folder.join(FILES), &entry.hash.to_string(), bytes)?;
        Ok(entry)
    }

    /// Adds the packed form of a file of the release, where the file is not large and that is worth it. Phones fetch it
    /// instead of the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add_packed(&self, file: FileEntry) -> Result<FileEntry> {
        if file.bytes > MAX_UNPACKED_BYTES {
            return Ok(file);
        }
        let bytes = self.disk.read(&self.folder.join(file.path()), file.bytes)?.unwrap_or_default();
        let Some(packed) = packed::pack(&bytes) else { return Ok(file) };
        let FileEntry { hash, bytes, .. } = self.add_bytes(&packed)?;
        Ok(FileEntry { packed: Some(Packed { hash, bytes }), ..file })
    }

    /// Adds the file with the ids of listings that are gone, and its packed form.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add_removed(&self, ids: &std::collections::BTreeSet<String>) -> Result<FileEntry> {
        self.add_packed(self.add_bytes(&write_removed(ids))?)
    }

    /// Adds a keys document.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add_keys(&self, version: u64, signed: &[u8]) -> Result<()> {
        self.disk.replace(&self.folder, &keys_path(version), signed)
    }

    /// Publishes: phones see the new manifest from here on. Then removes the files that only manifests before the last
    /// `keep` need, for phones that are in the middle of fetching.
    ///
    /// # Errors
    /// [`Error::Io`]; the release before is still published then, or the new one is.
    pub fn publish(&self, signed: &[u8], publication: &Publication, keep: usize) -> Result<()> {
        let manifest = Manifest::parse_unverified(signed)?;
        for file in manifest.files().iter().flat_map(with_wire) {
            let path = self.folder.join(file.path());
            if self.disk.length(&path)? != Some(file.bytes) {
                return Err(Error::damaged(path, format!("it is missing, or does not have {} bytes", file.bytes)));
            }
        }
        let work = self.work();
        let state = serde_json::to_vec(publication).map_err(|e| Error::io(&work, e.into()))?;
        self.disk.sync_folder(&self.folder.join(FILES))?;
        self.disk.replace(&work, &state_name(signed), &state)?;
        self.disk.replace(&work.join(HISTORY), &manifest.sequence.to_string(), signed)?;
        self.disk.replace(&self.folder, MANIFEST_FILE, signed)?;
        if let Err(error) = self.clean(signed, keep.max(1)) {
            log::warn!("files that are no longer needed are left: {error}");
        }
        Ok(())
    }

    fn clean(&self, signed: &[u8], keep: usize) -> Result<()> {
        let (work, history) = (self.work(), self.work().join(HISTORY));
        let state = state_name(signed);
        for name in self.disk.list(&work)?.iter().filter(|name| name.starts_with("state-") && **name != state) {
            self.disk.remove(&work.join(name))?;
        }
        let names = self.disk.list(&history)?;
        let mut sequences: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        sequences.sort_unstable_by(|a, b| b.cmp(a));
        let mut needed = HashSet::new();
        for (at, sequence) in sequences.iter().enumerate() {
            let path = history.join(sequence.to_string());
            if at >= keep {
                self.disk.remove(&path)?;
            } else if let Some(bytes) = self.disk.read(&path, MAX_ENVELOPE_BYTES as u64)? {
                let files = Manifest::parse_unverified(&bytes)?.files();
                needed.extend(files.iter().flat_map(with_wire).map(|file| file.hash.to_string()));
            }
        }
        let files = self.folder.join(FILES);
        for name in self.disk.list(&files)?.iter().filter(|name| !needed.contains(*name)) {
            self.disk.remove(&files.join(name))?;
        }
        Ok(())
    }
}

fn state_name(manifest: &[u8]) -> String {
    format!("state-{}", Digest::of(manifest))
}

/// Reads every byte of a release's folder and compares it with the manifest, which is returned. With `keys`, also checks
/// that they, or those that the release's keys documents put in their place, have signed it.
///
/// # Errors
/// [`Error::Damaged`] where a file is missing or wrong, [`Error::Untrusted`], [`Error::Malformed`], [`Error::Io`].
pub fn verify_release(folder: &Path, keys: Option<&KeySet>) -> Result<Manifest> {
    let manifest = read_release(folder, keys)?;
    let disk = Disk::default();
    for file in manifest.files() {
        check_file(&disk, &folder.join(file.path()), &file)?;
        if file.packed.is_some() {
            let (wire, path) = (file.wire(), folder.join(file.wire().path()));
            check_file(&disk, &path, &wire)?;
            let packed = disk.read(&path, wire.bytes)?.unwrap_or_default();
            if packed::unpack(&packed, &file).is_none() {
                return Err(Error::damaged(path, format!("it is not the packed form of {}", file.path())));
            }
        }
    }
    Ok(manifest)
}

/// A file, and its packed form.
fn with_wire(file: &FileEntry) -> [FileEntry; 2] {
    [*file, file.wire()]
}

/// Reads the manifest of a release's folder. Without `keys`, its signatures are not looked at.
///
/// # Errors
/// As [`verify_release`].
pub fn read_release(folder: &Path, keys: Option<&KeySet>) -> Result<Manifest> {
    let path = folder.join(MANIFEST_FILE);
    let bytes = Disk::default().read(&path, MAX_ENVELOPE_BYTES as u64)?;
    parse_manifest(folder, &bytes.ok_or_else(|| Error::damaged(&path, "there is no manifest"))?, keys)
}

/// As [`read_release`], of bytes that were read before: a manifest of this folder.
///
/// # Errors
/// [`Error::Untrusted`], [`Error::Malformed`], [`Error::TooNew`], [`Error::Io`].
pub fn parse_manifest(folder: &Path, signed: &[u8], keys: Option<&KeySet>) -> Result<Manifest> {
    let manifest = Manifest::parse_unverified(signed)?;
    match keys {
        // Keys documents have the same names in a release and on a phone.
        Some(pinned) => Manifest::parse(signed, &Store::at(folder).keys(pinned, Some(&manifest.catalog))?),
        None => Ok(manifest),
    }
}
