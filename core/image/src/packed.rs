//! Resamples pictures with interleaved colours: decoded photos, and RGBA and BGRA of cameras.

use super::passes::{Area, Columns, shrink};
use super::pixels::Plane;
use super::rows::{BLOCK, RowLayout, Rows};
use super::simd::ResampleKernels;
use super::taps::Taps;
use crate::recipe::ResizeFilter;

/// Resizes the area to `to` and returns interleaved red, green and blue.
///
/// A pixel has `BYTES` bytes, with red, green and blue at the positions in `order`. The plane must have been checked to
/// hold all of the area's pixels.
pub(super) fn rgb<const BYTES: usize>(
    plane: &Plane<'_>,
    order: [usize; 3],
    area: &Area,
    to: (u32, u32),
    filter: ResizeFilter,
    kernels: &ResampleKernels,
) -> Vec<u8> {
    let [down, across] = area.taps(to, filter);
    shrink(&mut Packed::<BYTES> { plane, order, area, down, kernels }, &across, to, kernels)
}

struct Packed<'a, const BYTES: usize> {
    plane: &'a Plane<'a>,
    /// Positions of red, green and blue in a pixel.
    order: [usize; 3],
    area: &'a Area,
    down: Taps,
    kernels: &'a ResampleKernels,
}

impl<const BYTES: usize> Columns<3> for Packed<'_, BYTES> {
    fn layout(&self) -> RowLayout<3> {
        RowLayout { first: self.order, step: BYTES, length: BYTES * self.area.width }
    }

    fn row(&mut self, target: usize, into: &mut [u8]) {
        let (first, weights) = self.down.window(target);
        let into = &mut into[..BYTES * self.area.width];
        let Plane { bytes, row_stride, pixel_stride } = *self.plane;
        let bytes = &bytes[(self.area.top + first) * row_stride + self.area.left * pixel_stride..];
        let precision = self.down.precision;
        if pixel_stride == BYTES {
            return self.kernels.down_bytes(Rows { bytes, stride: row_stride }, weights, precision, into);
        }
        // Pixels with unused bytes between them are packed first, block by block.
        let mut copies = vec![0; weights.len() * BLOCK];
        for (block, into) in into.chunks_mut(BLOCK).enumerate() {
            for (row, copy) in copies.chunks_exact_mut(BLOCK).enumerate() {
                for (at, copy) in copy[..into.len()].iter_mut().enumerate() {
                    let at = block * BLOCK + at;
                    *copy = bytes[row * row_stride + at / BYTES * pixel_stride + at % BYTES];
                }
            }
            self.kernels.down_bytes(Rows { bytes: &copies, stride: BLOCK }, weights, precision, into);
        }
    }
}
