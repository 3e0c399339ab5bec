//! Scans photos: either estimates the photos of the nearest lists and re-ranks the best, or scores every photo that
//! passes the filter.

use std::ops::Range;

use super::coarse::Coarse;
use super::plan::QueryPlan;
use super::predicate::Predicate;
use super::top_photos::TopPhotos;
use crate::error::ShardError;
use crate::shard::Shard;
use crate::vector::CodeKernels;
use crate::vector::code::EncodedQuery;
use crate::vector::layout::{BLOCK, signs_len};
use crate::vector::sign::{self, Scan, SumTable};

/// Blocks that are scanned in one call. Their 2048 estimates take 8 KiB and stay in the first-level cache; the
/// threshold rises between calls.
const BLOCKS: usize = 64;

/// The buffers of a scan, and the best photos that it found.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    table: SumTable,
    coarse: Coarse,
    /// The best photos by their estimates.
    likely: TopPhotos,
    /// The best photos by their byte codes.
    pub(super) best: TopPhotos,
    wanted: Vec<u32>,
    above: Vec<u32>,
    estimates: Vec<f32>,
    picked: Vec<u32>,
    /// For each picked photo the product of the query and the centroid of its list.
    bases: Vec<f32>,
    signs: Vec<u32>,
    products: Vec<i32>,
}

/// The shard, the query and the filter of one search.
#[derive(Clone, Copy)]
pub(super) struct ScanTarget<'a> {
    pub(super) shard: &'a Shard,
    pub(super) kernels: CodeKernels,
    /// The rotated query.
    pub(super) rotated: &'a [f32],
    pub(super) query: &'a EncodedQuery,
    pub(super) predicate: Option<&'a Predicate<'a>>,
}

impl ScanTarget<'_> {
    /// The factor from a packed scale times an integer product to a product of vectors.
    fn gain(&self) -> f32 {
        self.shard.index().scale_unit * self.query.unit()
    }
}

impl Scanner {
    /// Fills `best` with the best `plan.take` photos. Returns whether every photo that passes the filter is among them.
    pub(super) fn run(&mut self, target: &ScanTarget<'_>, plan: &QueryPlan) -> Result<bool, ShardError> {
        self.best.reset(plan.take);
        let photos = if plan.direct { self.score_all(target)? } else { self.scan_lists(target, plan)? };
        Ok(photos.is_some_and(|photos| photos <= plan.take))
    }

    /// Scores every photo that passes the filter; returns their number.
    fn score_all(&mut self, target: &ScanTarget<'_>) -> Result<Option<usize>, ShardError> {
        let shard = target.shard;
        self.coarse.compare_all(shard, target.query, target.kernels);
        self.picked.clear();
        self.bases.clear();
        let mut passing = 0;
        // Photos are stored in the order of their lists. Where few pass, those of many lists are scored together, so
        // that fetching the code of one overlaps with the work on others.
        let (mut next, mut rows, mut base) = (0, 0..0, 0.0);
        for piece in pieces(0..target.photos() as u32) {
            if self.mark(target, &piece) == 0 {
                continue;
            }
            let first = piece.start / BLOCK * BLOCK;
            for (block, &wanted) in self.wanted.iter().enumerate() {
                each(wanted, |at| self.picked.push((first + block * BLOCK + at) as u32));
            }
            for &row in &self.picked[self.bases.len()..] {
                while row >= rows.end {
                    rows = shard.list(next)?;
                    base = self.coarse.product(shard, target.query, next);
                    next += 1;
                }
                self.bases.push(base);
            }
            if self.picked.len() >= BLOCKS * BLOCK {
                passing += self.score_bases(target);
            }
        }
        passing += self.score_bases(target);
        Ok(Some(passing))
    }

    /// Scores the picked photos with their bases and clears them; returns their number.
    fn score_bases(&mut self, target: &ScanTarget<'_>) -> usize {
        let bases = std::mem::take(&mut self.bases);
        self.score_picked(target, |at| bases[at]);
        self.bases = bases;
        self.bases.clear();
        let scored = self.picked.len();
        self.picked.clear();
        scored
    }

    /// Scans the lists near the query and re-ranks the photos with the best estimates. Returns the number of photos
    /// that pass the filter if none can have been missed.
    fn scan_lists(&mut self, target: &ScanTarget<'_>, plan: &QueryPlan) -> Result<Option<usize>, ShardError> {
        let ScanTarget { shard, kernels, query, .. } = *target;
        let lists = shard.index().lists as usize;
        self.likely.reset(plan.rerank);
        self.table.set(target.rotated);
        // How many lists a filter takes is known only during the scan.
        let ranked = if target.predicate.is_some() { usize::MAX } else { plan.probes };
        self.coarse.rank(shard, query, kernels, ranked);
        let (mut done, mut passing) = (0, 0);
        let mut quota = plan.quota;
        while done < self.coarse.len() && (done < plan.probes || passing < quota) {
            let to = if done < plan.probes { plan.probes } else { done + done / 2 + 1 };
            for probe in self.coarse.probes(shard, query, kernels, done, to) {
                passing += self.scan_list(target, shard.list(probe.list)?, probe.product);
            }
            if done == 0 {
                quota = plan.quota_after(passing);
            }
            done = to.min(self.coarse.len());
        }
        let all = done >= lists && passing <= plan.rerank;
        self.rerank(target);
        Ok(all.then_some(passing))
    }

    /// Estimates the photos of a list; returns the number that pass the filter.
    fn scan_list(&mut self, target: &ScanTarget<'_>, list: Range<u32>, product: f32) -> usize {
        let (shard, index) = (target.shard, target.shard.index());
        let block_len = shard.block_len();
        let mut passing = 0;
        for rows in pieces(list) {
            passing += self.mark(target, &rows);
            let blocks = rows.start / BLOCK..rows.end.div_ceil(BLOCK);
            let Some(bytes) = shard.scan_blocks().get(blocks.start * block_len..blocks.end * block_len) else {
                debug_assert!(false, "the rows of a list are photos of the shard");
                continue;
            };
            self.estimates.resize(blocks.len() * BLOCK, 0.0);
            self.above.resize(blocks.len(), 0);
            let scan = Scan {
                table: self.table.bytes(),
                gain: index.slope_unit * self.table.unit(),
                shift: index.slope_unit * self.table.base(),
                offset_unit: index.offset_unit,
                base: product + index.offset_origin,
                threshold: self.likely.threshold(),
            };
            target.kernels.scan(bytes, &self.wanted, &scan, &mut self.estimates, &mut self.above);
            let first = blocks.start * BLOCK;
            for (block, &above) in self.above.iter().enumerate() {
                each(above, |at| {
                    let at = block * BLOCK + at;
                    self.likely.push(self.estimates[at], (first + at) as u32, product);
                });
            }
        }
        passing
    }

    /// Scores the photos with the best estimates by their byte codes.
    fn rerank(&mut self, target: &ScanTarget<'_>) {
        let mut likely = std::mem::take(&mut self.likely);
        let items = likely.best();
        self.picked.clear();
        self.picked.extend(items.iter().map(|item| item.row()));
        self.score_picked(target, |at| items[at].base);
        self.likely = likely;
    }

    /// Scores the picked photos by their byte codes. `base` returns the product of the query and the centroid of a
    /// picked photo's list.
    fn score_picked(&mut self, target: &ScanTarget<'_>, base: impl Fn(usize) -> f32) {
        let (codes, scales) = (target.shard.codes(), target.shard.code_scales());
        let (blocks, block_len) = (target.shard.scan_blocks(), target.shard.block_len());
        let words = target.query.values().len() / 32;
        let signs_len = signs_len(target.rotated.len());
        self.signs.resize(self.picked.len() * words, 0);
        for (&row, into) in self.picked.iter().zip(self.signs.chunks_exact_mut(words)) {
            let block = blocks.get(row as usize / BLOCK * block_len..).unwrap_or_default();
            debug_assert!(block.len() >= signs_len);
            let signs = block.get(..signs_len).unwrap_or_default();
            sign::take(signs, row as usize % BLOCK, into);
        }
        self.products.resize(self.picked.len(), 0);
        let query = target.query.values();
        target.kernels.dot_signed(codes, &self.signs, query, &self.picked, &mut self.products);
        let gain = target.gain();
        for (at, (&row, &product)) in self.picked.iter().zip(&self.products).enumerate() {
            debug_assert!((row as usize) < scales.len());
            let scale = scales.get(row as usize).copied().unwrap_or(0);
            let score = base(at) + product as f32 * (f32::from(scale) * gain);
            self.best.push(score.min(1.0), row, 0.0);
        }
    }

    /// Sets a bit in `wanted` for each photo of `rows` that passes the filter, block by block; returns their number.
    fn mark(&mut self, target: &ScanTarget<'_>, rows: &Range<usize>) -> usize {
        self.wanted.clear();
        let mut passing = 0;
        for block in rows.start / BLOCK..rows.end.div_ceil(BLOCK) {
            let first = block * BLOCK;
            let (from, to) = (rows.start.max(first) - first, rows.end.min(first + BLOCK) - first);
            let inside = u32::MAX << from & u32::MAX >> (BLOCK - to);
            let wanted = match target.predicate {
                None => inside,
                Some(predicate) => inside & predicate.mask(first, (target.photos() - first).min(BLOCK)),
            };
            passing += wanted.count_ones() as usize;
            self.wanted.push(wanted);
        }
        passing
    }
}

impl ScanTarget<'_> {
    fn photos(&self) -> usize {
        self.shard.header().photo_count as usize
    }
}

/// Splits the rows of a list into pieces of at most [`BLOCKS`] blocks.
fn pieces(list: Range<u32>) -> impl Iterator<Item = Range<usize>> {
    let (start, end) = (list.start as usize, list.end as usize);
    let mut from = start;
    std::iter::from_fn(move || {
        let to = ((from / BLOCK + BLOCKS) * BLOCK).min(end);
        let piece = from..to;
        from = to;
        (piece.start < piece.end).then_some(piece)
    })
}

/// Calls `of` with the position of each set bit.
#[inline]
fn each(mut mask: u32, mut of: impl FnMut(usize)) {
    while mask != 0 {
        of(mask.trailing_zeros() as usize);
        mask &= mask - 1;
    }
}
