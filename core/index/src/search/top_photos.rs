//! The top k of a stream of scored photos, in bounded memory.

/// A photo with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scored {
    /// Orders photos: smaller for a higher score, then for a lower number.
    key: u64,
    /// The photo.
    pub(super) row: u32,
    /// Product of the query and the centroid of the photo's list, for re-ranking.
    pub(super) base: f32,
}

impl Scored {
    /// The number that [`TopPhotos::push`] was given.
    pub(super) fn number(self) -> u32 {
        self.key as u32
    }

    pub(super) fn score(self) -> f32 {
        let bits = !((self.key >> 32) as u32);
        f32::from_bits(if bits >> 31 == 1 { bits ^ 0x8000_0000 } else { !bits })
    }

    /// No two photos of one top have the same.
    fn order(&self) -> (u64, u32) {
        (self.key, self.row)
    }
}

/// Returns a key that is smaller for a higher score (not NaN), then for a lower number.
pub(super) fn key(score: f32, number: u32) -> u64 {
    let bits = score.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 };
    u64::from(!ordered) << 32 | u64::from(number)
}

/// Keeps the best `keep` photos, in a buffer that is cut back by selection when it is full. Which are the best does not
/// depend on the order in which they come: score, then number, then row decide.
#[derive(Debug, Default)]
pub(super) struct TopPhotos {
    keep: usize,
    items: Vec<Scored>,
    threshold: f32,
    /// The key of the worst photo that is kept, once there are `keep`.
    last: u64,
}

impl TopPhotos {
    /// Empties the top. Photos below the score `floor` are not kept.
    pub(super) fn reset(&mut self, keep: usize, floor: f32) {
        self.keep = keep;
        self.items.clear();
        (self.threshold, self.last) = if keep == 0 { (f32::INFINITY, 0) } else { (floor, u64::MAX) };
    }

    /// Returns the score that a photo must reach to be kept. One with exactly this score may be kept or not.
    pub(super) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Adds a photo; ignores NaN scores. Photos of equal scores are in the order of `number`.
    #[inline]
    pub(super) fn push(&mut self, score: f32, number: u32, row: u32, base: f32) {
        if score >= self.threshold {
            let key = key(score, number);
            if key > self.last {
                return;
            }
            self.items.push(Scored { key, row, base });
            // A rare cut is cheaper, a frequent one raises the threshold sooner: twice the size is the compromise. The
            // 64 more keep small sizes from cutting at almost every photo.
            if self.items.len() >= self.keep.saturating_mul(2).saturating_add(64) {
                self.cut();
            }
        }
    }

    /// Raises the threshold to the score of the worst photo that is kept.
    pub(super) fn cut(&mut self) {
        if self.keep > 0 && self.items.len() > self.keep {
            let (_, last, _) = self.items.select_nth_unstable_by_key(self.keep - 1, Scored::order);
            (self.threshold, self.last) = (last.score(), last.key);
            self.items.truncate(self.keep);
        }
    }

    /// The memory of the buffer, in bytes.
    pub(super) fn size(&self) -> usize {
        self.items.capacity() * size_of::<Scored>()
    }

    /// Returns the best `keep` photos, unordered.
    pub(super) fn best(&mut self) -> &[Scored] {
        self.cut();
        &self.items
    }

    /// Returns the photos of the last [`TopPhotos::best`] again.
    pub(super) fn kept(&self) -> &[Scored] {
        &self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn the_best_are_kept_and_scores_come_back(
            scores in prop::collection::vec(-2f32..2.0, 0..600), keep in 0usize..50, floor in prop::option::of(-2f32..2.0),
        ) {
            let mut top = TopPhotos::default();
            top.reset(keep, floor.unwrap_or(f32::NEG_INFINITY));
            for (row, &score) in (0..).zip(&scores) {
                top.push(score, row, row, 0.0);
            }
            top.push(f32::NAN, 9999, 9999, 0.0);
            let mut found: Vec<(f32, u32)> = top.best().iter().map(|item| (item.score(), item.number())).collect();
            let mut expected: Vec<(f32, u32)> = scores.into_iter().zip(0..).collect();
            expected.retain(|(score, _)| floor.is_none_or(|floor| *score >= floor));
            let best_first = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            found.sort_by(best_first);
            expected.sort_by(best_first);
            expected.truncate(keep);
            prop_assert_eq!(found, expected);
        }

        /// Equal scores are frequent here, and the photos come in any order, as from lists.
        #[test]
        fn ties_are_kept_by_number_in_whatever_order_they_come(
            scores in prop::collection::vec(0u8..4, 1..600), keep in 1usize..50,
            order in Just((0..600).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let mut top = TopPhotos::default();
            top.reset(keep, f32::NEG_INFINITY);
            for row in order.into_iter().filter(|&row| row < scores.len()) {
                top.push(f32::from(scores[row]), row as u32, row as u32, 0.0);
            }
            let mut found: Vec<u32> = top.best().iter().map(|item| item.row).collect();
            found.sort_unstable();
            let mut expected: Vec<u32> = (0..scores.len() as u32).collect();
            expected.sort_by_key(|&row| (std::cmp::Reverse(scores[row as usize]), row));
            expected.truncate(keep);
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
