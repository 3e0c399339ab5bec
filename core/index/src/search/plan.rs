//! The query plan: how many lists to probe and photos to re-rank, from the search options, the budgets that the builder
//! measured, and the selectivity of the filter.

use super::params::SearchParams;
use super::predicate::Predicate;
use crate::shard::{RECALLS, Shard};
use crate::vector::layout::BLOCK;

/// At most this many passing photos are all scored by their byte codes: quick, and as exact as the codes are (ADR
/// 0005). Catalogues up to the same size have one list.
const DIRECT: usize = 4096;
/// Blocks that are sampled to estimate the selectivity of a filter: 2048 photos, since a quota that grows with the
/// square root of the estimate need not be exact.
const SAMPLE: usize = 64;
/// Largest ratio of expected to found passing photos near the query that the plan responds to. The quota grows by its
/// square root, so a filter that passes nothing near the query gets at most 8 times the quota (ADR 0005).
const SCARCE: f64 = 64.0;
/// The number of nearest photos that the builder measured recall with.
const MEASURED_K: usize = 10;

/// The query plan of one search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueryPlan {
    /// Whether to score every photo that passes the filter, instead of scanning lists.
    pub(super) direct: bool,
    /// Least number of lists to probe.
    pub(super) probes: usize,
    /// Least number of passing photos to scan: a selective filter probes more lists to reach it.
    pub(super) quota: usize,
    /// Photos expected to pass in the first `probes` lists if the filter is as selective there as everywhere.
    pub(super) expected: usize,
    /// Photos to re-rank.
    pub(super) rerank: usize,
    /// Best photos to keep, from which listings are formed.
    pub(super) take: usize,
}

impl QueryPlan {
    pub(super) fn new(shard: &Shard, predicate: Option<&Predicate<'_>>, params: &SearchParams, k: usize) -> QueryPlan {
        let photos = shard.header().photo_count as usize;
        let lists = shard.index().lists as usize;
        let passing = predicate.map_or(1.0, |predicate| passing(predicate, photos));
        let (probes, rerank) = budget(shard, params.recall);
        // Budgets were measured for 10 results. `k` results lie in a ball with `k / 10` times as many photos; the work
        // grows with the square root of that, as it does with the size of a catalogue.
        let wider = (k as f64 / MEASURED_K as f64).max(1.0).sqrt();
        let probes = params.probes.unwrap_or((probes as f64 * wider) as usize).clamp(1, lists.max(1));
        // Room for photos that share a listing: half as many again, and 16 more for small `k`. Where that is too
        // little, the search repeats with a wider plan.
        let take = k + k / 2 + 16;
        let rerank = params
            .rerank
            .unwrap_or(rerank.max((rerank as f64 * wider) as usize).max(2 * take))
            .max(take)
            .min(photos.max(1));
        // A filter that passes a share `s` of the photos takes about as much work as a catalogue of `s` times the size,
        // which was measured to go with the square root of `s` (ADR 0005).
        let scanned = photos as f64 * probes as f64 / lists.max(1) as f64;
        let quota = match predicate {
            None => 0,
            Some(_) => (scanned * passing.sqrt()) as usize,
        };
        let explicit = params.probes.is_some() && predicate.is_none();
        let expected = (scanned * passing) as usize;
        let few = passing * photos as f64 <= DIRECT as f64;
        let direct = lists <= 1 || params.recall >= 1.0 || (few && !explicit);
        QueryPlan { direct, probes, quota, expected, rerank, take }
    }

    /// Returns the quota once it is known how many photos of the first lists passed. Where the filter passes fewer
    /// photos near the query than elsewhere, the results are far away and spread over more lists: up to eight times the
    /// quota.
    pub(super) fn quota_after(&self, passing: usize) -> usize {
        let scarce = self.expected as f64 / (passing as f64).max(self.expected as f64 / SCARCE).max(1.0);
        (self.quota as f64 * scarce.max(1.0).sqrt()) as usize
    }

    /// Whether the plan covers the whole shard already.
    pub(super) fn is_everything(&self, shard: &Shard) -> bool {
        let photos = shard.header().photo_count as usize;
        self.probes >= shard.index().lists as usize && self.rerank >= photos && self.take >= photos
    }

    /// Returns the plan for another pass where too few listings were found: four times the work, so that the passes
    /// before it add at most a third.
    pub(super) fn wider(self) -> QueryPlan {
        let more = |count: usize| count.saturating_mul(4);
        let (probes, quota, rerank, take) = (more(self.probes), more(self.quota), more(self.rerank), more(self.take));
        QueryPlan { probes, quota, rerank, take, ..self }
    }
}

/// Returns the lists to probe and photos to re-rank for a recall. A shard without measured budgets gets a sixteenth of
/// the lists, at least 32, and 200 photos.
fn budget(shard: &Shard, recall: f32) -> (usize, usize) {
    let index = shard.index();
    let mut measured = RECALLS.iter().zip(&index.budgets).filter(|(_, budget)| budget.probes > 0);
    let enough = measured.clone().find(|(measured, _)| **measured >= recall);
    match enough.or(measured.next_back()) {
        Some((_, budget)) => (budget.probes as usize, budget.rerank as usize),
        None => ((index.lists as usize / 16).max(32), 200),
    }
}

/// Estimates the share of photos that pass, from blocks spread evenly over the shard.
fn passing(predicate: &Predicate<'_>, photos: usize) -> f64 {
    let blocks = photos.div_ceil(BLOCK);
    let sample = SAMPLE.min(blocks);
    let (mut passing, mut seen) = (0, 0);
    for at in 0..sample {
        let first = at * blocks / sample * BLOCK;
        let count = BLOCK.min(photos - first);
        passing += predicate.mask(first, count).count_ones();
        seen += count;
    }
    f64::from(passing) / seen.max(1) as f64
}
