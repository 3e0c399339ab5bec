//! Collapses the best photos to listings, each represented by its best photo, and applies the options of the search.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::params::SearchParams;
use super::stored::stored_vector;
use crate::error::{FilterError, Result, ShardError};
use crate::ids::{ListingRow, PhotoRow};
use crate::shard::{Column, Shard};
use crate::vector::float::dot;

/// A listing that was found: its best photo and that photo's score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Cosine to the query, -1 to 1.
    pub score: f32,
    /// The listing.
    pub listing: ListingRow,
    /// The listing's photo that is most similar to the query.
    pub photo: PhotoRow,
}

impl Candidate {
    /// Orders best first: by score, then listing id (rows are in the order of ids), then photo.
    pub(super) fn rank(&self, other: &Self) -> Ordering {
        let by_score = other.score.total_cmp(&self.score);
        by_score.then(self.listing.cmp(&other.listing)).then(self.photo.cmp(&other.photo))
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ranking {
    /// The requested listings, best first.
    pub candidates: Vec<Candidate>,
    /// Scores of the best listings that pass the filter, regardless of most other options; see [`Searcher::rank`].
    ///
    /// [`Searcher::rank`]: super::Searcher::rank
    pub leading: Vec<f32>,
}

/// The conditions on results other than similarity, bound to one shard.
pub(super) struct Rules<'a> {
    shard: &'a Shard,
    pub(super) k: usize,
    min_score: f32,
    near_duplicates: Option<f32>,
    per: Option<(Column<'a>, usize)>,
    exclude: Option<ListingRow>,
}

impl<'a> Rules<'a> {
    pub(super) fn bind(shard: &'a Shard, params: &SearchParams, k: usize, exclude: Option<ListingRow>) -> Result<Self> {
        let per = params.per.as_ref().map(|per| {
            let unknown = || FilterError::unknown_column(&per.column, shard.columns().map(|(name, _)| name));
            shard.column(&per.column).map(|column| (column, per.most)).ok_or_else(unknown)
        });
        let min_score = params.min_score.unwrap_or(f32::NEG_INFINITY);
        Ok(Rules { shard, k, min_score, near_duplicates: params.near_duplicates, per: per.transpose()?, exclude })
    }

    /// Returns the rules for the leading listings, which do not depend on `k`, the lowest score or the limit of a
    /// group. Near-duplicates of a better listing are still omitted where the caller asked for that, and a limit of 0
    /// for each group still applies, because it acts as a filter.
    pub(super) fn leading(&self, k: usize) -> Rules<'a> {
        let per = self.per.filter(|(_, most)| *most == 0);
        let (shard, near_duplicates, exclude) = (self.shard, self.near_duplicates, self.exclude);
        Rules { shard, k, min_score: f32::NEG_INFINITY, near_duplicates, per, exclude }
    }

    /// Returns the listings of `photos`, which are sorted best first, and whether more photos could add to them.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where the shard is damaged.
    pub(super) fn apply(&self, photos: &[Candidate]) -> Result<(Vec<Candidate>, bool), ShardError> {
        let mut seen: HashSet<ListingRow> = self.exclude.into_iter().collect();
        let mut groups: HashMap<u64, usize> = HashMap::new();
        let mut kept: Vec<Candidate> = Vec::new();
        let mut originals = Originals::default();
        for photo in photos {
            if photo.score < self.min_score || kept.len() == self.k {
                return Ok((kept, false));
            }
            if !seen.insert(photo.listing) {
                continue;
            }
            let group = self.per.as_ref().and_then(|(column, most)| Some((group(column, photo.photo)?, *most)));
            if group.is_some_and(|(group, most)| groups.get(&group).copied().unwrap_or(0) >= most) {
                continue;
            }
            if let Some(limit) = self.near_duplicates
                && originals.repeats(stored_vector(self.shard, photo.photo)?, limit)
            {
                continue;
            }
            if let Some((group, _)) = group {
                *groups.entry(group).or_default() += 1;
            }
            kept.push(*photo);
        }
        let more = kept.len() < self.k;
        Ok((kept, more))
    }
}

/// Returns a key that equal values of a column share; `None` for a photo without a value.
fn group(column: &Column<'_>, photo: PhotoRow) -> Option<u64> {
    let row = photo.0 as usize;
    match column {
        Column::Word { values, .. } => Some(values.get(row)).filter(|&code| code != 0).map(u64::from),
        // Adding 0 makes -0 and 0 one value.
        Column::Number { values } => {
            values.get(row).filter(|value| !value.is_nan()).map(|value| (value + 0.0).to_bits())
        }
    }
}

/// Finds near-duplicates: the unit vectors of the photos kept so far.
#[derive(Debug, Default)]
pub(crate) struct Originals(Vec<Vec<f32>>);

impl Originals {
    /// Returns whether a vector has a cosine of at least `limit` to one that was kept; keeps it if not.
    pub(crate) fn repeats(&mut self, mut vector: Vec<f32>, limit: f32) -> bool {
        let length = dot(&vector, &vector).sqrt().max(f32::MIN_POSITIVE);
        vector.iter_mut().for_each(|v| *v /= length);
        let repeats = self.0.iter().any(|kept| dot(kept, &vector) >= limit);
        if !repeats {
            self.0.push(vector);
        }
        repeats
    }
}
