//! How well a catalogue is found: searches with shoppers' photos whose listings are known.

pub(crate) mod figures;
pub(crate) mod page;
mod probability;

use std::path::Path;

use magpie_core::attributes::Attributes;
use magpie_core::engine::{Engine, SearchOptions};
use magpie_core::listing::{Found, Listing};
use rayon::prelude::*;

use crate::catalog::{CatalogRow, CatalogTable, ColumnNames, PhotoFolder, SkippedRow, list};
use crate::failure::{CommandFailure, Result};
use crate::output;

/// The number of listings that each photo is searched for: the right one may be any of them.
pub(crate) const DEPTH: usize = 100;
/// Listings that are kept of each search: the right one and those that a confidence looks at.
const KEPT: usize = magpie_core::confidence::LEADING + 1;

/// A table of shoppers' photos.
#[derive(Debug)]
pub(crate) struct QueryTable {
    /// Names of the columns other than the listing's id and photo.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<CatalogRow>,
    /// Rows that cannot be used, with the reason.
    pub(crate) skipped: Vec<SkippedRow>,
    pub(crate) notes: Vec<String>,
}

impl QueryTable {
    /// Reads a table and keeps the rows that have all of these values.
    ///
    /// # Errors
    /// The table cannot be read, lacks a column, or no row is left.
    pub(crate) fn open(path: &Path, names: &ColumnNames, only: &[(String, String)]) -> Result<QueryTable> {
        let mut table = CatalogTable::open(path, names)?;
        table.split_photos();
        let CatalogTable { fields: columns, mut rows, broken: skipped, notes } = table;
        for (column, value) in only {
            let at = columns.iter().position(|name| name == column).ok_or_else(|| {
                let known = list(columns.iter().map(String::as_str));
                CommandFailure::usage(format!("--only: no column '{column}' in the table; it has {known}"))
            })?;
            rows.retain(|row| row.values[at] == *value);
        }
        if rows.is_empty() {
            return Err(CommandFailure::io(path, "no row of the table is left to search with"));
        }
        Ok(QueryTable { columns, rows, skipped, notes })
    }
}

/// What became of one photo.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) query: CatalogRow,
    /// The first listings, best first.
    pub(crate) found: Vec<Found>,
    /// Rank of the right listing, from 1; `None` if it is not among the first [`DEPTH`].
    pub(crate) rank: Option<usize>,
    /// The right listing; `None` if the catalogue does not have it.
    pub(crate) right: Option<Listing>,
    pub(crate) attributes: Attributes,
}

impl Outcome {
    /// The scores of the best listings, of all or of those other than the right one.
    pub(crate) fn scores(&self, others_only: bool) -> Vec<f32> {
        let counts = |found: &&Found| !others_only || found.listing.id != self.query.listing_id;
        let kept = self.found.iter().filter(counts).take(KEPT - 1);
        kept.map(|found| found.score).collect()
    }

    /// The best listings that are not the right one.
    pub(crate) fn others(&self, count: usize) -> impl Iterator<Item = &Listing> {
        let others = self.found.iter().map(|found| &found.listing);
        others.filter(|listing| listing.id != self.query.listing_id).take(count)
    }
}

/// Searches with each photo of the table, on all cores. A photo that cannot be used is added to the skipped rows.
///
/// # Errors
/// No photo can be used; or the filter does not fit the catalogue.
pub(crate) fn run(
    engine: &Engine,
    table: &mut QueryTable,
    photos: &PhotoFolder,
    options: &SearchOptions,
    quiet: bool,
) -> Result<Vec<Outcome>> {
    let bar = output::progress(table.rows.len(), "searching", quiet);
    let answer = |row: CatalogRow| {
        let line = row.line;
        let outcome = search(engine, row, photos, options);
        bar.inc(1);
        outcome.map_err(|failure| (line, failure))
    };
    let rows = std::mem::take(&mut table.rows);
    let answers: Vec<_> = rows.into_par_iter().map(answer).collect();
    bar.finish_and_clear();
    let mut outcomes = Vec::new();
    let mut first = None;
    for answer in answers {
        match answer {
            Ok(outcome) => outcomes.push(outcome),
            Err((line, failure)) => {
                table.skipped.push(SkippedRow { line, reason: failure.message.clone() });
                first.get_or_insert(failure);
            }
        }
    }
    table.skipped.sort_by_key(|row| row.line);
    match first {
        Some(failure) if outcomes.is_empty() => Err(failure),
        _ => Ok(outcomes),
    }
}

fn search(engine: &Engine, query: CatalogRow, photos: &PhotoFolder, options: &SearchOptions) -> Result<Outcome> {
    let named = |failure: CommandFailure| CommandFailure {
        message: format!("{}: {}", query.photo, failure.message),
        ..failure
    };
    let bytes = photos.read(&query.photo).map_err(named)?;
    let results = engine.search_photo(&bytes, options).map_err(|e| named(e.into()))?;
    let mut found = results.listings;
    let rank = found.iter().position(|found| found.listing.id == query.listing_id).map(|at| at + 1);
    let right = engine.catalog().listing(&query.listing_id)?;
    found.truncate(KEPT);
    Ok(Outcome { found, rank, right, attributes: results.attributes, query })
}
