//! What a user has corrected: photos whose right listing they have named. The next photo like one of them finds that
//! listing first.
//!
//! Corrections live in one file on the device, and nothing here or in [`remote`](crate::remote) sends them: a request has
//! the photo's own embedding alone. The file holds quantised embeddings, no photos. `file` has its bytes
//! (`core/docs/CORRECTIONS_FORMAT.md`), `entry` compares, `disk` writes so that a power cut costs at most what was being
//! written.

mod disk;
mod entry;
mod file;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::{Embedding, ModelId};
use entry::Entry;
use file::{Contents, Identity};

/// Most corrections of a file. One more takes the place of the oldest.
pub const MAX_CORRECTIONS: usize = 1000;
/// Longest id of a corrected listing, in bytes.
pub const MAX_LISTING_ID: usize = 1024;
/// The least cosine between a photo and a corrected one at which the correction applies.
///
/// Measured with the default pack on 1145 photos that shoppers took of 61 groceries, the test split: the first listing was
/// right for 85.9 % of them. After corrections of 20 random photos of those for which it was wrong, it was right for 86.5 %
/// of the others, and after 100 for 87.9 %. At 0.9 these are 86.0 % and 86.5 %. At 0.85 they are 84.1 % and 82.7 %: there
/// corrections spoil the searches for products that look alike. 25 % of the pairs of photos of one product are as near as
/// 0.92, and 0.03 % of the pairs of different ones.
pub const LEAST_SIMILARITY: f32 = 0.92;
/// The cosine from which two photos count as the same one, so that the later correction replaces the earlier.
const SAME_PHOTO: f32 = 0.99;
/// Most listings that are near a photo and are looked up in the catalogue.
const MOST_NEAR: usize = 16;

/// A correction: a photo like this one shows that listing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Correction {
    /// The listing that the user named.
    pub listing_id: String,
    /// When, in Unix seconds by the device's clock.
    pub time: u64,
}

/// The corrections in one file, for one catalogue. Any number of threads may use a value. Searches read what is in memory and
/// wait for no change.
///
/// Several values and processes may have the same file: each change locks it, reads it again and adds to what is there,
/// so none is lost. A value sees what another one has changed after its own next change, or when the file is opened again.
#[derive(Debug)]
pub struct Corrections {
    path: PathBuf,
    identity: Identity,
    least: f32,
    /// Oldest first. Locked only to clone or to exchange the `Arc`.
    entries: RwLock<Arc<Vec<Entry>>>,
}

impl Corrections {
    /// Opens a file, which need not exist; the first correction creates it in a folder that exists. Embeddings are of this
    /// model and have `dim` coordinates.
    ///
    /// Damaged corrections and those of another model are left out, with a warning in the log: embeddings of different
    /// models cannot be compared, and the photos are not kept. They stay in the file until the next change.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, is no file of corrections, or comes from a newer version.
    pub fn open(path: impl Into<PathBuf>, model: ModelId, dim: usize) -> Result<Corrections> {
        let (path, identity) = (path.into(), Identity { model, dim });
        let contents = read(&path, &identity)?;
        if let Some(note) = &contents.note {
            log::warn!("{}: {note}", path.display());
        }
        let entries = RwLock::new(Arc::new(contents.entries));
        Ok(Corrections { path, identity, least: LEAST_SIMILARITY, entries })
    }

    /// Sets the least cosine at which a correction applies, instead of [`LEAST_SIMILARITY`]: networks differ.
    #[must_use]
    pub fn with_least_similarity(mut self, least: f32) -> Corrections {
        self.least = least;
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All corrections, the latest first.
    pub fn list(&self) -> Vec<Correction> {
        let correction = |entry: &Entry| Correction { listing_id: entry.listing.clone(), time: entry.time };
        self.entries().iter().rev().map(correction).collect()
    }

    /// Forgets the corrections to a listing, and returns their number. Their bytes are removed from the file at once, with
    /// those of corrections that do not count any more or could not be read: they may be of this listing.
    ///
    /// # Errors
    /// [`Error::Io`]; then none is forgotten.
    pub fn forget(&self, listing_id: &str) -> Result<usize> {
        self.change(|contents| {
            let before = contents.entries.len();
            let is_hidden = contents.records > before || contents.note.is_some();
            contents.entries.retain(|entry| entry.listing != listing_id);
            let forgotten = before - contents.entries.len();
            Ok((if forgotten > 0 || is_hidden { Change::Rewrite } else { Change::None }, forgotten))
        })
    }

    /// Forgets all corrections, also those that could not be read.
    ///
    /// # Errors
    /// [`Error::Io`]; then none is forgotten.
    pub fn forget_all(&self) -> Result<()> {
        self.change(|contents| {
            contents.entries.clear();
            Ok((Change::Rewrite, ()))
        })
    }

    /// Adds a correction. Of the corrections before, those of the same photo are dropped. Those of listings that are not
    /// `known` are dropped when the file is written anew or is full: a listing may come back until then.
    pub(crate) fn remember(
        &self,
        embedding: &Embedding,
        listing_id: &str,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let Identity { model, dim } = self.identity;
        if embedding.model() != model || embedding.dim() != dim {
            return Err(Error::ModelMismatch { model: embedding.model(), shard: model });
        }
        let bytes = listing_id.len();
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let entry = Entry::new(listing_id, time, embedding.values()).filter(|_| (1..=MAX_LISTING_ID).contains(&bytes));
        let entry = entry.ok_or_else(|| {
            let detail = format!("a listing id of {bytes} bytes cannot be remembered, expected 1 to {MAX_LISTING_ID}");
            self.invalid(detail)
        })?;
        self.change(|Contents { entries, records, is_sound, .. }| {
            let before = entries.len();
            entries.retain(|other| other.cosine(embedding.values()) < SAME_PHOTO);
            let is_full = *records >= 2 * MAX_CORRECTIONS || entries.len() >= MAX_CORRECTIONS;
            if is_full || !*is_sound || entries.len() < before {
                entries.retain(|other| is_known(&other.listing));
            }
            let dropped = before - entries.len();
            // What is appended pushes the oldest out, for every reader.
            entries.drain(..entries.len().saturating_sub(MAX_CORRECTIONS - 1));
            let append = if dropped == 0 { Change::Append(file::record(&entry)) } else { Change::Rewrite };
            entries.push(entry);
            Ok((append, ()))
        })
    }

    /// The corrected listings near a photo: the nearest first, of equally near ones the latest; each once, and at most 16.
    pub(crate) fn near(&self, embedding: &Embedding) -> Vec<String> {
        let entries = self.entries();
        if entries.is_empty() || embedding.model() != self.identity.model || embedding.dim() != self.identity.dim {
            return Vec::new();
        }
        let cosines = entries.iter().rev().map(|entry| (entry.cosine(embedding.values()), &entry.listing));
        let mut near: Vec<(f32, &String)> = cosines.filter(|(cosine, _)| *cosine >= self.least).collect();
        near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut listings: Vec<String> = Vec::new();
        for (_, listing) in near {
            if listings.len() < MOST_NEAR && !listings.contains(listing) {
                listings.push(listing.clone());
            }
        }
        listings
    }

    fn entries(&self) -> Arc<Vec<Entry>> {
        Arc::clone(&self.entries.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is in the file now, and then what is in memory.
    fn change<T>(&self, edit: impl FnOnce(&mut Contents) -> Result<(Change, T)>) -> Result<T> {
        let io = |e| Error::io(&self.path, e);
        let _lock = disk::lock(&self.path).map_err(io)?;
        let mut contents = read(&self.path, &self.identity)?;
        let (is_sound, records) = (contents.is_sound, contents.records);
        let (change, result) = edit(&mut contents)?;
        match change {
            Change::None => {}
            Change::Append(record) if is_sound && records < 2 * MAX_CORRECTIONS => {
                disk::append(&self.path, &record).map_err(io)?;
            }
            Change::Append(_) | Change::Rewrite => {
                disk::replace(&self.path, &file::bytes(&self.identity, &contents.entries)).map_err(io)?;
            }
        }
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(contents.entries);
        Ok(result)
    }

    fn invalid(&self, detail: String) -> Error {
        Error::io(&self.path, std::io::Error::new(std::io::ErrorKind::InvalidInput, detail))
    }
}

/// What a change does to the file.
enum Change {
    None,
    /// Adds these bytes where the file is whole; otherwise writes it anew.
    Append(Vec<u8>),
    Rewrite,
}

fn read(path: &Path, identity: &Identity) -> Result<Contents> {
    let bytes = disk::read(path, file::MAX_BYTES).map_err(|e| Error::io(path, e))?;
    let invalid = |detail: String| Error::io(path, std::io::Error::new(std::io::ErrorKind::InvalidData, detail));
    Contents::read(&bytes, identity).map_err(invalid)
}
