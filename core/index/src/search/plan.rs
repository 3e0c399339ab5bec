//! The query plan: how many lists to probe and photos to re-rank, from the search options, the budgets that the builder
//! measured, and the selectivity of the filter.

use super::params::SearchParams;
use super::part::{Hidden, Part};
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

/// The least number of photos of a part that are estimated before they are scored, where another part is scanned.
const SCAN_FROM: f64 = 32.0;

/// The query plan of one search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueryPlan {
    pub(super) parts: Vec<PartPlan>,
    /// Photos to re-rank.
    pub(super) rerank: usize,
    /// Best photos to keep, from which listings are formed.
    pub(super) take: usize,
}

/// What a query plan does with one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartPlan {
    /// Whether to score every photo that passes the filter, instead of scanning lists.
    pub(super) direct: bool,
    /// Least number of lists to probe.
    pub(super) probes: usize,
    /// Least number of passing photos to scan: a selective filter probes more lists to reach it. 0 without a filter.
    pub(super) quota: usize,
    /// Photos expected to pass in the first `probes` lists if the filter is as selective there as everywhere.
    expected: usize,
}

impl QueryPlan {
    /// Plans a search of parts with their predicates.
    pub(super) fn new(
        parts: &[Part<'_>],
        predicates: &[Option<Predicate<'_>>],
        params: &SearchParams,
        k: usize,
    ) -> QueryPlan {
        // Budgets were measured for 10 results. `k` results lie in a ball with `k / 10` times as many photos; the work
        // grows with the square root of that, as it does with the size of a catalogue.
        let wider = (k as f64 / MEASURED_K as f64).max(1.0).sqrt();
        // Room for photos that share a listing: half as many again, and 16 more for small `k`. Where that is too
        // little, the search repeats with a wider plan.
        let take = k + k / 2 + 16;
        let mut plan = QueryPlan { parts: Vec::with_capacity(parts.len()), rerank: 0, take };
        let photos: usize = parts.iter().map(Part::photos).sum();
        let mut shares = Vec::with_capacity(parts.len());
        for (part, predicate) in parts.iter().zip(predicates) {
            let passing = passing(part, predicate.as_ref());
            let (planned, rerank) = PartPlan::new(part, predicate.is_some(), passing, params, wider);
            plan.rerank = plan.rerank.max(if planned.direct { 0 } else { rerank });
            plan.parts.push(planned);
            shares.push(passing * part.photos() as f64);
        }
        // The re-ranked photos are shared by all parts, as the nearest photos are.
        plan.rerank = params.rerank.unwrap_or(plan.rerank.max(2 * take)).max(take).min(photos.max(1));
        // Beside a shard whose lists are scanned, the photos of a small one are estimated, too: scoring all of them
        // takes 20 times as long.
        if params.recall < 1.0 && plan.parts.iter().any(|part| !part.direct) {
            plan.parts.iter_mut().zip(shares).for_each(|(part, passing)| part.direct &= passing < SCAN_FROM);
        }
        plan
    }

    /// Whether the plan covers all photos already.
    pub(super) fn is_everything(&self, parts: &[Part<'_>]) -> bool {
        let photos: usize = parts.iter().map(Part::photos).sum();
        let mut all = self.parts.iter().zip(parts);
        let whole = |(plan, part): (&PartPlan, &Part<'_>)| {
            plan.direct || (plan.probes >= part.shard.index().lists as usize && self.rerank >= photos)
        };
        self.take >= photos && all.all(whole)
    }

    /// Returns the plan for a later pass, from 1, where too few listings were found: four times the work of
    /// the first, and then sixteen times that of the pass before. Where this is all lists, it scores all photos instead.
    pub(super) fn widened(mut self, pass: u32, parts: &[Part<'_>]) -> QueryPlan {
        let photos: usize = parts.iter().map(Part::photos).sum();
        let factor = 4 << (4 * (pass.clamp(1, 8) - 1));
        let more = |count: &mut usize, most: usize| *count = count.saturating_mul(factor).min(most);
        more(&mut self.rerank, photos);
        more(&mut self.take, photos.max(1));
        for (planned, part) in self.parts.iter_mut().zip(parts) {
            let lists = part.shard.index().lists as usize;
            more(&mut planned.probes, lists.max(1));
            more(&mut planned.quota, usize::MAX);
            planned.direct |= planned.probes >= lists;
        }
        self
    }
}

impl PartPlan {
    /// Returns the plan and the number of photos to re-rank.
    fn new(part: &Part<'_>, filtered: bool, passing: f64, params: &SearchParams, wider: f64) -> (PartPlan, usize) {
        let (shard, photos) = (part.shard, part.photos());
        let lists = shard.index().lists as usize;
        let (probes, rerank) = budget(shard, params.recall);
        let probes = params.probes.unwrap_or((probes as f64 * wider) as usize).clamp(1, lists.max(1));
        let rerank = rerank.max((rerank as f64 * wider) as usize);
        // A filter that passes a share `s` of the photos takes about as much work as a catalogue of `s` times the size,
        // which was measured to go with the square root of `s` (ADR 0005). Hidden photos are like a filter, but a few
        // of them do not change where the results are.
        let scanned = photos as f64 * probes as f64 / lists.max(1) as f64;
        let selective = filtered || passing < 0.5;
        let quota = if selective { ((scanned * passing.sqrt()) as usize).max(1) } else { 0 };
        let explicit = params.probes.is_some() && !selective;
        let few = passing * photos as f64 <= DIRECT as f64;
        let direct = lists <= 1 || params.recall >= 1.0 || (few && !explicit);
        (PartPlan { direct, probes, quota, expected: (scanned * passing) as usize }, rerank)
    }

    /// Returns the quota once it is known how many photos of the first lists passed. Where the filter passes fewer
    /// photos near the query than elsewhere, the results are far away and spread over more lists: up to eight times the
    /// quota.
    pub(super) fn quota_after(&self, passing: usize) -> usize {
        let scarce = self.expected as f64 / (passing as f64).max(self.expected as f64 / SCARCE).max(1.0);
        (self.quota as f64 * scarce.max(1.0).sqrt()) as usize
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
fn passing(part: &Part<'_>, predicate: Option<&Predicate<'_>>) -> f64 {
    let photos = part.photos();
    let Some(predicate) = predicate else {
        let hidden = part.hidden.map_or(0, Hidden::photo_count);
        return 1.0 - hidden as f64 / photos.max(1) as f64;
    };
    let blocks = photos.div_ceil(BLOCK);
    let sample = SAMPLE.min(blocks);
    let (mut passing, mut seen) = (0, 0);
    for at in 0..sample {
        let block = at * blocks / sample;
        let count = BLOCK.min(photos - block * BLOCK);
        passing += (predicate.mask(block * BLOCK, count) & part.visible(block)).count_ones();
        seen += count;
    }
    f64::from(passing) / seen.max(1) as f64
}
