//! The top k of a stream of scored photos, in bounded memory.

/// A photo with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scored {
    /// Orders photos: smaller for a higher score, then for a lower row.
    key: u64,
    /// Product of the query and the centroid of the photo's list, for re-ranking.
    pub(super) base: f32,
}

impl Scored {
    pub(super) fn row(self) -> u32 {
        self.key as u32
    }

    pub(super) fn score(self) -> f32 {
        let bits = !((self.key >> 32) as u32);
        f32::from_bits(if bits >> 31 == 1 { bits ^ 0x8000_0000 } else { !bits })
    }
}

/// Returns a key that is smaller for a higher score (not NaN), then for a lower number.
pub(super) fn key(score: f32, number: u32) -> u64 {
    let bits = score.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 };
    u64::from(!ordered) << 32 | u64::from(number)
}

/// Keeps the best `keep` photos, in a buffer that is cut back by selection when it is full.
#[derive(Debug, Default)]
pub(super) struct TopPhotos {
    keep: usize,
    items: Vec<Scored>,
    threshold: f32,
}

impl TopPhotos {
    /// Empties the top.
    pub(super) fn reset(&mut self, keep: usize) {
        self.keep = keep;
        self.items.clear();
        self.threshold = if keep == 0 { f32::INFINITY } else { f32::NEG_INFINITY };
    }

    /// Returns the score that a photo must exceed to be kept.
    pub(super) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Adds a photo; ignores NaN scores.
    #[inline]
    pub(super) fn push(&mut self, score: f32, row: u32, base: f32) {
        if score > self.threshold {
            self.items.push(Scored { key: key(score, row), base });
            // A rare cut is cheaper, a frequent one raises the threshold sooner: twice the size is the compromise. The
            // 64 more keep small sizes from cutting at almost every photo.
            if self.items.len() >= self.keep.saturating_mul(2).saturating_add(64) {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        if self.items.len() > self.keep {
            let (_, last, _) = self.items.select_nth_unstable_by_key(self.keep - 1, |item| item.key);
            self.threshold = last.score();
            self.items.truncate(self.keep);
        }
    }

    /// Returns the best `keep` photos, unordered.
    pub(super) fn best(&mut self) -> &[Scored] {
        if self.keep > 0 {
            self.cut();
        }
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
        fn the_best_are_kept_and_scores_come_back(scores in prop::collection::vec(-2f32..2.0, 0..600), keep in 0usize..50) {
            let mut top = TopPhotos::default();
            top.reset(keep);
            for (row, &score) in (0..).zip(&scores) {
                top.push(score, row, 0.0);
            }
            top.push(f32::NAN, 9999, 0.0);
            let mut found: Vec<(f32, u32)> = top.best().iter().map(|item| (item.score(), item.row())).collect();
            let mut expected: Vec<(f32, u32)> = scores.into_iter().zip(0..).collect();
            let best_first = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            found.sort_by(best_first);
            expected.sort_by(best_first);
            expected.truncate(keep);
            prop_assert_eq!(found, expected);
        }
    }
}
