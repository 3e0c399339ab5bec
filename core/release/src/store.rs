//! The folder of a phone in which a catalogue is installed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::envelope::MAX_ENVELOPE_BYTES;
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::keys::{KeySet, keys_path};
use crate::manifest::{FileEntry, MAX_REMOVED_BYTES, Manifest};
use crate::pointer::Pointer;
use crate::removed::read_removed;

pub(crate) const FILES: &str = "files";
pub(crate) const PARTS: &str = "parts";
const CURRENT: &str = "current";
const SEEN: &str = "seen";
const LOCK: &str = "lock";
const MAX_SEEN: u64 = 4 << 10;
/// Most keys documents that a phone follows from the keys that its app pins.
const MAX_ROTATIONS: u64 = 1000;

/// The folder of a phone in which one catalogue is installed, and updated. Nothing is kept in memory: any number of
/// values, threads and processes may use the same folder.
///
/// The files are never changed, only replaced by others with other names, so shards may stay mapped during an update.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    pub(crate) disk: Disk,
}

/// What is installed: all paths in the order in which a catalogue takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Current {
    /// Name of the catalogue.
    pub catalog: String,
    /// Publication number.
    pub sequence: u64,
    /// When the manifest was signed, in Unix seconds.
    pub issued: u64,
    /// When the manifest expires, in Unix seconds. An expired catalogue still opens; whether to show it is up to the app.
    pub expires: u64,
    /// The model whose embeddings the shards hold.
    pub model: Digest,
    /// Name and path of the model pack's files; empty where the app has the model.
    pub pack: Vec<(String, PathBuf)>,
    /// The base, then the deltas, oldest first. A listing of a later part hides the same listing of those before.
    pub parts: Vec<Part>,
}

/// The base, or a delta.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// Its shard; `None` where a delta only removes.
    pub shard: Option<PathBuf>,
    /// The file with the ids that it removes from the parts before: see [`Part::removed_ids`].
    pub removed: Option<PathBuf>,
}

impl Part {
    /// Reads the ids that it removes from the parts before; none where it removes none.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn removed_ids(&self) -> Result<Vec<String>> {
        let Some(path) = &self.removed else { return Ok(Vec::new()) };
        let bytes = Disk::default().read(path, MAX_REMOVED_BYTES)?;
        let bytes = bytes.ok_or_else(|| Error::damaged(path, "it is missing"))?;
        read_removed(&bytes).map_err(|e| Error::damaged(path, e.to_string()))
    }
}

/// What was seen last, so that nothing older is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Version of the keys under which it was seen.
    pub(crate) keys: u64,
    pub(crate) sequence: u64,
    pub(crate) issued: u64,
    /// Hash of the manifest's payload; `None` where it is not known.
    pub(crate) payload: Option<Digest>,
}

impl Store {
    /// A folder, which need not exist. Does nothing yet.
    pub fn at(folder: impl Into<PathBuf>) -> Store {
        Store { folder: folder.into(), disk: Disk::default() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns what is installed, or `None`. Looks whether all files are there with their lengths, and changes nothing: the
    /// folder may be read-only, and an update may be under way.
    ///
    /// # Errors
    /// [`Error::Damaged`] where something else has changed the files, [`Error::Io`].
    pub fn current(&self) -> Result<Option<Current>> {
        let Some(pointer) = self.pointer()? else { return Ok(None) };
        for file in pointer.files() {
            let path = self.file(&file);
            match self.disk.length(&path)? {
                Some(bytes) if bytes == file.bytes => {}
                Some(bytes) => return Err(Error::damaged(path, format!("{bytes} bytes, expected {}", file.bytes))),
                None => return Err(Error::damaged(path, "it is missing")),
            }
        }
        Ok(Some(self.describe(&pointer)))
    }

    /// The manifest of what is installed. Its signature was checked when it was installed, and is not looked at again.
    ///
    /// # Errors
    /// [`Error::Damaged`], also where nothing is installed, [`Error::Io`].
    pub fn manifest(&self) -> Result<Manifest> {
        let pointer = self.pointer()?.ok_or_else(|| Error::damaged(&self.folder, "no catalogue is installed"))?;
        Ok(pointer.manifest)
    }

    /// The manifest of what is installed, as it was signed: what a mirror serves. `None` where nothing is installed.
    ///
    /// The files that it names are in `files/` with their packed forms. A packed form is missing where
    /// [`Update::take_file`](crate::Update::take_file) took the file itself, and so are the files of a model pack that the
    /// app does not need.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn signed_manifest(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.pointer()?.map(|pointer| pointer.envelope))
    }

    /// Reads every byte of what is installed and compares it with the manifest; returns the manifest. With `keys`, also
    /// checks that they, or those that replaced them, have signed it.
    ///
    /// # Errors
    /// [`Error::Damaged`], also where nothing is installed, [`Error::Untrusted`], [`Error::Io`].
    pub fn verify(&self, keys: Option<&KeySet>) -> Result<Manifest> {
        let pointer = self.pointer()?.ok_or_else(|| Error::damaged(&self.folder, "no catalogue is installed"))?;
        if let Some(pinned) = keys {
            Manifest::parse(&pointer.envelope, &self.keys(pinned, Some(&pointer.manifest.catalog))?)?;
        }
        for file in pointer.files() {
            let path = self.file(&file);
            check_file(&self.disk, &path, &file)?;
        }
        Ok(pointer.manifest)
    }

    /// What a pointer names, installed or not.
    pub(crate) fn describe(&self, pointer: &Pointer) -> Current {
        let manifest = &pointer.manifest;
        let path = |file: &FileEntry| self.file(file);
        let base = Part { shard: Some(path(&manifest.base)), removed: None };
        let deltas = manifest
            .deltas
            .iter()
            .map(|delta| Part { shard: delta.shard.as_ref().map(path), removed: delta.removed.as_ref().map(path) });
        let names = manifest.model.pack.iter().map(|file| file.name.clone());
        let paths = manifest.pack_files().map(|file| path(&file));
        Current {
            catalog: manifest.catalog.clone(),
            sequence: manifest.sequence,
            issued: manifest.issued,
            expires: manifest.expires,
            model: manifest.model.id,
            pack: if pointer.with_pack { names.zip(paths).collect() } else { Vec::new() },
            parts: std::iter::once(base).chain(deltas).collect(),
        }
    }

    pub(crate) fn pointer(&self) -> Result<Option<Pointer>> {
        let path = self.folder.join(CURRENT);
        let bytes = self.disk.read(&path, Pointer::MAX_BYTES)?;
        bytes.map(|bytes| Pointer::read(&bytes).map_err(|detail| Error::damaged(&path, detail))).transpose()
    }

    pub(crate) fn write_pointer(&self, pointer: &Pointer) -> Result<()> {
        self.disk.replace(&self.folder, CURRENT, &pointer.bytes())
    }

    pub(crate) fn file(&self, file: &FileEntry) -> PathBuf {
        self.folder.join(FILES).join(file.hash.to_string())
    }

    pub(crate) fn lock(&self) -> Result<std::fs::File> {
        if !self.disk.is_folder(&self.folder)? {
            self.disk.create_folder(&self.folder)?;
            let parent = self.folder.parent().filter(|parent| !parent.as_os_str().is_empty());
            self.disk.sync_folder(parent.unwrap_or(Path::new(".")))?;
        }
        self.disk.lock(&self.folder.join(LOCK))
    }

    /// The keys that are trusted now: those that the app pins, or those of the documents that followed them.
    pub(crate) fn keys(&self, pinned: &KeySet, catalog: Option<&str>) -> Result<KeySet> {
        let mut keys = pinned.clone();
        for _ in 0..MAX_ROTATIONS {
            let path = self.folder.join(keys_path(keys.version + 1));
            let Some(bytes) = self.disk.read(&path, MAX_ENVELOPE_BYTES as u64)? else { break };
            match keys.next(catalog, &bytes) {
                Ok(next) => keys = next,
                // Another app's keys, or damaged: the host fetches it again when it needs it.
                Err(error) => {
                    log::warn!("{}: {error}", path.display());
                    break;
                }
            }
        }
        Ok(keys)
    }

    pub(crate) fn write_keys(&self, version: u64, bytes: &[u8]) -> Result<()> {
        self.disk.replace(&self.folder, &keys_path(version), bytes)
    }

    /// What was seen last under these keys.
    pub(crate) fn seen(&self, keys: &KeySet, installed: Option<&Pointer>) -> Result<Seen> {
        let lowest = Seen { keys: keys.version, sequence: keys.sequence, issued: 0, payload: None };
        let path = self.folder.join(SEEN);
        let bytes = self.disk.read(&path, MAX_SEEN)?;
        let seen = bytes.and_then(|bytes| serde_json::from_slice::<Seen>(&bytes).ok());
        // Without that file, what is installed was seen, under keys that are not known.
        let of_installed = |pointer: &Pointer| Seen {
            keys: keys.version,
            sequence: pointer.manifest.sequence,
            issued: pointer.manifest.issued,
            payload: None,
        };
        let seen = seen.or_else(|| installed.map(of_installed));
        // New keys start from the sequence that their document says: a thief of the old ones may have used up all numbers.
        Ok(seen.filter(|seen| seen.keys == keys.version && seen.sequence >= lowest.sequence).unwrap_or(lowest))
    }

    pub(crate) fn write_seen(&self, seen: &Seen) -> Result<()> {
        let path = self.folder.join(SEEN);
        let bytes = serde_json::to_vec(seen).map_err(|e| Error::io(&path, e.into()))?;
        self.disk.replace(&self.folder, SEEN, &bytes)
    }
}

/// Compares a file with its entry, byte by byte.
pub(crate) fn check_file(disk: &Disk, path: &Path, file: &FileEntry) -> Result<()> {
    if disk.length(path)? != Some(file.bytes) {
        return Err(Error::damaged(path, format!("it is missing, or does not have {} bytes", file.bytes)));
    }
    let mut open = disk.open(path)?;
    let mut hasher = blake3::Hasher::new();
    disk.read_all(&mut open, path, |bytes| {
        hasher.update(bytes);
    })?;
    match *hasher.finalize().as_bytes() == file.hash.0 {
        true => Ok(()),
        false => Err(Error::damaged(path, "the bytes do not have this hash")),
    }
}
