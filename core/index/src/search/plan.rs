//! How far to look: from what was asked, what the builder measured, and how many photos pass the filter.

use super::params::SearchParams;
use super::predicate::Predicate;
use crate::shard::{RECALLS, Shard};
use crate::vector::sign::BLOCK;

/// So few photos are all scored by their int8 codes.
const DIRECT: usize = 4096;
/// Blocks that are looked at to see how many photos pass a filter.
const SAMPLE: usize = 64;
/// Filters that let so much less pass near the query than everywhere are treated as ones that let nothing pass there.
const SCARCE: f64 = 64.0;
/// The number of nearest photos that the builder measured with.
const MEASURED_K: usize = 10;

/// What a search does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Score every photo that passes; else scan lists.
    pub(super) direct: bool,
    /// Lists to probe at least.
    pub(super) probes: usize,
    /// Photos that pass the filter to look at, at least: where few pass, this takes more lists.
    pub(super) quota: usize,
    /// Photos that pass the filter in the first `probes` lists, if they are as many there as everywhere.
    pub(super) expected: usize,
    /// Photos to score again.
    pub(super) rerank: usize,
    /// Best photos that listings are made of.
    pub(super) take: usize,
}

impl Plan {
    pub(super) fn new(shard: &Shard, predicate: Option<&Predicate<'_>>, params: &SearchParams, k: usize) -> Plan {
        let photos = shard.header().photo_count as usize;
        let lists = shard.index().lists as usize;
        let passing = predicate.map_or(1.0, |predicate| passing(predicate, photos));
        let (probes, rerank) = budget(shard, params.recall);
        // More results lie farther out: in a ball of `k` times as many photos.
        let wider = (k as f64 / MEASURED_K as f64).max(1.0).sqrt();
        let probes = params.probes.unwrap_or((probes as f64 * wider) as usize).clamp(1, lists.max(1));
        let take = k + k / 2 + 16;
        let rerank = params
            .rerank
            .unwrap_or(rerank.max((rerank as f64 * wider) as usize).max(2 * take))
            .max(take)
            .min(photos.max(1));
        // A tenth of the photos needs about the same share of a tenth of the lists as a catalogue of a tenth of the
        // size would: measured, that is the root.
        let scanned = photos as f64 * probes as f64 / lists.max(1) as f64;
        let quota = match predicate {
            None => 0,
            Some(_) => (scanned * passing.sqrt()) as usize,
        };
        let explicit = params.probes.is_some() && predicate.is_none();
        let expected = (scanned * passing) as usize;
        let few = passing * photos as f64 <= DIRECT as f64;
        let direct = lists <= 1 || params.recall >= 1.0 || (few && !explicit);
        Plan { direct, probes, quota, expected, rerank, take }
    }

    /// The quota once it is known how many photos of the first lists passed. What is far from the query, and near to no
    /// part of it more than to another, takes more looking: nothing near, eight times as much.
    pub(super) fn quota_after(&self, passing: usize) -> usize {
        let scarce = self.expected as f64 / (passing as f64).max(self.expected as f64 / SCARCE).max(1.0);
        (self.quota as f64 * scarce.max(1.0).sqrt()) as usize
    }

    /// Whether there is nothing farther to look at.
    pub(super) fn is_everything(&self, shard: &Shard) -> bool {
        let photos = shard.header().photo_count as usize;
        self.probes >= shard.index().lists as usize && self.rerank >= photos && self.take >= photos
    }

    /// Looks farther, where too few listings were found.
    pub(super) fn wider(self) -> Plan {
        let more = |count: usize| count.saturating_mul(4);
        let (probes, quota, rerank, take) = (more(self.probes), more(self.quota), more(self.rerank), more(self.take));
        Plan { probes, quota, rerank, take, ..self }
    }
}

/// Lists to probe and photos to score again for a recall.
fn budget(shard: &Shard, recall: f32) -> (usize, usize) {
    let index = shard.index();
    let mut measured = RECALLS.iter().zip(&index.budgets).filter(|(_, budget)| budget.probes > 0);
    let enough = measured.clone().find(|(measured, _)| **measured >= recall);
    match enough.or(measured.next_back()) {
        Some((_, budget)) => (budget.probes as usize, budget.rerank as usize),
        None => ((index.lists as usize / 16).max(32), 200),
    }
}

/// The share of photos that pass, from blocks spread over the shard.
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
