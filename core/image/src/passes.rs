//! The two passes of the separable resampler: the vertical pass first, then the horizontal one, with bytes in between.
//!
//! The vertical pass makes a band of target rows at the width of the source, which is then transposed. This makes the
//! horizontal pass a weighted sum of rows too, for any number of colours and without horizontal sums in a register. Its
//! result is transposed back.

use super::region::Region;
use super::rows::{BLOCK, RowLayout};
use super::simd::{ResampleKernels, TILE};
use super::taps::{Coefficients, Taps};
use crate::recipe::ResizeFilter;

/// A region of the stored picture, in columns and rows.
pub(super) struct Area {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Area {
    pub(super) fn new(region: Region) -> Self {
        Area {
            left: region.x as usize,
            top: region.y as usize,
            width: region.width as usize,
            height: region.height as usize,
        }
    }

    /// The weights of the vertical and the horizontal pass that resize the area to `to`.
    pub(super) fn coefficients(&self, to: (u32, u32), filter: ResizeFilter) -> [Coefficients; 2] {
        [(self.height, to.1), (self.width, to.0)].map(|(from, to)| Coefficients::new(filter, from, to as usize))
    }

    /// The same weights in fixed point.
    pub(super) fn taps(&self, to: (u32, u32), filter: ResizeFilter) -> [Taps; 2] {
        self.coefficients(to, filter).map(|pass| pass.taps())
    }
}

/// The vertical pass: makes one target row at the width of the source.
pub(super) trait Columns<const N: usize> {
    /// The layout of the rows.
    fn layout(&self) -> RowLayout<N>;

    /// Makes a row. `into` has at least the length of the layout.
    fn row(&mut self, target: usize, into: &mut [u8]);
}

/// Runs both passes and returns `to.1` rows of `to.0` pixels with interleaved colours.
///
/// `taps` are those of the horizontal pass; their positions count from the first samples of the layout.
pub(super) fn shrink<const N: usize>(
    source: &mut impl Columns<N>,
    taps: &Taps,
    to: (u32, u32),
    kernels: &ResampleKernels,
) -> Vec<u8> {
    let (width, height) = (N * to.0 as usize, to.1 as usize);
    if width == 0 {
        return Vec::new();
    }
    let layout = source.layout();
    let (length, padded) = (layout.length.next_multiple_of(TILE), width.next_multiple_of(TILE));
    let (mut band, mut columns) = (vec![0; BLOCK * length], vec![0; BLOCK * length]);
    let (mut small, mut rows) = (vec![0; BLOCK * padded], vec![0; BLOCK * padded]);
    let mut out = Vec::with_capacity(width * height);
    for top in (0..height).step_by(BLOCK) {
        let count = BLOCK.min(height - top);
        for (row, into) in band.chunks_exact_mut(length).take(count).enumerate() {
            source.row(top + row, into);
        }
        kernels.transpose(&band, BLOCK, &mut columns);
        kernels.across(&columns, &layout, taps, &mut small);
        kernels.transpose(&small, padded, &mut rows);
        for row in rows.chunks_exact(padded).take(count) {
            out.extend_from_slice(&row[..width]);
        }
    }
    out
}
