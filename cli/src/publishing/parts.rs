//! The files of a change: a shard of the listings that are new or changed, and the ids of those that are gone.

use std::collections::{BTreeSet, HashMap};

use magpie_core::builder::LocalScaling;
use magpie_core::shard::{ColumnKind, Shard};
use magpie_release::publish::{Change, Listings, Publication, PublishedPart};
use magpie_release::{Digest, FileEntry};

use super::Publisher;
use super::photo_store::HashedPhoto;
use super::rows::{UsableRow, UsableRows};
use crate::catalog::{CatalogRow, CatalogTable};
use crate::failure::{CommandFailure, Result};
use crate::shard_build::{BuildPlan, build_with};

/// What was made, before it is signed.
pub(crate) struct Made {
    /// `base`, `delta` or `nothing`.
    pub(crate) kind: &'static str,
    pub(crate) publication: Publication,
    /// Number of listings in the new shard.
    pub(crate) changed: usize,
    /// Number of listings that it removes.
    pub(crate) removed: usize,
    /// Bytes of the new files, as they are fetched.
    pub(crate) bytes: u64,
}

/// All that parts are made of.
pub(super) struct Parts<'a> {
    pub(super) publisher: &'a Publisher<'a>,
    /// Names of the columns.
    pub(super) fields: &'a [String],
    pub(super) rows: &'a UsableRows,
    pub(super) listings: &'a Listings,
    /// What was published last.
    pub(super) known: &'a Publication,
    /// What all parts of a publication have to agree in.
    pub(super) settings: Digest,
    pub(super) scaling: Option<&'a LocalScaling>,
}

impl Parts<'_> {
    /// Makes the files of a change; `None` where a delta's columns are not of the kinds of its base.
    pub(super) fn make(&self, change: Change) -> Result<Option<Made>> {
        let (kind, kept, wanted, removed) = match change {
            Change::Nothing => {
                let publication = self.known.clone();
                return Ok(Some(Made { kind: "nothing", publication, changed: 0, removed: 0, bytes: 0 }));
            }
            Change::Delta { parts, listings, removed } => ("delta", parts, Some(listings), removed),
            Change::Base => ("base", 0, None, BTreeSet::new()),
        };
        let is_wanted = |id: &str| wanted.as_ref().is_none_or(|ids| ids.contains(id));
        let mut publication = Publication {
            settings: Some(self.settings),
            filters: self.publisher.filters.to_vec(),
            words: self.known.words.clone(),
            parts: self.known.parts[..kept].to_vec(),
        };
        let listings = self.listings.iter().filter(|(id, _)| is_wanted(id));
        let mut part = PublishedPart {
            listings: listings.map(|(id, hash)| (id.clone(), *hash)).collect(),
            removed,
            ..PublishedPart::default()
        };
        let mut bytes = 0;
        if !part.listings.is_empty() {
            let rows = self.rows.iter().filter(|row| is_wanted(&row.row.listing_id));
            let kinds = if kept == 0 { None } else { Some(&self.known.words[..]) };
            let Some((file, words)) = self.shard(rows.collect(), kinds)? else { return Ok(None) };
            // A delta is small, and every phone fetches it.
            let file = if kept > 0 { self.publisher.release.add_packed(file)? } else { file };
            (part.shard, publication.words, bytes) = (Some(file), words, bytes + file.wire().bytes);
        }
        if !part.removed.is_empty() {
            let file = self.publisher.release.add_removed(&part.removed)?;
            // An earlier part may have the same file, with a packed form of another version of zstd: a manifest names one.
            let mut earlier = publication.parts.iter().filter_map(|part| part.removed_file);
            let known = earlier.find(|known| known.hash == file.hash);
            bytes += if known.is_some() { 0 } else { file.wire().bytes };
            part.removed_file = Some(known.unwrap_or(file));
        }
        let (changed, removed) = (part.listings.len(), part.removed.len());
        if part.shard.is_some() || part.removed_file.is_some() {
            publication.parts.push(part);
        }
        Ok(Some(Made { kind, publication, changed, removed, bytes }))
    }

    /// Builds a shard of some rows, and returns its file and which filter columns hold words: those in `words`, where it
    /// is given, and `None` where that is impossible.
    fn shard(&self, rows: Vec<&UsableRow>, words: Option<&[String]>) -> Result<Option<(FileEntry, Vec<String>)>> {
        let publisher = self.publisher;
        let kind = |name: &String, words: &[String]| match words.contains(name) {
            true => ColumnKind::Word,
            false => ColumnKind::Number,
        };
        let kinds = words.map(|words| publisher.filters.iter().map(|name| (name.clone(), kind(name, words))).collect());
        let plan = BuildPlan {
            name: publisher.name,
            sequence: publisher.sequence,
            filters: publisher.filters,
            strict: true,
            thumbnails: publisher.thumbnails,
            scaling: self.scaling.cloned(),
            kinds: kinds.unwrap_or_default(),
            quiet: publisher.quiet,
        };
        let files: HashMap<(u64, &str), &UsableRow> =
            rows.iter().map(|row| ((row.row.line, row.row.photo.as_str()), *row)).collect();
        let photo = |row: &CatalogRow| {
            let missing = || CommandFailure::new("the row is not in the table");
            let usable = files.get(&(row.line, row.photo.as_str())).ok_or_else(missing)?;
            publisher.store.get(&usable.file.hash, || HashedPhoto::read(&usable.path))
        };
        let catalog = CatalogTable {
            fields: self.fields.to_vec(),
            rows: rows.iter().map(|row| row.row.clone()).collect(),
            ..CatalogTable::default()
        };
        let out = publisher.release.work().join("new.magpie");
        build_with(publisher.model, catalog, photo, &plan, &out)?;
        let shard = Shard::open(&out).map_err(|e| CommandFailure::of(&out, e))?;
        let found: Vec<String> =
            shard.columns().filter(|(_, kind)| *kind == ColumnKind::Word).map(|(name, _)| name.to_owned()).collect();
        drop(shard);
        if words.is_some_and(|words| found.iter().any(|name| !words.contains(name))) {
            return Ok(None);
        }
        Ok(Some((publisher.release.add_file(&out)?, found)))
    }
}
