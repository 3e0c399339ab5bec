//! The two passes of the resampler: down the columns first, then along the rows, as Pillow's resizer would in turn.
//!
//! A band of target rows is made at the width of the source, and transposed. The second pass is then the same sum of
//! rows as the first, for any number of colours and without sums across a register; its results are turned back.

use super::region::Region;
use super::simd::{BLOCK, Kernels, RowLayout, TILE};
use super::taps::{Coefficients, Taps};
use crate::recipe::Filter;

/// The region in the stored picture, by columns and rows.
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

    /// The weights down its columns and along its rows that make it this wide and high.
    pub(super) fn coefficients(&self, to: (u32, u32), filter: Filter) -> [Coefficients; 2] {
        [(self.height, to.1), (self.width, to.0)].map(|(from, to)| Coefficients::new(filter, from, to as usize))
    }

    /// The same as integers.
    pub(super) fn taps(&self, to: (u32, u32), filter: Filter) -> [Taps; 2] {
        self.coefficients(to, filter).map(|pass| pass.taps())
    }
}

/// The first pass: one target row at the width of the source.
pub(super) trait Columns<const N: usize> {
    /// How the rows are laid out.
    fn layout(&self) -> RowLayout<N>;

    /// Makes a row; `into` has at least the layout's length.
    fn row(&mut self, target: usize, into: &mut [u8]);
}

/// Both passes, `to.1` rows; the colours come out interleaved. `taps` are the second pass's, from the layout's first
/// samples on.
pub(super) fn shrink<const N: usize>(
    source: &mut impl Columns<N>,
    taps: &Taps,
    to: (u32, u32),
    kernels: &Kernels,
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
