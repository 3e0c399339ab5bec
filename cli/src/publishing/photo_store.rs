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
use crate::embedding::{EmbeddedPhoto, embed_photo};
use crate::failure::{CommandFailure, Result};

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

    pub(super) fn knows(&self, hash: &Digest) -> bool {
        let small = self.thumbnails.as_ref();
        self.embeddings.contains(hash) && small.is_none_or(|(_, thumbnails)| thumbnails.contains(hash))
    }

    /// Returns the embedding and the thumbnail of a photo; makes them of `photo` where they are not known.
    pub(super) fn get(&self, hash: &Digest, photo: impl FnOnce() -> Result<HashedPhoto>) -> Result<EmbeddedPhoto> {
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
        let photo = photo()?;
        if photo.hash != *hash {
            return Err(CommandFailure::new("the photo has changed meanwhile; publish again"));
        }
        let made = embed_photo(self.model, &photo.bytes, self.thumbnails.as_ref().map(|(size, _)| *size))?;
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

/// The bytes of a photo, and their hash.
pub(super) struct HashedPhoto {
    bytes: Vec<u8>,
    hash: Digest,
}

impl HashedPhoto {
    pub(super) fn read(path: &Path) -> Result<HashedPhoto> {
        let bytes = read_photo(path)?;
        Ok(HashedPhoto { hash: Digest::of(&bytes), bytes })
    }

    pub(super) fn hash(&self) -> Digest {
        self.hash
    }
}

/// How long ago a file must have been written when it is looked at, so that its time shows a later change.
const SETTLING: Duration = Duration::from_secs(2);

/// Hashes of photo files. A file whose length and time are as before is not read.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct PhotoHashes {
    files: HashMap<PathBuf, KnownFile>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct KnownFile {
    bytes: u64,
    /// Nanoseconds since 1970; 0 where the time says nothing.
    modified: u64,
    pub(super) hash: Digest,
}

impl PhotoHashes {
    pub(super) fn open(path: &Path) -> PhotoHashes {
        // It only saves time: without it, files are read again.
        std::fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }

    /// Looks at a file. Where it is not known it is read, and what was read is returned too.
    pub(super) fn look(&self, path: &Path) -> Result<(KnownFile, Option<HashedPhoto>)> {
        let about = path.metadata().map_err(|e| CommandFailure::new(e.to_string()))?;
        // A file that has just been written may change again within one tick of the file system's clock.
        let settled = SystemTime::now().checked_sub(SETTLING);
        let modified = about.modified().ok().filter(|time| settled.is_some_and(|settled| *time < settled));
        let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |time| time.as_nanos() as u64);
        match self.files.get(path) {
            Some(known) if modified > 0 && known.bytes == about.len() && known.modified == modified => {
                Ok((*known, None))
            }
            _ => {
                let photo = HashedPhoto::read(path)?;
                Ok((KnownFile { bytes: about.len(), modified, hash: photo.hash }, Some(photo)))
            }
        }
    }

    /// Keeps what was seen, for the next time.
    pub(super) fn save(path: &Path, seen: impl Iterator<Item = (PathBuf, KnownFile)>) -> Result<()> {
        // JSON cannot hold a path that is not UTF-8.
        let files = seen.filter(|(path, file)| file.modified > 0 && path.to_str().is_some()).collect();
        let json = serde_json::to_vec(&PhotoHashes { files }).map_err(|e| CommandFailure::new(e.to_string()))?;
        let new = path.with_extension("new");
        std::fs::write(&new, json).and_then(|()| std::fs::rename(&new, path)).map_err(|e| CommandFailure::io(path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_photo_is_read_once_and_a_known_one_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, saved) = (folder.path().join("photo.jpg"), folder.path().join("photos.json"));
        let photo = include_bytes!("../../demo/photos/mug-01-1.jpg");
        std::fs::write(&path, photo).expect("a file");
        // Its time is not trusted yet, however long the publication takes.
        let (file, _) = PhotoHashes::default().look(&path).expect("a photo");
        assert_eq!(file.modified, 0);
        let old = SystemTime::now() - Duration::from_secs(60);
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(old)).expect("a time");
        let (file, read) = PhotoHashes::open(&saved).look(&path).expect("a photo");
        PhotoHashes::save(&saved, std::iter::once((path.clone(), file))).expect("saved");
        let (again, unread) = PhotoHashes::open(&saved).look(&path).expect("a photo");
        assert_eq!((again.hash, unread.is_none()), (Digest::of(photo), true));

        // What was read to be hashed is what is embedded: the file need not be there any more.
        std::fs::remove_file(&path).expect("removed");
        let model = crate::assets::model(None).expect("the built-in pack");
        let store = PhotoStore::open(folder.path(), &model, None).expect("a store");
        store.get(&file.hash, || Ok(read.expect("its bytes"))).expect("embedded");
        store.get(&file.hash, || HashedPhoto::read(&path)).expect("known");
        assert_eq!((store.embedded(), store.knows(&file.hash)), (1, true));
        let other = HashedPhoto { bytes: photo.to_vec(), hash: Digest::of(b"other") };
        assert!(store.get(&Digest::of(b"wanted"), || Ok(other)).is_err());
    }
}
