//! The manifest: which files make one publication of a catalogue.

use std::collections::{HashMap, HashSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::envelope::{Envelope, Kind};
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::keys::KeySet;

/// The format of manifests and keys documents that is written, and the only one that is read.
pub const FORMAT_WRITTEN: u32 = 1;
/// Name of the manifest in a release.
pub const MANIFEST_FILE: &str = "manifest";
/// Most deltas of a manifest.
pub const MAX_DELTAS: usize = 64;
/// Most bytes of a file of a release.
pub const MAX_FILE_BYTES: u64 = 16 << 30;
/// Most bytes of a file of removed ids: it is read into memory.
pub const MAX_REMOVED_BYTES: u64 = 256 << 20;
/// Most bytes of a file that has a packed form: it is unpacked in memory.
pub(crate) const MAX_UNPACKED_BYTES: u64 = 16 << 20;
/// Highest sequence, version and time: every language's JSON numbers hold it exactly.
pub(crate) const MAX_NUMBER: u64 = (1 << 53) - 1;
const MAX_PACK_FILES: usize = 8;
const MAX_NAME: usize = 200;

/// One publication of a catalogue. Its bytes come from [`Manifest::parse`] and are checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT_WRITTEN`].
    pub format: u32,
    /// Name of the catalogue.
    pub catalog: String,
    /// Publication number: each publication has a higher one than those before.
    pub sequence: u64,
    /// When it was signed, in Unix seconds.
    pub issued: u64,
    /// Until when it may be installed, in Unix seconds.
    pub expires: u64,
    /// The model whose embeddings the shards hold.
    pub model: ModelEntry,
    /// Format that a reader of the shards has to know.
    pub shard_format: u32,
    /// The shard with most of the listings.
    pub base: FileEntry,
    /// What has changed since, oldest first.
    pub deltas: Vec<Delta>,
}

/// The model of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// The model's id.
    pub id: Digest,
    /// The files of its pack; empty where apps bring it along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pack: Vec<PackFile>,
}

/// A file of a model pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackFile {
    /// Its name in the pack, such as `manifest.json`.
    pub name: String,
    /// Hash of its bytes.
    pub hash: Digest,
    /// Its length.
    pub bytes: u64,
}

/// A file of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Hash of its bytes.
    pub hash: Digest,
    /// Its length.
    pub bytes: u64,
    /// Its packed form, which is fetched instead of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<Packed>,
}

/// The packed form of a file: a file of the release with one zstd frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packed {
    /// Hash of the frame.
    pub hash: Digest,
    /// Its length.
    pub bytes: u64,
}

/// What has changed since the base and the deltas before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// Hash of the base that it needs.
    pub base: Digest,
    /// New and changed listings, which hide those with the same ids before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<FileEntry>,
    /// Ids of listings that are gone, which hide those before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<FileEntry>,
}

impl FileEntry {
    /// A file without a packed form.
    pub fn new(hash: Digest, bytes: u64) -> FileEntry {
        FileEntry { hash, bytes, packed: None }
    }

    /// What is fetched: the packed form where there is one.
    pub fn wire(&self) -> FileEntry {
        self.packed.map_or(*self, |packed| FileEntry::new(packed.hash, packed.bytes))
    }

    /// The path in the release: `files/` and the hash.
    pub fn path(&self) -> String {
        format!("files/{}", self.hash)
    }
}

impl Manifest {
    /// Reads a manifest that enough of the keys have signed. It may be expired, old, or of another catalogue or model:
    /// [`Update`](crate::Update) looks at that.
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::Malformed`] or [`Error::TooNew`].
    pub fn parse(bytes: &[u8], keys: &KeySet) -> Result<Manifest> {
        let envelope = Envelope::parse(Kind::Manifest, bytes)?;
        envelope.verify(&keys.keys, keys.threshold)?;
        Manifest::of_payload(envelope.payload())
    }

    /// Reads a manifest without looking at its signatures.
    pub(crate) fn parse_unverified(bytes: &[u8]) -> Result<Manifest> {
        Manifest::of_payload(Envelope::parse(Kind::Manifest, bytes)?.payload())
    }

    fn of_payload(bytes: &[u8]) -> Result<Manifest> {
        let manifest: Manifest = payload(Kind::Manifest.name(), bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// All files of the release, each once: base, deltas, model pack. Their packed forms are not among them.
    pub fn files(&self) -> Vec<FileEntry> {
        let mut known = HashSet::new();
        let pack = self.pack_files();
        self.catalog_files().chain(pack).filter(|file| known.insert(file.hash)).collect()
    }

    /// The files of base and deltas, in order; a file may appear twice.
    pub(crate) fn catalog_files(&self) -> impl Iterator<Item = FileEntry> {
        let deltas = self.deltas.iter().flat_map(|delta| [delta.shard, delta.removed]);
        std::iter::once(self.base).chain(deltas.flatten())
    }

    pub(crate) fn pack_files(&self) -> impl Iterator<Item = FileEntry> {
        self.model.pack.iter().map(|file| FileEntry::new(file.hash, file.bytes))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let what = Kind::Manifest.name();
        let wrong = |detail: String| Err(Error::malformed(what, detail));
        check_catalog(what, &self.catalog)?;
        if !(1..=MAX_NUMBER).contains(&self.sequence) {
            return wrong(format!("sequence {}, expected 1 to {MAX_NUMBER}", self.sequence));
        }
        if self.expires > MAX_NUMBER || self.issued >= self.expires {
            return wrong(format!("issued at {} and expires at {}", self.issued, self.expires));
        }
        if self.deltas.len() > MAX_DELTAS || self.model.pack.len() > MAX_PACK_FILES {
            let (deltas, files) = (self.deltas.len(), self.model.pack.len());
            return wrong(format!(
                "{deltas} deltas and {files} files of a pack, at most {MAX_DELTAS} and {MAX_PACK_FILES}"
            ));
        }
        for delta in &self.deltas {
            if delta.base != self.base.hash {
                return wrong(format!("a delta needs the base {}, and the base is {}", delta.base, self.base.hash));
            }
            if delta.shard.is_none() && delta.removed.is_none() {
                return wrong("a delta without files".to_owned());
            }
            if let Some(FileEntry { hash, bytes, .. }) = delta.removed.filter(|file| file.bytes > MAX_REMOVED_BYTES) {
                return wrong(format!("removed ids {hash} have {bytes} bytes, at most {MAX_REMOVED_BYTES}"));
            }
        }
        let mut names = HashSet::new();
        for PackFile { name, .. } in &self.model.pack {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || !name.chars().all(plain) {
                return wrong(format!("'{:.80}' is not the plain name of a file", name.escape_debug()));
            }
            if !names.insert(name) {
                return wrong(format!("two files of the pack are called {name}"));
            }
        }
        let mut known = HashMap::new();
        for file in self.catalog_files().chain(self.pack_files()).flat_map(|file| [file, file.wire()]) {
            let FileEntry { hash, bytes, packed } = file;
            if !(1..=MAX_FILE_BYTES).contains(&bytes) {
                return wrong(format!("file {hash} has {bytes} bytes, expected 1 to {MAX_FILE_BYTES}"));
            }
            if packed.is_some_and(|packed| packed.bytes >= bytes || bytes > MAX_UNPACKED_BYTES) {
                return wrong(format!(
                    "file {hash} of {bytes} bytes has a packed form, which must be shorter, and the file at most {MAX_UNPACKED_BYTES}"
                ));
            }
            if *known.entry(hash).or_insert(file) != file {
                return wrong(format!("file {hash} has two lengths, or two packed forms"));
            }
        }
        Ok(())
    }
}

/// Reads a payload of strict JSON. Its format comes first: a later one may have other fields.
pub(crate) fn payload<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let failed = |e: serde_json::Error| Error::malformed(what, e.to_string());
    let Format { format } = serde_json::from_slice(bytes).map_err(failed)?;
    match format {
        FORMAT_WRITTEN => serde_json::from_slice(bytes).map_err(failed),
        0 => Err(Error::malformed(what, "format 0")),
        found => Err(Error::TooNew { what: "manifest format", found, known: FORMAT_WRITTEN }),
    }
}

/// A catalogue's name ends up in messages: it is short and has no control characters.
pub(crate) fn check_catalog(what: &'static str, name: &str) -> Result<()> {
    match (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(Error::malformed(what, format!("'{:.80}' is not the name of a catalogue", name.escape_debug()))),
    }
}
