//! Compares every instruction set of this CPU with plain Rust.

use super::*;
use crate::taps::Coefficients;
use crate::test_support::{any_filter, cases};
use crate::yuv::YuvRange;
use proptest::prelude::*;

fn all() -> impl Iterator<Item = &'static ResampleKernels> {
    Isa::available().filter_map(ResampleKernels::of)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    /// Every instruction set gives the same as sums that are taken one by one.
    #[test]
    fn down_is_the_sum_of_bytes_times_weights(
        length in 1usize..200, padding in 0usize..9, from in 1usize..40, to in 1usize..20, seed: u64,
        filter in any_filter(),
    ) {
        let stride = length + padding;
        let bytes: Vec<u8> = noise(seed, stride * from - padding);
        let taps = Coefficients::new(filter, from, to).taps();
        for target in 0..to {
            let (first, weights) = taps.window(target);
            let rows = Rows { bytes: &bytes[first * stride..], stride };
            let (mut words, mut small) = (vec![0; length], vec![0; length]);
            sum_short(rows, weights, taps.precision, &mut small, |sum| sum.clamp(0, 255) as u8);
            sum_short(rows, weights, taps.precision - 6, &mut words, |sum| sum as i16);
            for kernels in all() {
                let (mut into, mut wide) = (vec![7; length], vec![7; length]);
                kernels.down_bytes(rows, weights, taps.precision, &mut into);
                kernels.down_words(rows, weights, taps.precision - 6, &mut wide);
                prop_assert_eq!(&into, &small, "{}", kernels.isa);
                prop_assert_eq!(&wide, &words, "{}", kernels.isa);
            }
        }
    }

    #[test]
    fn across_is_down_of_the_transposed(
        width in 1usize..60, to in 1usize..30, seed: u64, planar: bool,
        filter in any_filter(),
    ) {
        let length = (3 * width).next_multiple_of(TILE);
        let layout = match planar {
            true => RowLayout { first: [0, width, 2 * width], step: 1, length },
            false => RowLayout { first: [2, 1, 0], step: 3, length },
        };
        let rows = noise(seed, BLOCK * length);
        let taps = Coefficients::new(filter, width, to).taps();
        for kernels in all() {
            let (mut columns, mut into) = (vec![0; rows.len()], vec![0; 3 * to * BLOCK]);
            kernels.transpose(&rows, BLOCK, &mut columns);
            for (at, byte) in columns.iter().enumerate() {
                prop_assert_eq!(*byte, rows[at % BLOCK * length + at / BLOCK]);
            }
            kernels.across(&columns, &layout, &taps, &mut into);
            for (at, byte) in into.iter().enumerate() {
                let (row, colour, target) = (at % BLOCK, at / BLOCK % 3, at / BLOCK / 3);
                let (first, weights) = taps.window(target);
                let samples = &rows[row * length + layout.first[colour] + first * layout.step..];
                let mut expected = [0];
                let samples = Rows { bytes: samples, stride: layout.step };
                sum_short(samples, weights, taps.precision, &mut expected, |sum| sum.clamp(0, 255) as u8);
                prop_assert_eq!(*byte, expected[0], "{}", kernels.isa);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    /// The sums are like those of filters: within the range of bytes, or beyond it if weights are negative.
    #[test]
    fn colours_are_the_same_on_every_cpu(
        blocks in 1usize..4, values in proptest::collection::vec(-4000i16..20_000, 2 * 3 * 32), video: bool, calm: bool,
    ) {
        let matrix = ColourMatrix::new(if video { YuvRange::Bt709Video } else { YuvRange::Bt601Full });
        let row = |from: usize, length: usize| values.iter().cycle().skip(from).take(length).copied().collect();
        let sums: [Vec<i16>; 3] = [row(0, 32 * blocks), row(50, 16 * blocks), row(90, 16 * blocks)];
        let (mut expected, mut grey) = (vec![0; 96 * blocks], vec![0; 32 * blocks]);
        matrix.colour(&sums, &mut expected);
        matrix.grey(&sums[0], &mut grey);
        let bytes: Vec<u8> = values.iter().map(|value| (value >> 5) as u8).collect();
        let strip = |from: usize| Rows { bytes: &bytes[from..], stride: 32 };
        let strip = Strip { luma: strip(0), chroma: [strip(1), strip(9)], odd: video };
        let long = matrix.convert_then_sum(&strip, &[3, -1, 1 << 10, 2, 40], 10);
        let leaves = |extend: &dyn Fn(&mut Extremes, &[u8])| {
            let mut extremes = [blocks * 32, blocks * 16, blocks * 16].map(Extremes::new);
            for (at, extremes) in extremes.iter_mut().enumerate() {
                let rows = bytes.chunks(37).map(|row| row.repeat(3));
                // Either colours far from the edge of the gamut, or arbitrary ones.
                let rows = rows.map(|row| row.iter().map(|v| if calm { 116 + v % 24 } else { *v }).collect());
                rows.for_each(|row: Vec<u8>| extend(extremes, &row[at..]));
            }
            extremes
        };
        let extremes = leaves(&Extremes::add);
        let mut outside = vec![false; blocks];
        matrix.leaves_gamut(&extremes, &mut outside);
        prop_assert!(!calm || !outside.contains(&true));
        for kernels in all() {
            let (mut into, mut wide) = (vec![7; 96 * blocks], vec![7; 32 * blocks]);
            kernels.colour(&matrix, &sums, &mut into);
            kernels.grey(&matrix, &sums[0], &mut wide);
            prop_assert_eq!(&into, &expected, "{}", kernels.isa);
            prop_assert_eq!(&wide, &grey, "{}", kernels.isa);
            prop_assert_eq!(kernels.convert_then_sum(&matrix, &strip, &[3, -1, 1 << 10, 2, 40], 10), long);
            let extremes = leaves(&|extremes, row| kernels.extend(extremes, row));
            let mut found = vec![false; blocks];
            kernels.leaves_gamut(&matrix, &extremes, &mut found);
            prop_assert_eq!(&found, &outside, "{}", kernels.isa);
        }
    }
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}
