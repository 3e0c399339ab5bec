//! Scans photos: either estimates the photos of the nearest lists and re-ranks the best, or scores every photo that
//! passes the filter. The estimates of several shards compete for the same places, as if they were one.

use std::ops::Range;

use super::coarse::Coarse;
use super::part::Part;
use super::plan::{PartPlan, QueryPlan};
use super::predicate::Predicate;
use super::results::{Candidate, ListingPlace};
use super::top_photos::TopPhotos;
use crate::error::{Error, Result, ShardError};
use crate::ids::{ListingRow, PhotoRow};
use crate::vector::CodeKernels;
use crate::vector::code::EncodedQuery;
use crate::vector::layout::{BLOCK, signs_len};
use crate::vector::sign::{self, Scan, SumTable};

/// Blocks that are scanned in one call. Their 2048 estimates take 8 KiB and stay in the first-level cache; the
/// threshold rises between calls.
const BLOCKS: usize = 64;
/// The standard deviation of an estimate's error, for vectors of length 1 and one coordinate: `sqrt(pi / 2 - 1)`. It falls
/// with the square root of the number of coordinates.
const ESTIMATE_ERROR: f32 = 0.755;
/// Pieces of so many blocks between two looks at [`Stop`] where all photos are scored: about 32,000 photos.
const STOP_EVERY: usize = 16;

/// The buffers of a scan, and the best photos that it found.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    table: SumTable,
    coarse: Coarse,
    /// The best photos of all shards by their estimates.
    likely: TopPhotos,
    /// The best photos of one shard by their byte codes.
    best: TopPhotos,
    wanted: Vec<u32>,
    above: Vec<u32>,
    estimates: Vec<f32>,
    picked: Vec<u32>,
    /// For each picked photo the product of the query and the centroid of its list.
    bases: Vec<f32>,
    signs: Vec<u32>,
    products: Vec<i32>,
    /// The best photos of all shards, unordered.
    pub(super) found: Vec<Candidate>,
}

/// One shard, the query and the filter of a search.
#[derive(Clone, Copy)]
pub(super) struct ScanTarget<'a> {
    pub(super) part: &'a Part<'a>,
    pub(super) kernels: CodeKernels,
    /// The rotated query.
    pub(super) rotated: &'a [f32],
    pub(super) query: &'a EncodedQuery,
    pub(super) predicate: Option<&'a Predicate<'a>>,
    /// The number of photos in the shards before.
    pub(super) before: u32,
}

/// Whether the caller wants a search to end.
#[derive(Clone, Copy, Default)]
pub(super) struct Stop<'a>(pub(super) Option<&'a dyn Fn() -> bool>);

impl Stop<'_> {
    pub(super) fn check(self) -> Result<()> {
        if self.0.is_some_and(|wanted| wanted()) { Err(Error::Stopped) } else { Ok(()) }
    }
}

impl Scanner {
    /// The memory of the buffers that grow with the options of a search, in bytes.
    pub(super) fn size(&self) -> usize {
        let words = self.picked.capacity() + self.bases.capacity() + self.signs.capacity() + self.products.capacity();
        let found = self.found.capacity() * size_of::<Candidate>();
        words * size_of::<u32>() + found + self.likely.size() + self.best.size()
    }

    /// Fills `found` with the best `plan.take` photos of all targets, and maybe more. Returns whether every photo that
    /// passes the filter is among them.
    pub(super) fn run(&mut self, targets: &[ScanTarget<'_>], plan: &QueryPlan, stop: Stop<'_>) -> Result<bool> {
        self.found.clear();
        let parts = || targets.iter().zip(&plan.parts).enumerate();
        let scanned = || parts().filter(|(_, (_, part))| !part.direct);
        let (mut complete, mut passing) = (true, 0);
        let mut floor = f32::NEG_INFINITY;
        if let Some((_, (first, _))) = scanned().next() {
            self.likely.reset(plan.rerank, f32::NEG_INFINITY);
            self.table.set(first.rotated);
            for (_, (target, part)) in scanned() {
                // Where many photos are known already, only those of this part that are as likely are kept.
                self.likely.cut();
                let (passed, all) = self.scan_lists(target, part, stop)?;
                passing += passed;
                complete &= all;
            }
            complete &= passing <= plan.rerank;
            let _ = self.likely.best();
            for (at, (target, _)) in scanned() {
                self.best.reset(plan.take, floor);
                self.rerank(target);
                floor = self.collect(at, target, plan.take, floor)?;
            }
        }
        for (at, (target, _)) in parts().filter(|(_, (_, part))| part.direct) {
            self.best.reset(plan.take, floor);
            passing += self.score_all(target, stop)?;
            floor = self.collect(at, target, plan.take, floor)?;
        }
        Ok(complete && passing <= plan.take)
    }

    /// Adds the best photos of a part to `found`. Returns the score of the last of the best `take` photos so far.
    fn collect(&mut self, part: usize, target: &ScanTarget<'_>, take: usize, floor: f32) -> Result<f32, ShardError> {
        let shard = target.part.shard;
        let listings = shard.header().listing_count;
        for item in self.best.best() {
            let (listing, photo) = (ListingRow(item.number()), PhotoRow(item.row));
            let listing = if listing.0 < listings { listing } else { shard.listing_of(photo)? };
            self.found.push(Candidate { score: item.score(), part, listing, photo });
        }
        if take == 0 || self.found.len() <= take {
            return Ok(floor);
        }
        let (_, last, _) = self.found.select_nth_unstable_by(take - 1, |a, b| b.score.total_cmp(&a.score));
        Ok(last.score)
    }

    /// Scores every photo that passes the filter; returns their number.
    fn score_all(&mut self, target: &ScanTarget<'_>, stop: Stop<'_>) -> Result<usize> {
        let shard = target.part.shard;
        self.coarse.compare_all(shard, target.query, target.kernels);
        self.picked.clear();
        self.bases.clear();
        let mut passing = 0;
        // Photos are stored in the order of their lists. Where few pass, those of many lists are scored together, so
        // that fetching the code of one overlaps with the work on others.
        let (mut next, mut rows, mut base) = (0, 0..0, 0.0);
        for (number, piece) in pieces(0..target.part.photos() as u32).enumerate() {
            if number % STOP_EVERY == 0 {
                stop.check()?;
            }
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
                passing += self.score_picked(target);
            }
        }
        Ok(passing + self.score_picked(target))
    }

    /// Returns the best photo of a listing, scored as the other functions do; `None` where the listing is hidden or does not
    /// pass the filter.
    pub(super) fn best_of(
        &mut self,
        target: &ScanTarget<'_>,
        place: ListingPlace,
    ) -> Result<Option<Candidate>, ShardError> {
        let shard = target.part.shard;
        self.coarse.compare_all(shard, target.query, target.kernels);
        self.picked.clear();
        self.bases.clear();
        for photo in shard.photos_of(place.listing)? {
            let row = photo.0 as usize;
            if self.mark(target, &(row..row + 1)) == 1 {
                self.picked.push(photo.0);
                self.bases.push(self.coarse.product(shard, target.query, shard.list_of(photo)?));
            }
        }
        self.best.reset(1, f32::NEG_INFINITY);
        self.score_picked(target);
        let ListingPlace { part, listing } = place;
        let best = self.best.best().first();
        Ok(best.map(|item| Candidate { score: item.score(), part, listing, photo: PhotoRow(item.row) }))
    }

    /// Estimates the photos of the lists near the query. Returns the number of photos that pass the filter, and whether
    /// all lists were scanned.
    fn scan_lists(&mut self, target: &ScanTarget<'_>, plan: &PartPlan, stop: Stop<'_>) -> Result<(usize, bool)> {
        let ScanTarget { kernels, query, .. } = *target;
        let shard = target.part.shard;
        let lists = shard.index().lists as usize;
        // How many lists a filter takes is known only during the scan.
        let ranked = if plan.quota > 0 { usize::MAX } else { plan.probes };
        self.coarse.rank(shard, query, kernels, ranked);
        // The photos of a shard with one list are far from its centroid, so their estimates are less certain than those
        // of the lists that they compete with. A standard deviation in their favour keeps the recall.
        let far = 1.0 + 2.0 * shard.list_biases().first().copied().unwrap_or(0.0);
        let error = ESTIMATE_ERROR * (far.max(0.0) / target.rotated.len() as f32).sqrt();
        let favour = if lists > 1 { 0.0 } else { error };
        let (mut done, mut passing) = (0, 0);
        // The lists of a sound shard share no photo. In a damaged one, each could have all of them.
        let mut left = target.part.photos();
        let mut quota = plan.quota;
        while done < self.coarse.len() && (done < plan.probes || passing < quota) {
            stop.check()?;
            let to = if done < plan.probes { plan.probes } else { done + done / 2 + 1 };
            for probe in self.coarse.probes(shard, query, kernels, done, to) {
                let list = shard.list(probe.list)?;
                left = left.checked_sub(list.len()).ok_or_else(|| shard.overlapping_lists())?;
                passing += self.scan_list(target, list, probe.product, favour);
            }
            if done == 0 {
                quota = plan.quota_after(passing);
            }
            done = to.min(self.coarse.len());
        }
        Ok((passing, done >= lists))
    }

    /// Estimates the photos of a list, `favour` higher than they are; returns the number that pass the filter.
    fn scan_list(&mut self, target: &ScanTarget<'_>, list: Range<u32>, product: f32, favour: f32) -> usize {
        let (shard, index) = (target.part.shard, target.part.shard.index());
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
                base: product + index.offset_origin + favour,
                threshold: self.likely.threshold(),
            };
            target.kernels.scan(bytes, &self.wanted, &scan, &mut self.estimates, &mut self.above);
            let first = blocks.start * BLOCK + target.before as usize;
            for (block, &above) in self.above.iter().enumerate() {
                each(above, |at| {
                    let at = block * BLOCK + at;
                    let row = (first + at) as u32;
                    self.likely.push(self.estimates[at], row, row, product);
                });
            }
        }
        passing
    }

    /// Scores the photos of a part with the best estimates by their byte codes.
    fn rerank(&mut self, target: &ScanTarget<'_>) {
        let photos = target.part.photos() as u32;
        self.picked.clear();
        self.bases.clear();
        for item in self.likely.kept() {
            let row = item.row.wrapping_sub(target.before);
            if row < photos {
                self.picked.push(row);
                self.bases.push(item.base);
            }
        }
        self.score_picked(target);
    }

    /// Scores the picked photos by their byte codes and clears them; returns their number.
    fn score_picked(&mut self, target: &ScanTarget<'_>) -> usize {
        let shard = target.part.shard;
        let (codes, scales, listings) = (shard.codes(), shard.code_scales(), shard.photo_listings());
        let (blocks, block_len) = (shard.scan_blocks(), shard.block_len());
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
        // The factor from a packed scale times an integer product to a product of vectors.
        let gain = shard.index().scale_unit * target.query.unit();
        for ((&row, &product), &base) in self.picked.iter().zip(&self.products).zip(&self.bases) {
            debug_assert!((row as usize) < scales.len());
            let scale = scales.get(row as usize).copied().unwrap_or(0);
            let score = (base + product as f32 * (f32::from(scale) * gain)).min(1.0);
            if score >= self.best.threshold() {
                // Equal scores are in the order of listings, which is not that of photos. A row that the shard lacks is
                // noticed where the photo is collected.
                let listing = listings.get(row as usize).copied().unwrap_or(u32::MAX);
                self.best.push(score, listing, row, 0.0);
            }
        }
        let scored = self.picked.len();
        self.picked.clear();
        self.bases.clear();
        scored
    }

    /// Sets a bit in `wanted` for each photo of `rows` that is not hidden and passes the filter, block by block; returns
    /// their number.
    fn mark(&mut self, target: &ScanTarget<'_>, rows: &Range<usize>) -> usize {
        self.wanted.clear();
        let photos = target.part.photos();
        let mut passing = 0;
        for block in rows.start / BLOCK..rows.end.div_ceil(BLOCK) {
            let first = block * BLOCK;
            let (from, to) = (rows.start.max(first) - first, rows.end.min(first + BLOCK) - first);
            let inside = u32::MAX << from & u32::MAX >> (BLOCK - to) & target.part.visible(block);
            let wanted = match target.predicate {
                None => inside,
                Some(predicate) => inside & predicate.mask(first, (photos - first).min(BLOCK)),
            };
            passing += wanted.count_ones() as usize;
            self.wanted.push(wanted);
        }
        passing
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
