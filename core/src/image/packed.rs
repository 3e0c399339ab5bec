//! Pictures whose pixels are a few bytes side by side: photos, and cameras' RGBA and BGRA.

use super::frame::Plane;
use super::passes::{Area, Columns, shrink};
use super::simd::{BLOCK, Kernels, RowLayout, Rows};
use super::taps::{Coefficients, Taps};
use crate::recipe::Filter;

/// Red, green and blue of the area at the target's size, interleaved. They are at `order` in pixels of `BYTES` bytes.
///
/// The plane was checked: all of the area's pixels are there.
pub(super) fn rgb<const BYTES: usize>(
    plane: &Plane<'_>,
    order: [usize; 3],
    area: &Area,
    to: (u32, u32),
    filter: Filter,
    kernels: &Kernels,
) -> Vec<u8> {
    let down = Coefficients::new(filter, area.height, to.1 as usize).taps();
    let across = Coefficients::new(filter, area.width, to.0 as usize).taps();
    shrink(&mut Packed::<BYTES> { plane, order, area, down, kernels }, &across, to, kernels)
}

struct Packed<'a, const BYTES: usize> {
    plane: &'a Plane<'a>,
    /// Where red, green and blue are.
    order: [usize; 3],
    area: &'a Area,
    down: Taps,
    kernels: &'a Kernels,
}

impl<const BYTES: usize> Columns<3> for Packed<'_, BYTES> {
    fn layout(&self) -> RowLayout<3> {
        RowLayout { first: self.order, step: BYTES, length: BYTES * self.area.width }
    }

    fn row(&mut self, target: usize, into: &mut [u8]) {
        let (first, weights) = self.down.window(target);
        let samples = Samples { plane: self.plane, group: BYTES, row: self.area.top + first, column: self.area.left };
        let into = &mut into[..BYTES * self.area.width];
        samples.each(weights.len(), into, |rows, into| {
            self.kernels.down_bytes(rows, weights, self.down.precision, into);
        });
    }
}

/// Samples of a plane from a row and column on, `group` bytes at each column.
pub(super) struct Samples<'a> {
    pub(super) plane: &'a Plane<'a>,
    pub(super) group: usize,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl Samples<'_> {
    /// Calls `sum` with so many rows that are as long as `into`: once where the samples lie side by side, else with
    /// copies, block by block.
    pub(super) fn each<P>(&self, rows: usize, into: &mut [P], mut sum: impl FnMut(Rows<'_>, &mut [P])) {
        let Plane { bytes, row_stride, pixel_stride } = *self.plane;
        let bytes = &bytes[self.row * row_stride + self.column * pixel_stride..];
        if pixel_stride == self.group {
            return sum(Rows { bytes, stride: row_stride }, into);
        }
        let mut copies = vec![0; rows * BLOCK];
        for (block, into) in into.chunks_mut(BLOCK).enumerate() {
            for (row, copy) in copies.chunks_exact_mut(BLOCK).enumerate() {
                for (at, copy) in copy[..into.len()].iter_mut().enumerate() {
                    let at = block * BLOCK + at;
                    *copy = bytes[row * row_stride + at / self.group * pixel_stride + at % self.group];
                }
            }
            sum(Rows { bytes: &copies, stride: BLOCK }, into);
        }
    }
}
