//! What a publisher knows of photos: their hashes, and their embeddings and thumbnails by hash.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use magpie_core::Embedding;
use magpie_core::model::Model;
use magpie_release::Digest;
use magpie_release::publish::ContentCache;
use serde::{Deserialize, Serialize};

use crate::catalog::read_photo;
use crate::failure::{CommandFailure, Result};
use crate::shard_build::{EmbeddedPhoto, embed_photo};

/// Embeddings and thumbnails of the photos that were ever published, in files that only grow. What is known is neither
/// decoded nor run through the network again.
pub(crate) struct PhotoStore<'a> {
    model: &'a Model,
    embeddings: ContentCache,
    /// Size and thumbnails.
    thumbnails: Option<(u32, ContentCache)>,
    embedded: AtomicUsize,
}

impl<'a> PhotoStore<'a> {
    pub(crate) fn open(folder: &Path, model: &'a Model, thumbnails: Option<u32>) -> Result<PhotoStore<'a>> {
        let open = |name: String| ContentCache::open(&folder.join(name)).map_err(CommandFailure::from);
        let embeddings = open(format!("embeddings-{:.16}", model.id().to_string()))?;
        let small = |size| Ok::<_, CommandFailure>((size, open(format!("thumbnails-{size}"))?));
        Ok(PhotoStore {
            model,
            embeddings,
            thumbnails: thumbnails.map(small).transpose()?,
            embedded: AtomicUsize::new(0),
        })
    }

    /// Number of photos that went through the network.
    pub(crate) fn embedded(&self) -> usize {
        self.embedded.load(Ordering::Relaxed)
    }

    pub(crate) fn knows(&self, hash: &Digest) -> bool {
        let small = self.thumbnails.as_ref();
        self.embeddings.contains(hash) && small.is_none_or(|(_, thumbnails)| thumbnails.contains(hash))
    }

    /// Returns the embedding and the thumbnail of a photo; makes them of `bytes` where they are not known.
    pub(crate) fn get(&self, hash: &Digest, bytes: impl FnOnce() -> Result<Vec<u8>>) -> Result<EmbeddedPhoto> {
        let known = || {
            let bytes = self.embeddings.get(hash)?;
            let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
            let fits = values.len() == self.model.manifest().embedding.dim as usize;
            let embedding = Embedding::new(&values, self.model.id()).filter(|_| fits)?;
            let small = self.thumbnails.as_ref().map(|(_, thumbnails)| thumbnails.get(hash));
            let thumbnail = small.map_or(Some(Vec::new()), |small| small)?;
            // That it was cut short was said when it was embedded.
            Some(EmbeddedPhoto { embedding, thumbnail, incomplete: false })
        };
        if let Some(known) = known() {
            return Ok(known);
        }
        let bytes = bytes()?;
        if Digest::of(&bytes) != *hash {
            return Err(CommandFailure::new("the photo has changed meanwhile; publish again"));
        }
        let made = embed_photo(self.model, &bytes, self.thumbnails.as_ref().map(|(size, _)| *size))?;
        self.embedded.fetch_add(1, Ordering::Relaxed);
        let values: Vec<u8> = made.embedding.values().iter().flat_map(|value| value.to_le_bytes()).collect();
        if let Some((_, thumbnails)) = &self.thumbnails {
            thumbnails.put(*hash, &made.thumbnail)?;
        }
        self.embeddings.put(*hash, &values)?;
        // As it will come from the file: scaling a unit vector again may change its last bits.
        let embedding = Embedding::new(made.embedding.values(), self.model.id());
        let embedding = embedding.ok_or_else(|| CommandFailure::new("the embedding is zero"))?;
        Ok(EmbeddedPhoto { embedding, ..made })
    }
}

/// Hashes of photo files. A file whose length and time are as before is not read.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct PhotoHashes {
    files: HashMap<PathBuf, KnownFile>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct KnownFile {
    bytes: u64,
    /// Nanoseconds since 1970.
    modified: u64,
    pub(crate) hash: Digest,
}

impl PhotoHashes {
    pub(crate) fn open(path: &Path) -> PhotoHashes {
        // It only saves time: without it, files are read again.
        std::fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }

    /// Looks at a file, and reads it where it is not known.
    pub(crate) fn look(&self, path: &Path) -> Result<KnownFile> {
        let about = path.metadata().map_err(|e| CommandFailure::new(e.to_string()))?;
        let modified = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |time| time.as_nanos() as u64);
        match self.files.get(path) {
            Some(known) if known.bytes == about.len() && known.modified == modified => Ok(*known),
            _ => Ok(KnownFile { bytes: about.len(), modified, hash: Digest::of(&read_photo(path)?) }),
        }
    }

    /// Keeps what was seen, for the next time.
    pub(crate) fn save(path: &Path, seen: impl Iterator<Item = (PathBuf, KnownFile)>) -> Result<()> {
        // A file that has just been written may change again within one tick of the file system's clock.
        let settled = SystemTime::now().checked_sub(Duration::from_secs(2));
        let settled = settled.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default().as_nanos();
        let is_settled = |file: &KnownFile| file.modified > 0 && u128::from(file.modified) < settled;
        // JSON cannot hold a path that is not UTF-8.
        let files = seen.filter(|(path, file)| is_settled(file) && path.to_str().is_some()).collect();
        let json = serde_json::to_vec(&PhotoHashes { files }).map_err(|e| CommandFailure::new(e.to_string()))?;
        let new = path.with_extension("new");
        std::fs::write(&new, json).and_then(|()| std::fs::rename(&new, path)).map_err(|e| CommandFailure::io(path, e))
    }
}
