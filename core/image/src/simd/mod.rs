//! The kernels of the resampler, and their selection by instruction set.
//!
//! Each kernel is written once, over the trait [`Lanes`](lanes::Lanes), and compiled for each instruction set in a
//! function that enables it. All give the same bytes: sums of bytes times 16-bit weights in 32-bit integers are exact.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
mod generic;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use magpie_cpu::Isa;

use generic::down;
pub(super) use lanes::TILE;

use super::rows::{BLOCK, RowLayout, Rows};
use super::taps::Taps;
use super::yuv::{ColourMatrix, Extremes, Strip};

/// The kernels of one instruction set.
#[allow(clippy::type_complexity)] // plain functions, each called in one place
pub(super) struct ResampleKernels {
    isa: Isa,
    down_bytes: unsafe fn(Rows<'_>, &[i16], u32, &mut [u8]),
    down_words: unsafe fn(Rows<'_>, &[i16], u32, &mut [i16]),
    across: unsafe fn(&[u8], &[usize], usize, &Taps, &mut [u8]),
    transpose: unsafe fn(&[u8], usize, &mut [u8]),
    grey: unsafe fn(&ColourMatrix, &[i16], &mut [u8]),
    colour: unsafe fn(&ColourMatrix, &[Vec<i16>; 3], &mut [u8]),
    convert_then_sum: unsafe fn(&ColourMatrix, &Strip<'_>, &[i16], u32) -> [[u8; BLOCK]; 3],
    leaves_gamut: unsafe fn(&ColourMatrix, &[Extremes; 3], &mut [bool]),
    extend: unsafe fn(&mut Extremes, &[u8]),
}

/// Compiles every kernel for one instruction set.
macro_rules! kernels {
    ($name:ident, $isa:expr, $lanes:ty $(, $features:literal)?) => {
        static $name: ResampleKernels = {
            /// # Safety
            /// As `generic::down`.
            $(#[target_feature(enable = $features)])?
            unsafe fn down_bytes(rows: Rows<'_>, weights: &[i16], shift: u32, into: &mut [u8]) {
                // SAFETY: the caller makes the same guarantee.
                unsafe { down::<$lanes, u8>(rows, weights, shift, into) }
            }
            /// # Safety
            /// As `generic::down`.
            $(#[target_feature(enable = $features)])?
            unsafe fn down_words(rows: Rows<'_>, weights: &[i16], shift: u32, into: &mut [i16]) {
                // SAFETY: the caller makes the same guarantee.
                unsafe { down::<$lanes, i16>(rows, weights, shift, into) }
            }
            /// # Safety
            /// As `generic::across`.
            $(#[target_feature(enable = $features)])?
            unsafe fn across(columns: &[u8], first: &[usize], step: usize, taps: &Taps, into: &mut [u8]) {
                // SAFETY: the caller makes the same guarantee.
                unsafe { generic::across::<$lanes>(columns, first, step, taps, into) }
            }
            /// # Safety
            /// As `generic::transpose`.
            $(#[target_feature(enable = $features)])?
            unsafe fn transpose(from: &[u8], rows: usize, to: &mut [u8]) {
                // SAFETY: the caller makes the same guarantee.
                unsafe { generic::transpose::<$lanes>(from, rows, to) }
            }
            $(#[target_feature(enable = $features)])?
            fn grey(matrix: &ColourMatrix, luma: &[i16], into: &mut [u8]) {
                matrix.grey(luma, into);
            }
            $(#[target_feature(enable = $features)])?
            fn colour(matrix: &ColourMatrix, sums: &[Vec<i16>; 3], into: &mut [u8]) {
                matrix.colour(sums, into);
            }
            $(#[target_feature(enable = $features)])?
            fn convert_then_sum(matrix: &ColourMatrix, strip: &Strip<'_>, weights: &[i16], shift: u32) -> [[u8; BLOCK]; 3] {
                matrix.convert_then_sum(strip, weights, shift)
            }
            $(#[target_feature(enable = $features)])?
            fn leaves_gamut(matrix: &ColourMatrix, extremes: &[Extremes; 3], into: &mut [bool]) {
                matrix.leaves_gamut(extremes, into);
            }
            $(#[target_feature(enable = $features)])?
            fn extend(extremes: &mut Extremes, row: &[u8]) {
                extremes.add(row);
            }
            ResampleKernels {
                isa: $isa,
                down_bytes,
                down_words,
                across,
                transpose,
                grey,
                colour,
                convert_then_sum,
                leaves_gamut,
                extend,
            }
        };
    };
}

// The functions inside of the statics have the names of what they call.
mod compiled {
    use super::*;

    kernels!(SCALAR, Isa::Scalar, scalar::Scalar);
    #[cfg(target_arch = "x86_64")]
    kernels!(AVX2, Isa::Avx2, avx2::Avx2, "avx2");
    #[cfg(target_arch = "aarch64")]
    kernels!(NEON, Isa::Neon, neon::Neon, "neon");

    impl ResampleKernels {
        /// The kernels for an instruction set, or `None` if this CPU does not have it or it has no kernels of its own.
        pub(crate) fn of(isa: Isa) -> Option<&'static ResampleKernels> {
            #[cfg(target_arch = "x86_64")]
            let all = [&SCALAR, &AVX2];
            #[cfg(target_arch = "aarch64")]
            let all = [&SCALAR, &NEON];
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            let all = [&SCALAR];
            all.into_iter().find(|kernels| kernels.isa == isa && isa.is_available())
        }

        /// The fastest kernels that this CPU can run.
        pub(crate) fn best() -> &'static ResampleKernels {
            [Isa::Avx2, Isa::Neon].into_iter().find_map(ResampleKernels::of).unwrap_or(&SCALAR)
        }
    }
}

impl ResampleKernels {
    /// The weighted sum of rows, as bytes: one row of the length of `into`. The weights have `shift` fractional bits.
    pub(super) fn down_bytes(&self, rows: Rows<'_>, weights: &[i16], shift: u32, into: &mut [u8]) {
        let end = weights.len().checked_sub(1).map_or(0, |last| last * rows.stride + into.len());
        assert!(end <= rows.bytes.len());
        if into.len() < BLOCK {
            return sum_short(rows, weights, shift, into, |sum| sum.clamp(0, 255) as u8);
        }
        // SAFETY: `of` checked the instruction set; the rows and the length of `into` were checked above.
        unsafe { (self.down_bytes)(rows, weights, shift, into) }
    }

    /// The weighted sum of rows, as words. The weights have `shift` fractional bits more than the results.
    pub(super) fn down_words(&self, rows: Rows<'_>, weights: &[i16], shift: u32, into: &mut [i16]) {
        let end = weights.len().checked_sub(1).map_or(0, |last| last * rows.stride + into.len());
        assert!(end <= rows.bytes.len());
        if into.len() < BLOCK {
            return sum_short(rows, weights, shift, into, |sum| sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16);
        }
        // SAFETY: `of` checked the instruction set; the rows and the length of `into` were checked above.
        unsafe { (self.down_words)(rows, weights, shift, into) }
    }

    /// The horizontal pass over [`BLOCK`] transposed rows: sample `s` of all of them is at `s * BLOCK`. The results are
    /// transposed too, target by target, with the colours of each target side by side.
    pub(super) fn across<const N: usize>(&self, columns: &[u8], of: &RowLayout<N>, taps: &Taps, into: &mut [u8]) {
        const { assert!(N > 0, "a row has at least one colour") };
        let last = of.first.into_iter().max().unwrap_or(0);
        for target in 0..taps.len() {
            let (start, weights) = taps.window(target);
            let end = (start + weights.len()).checked_sub(1).map_or(0, |at| last + at * of.step + 1);
            assert!(end * BLOCK <= columns.len());
        }
        assert!(taps.len() * N * BLOCK <= into.len());
        // SAFETY: `of` checked the instruction set; windows and results were checked above.
        unsafe { (self.across)(columns, &of.first, of.step, taps, into) }
    }

    /// Transposes `from`, which has `rows` rows, into `to`.
    pub(super) fn transpose(&self, from: &[u8], rows: usize, to: &mut [u8]) {
        assert!(rows > 0 && rows.is_multiple_of(TILE) && from.len().is_multiple_of(rows * TILE));
        assert!(from.len() == to.len());
        // SAFETY: `of` checked the instruction set; sides and lengths were checked above.
        unsafe { (self.transpose)(from, rows, to) }
    }

    /// [`ColourMatrix::grey`].
    pub(super) fn grey(&self, matrix: &ColourMatrix, luma: &[i16], into: &mut [u8]) {
        // SAFETY: `of` checked the instruction set; the function itself is safe.
        unsafe { (self.grey)(matrix, luma, into) }
    }

    /// [`ColourMatrix::colour`].
    pub(super) fn colour(&self, matrix: &ColourMatrix, sums: &[Vec<i16>; 3], into: &mut [u8]) {
        // SAFETY: `of` checked the instruction set.
        unsafe { (self.colour)(matrix, sums, into) }
    }

    /// [`ColourMatrix::convert_then_sum`].
    pub(super) fn convert_then_sum(
        &self,
        matrix: &ColourMatrix,
        strip: &Strip<'_>,
        weights: &[i16],
        shift: u32,
    ) -> [[u8; BLOCK]; 3] {
        // SAFETY: `of` checked the instruction set.
        unsafe { (self.convert_then_sum)(matrix, strip, weights, shift) }
    }

    /// [`ColourMatrix::leaves_gamut`].
    pub(super) fn leaves_gamut(&self, matrix: &ColourMatrix, extremes: &[Extremes; 3], into: &mut [bool]) {
        // SAFETY: `of` checked the instruction set.
        unsafe { (self.leaves_gamut)(matrix, extremes, into) }
    }

    /// [`Extremes::add`].
    pub(super) fn extend(&self, extremes: &mut Extremes, row: &[u8]) {
        // SAFETY: `of` checked the instruction set.
        unsafe { (self.extend)(extremes, row) }
    }
}

/// The weighted sum of rows that are shorter than a block.
fn sum_short<O>(rows: Rows<'_>, weights: &[i16], shift: u32, into: &mut [O], narrow: impl Fn(i32) -> O) {
    for (at, into) in into.iter_mut().enumerate() {
        let samples = rows.bytes[at..].iter().step_by(rows.stride.max(1));
        let sum: i32 = samples.zip(weights).map(|(byte, weight)| i32::from(*byte) * i32::from(*weight)).sum();
        *into = narrow((sum + (1 << shift >> 1)) >> shift);
    }
}

#[cfg(test)]
mod tests;
