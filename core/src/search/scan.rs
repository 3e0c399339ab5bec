//! The flat scan: every photo that passes the filter is scored.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};

use super::filter::Filter;
use super::predicate::Predicate;
use crate::embedding::Embedding;
use crate::error::{Error, Result, ShardError};
use crate::ids::{ListingRow, PhotoRow};
use crate::shard::Shard;
use crate::vector;

/// Most listings that one search returns.
pub const MAX_K: usize = 10_000;

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
    fn rank(&self, other: &Self) -> Ordering {
        let by_score = other.score.total_cmp(&self.score);
        by_score.then(self.listing.cmp(&other.listing)).then(self.photo.cmp(&other.photo))
    }
}

/// For the heap of the best found so far: the worst of them is on top.
struct Worst(Candidate);

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.rank(&other.0)
    }
}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Worst {}

/// The `k` listings most like the query, best first; fewer only where fewer listings pass the filter.
///
/// `k` above [`MAX_K`] is taken as [`MAX_K`].
///
/// # Errors
/// [`Error::ModelMismatch`] where the embedding is of another model than the shard's, [`Error::Filter`] where the shard
/// has no such column, [`Error::Shard`] where the shard is damaged.
pub fn search(shard: &Shard, query: &Embedding, filter: Option<&Filter>, k: usize) -> Result<Vec<Candidate>> {
    let header = shard.header();
    if query.model() != header.model_id {
        return Err(Error::ModelMismatch { model: query.model(), shard: header.model_id });
    }
    if query.dim() != header.dim as usize {
        let detail = format!("dimension {}, but the embeddings of its model have {}", header.dim, query.dim());
        return Err(ShardError::Invalid { part: "header".to_owned(), detail }.into());
    }
    let predicate = filter.map(|filter| Predicate::bind(filter, shard)).transpose()?;
    let query = vector::encode(query.values());
    let k = k.min(MAX_K);
    let photos = header.photo_count as usize;

    // A listing may have many photos, and which of the best photos share one is known only afterwards. The best
    // `take` photos are in the final order, so their listings are the best ones; too few of them means: look further.
    let mut take = (4 * k + 32).min(photos);
    loop {
        let best = best_photos(shard, &query, predicate.as_ref(), take)?;
        let exhausted = best.len() < take || take == photos;
        let mut seen = HashSet::new();
        let mut listings: Vec<Candidate> = best.into_iter().filter(|photo| seen.insert(photo.listing)).collect();
        if listings.len() >= k || exhausted {
            listings.truncate(k);
            return Ok(listings);
        }
        take = take.saturating_mul(4).min(photos);
    }
}

/// The `take` best photos that pass the filter, best first.
fn best_photos(
    shard: &Shard,
    query: &vector::Code,
    predicate: Option<&Predicate<'_>>,
    take: usize,
) -> Result<Vec<Candidate>, ShardError> {
    let dim = query.values.len();
    let mut best: BinaryHeap<Worst> = BinaryHeap::with_capacity(take + 1);
    if take == 0 {
        return Ok(Vec::new());
    }
    for (row, (code, &factor)) in shard.codes().chunks_exact(dim).zip(shard.factors()).enumerate() {
        if predicate.is_some_and(|predicate| !predicate.holds(row)) {
            continue;
        }
        let score = vector::cosine(vector::dot(&query.values, code), query.factor, factor);
        // A damaged factor may be anything; what is not a number has no place in an order.
        if !score.is_finite() || (best.len() == take && best.peek().is_some_and(|worst| score < worst.0.score)) {
            continue;
        }
        let photo = PhotoRow(row as u32);
        best.push(Worst(Candidate { score, listing: shard.listing_of(photo)?, photo }));
        if best.len() > take {
            best.pop();
        }
    }
    Ok(best.into_sorted_vec().into_iter().map(|worst| worst.0).collect())
}
