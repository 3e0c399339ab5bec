//! Binary codes, one sign bit per coordinate: RaBitQ (Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a
//! Theoretical Error Bound for Approximate Nearest Neighbor Search", 2024), laid out for a fast scan (André, Kermarrec,
//! Le Scouarnec, "Cache locality is not enough", 2015; "Quicker ADC", 2019).
//!
//! With the centroid `c` of a list, a vector `x = c + r` and the signs `s` of `r`, the product with a query `q` is
//!
//! ```text
//! q.x = q.c + c.r + (q - c).r     and     (q - c).r is about f * (s.q - s.c),  f = r.r / s.r
//! ```
//!
//! With `g = c.r - f * s.c` from the builder, `q.c + g + f * s.q` is an unbiased estimate. It takes two correction
//! factors for each vector, the [`Correction`], and one sum of table entries: four sign bits select one of 16 entries
//! of a table that is computed once for the query. The codes of 32 vectors are interleaved, so that one shuffle looks
//! up as many entries as a register has bytes.

use super::layout::{BLOCK, signs_len};

/// The correction factors of one vector: its estimate is `slope * s.q + offset + q.c`.
#[cfg(any(test, feature = "build"))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Correction {
    /// `f`, at least 0.
    pub(crate) slope: f32,
    /// `g`.
    pub(crate) offset: f32,
}

#[cfg(any(test, feature = "build"))]
impl Correction {
    /// Computes the factors of a residual in a list with this centroid.
    pub(crate) fn of(residual: &[f32], centroid: &[f32]) -> Correction {
        let (mut square, mut signs, mut along, mut sign_centroid) = (0f32, 0f32, 0f32, 0f32);
        for (r, c) in residual.iter().zip(centroid) {
            square += r * r;
            signs += r.abs();
            along += r * c;
            sign_centroid += if *r > 0.0 { *c } else { -c };
        }
        let slope = if signs > 0.0 { square / signs } else { 0.0 };
        Correction { slope, offset: along - slope * sign_centroid }
    }
}

/// Sets the sign bits of vector `at` of a block whose bits are still 0.
///
/// Byte `16 * g + j` holds coordinates `4 * g..4 * g + 4` of vector `j` in its low half and of vector `j + 16` in its
/// high half.
#[cfg(any(test, feature = "build"))]
pub(crate) fn put(block: &mut [u8], at: usize, residual: &[f32]) {
    for (group, values) in residual.chunks(4).enumerate() {
        let bits = (values.iter().enumerate()).fold(0, |bits, (i, &value)| bits | (u8::from(value > 0.0) << i));
        block[16 * group + at % 16] |= bits << (at / 16 * 4);
    }
}

/// Returns whether the sign bit of a coordinate of vector `at` of a block is set.
pub(crate) fn is_set(block: &[u8], at: usize, coordinate: usize) -> bool {
    block[16 * (coordinate / 4) + at % 16] >> (at / 16 * 4 + coordinate % 4) & 1 == 1
}

/// Extracts the sign bits of vector `at` of a block into words of 32 coordinates, the first in the lowest bit; words
/// past the end of the block are set to 0.
pub(crate) fn take(block: &[u8], at: usize, into: &mut [u32]) {
    let (column, shift) = (at % 16, at / 16 % 2 * 4);
    // One shift isolates all half bytes, which are then merged in pairs.
    let word = |rows: &[[u8; 16]; 8]| {
        let halves = u64::from_le_bytes(rows.map(|row| row[column])) >> shift & 0x0f0f_0f0f_0f0f_0f0f;
        let pairs = (halves | halves >> 4) & 0x00ff_00ff_00ff_00ff;
        let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
        (fours | fours >> 16) as u32
    };
    let (whole, rest) = block.as_chunks().0.as_chunks();
    let mut last = [[0; 16]; 8];
    last.iter_mut().zip(rest).for_each(|(row, rest)| *row = *rest);
    let mut words = whole.iter().map(word);
    for signs in into {
        *signs = words.next().unwrap_or_else(|| word(&std::mem::take(&mut last)));
    }
}

/// The look-up table of a query: the signed sums of each four coordinates, quantised to bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SumTable {
    bytes: Vec<u8>,
    unit: f32,
    base: f32,
}

impl SumTable {
    /// Computes the table of a query.
    pub(crate) fn set(&mut self, query: &[f32]) {
        let len = signs_len(query.len());
        // Largest entry, so that the sum over all groups fits 16 bits.
        let most = (usize::from(u16::MAX) / (len / 16).max(1)).min(255) as f32;
        let spread = |values: &[f32]| values.iter().map(|v| v.abs()).sum::<f32>();
        let largest = query.chunks(4).map(spread).fold(0f32, f32::max);
        let up = if largest > 0.0 { most / (2.0 * largest) } else { 0.0 };
        self.unit = 2.0 * largest / most;
        self.base = 0.0;
        self.bytes.clear();
        for values in query.chunks(4) {
            let low = spread(values);
            self.base -= low;
            // A sum is the lowest plus twice the coordinates with a set bit: each coordinate doubles the number of
            // sums.
            let mut sums = [0f32; 16];
            sums[0] = low - values.iter().sum::<f32>();
            for (i, value) in values.iter().enumerate() {
                let (done, next) = sums.split_at_mut(1 << i);
                next.iter_mut().zip(done).for_each(|(next, done)| *next = *done + 2.0 * value);
            }
            self.bytes.extend(sums.map(|sum| (sum * up + 0.5) as u8));
        }
        self.bytes.resize(len, 0);
    }

    /// The entries, 16 for each group of four coordinates.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The unit of sums of entries: the sum `n` stands for `n * unit + base`.
    pub(crate) fn unit(&self) -> f32 {
        self.unit
    }

    /// The base of sums of entries, see [`SumTable::unit`].
    pub(crate) fn base(&self) -> f32 {
        self.base
    }
}

/// How to compute the estimates of a list's vectors from table sums and packed correction factors: an estimate is
/// `slope * (sum * gain + shift) + (offset * offset_unit + base)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan<'a> {
    /// The query's table, [`SumTable::bytes`].
    pub(crate) table: &'a [u8],
    /// Unit of slopes times unit of the table.
    pub(crate) gain: f32,
    /// Unit of slopes times base of the table.
    pub(crate) shift: f32,
    /// Unit of packed offsets.
    pub(crate) offset_unit: f32,
    /// What all vectors of the list share: product of query and centroid, and origin of offsets.
    pub(crate) base: f32,
    /// Only vectors with an estimate of at least this are marked.
    pub(crate) threshold: f32,
}

/// A block, a mask of its wanted vectors, and where the estimates and the mask of those above the threshold go.
pub(super) type Job<'a> = (((&'a [u8], &'a u32), &'a mut [f32; BLOCK]), &'a mut u32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;
    use crate::vector::float::dot;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn table_entries_give_the_signed_sum(
            pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 1..200), at in 0..BLOCK,
        ) {
            let (residual, query): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let mut block = vec![0; signs_len(query.len())];
            put(&mut block, at, &residual);
            let mut table = SumTable::default();
            table.set(&query);
            let mut words = vec![0; query.len().div_ceil(32)];
            take(&block, at, &mut words);
            prop_assert!(residual.iter().enumerate().all(|(i, r)| (words[i / 32] >> (i % 32) & 1 == 1) == (*r > 0.0)));
            let nibble = |group: usize| block[16 * group + at % 16] >> (at / 16 * 4) & 15;
            let sum: u32 = (0..block.len() / 16)
                .map(|group| u32::from(table.bytes()[16 * group + usize::from(nibble(group))])).sum();
            let exact: f32 = residual.iter().zip(&query).map(|(r, q)| if *r > 0.0 { *q } else { -q }).sum();
            let found = sum as f32 * table.unit() + table.base();
            prop_assert!((exact - found).abs() <= 0.51 * table.unit() * query.len().div_ceil(4) as f32 + 1e-4);
        }

        #[test]
        fn the_line_is_exact_for_the_residual_itself(pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 1..64)) {
            // With q = c + r, (q - c).r is r.r, for which the slope is exact.
            let (residual, centroid): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let query: Vec<f32> = residual.iter().zip(&centroid).map(|(r, c)| r + c).collect();
            let correction = Correction::of(&residual, &centroid);
            let signed: f32 = residual.iter().zip(&query).map(|(r, q)| if *r > 0.0 { *q } else { -q }).sum();
            let estimate = dot(&query, &centroid) + correction.offset + correction.slope * signed;
            prop_assert!((estimate - dot(&query, &query)).abs() < 1e-3);
        }
    }
}
