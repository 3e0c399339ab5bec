//! Scalar-quantised codes, one byte per coordinate in addition to the sign, and the queries that they are multiplied
//! with.
//!
//! A quantised coordinate is an odd number of half steps, from -511 to 511. Its sign is the bit of the binary code, and
//! the byte is half of its absolute value, rounded down: nine bits of precision in eight.

/// Largest number of half steps.
const MOST: usize = 511;

/// 1.5 times two to the power of 23, where floats are one apart: adding it rounds to an integer.
const ROUND: f32 = 12_582_912.0;

/// Quantises the absolute values of a vector's coordinates into `bytes`, as `|x| / step` rounded down; `bytes` past its
/// end are set to 0. Returns the scale for decoding: `x` is about `(2 * byte + 1) * scale`, with the sign of `x`. The
/// scale of the zero vector is 0.
#[cfg(any(test, feature = "build"))]
pub(crate) fn encode(vector: &[f32], bytes: &mut [u8]) -> f32 {
    let largest = vector.iter().fold(0f32, |max, v| max.max(v.abs()));
    let up = if largest > 0.0 { 256.0 / largest } else { 0.0 };
    bytes.fill(0);
    // The least-squares scale, which is not exactly half a step.
    let (mut product, mut square) = (0f32, 0f32);
    for (byte, v) in bytes.iter_mut().zip(vector) {
        *byte = (v.abs() * up).min(255.0) as u8;
        let odd = f32::from(2 * u16::from(*byte) + 1);
        product += odd * v.abs();
        square += odd * odd;
    }
    if square > 0.0 { product / square } else { 0.0 }
}

/// A query quantised to 16-bit integers. Its rounding error is negligible against that of the codes, and products with
/// codes are exact in 32 bits, so that every CPU computes the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct EncodedQuery {
    values: Vec<i16>,
    unit: f32,
}

impl EncodedQuery {
    /// Quantises a vector and pads it with zeros to `stride` coordinates.
    pub(crate) fn set(&mut self, vector: &[f32], stride: usize) {
        // Largest integer, so that a product with the largest code fits 32 bits.
        let most = (i32::MAX as usize / (MOST * stride.max(1))).min(i16::MAX as usize) as f32;
        let largest = vector.iter().fold(0f32, |max, v| max.max(v.abs()));
        let up = if largest > 0.0 { most / largest } else { 0.0 };
        self.unit = largest / most;
        self.values.clear();
        // The low bits of the sum are the nearest integer, ties to even; this vectorises, a call to round does not.
        self.values.extend(vector.iter().map(|v| (v * up + ROUND).to_bits() as i16));
        self.values.resize(stride, 0);
    }

    /// The quantised coordinates.
    pub(crate) fn values(&self) -> &[i16] {
        &self.values
    }

    /// The unit of the quantised coordinates.
    pub(crate) fn unit(&self) -> f32 {
        self.unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;
    use crate::vector::float::dot;
    use crate::vector::layout::{signs_len, stride};
    use crate::vector::{CodeKernels, sign};
    use magpie_cpu::Isa;
    use proptest::prelude::*;

    fn product(bytes: &[u8], signs: &[u32], query: &EncodedQuery) -> i32 {
        let mut product = [0];
        let scalar = CodeKernels::new(Isa::Scalar).expect("always there");
        scalar.dot_signed(bytes, signs, query.values(), &[0], &mut product);
        product[0]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn a_product_of_query_and_code_approximates_the_exact_one(
            pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 1..300),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let exact = dot(&a, &b);
            let mut bytes = vec![0; stride(a.len())];
            let scale = encode(&a, &mut bytes);
            let mut block = vec![0; signs_len(a.len())];
            sign::put(&mut block, 5, &a);
            let mut signs = vec![0; bytes.len() / 32];
            sign::take(&block, 5, &mut signs);
            let mut query = EncodedQuery::default();
            query.set(&b, bytes.len());
            let coded = product(&bytes, &signs, &query) as f32 * scale * query.unit();
            prop_assert!((exact - coded).abs() < 0.003 * (a.len() as f32).sqrt(), "{exact} {coded}");
        }
    }

    #[test]
    fn the_query_is_rounded_to_the_nearest_integers() {
        let vector: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut query = EncodedQuery::default();
        query.set(&vector, 1024);
        let most = (i32::MAX as usize / (MOST * 1024)).min(i16::MAX as usize) as f32;
        let largest = vector.iter().fold(0f32, |max, v| max.max(v.abs()));
        let rounded: Vec<i16> = vector.iter().map(|v| (v * (most / largest)).round_ties_even() as i16).collect();
        assert_eq!(query.values()[..1000], rounded);
    }

    #[test]
    fn zero_vectors_and_the_longest_ones_stay_in_range() {
        let mut bytes = vec![1; 32];
        assert_eq!((encode(&[0.0; 4], &mut bytes), &bytes[..]), (0.0, &[0; 32][..]));
        let mut query = EncodedQuery::default();
        query.set(&[0.0; 4], 32);
        assert_eq!((query.values(), query.unit()), (&[0; 32][..], 0.0));
        // The largest possible product.
        for dim in [128, 4096] {
            query.set(&vec![1.0; dim], dim);
            assert!(product(&vec![255; dim], &vec![u32::MAX; dim / 32], &query) > i32::MAX / 2);
        }
    }
}
