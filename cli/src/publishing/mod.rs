//! What `magpie publish` does between reading a table and signing a manifest: which rows can be published, what has changed,
//! and the files of the change.

mod manifest;
mod parts;
mod photo_store;
mod rows;

use std::path::PathBuf;

use magpie_core::builder::LocalScaling;
use magpie_core::model::Model;
use magpie_core::shard::FORMAT_WRITTEN;
use magpie_release::Digest;
use magpie_release::publish::{Change, Limits, Publication, ReleaseFolder};

pub(crate) use manifest::add_pack;
pub(crate) use parts::Made;
pub(crate) use photo_store::PhotoStore;

use self::parts::Parts;
use self::photo_store::HashedPhoto;
use self::rows::UsableRows;
use crate::catalog::{CatalogTable, PhotoFolder, SkippedRow};
use crate::embedding::IncompletePhoto;
use crate::failure::{CommandFailure, Result};

/// A publication in the making.
pub(crate) struct Publisher<'a> {
    pub(crate) release: &'a ReleaseFolder,
    pub(crate) model: &'a Model,
    pub(crate) store: &'a PhotoStore<'a>,
    /// Name of the catalogue.
    pub(crate) name: &'a str,
    /// Publication number.
    pub(crate) sequence: u64,
    /// Columns that searches can filter by.
    pub(crate) filters: &'a [String],
    /// Longer side of the thumbnails in pixels; `None` for no thumbnails.
    pub(crate) thumbnails: Option<u32>,
    /// Photos of shoppers and the strength of the local scaling that is made of them.
    pub(crate) shoppers: Option<(Vec<PathBuf>, f32)>,
    /// Whether an unusable row stops the publication.
    pub(crate) strict: bool,
    /// Whether to hide progress bars.
    pub(crate) quiet: bool,
}

/// What a publication has to say.
pub(crate) struct Outcome {
    pub(crate) made: Made,
    pub(crate) listings: usize,
    pub(crate) skipped: Vec<SkippedRow>,
    pub(crate) incomplete: Vec<IncompletePhoto>,
}

impl Publisher<'_> {
    /// Embeds the photos that are not known, and makes the files of what has changed since `known`. `compact` merges all
    /// deltas into one.
    pub(crate) fn make(
        &self,
        mut catalog: CatalogTable,
        photos: &PhotoFolder,
        known: &Publication,
        limits: &Limits,
        compact: bool,
    ) -> Result<Outcome> {
        let mut skipped = std::mem::take(&mut catalog.broken);
        self.stop_if_strict(&skipped)?;
        let rows = UsableRows::find(self, std::mem::take(&mut catalog.rows), photos, &mut skipped)?;
        skipped.sort_by_key(|row| row.line);
        if let (true, Some(SkippedRow { line, reason })) = (rows.is_empty(), skipped.first()) {
            let count = skipped.len();
            return Err(CommandFailure::new(format!("none of the {count} rows can be used; line {line}: {reason}")));
        }
        let (scaling, scaling_hash) = self.scaling()?;
        let settings = serde_json::json!({
            "fields": catalog.fields, "filters": self.filters, "thumbnails": self.thumbnails,
            "model": self.model.id(), "scaling": scaling_hash, "name": self.name, "format": FORMAT_WRITTEN,
        });
        let settings = Digest::of(settings.to_string().as_bytes());
        let listings = rows.fingerprints();
        let change = known.change(settings, &listings, limits, compact);
        let parts = Parts {
            publisher: self,
            fields: &catalog.fields,
            rows: &rows,
            listings: &listings,
            known,
            settings,
            scaling: scaling.as_ref(),
        };
        let made = match parts.make(change)? {
            Some(made) => made,
            // The delta's columns do not fit those of the base.
            None => parts.make(Change::Base)?.ok_or_else(|| CommandFailure::new("a base does not fit itself"))?,
        };
        Ok(Outcome { made, listings: listings.len(), skipped, incomplete: rows.incomplete() })
    }

    fn stop_if_strict(&self, skipped: &[SkippedRow]) -> Result<()> {
        match skipped.first().filter(|_| self.strict) {
            Some(first) => Err(first.strict_failure()),
            None => Ok(()),
        }
    }

    /// The local scaling, and a hash of what it is made of.
    fn scaling(&self) -> Result<(Option<LocalScaling>, Option<Digest>)> {
        let Some((photos, strength)) = &self.shoppers else { return Ok((None, None)) };
        let mut embeddings = Vec::new();
        let mut all = strength.to_le_bytes().to_vec();
        for path in photos {
            let Ok(photo) = HashedPhoto::read(path) else { continue };
            let hash = photo.hash();
            if let Ok(photo) = self.store.get(&hash, || Ok(photo)) {
                embeddings.push(photo.embedding);
                all.extend(hash.0);
            }
        }
        let scaling = LocalScaling::new(&embeddings, *strength);
        Ok((Some(scaling?), Some(Digest::of(&all))))
    }
}
