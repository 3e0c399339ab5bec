//! A fixed random rotation that needs no matrix.
//!
//! Binary codes work best where all coordinates have a similar variance, which those of embeddings do not: vectors are
//! rotated first. Alternating sign flips and Walsh-Hadamard transforms approximate a random rotation with `n log n`
//! additions (Ailon and Chazelle 2009; RaBitQ's library does the same). The transform needs a power of two. For other
//! dimensions, rounds alternate between the first and the last such part of the vector, so that all coordinates mix.

/// Rounds of flips and transforms. Dimensions that are powers of two would need only two.
const ROUNDS: usize = 4;

/// A random rotation of `dim` coordinates that is determined by a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    dim: usize,
    /// Sign bits to flip: `dim` for each round.
    flips: Vec<u32>,
}

impl Rotation {
    /// Creates the rotation of a seed, which is the same on every machine.
    pub fn new(dim: usize, seed: u64) -> Rotation {
        let mut state = seed;
        let mut word = 0;
        let flips = (0..ROUNDS * dim).map(|at| {
            if at % 64 == 0 {
                word = split_mix(&mut state);
            }
            ((word >> (at % 64)) as u32 & 1) << 31
        });
        Rotation { dim, flips: flips.collect() }
    }

    /// The number of coordinates.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rotates a vector in place; its length must be [`Rotation::dim`].
    pub fn rotate(&self, vector: &mut [f32]) {
        for (round, flips) in self.flips.chunks_exact(self.dim.max(1)).enumerate() {
            flip(vector, flips);
            transform(self.part(vector, round));
        }
    }

    /// Undoes [`Rotation::rotate`], up to rounding.
    pub fn undo(&self, vector: &mut [f32]) {
        for (round, flips) in self.flips.chunks_exact(self.dim.max(1)).enumerate().rev() {
            transform(self.part(vector, round));
            flip(vector, flips);
        }
    }

    /// Returns the part that a round transforms: the largest power of two at the front or, in odd rounds, at the back.
    fn part<'a>(&self, vector: &'a mut [f32], round: usize) -> &'a mut [f32] {
        let len = vector.len();
        let size = if len == 0 { 0 } else { 1 << len.ilog2() };
        let start = if round.is_multiple_of(2) { 0 } else { len - size };
        &mut vector[start..start + size]
    }
}

fn flip(vector: &mut [f32], flips: &[u32]) {
    for (value, flip) in vector.iter_mut().zip(flips) {
        *value = f32::from_bits(value.to_bits() ^ flip);
    }
}

/// The orthonormal Walsh-Hadamard transform, which is its own inverse.
fn transform(vector: &mut [f32]) {
    let mut half = 1;
    while half < vector.len() {
        for pair in vector.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (vector.len() as f32).sqrt();
    vector.iter_mut().for_each(|value| *value *= scale);
}

/// The next number of a pseudo-random sequence: SplitMix64 (Steele, Lea, Flood 2014).
pub fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;
    use crate::vector::float::dot;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn preserves_products_and_can_be_undone(
            pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 1..200), seed: u64,
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let rotation = Rotation::new(a.len(), seed);
            let (mut rotated_a, mut rotated_b) = (a.clone(), b.clone());
            rotation.rotate(&mut rotated_a);
            rotation.rotate(&mut rotated_b);
            prop_assert!((dot(&a, &b) - dot(&rotated_a, &rotated_b)).abs() < 1e-3);
            rotation.undo(&mut rotated_a);
            prop_assert!(a.iter().zip(&rotated_a).all(|(x, y)| (x - y).abs() < 1e-4));
        }
    }

    #[test]
    fn distributes_a_single_coordinate_over_all() {
        for dim in [100, 128] {
            let mut vector = vec![0.0; dim];
            vector[3] = 1.0;
            Rotation::new(dim, 1).rotate(&mut vector);
            let largest = vector.iter().fold(0f32, |max, v| max.max(v.abs()));
            assert!(largest < 0.6, "{dim}: {largest}");
        }
        assert_ne!(Rotation::new(8, 1), Rotation::new(8, 2));
    }
}
