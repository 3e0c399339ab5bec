//! From the coefficients of a block to 8 x 8, 4 x 4, 2 x 2 samples, or one.
//!
//! The smaller sizes are the means of what 8 x 8 samples would be, to which some coefficients add nothing. All is integer
//! arithmetic, so that every CPU gives the same samples. Constants have 13 bits after the point, and so do the products
//! with them; between the two passes two bits are kept. Sums wrap: only coefficients that no picture has are so large.

use std::num::Wrapping;

type W = Wrapping<i32>;

/// Bits after the point of a constant.
const POINT: usize = 13;
/// Bits after the point that columns have more than coefficients.
const KEPT: usize = 2;

/// Writes a block of `size` x `size` samples, 1, 2, 4 or 8. Rows start `stride` apart.
#[inline]
pub(super) fn inverse(size: usize, block: &[i16; 64], table: &[u16; 64], to: &mut [u8], stride: usize) {
    match size {
        8 if block[1..].iter().all(|&value| value == 0) => {
            let sample = mean(i32::from(block[0]), table);
            to.chunks_mut(stride).take(8).for_each(|row| row[..8].fill(sample));
        }
        8 => two_passes::<8>(block, table, to, stride, eight, [POINT - KEPT, POINT + KEPT + 3]),
        4 => two_passes::<4>(block, table, to, stride, four, [POINT - KEPT + 1, POINT + KEPT + 3 + 1]),
        2 => two_passes::<2>(block, table, to, stride, two, [POINT - KEPT + 2, POINT + KEPT + 3 + 2]),
        _ => to[0] = mean(i32::from(block[0]), table),
    }
}

/// The mean of a block, from its first coefficient.
#[inline(always)]
pub(super) fn mean(first: i32, table: &[u16; 64]) -> u8 {
    sample((Wrapping(first) * Wrapping(i32::from(table[0])) + Wrapping(4)) >> 3)
}

fn sample(value: W) -> u8 {
    (value + Wrapping(128)).0.clamp(0, 255) as u8
}

/// Transforms the columns and then the rows. `shifts` remove the bits after the point that each pass adds.
#[inline(always)]
fn two_passes<const N: usize>(
    block: &[i16; 64],
    table: &[u16; 64],
    to: &mut [u8],
    stride: usize,
    pass: impl Fn([W; 8]) -> [W; N],
    shifts: [usize; 2],
) {
    let round = |value: W, shift: usize| (value + Wrapping(1 << (shift - 1))) >> shift;
    let mut columns = [[Wrapping(0); 8]; N];
    for x in 0..8 {
        let at = |y: usize| Wrapping(i32::from(block[8 * y + x])) * Wrapping(i32::from(table[8 * y + x]));
        // Most columns have nothing below their first coefficient.
        if (1..8).all(|y| block[8 * y + x] == 0) {
            let value = at(0) << KEPT;
            columns.iter_mut().for_each(|row| row[x] = value);
            continue;
        }
        let column = pass(std::array::from_fn(at));
        for (row, value) in columns.iter_mut().zip(column) {
            row[x] = round(value, shifts[0]);
        }
    }
    for (row, to) in columns.into_iter().zip(to.chunks_mut(stride)) {
        for (value, to) in pass(row).into_iter().zip(to) {
            *to = sample(round(value, shifts[1]));
        }
    }
}

/// Products with constants, given as they are times 2^13.
fn sum<const N: usize>(values: [W; N], constants: [i32; N]) -> W {
    values.into_iter().zip(constants).map(|(value, constant)| value * Wrapping(constant)).sum()
}

/// Eight samples from eight coefficients, after Loeffler, Ligtenberg and Moschytz: eleven multiplications.
#[inline(always)]
fn eight(c: [W; 8]) -> [W; 8] {
    // The even coefficients: a rotation by 6 pi / 16.
    let turned = (c[2] + c[6]) * Wrapping(4433);
    let (low, high) = (turned - c[6] * Wrapping(15137), turned + c[2] * Wrapping(6270));
    let (plus, minus) = ((c[0] + c[4]) << POINT, (c[0] - c[4]) << POINT);
    let even = [plus + high, minus + low, minus - low, plus - high];
    // The odd ones.
    let (z1, z2, z3, z4) = (c[7] + c[1], c[5] + c[3], c[7] + c[3], c[5] + c[1]);
    let z5 = (z3 + z4) * Wrapping(9633);
    let (z1, z2) = (z1 * Wrapping(-7373), z2 * Wrapping(-20995));
    let (z3, z4) = (z3 * Wrapping(-16069) + z5, z4 * Wrapping(-3196) + z5);
    let odd = [
        c[1] * Wrapping(12299) + z1 + z4,
        c[3] * Wrapping(25172) + z2 + z3,
        c[5] * Wrapping(16819) + z2 + z4,
        c[7] * Wrapping(2446) + z1 + z3,
    ];
    std::array::from_fn(|at| if at < 4 { even[at] + odd[at] } else { even[7 - at] - odd[7 - at] })
}

/// The means of pairs of the eight samples, times two. The coefficient 4 adds nothing to them.
#[inline(always)]
fn four(c: [W; 8]) -> [W; 4] {
    let first = c[0] << (POINT + 1);
    let second = sum([c[2], c[6]], [15137, -6270]);
    let (outer, inner) = (first + second, first - second);
    let odd = [c[1], c[3], c[5], c[7]];
    let (outer_odd, inner_odd) = (sum(odd, [20995, 7373, -4926, -4176]), sum(odd, [8697, -17799, 11893, -1730]));
    [outer + outer_odd, inner + inner_odd, inner - inner_odd, outer - outer_odd]
}

/// The means of each half of the eight samples, times four. Of the even coefficients only the first adds to them.
#[inline(always)]
fn two(c: [W; 8]) -> [W; 2] {
    let (even, odd) = (c[0] << (POINT + 2), sum([c[1], c[3], c[5], c[7]], [29692, -10426, 6967, -5906]));
    [even + odd, even - odd]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::cases;
    use proptest::prelude::*;

    /// The 8 x 8 samples by the definition, without rounding.
    fn exact(block: &[i16; 64], table: &[u16; 64]) -> [[f64; 8]; 8] {
        use std::f64::consts::{FRAC_1_SQRT_2, PI};
        let wave = |x: usize, u: usize| {
            let scale = if u == 0 { FRAC_1_SQRT_2 } else { 1.0 };
            scale * ((2 * x + 1) as f64 * u as f64 * PI / 16.0).cos() / 2.0
        };
        std::array::from_fn(|y| {
            std::array::from_fn(|x| {
                let part = |at: usize| f64::from(block[at]) * f64::from(table[at]) * wave(x, at % 8) * wave(y, at / 8);
                128.0 + (0..64).map(part).sum::<f64>()
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(4000)))]

        /// Every size is the mean of the exact samples, but for rounding.
        #[test]
        fn sizes_are_means_of_the_exact_transform(
            first in -80i16..80,
            others in prop::collection::vec((1usize..64, -12i16..12), 0..20),
            quant in 1u16..12,
        ) {
            let (mut block, table) = ([0; 64], std::array::from_fn(|at| quant + at as u16 / 8));
            block[0] = first;
            others.into_iter().for_each(|(at, value)| block[at] = value);
            let exact = exact(&block, &table);
            for size in [1, 2, 4, 8] {
                let (side, stride) = (8 / size, size + 3);
                let mut found = vec![77; size * stride];
                inverse(size, &block, &table, &mut found, stride);
                for (y, x) in (0..size).flat_map(|y| (0..size).map(move |x| (y, x))) {
                    let parts = (0..side * side).map(|at| exact[side * y + at / side][side * x + at % side]);
                    let mean = (parts.sum::<f64>() / (side * side) as f64).clamp(0.0, 255.0);
                    let off = (mean - f64::from(found[y * stride + x])).abs();
                    prop_assert!(off < 0.6, "{size}: {x}, {y}: {mean}, {}", found[y * stride + x]);
                }
                let outside = found.chunks(stride).all(|row| row[size..].iter().all(|&v| v == 77));
                prop_assert!(size == 1 || outside);
            }
        }

        /// Nonsense gives some samples, and no overflow.
        #[test]
        fn any_coefficients_give_samples(block in any::<[i16; 32]>(), quant in any::<u16>()) {
            let block: [i16; 64] = std::array::from_fn(|at| block[at / 2]);
            for size in [1, 2, 4, 8] {
                inverse(size, &block, &[quant; 64], &mut [0; 64], 8);
            }
        }
    }
}
