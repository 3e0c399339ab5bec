//! The kernels, generic over the instruction set.

use super::lanes::{Lanes, TILE};
use crate::rows::{BLOCK, Rows};
use crate::taps::Taps;

/// The type of a result: bytes, or words with fractional bits.
pub(super) trait SumOutput: Copy {
    /// # Safety
    ///
    /// As [`Lanes`]; `to` has room for `BLOCK` results.
    unsafe fn store<L: Lanes>(to: *mut Self, sums: L::Sums, shift: u32);
}

impl SumOutput for u8 {
    #[inline(always)]
    unsafe fn store<L: Lanes>(to: *mut u8, sums: L::Sums, shift: u32) {
        // SAFETY: the caller makes the same guarantee.
        unsafe { L::store_bytes(sums, shift, to) }
    }
}

impl SumOutput for i16 {
    #[inline(always)]
    unsafe fn store<L: Lanes>(to: *mut i16, sums: L::Sums, shift: u32) {
        // SAFETY: the caller makes the same guarantee.
        unsafe { L::store_words(sums, shift, to) }
    }
}

/// The weighted sum of rows: the vertical pass.
///
/// # Safety
///
/// The CPU has the instruction set. `into` has at least [`BLOCK`] elements, and every row with a weight is at least as
/// long as `into`.
#[inline(always)]
pub(super) unsafe fn down<L: Lanes, O: SumOutput>(rows: Rows<'_>, weights: &[i16], shift: u32, into: &mut [O]) {
    let half = 1 << shift >> 1;
    let (from, to) = (rows.bytes.as_ptr(), into.as_mut_ptr());
    let mut at = 0;
    // SAFETY: no block reaches past the end of `into` (the last one overlaps the one before), and the caller guarantees
    // that the rows are as long.
    unsafe {
        while at + 2 * BLOCK <= into.len() {
            let sums = L::sums::<2>(from.add(at), rows.stride, weights, half);
            O::store::<L>(to.add(at), sums[0], shift);
            O::store::<L>(to.add(at + BLOCK), sums[1], shift);
            at += 2 * BLOCK;
        }
        while at < into.len() {
            let start = at.min(into.len() - BLOCK);
            let [sums] = L::sums::<1>(from.add(start), rows.stride, weights, half);
            O::store::<L>(to.add(start), sums, shift);
            at += BLOCK;
        }
    }
}

/// The weighted sums of transposed columns: the horizontal pass.
///
/// # Safety
///
/// The CPU has the instruction set. `columns` covers all windows and `into` all results, with [`BLOCK`] bytes for each.
#[inline(always)]
pub(super) unsafe fn across<L: Lanes>(columns: &[u8], first: &[usize], step: usize, taps: &Taps, into: &mut [u8]) {
    let half = 1 << taps.precision >> 1;
    let mut to = into.as_mut_ptr();
    for target in 0..taps.len() {
        let (start, weights) = taps.window(target);
        for first in first {
            // SAFETY: guaranteed by the caller.
            unsafe {
                let from = columns.as_ptr().add((first + start * step) * BLOCK);
                let [sums] = L::sums::<1>(from, step * BLOCK, weights, half);
                L::store_bytes(sums, taps.precision, to);
                to = to.add(BLOCK);
            }
        }
    }
}

/// Transposes a matrix of bytes, tile by tile.
///
/// # Safety
///
/// The CPU has the instruction set. Both sides are multiples of [`TILE`], and both slices have the same length.
#[inline(always)]
pub(super) unsafe fn transpose<L: Lanes>(from: &[u8], rows: usize, to: &mut [u8]) {
    let columns = from.len() / rows;
    for row in (0..rows).step_by(TILE) {
        for column in (0..columns).step_by(TILE) {
            // SAFETY: the tile lies inside both slices.
            unsafe {
                let from = from.as_ptr().add(row * columns + column);
                let mut lines: [L::Bytes; TILE] = std::array::from_fn(|line| L::load(from.add(line * columns)));
                // Each round moves one bit of a byte's row number to its column number.
                for _ in 0..TILE.ilog2() {
                    let zipped: [[L::Bytes; 2]; TILE / 2] =
                        std::array::from_fn(|line| L::zip(lines[line], lines[line + TILE / 2]));
                    lines = std::array::from_fn(|line| zipped[line / 2][line % 2]);
                }
                let to = to.as_mut_ptr().add(column * rows + row);
                for (line, bytes) in lines.into_iter().enumerate() {
                    L::store(bytes, to.add(line * rows));
                }
            }
        }
    }
}
