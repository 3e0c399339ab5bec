//! From the best photos to listings: the best photo of a listing stands for it.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::params::SearchParams;
use crate::error::{FilterError, Result};
use crate::ids::{ListingRow, PhotoRow};
use crate::shard::{Column, Shard};

/// A photo that stands for its listing, with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Cosine to the query, -1 to 1.
    pub score: f32,
    /// The listing.
    pub listing: ListingRow,
    /// Its photo that is most like the query.
    pub photo: PhotoRow,
}

impl Candidate {
    /// Best first: score, then listing id (rows are in the order of ids), then photo.
    pub(super) fn rank(&self, other: &Self) -> Ordering {
        let by_score = other.score.total_cmp(&self.score);
        by_score.then(self.listing.cmp(&other.listing)).then(self.photo.cmp(&other.photo))
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ranking {
    /// The listings asked for, best first.
    pub candidates: Vec<Candidate>,
    /// Scores of the best listings that pass the filter, whatever else was asked for; see [`Searcher::rank`].
    ///
    /// [`Searcher::rank`]: super::Searcher::rank
    pub leading: Vec<f32>,
}

/// What a result must be beside near, looked up in one shard.
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

    /// The rules for the best listings of all: how many are wanted does not matter, nor which scores and groups. Repeats of a
    /// better listing are no listings of their own where the caller says so, and a limit of no listing for each value is a
    /// filter.
    pub(super) fn leading(&self, k: usize) -> Rules<'a> {
        let per = self.per.filter(|(_, most)| *most == 0);
        let (shard, near_duplicates, exclude) = (self.shard, self.near_duplicates, self.exclude);
        Rules { shard, k, min_score: f32::NEG_INFINITY, near_duplicates, per, exclude }
    }

    /// The listings of photos that come best first. Says whether looking at more photos could add any.
    pub(super) fn apply(&self, photos: &[Candidate]) -> (Vec<Candidate>, bool) {
        let mut seen: HashSet<ListingRow> = self.exclude.into_iter().collect();
        let mut groups: HashMap<u64, usize> = HashMap::new();
        let mut kept: Vec<Candidate> = Vec::new();
        let mut originals = Originals::default();
        for photo in photos {
            if photo.score < self.min_score || kept.len() == self.k {
                return (kept, false);
            }
            if !seen.insert(photo.listing) {
                continue;
            }
            let group = self.per.as_ref().and_then(|(column, most)| Some((group(column, photo.photo)?, *most)));
            if group.is_some_and(|(group, most)| groups.get(&group).copied().unwrap_or(0) >= most) {
                continue;
            }
            if let Some(limit) = self.near_duplicates
                && originals.repeats(super::searcher::stored_vector(self.shard, photo.photo), limit)
            {
                continue;
            }
            if let Some((group, _)) = group {
                *groups.entry(group).or_default() += 1;
            }
            kept.push(*photo);
        }
        let more = kept.len() < self.k;
        (kept, more)
    }
}

/// The value of a photo in a column, as a number that equal values share; `None` where it has none.
fn group(column: &Column<'_>, photo: PhotoRow) -> Option<u64> {
    let row = photo.0 as usize;
    match column {
        Column::Word { values, .. } => Some(values.get(row)).filter(|&code| code != 0).map(u64::from),
        // Zero has two signs.
        Column::Number { values } => {
            values.get(row).filter(|value| !value.is_nan()).map(|value| (value + 0.0).to_bits())
        }
    }
}

/// The vectors of the photos that were kept, of unit length.
#[derive(Debug, Default)]
pub(crate) struct Originals(Vec<Vec<f32>>);

impl Originals {
    /// Whether a vector is as near as `limit` to one that was kept; it is kept if not.
    pub(crate) fn repeats(&mut self, mut vector: Vec<f32>, limit: f32) -> bool {
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        let length = product(&vector, &vector).sqrt().max(f32::MIN_POSITIVE);
        vector.iter_mut().for_each(|v| *v /= length);
        let repeats = self.0.iter().any(|kept| product(kept, &vector) >= limit);
        if !repeats {
            self.0.push(vector);
        }
        repeats
    }
}
