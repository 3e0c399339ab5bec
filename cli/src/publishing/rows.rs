//! The rows of a table that can be published: their photos are known, or are embedded here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use magpie_release::Digest;
use magpie_release::publish::Listings;
use rayon::prelude::*;

use super::Publisher;
use super::photo_store::{HashedPhoto, KnownFile, PhotoHashes, PhotoStore};
use crate::catalog::{CatalogRow, PhotoFolder, SkippedRow};
use crate::embedding::{BATCH, IncompletePhoto, Place};
use crate::failure::Result;
use crate::output;

/// A row whose photo can be used.
pub(super) struct UsableRow {
    pub(super) row: CatalogRow,
    pub(super) path: PathBuf,
    pub(super) file: KnownFile,
    /// Whether its photo was embedded just now, and was cut short.
    incomplete: bool,
}

/// The rows whose photos can be used, in the order of the table.
pub(super) struct UsableRows(Vec<UsableRow>);

impl UsableRows {
    /// Looks at the photos of all rows, and embeds those that are not known. The rows of those that cannot be used are added
    /// to `skipped`.
    pub(super) fn find(
        publisher: &Publisher<'_>,
        rows: Vec<CatalogRow>,
        photos: &PhotoFolder,
        skipped: &mut Vec<SkippedRow>,
    ) -> Result<UsableRows> {
        let saved = publisher.release.work().join("photos.json");
        let hashes = PhotoHashes::open(&saved);
        let embedder = Embedder { store: publisher.store, outcomes: Mutex::default() };
        let bar = output::progress(rows.len(), "embedding", publisher.quiet);
        let look = |row: CatalogRow| {
            let looked = photos.path(&row.photo).and_then(|path| {
                let (file, photo) = hashes.look(&path)?;
                embedder.embed(&file.hash, || photo.map_or_else(|| HashedPhoto::read(&path), Ok));
                Ok((path, file))
            });
            bar.inc(1);
            (row, looked)
        };
        let mut found = Vec::with_capacity(rows.len());
        let mut rows = rows.into_iter();
        loop {
            let batch: Vec<CatalogRow> = rows.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            for (row, looked) in batch.into_par_iter().map(look).collect::<Vec<_>>() {
                // Only now: the photo may have been embedded for another row of the batch.
                let usable = looked.map_err(|e| e.message).and_then(|(path, file)| {
                    let incomplete = embedder.outcome(&file.hash)?;
                    Ok((path, file, incomplete))
                });
                match usable {
                    Ok((path, file, incomplete)) => found.push(UsableRow { row, path, file, incomplete }),
                    Err(e) => skipped.push(SkippedRow { line: row.line, reason: format!("{}: {e}", row.photo) }),
                }
            }
            publisher.stop_if_strict(skipped)?;
        }
        bar.finish_and_clear();
        PhotoHashes::save(&saved, found.iter().map(|row| (row.path.clone(), row.file)))?;
        Ok(UsableRows(found))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &UsableRow> {
        self.0.iter()
    }

    /// The rows whose photos were embedded just now, and were cut short.
    pub(super) fn incomplete(&self) -> Vec<IncompletePhoto> {
        let cut_short = self.0.iter().filter(|row| row.incomplete).map(|row| &row.row);
        cut_short.map(|row| IncompletePhoto { place: Place::Line(row.line), photo: row.photo.clone() }).collect()
    }

    /// A hash for each listing over all that a shard holds of it.
    pub(super) fn fingerprints(&self) -> Listings {
        let mut texts: HashMap<&str, Vec<u8>> = HashMap::new();
        for UsableRow { row, file, .. } in &self.0 {
            let all = texts.entry(&row.listing_id).or_default();
            for text in row.values.iter().chain([&row.photo]) {
                all.extend((text.len() as u64).to_le_bytes());
                all.extend(text.as_bytes());
            }
            all.extend(file.hash.0);
        }
        texts.into_iter().map(|(id, all)| (id.to_owned(), Digest::of(&all))).collect()
    }
}

/// Embeds each photo that is not known once, however many rows show it.
struct Embedder<'a> {
    store: &'a PhotoStore<'a>,
    /// What became of the photos that this publication embeds: whether they were cut short, or what is wrong with them.
    /// `None` as long as a thread is at it.
    outcomes: Mutex<HashMap<Digest, Option<Result<bool, String>>>>,
}

impl Embedder<'_> {
    /// Embeds a photo, unless it is known, or another thread is at it: nobody waits.
    fn embed(&self, hash: &Digest, photo: impl FnOnce() -> Result<HashedPhoto>) {
        if self.store.knows(hash) {
            return;
        }
        match self.outcomes().entry(*hash) {
            Entry::Occupied(_) => return,
            Entry::Vacant(place) => place.insert(None),
        };
        let embedded = self.store.get(hash, photo);
        let outcome = embedded.map(|photo| photo.incomplete).map_err(|e| e.message);
        self.outcomes().insert(*hash, Some(outcome));
    }

    /// Whether a photo that can be used was embedded just now and was cut short. Asked when all threads are done.
    fn outcome(&self, hash: &Digest) -> Result<bool, String> {
        self.outcomes().get(hash).cloned().flatten().unwrap_or(Ok(false))
    }

    fn outcomes(&self) -> MutexGuard<'_, HashMap<Digest, Option<Result<bool, String>>>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
