//! One sign bit a coordinate: RaBitQ (Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical
//! Error Bound for Approximate Nearest Neighbor Search", 2024), laid out for a fast scan (André, Kermarrec, Le Scouarnec,
//! "Cache locality is not enough", 2015; "Quicker ADC", 2019).
//!
//! With the centre `c` of a list, a vector `x = c + r` and the signs `s` of `r`, the product with a query `q` is
//!
//! ```text
//! q.x = q.c + c.r + (q - c).r     and     (q - c).r is about f * (s.q - s.c),  f = r.r / s.r
//! ```
//!
//! so that with `g = c.r - f * s.c` from the builder, `q.c + g + f * s.q` estimates it without bias: two numbers a
//! vector, the [`Line`], and one sum of table entries. Four bits choose one of 16 entries of a table made once for the
//! query; 32 vectors stand side by side, so that one shuffle looks up as many entries as a register has bytes.

/// Vectors in a block.
pub const BLOCK: usize = 32;
/// Coordinates are padded to a multiple of this: four table look-ups, one 512-bit register.
const PAD: usize = 16;

/// Bytes of the signs of one block; the size of a query's table as well.
pub fn signs_len(dim: usize) -> usize {
    dim.next_multiple_of(PAD) / 4 * 16
}

/// How the estimate of one vector follows from the sum of the query's coordinates with the vector's signs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// `f`: 0 or more.
    pub slope: f32,
    /// `g`.
    pub offset: f32,
}

impl Line {
    /// The line of a residual in a list with this centre.
    pub fn of(residual: &[f32], centre: &[f32]) -> Line {
        let (mut square, mut signs, mut along, mut sign_centre) = (0f32, 0f32, 0f32, 0f32);
        for (r, c) in residual.iter().zip(centre) {
            square += r * r;
            signs += r.abs();
            along += r * c;
            sign_centre += if *r > 0.0 { *c } else { -c };
        }
        let slope = if signs > 0.0 { square / signs } else { 0.0 };
        Line { slope, offset: along - slope * sign_centre }
    }
}

/// Sets the sign bits of the vector at place `at` of a block whose bits are still 0.
///
/// Byte `16 * g + j` holds coordinates `4 * g..4 * g + 4` of vector `j` in its low and of vector `j + 16` in its high
/// half.
pub fn put(block: &mut [u8], at: usize, residual: &[f32]) {
    for (group, values) in residual.chunks(4).enumerate() {
        let bits = (values.iter().enumerate()).fold(0, |bits, (i, &value)| bits | (u8::from(value > 0.0) << i));
        block[16 * group + at % 16] |= bits << (at / 16 * 4);
    }
}

/// Puts the sign bits of the vector at place `at` of a block into words of 32 coordinates, the first lowest; words
/// behind the block's end become 0.
pub fn take(block: &[u8], at: usize, into: &mut [u32]) {
    let (column, shift) = (at % 16, at / 16 % 2 * 4);
    // One shift for all half bytes, which then move together, two and two.
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

/// The sums that a query's coordinates can give, four coordinates at a time, as bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    bytes: Vec<u8>,
    unit: f32,
    base: f32,
}

impl Table {
    /// Makes the table of a query.
    pub fn set(&mut self, query: &[f32]) {
        let len = signs_len(query.len());
        // So that the entries of all groups together fit 16 bits.
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
            // All sums differ from the lowest by twice some of the coordinates: each doubles what is there so far.
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
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A sum of entries `n` stands for the sum of signed coordinates `n * unit + base`.
    pub fn unit(&self) -> f32 {
        self.unit
    }

    /// See [`Table::unit`].
    pub fn base(&self) -> f32 {
        self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn table_entries_give_the_signed_sum(
            pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 1..200), at in 0..BLOCK,
        ) {
            let (residual, query): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let mut block = vec![0; signs_len(query.len())];
            put(&mut block, at, &residual);
            let mut table = Table::default();
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
            // q = c + r: then (q - c).r is r.r, which the slope was made for.
            let (residual, centre): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let query: Vec<f32> = residual.iter().zip(&centre).map(|(r, c)| r + c).collect();
            let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
            let line = Line::of(&residual, &centre);
            let signed: f32 = residual.iter().zip(&query).map(|(r, q)| if *r > 0.0 { *q } else { -q }).sum();
            let estimate = product(&query, &centre) + line.offset + line.slope * signed;
            prop_assert!((estimate - product(&query, &query)).abs() < 1e-3);
        }
    }
}
