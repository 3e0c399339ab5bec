//! The operands of the kernels.

use std::ops::Range;

use super::lanes::Requantise;
use crate::weights::{PackedDepthwise, PackedMatrix};

/// One of the shares that a step's work is divided into.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorkShare {
    /// Below `of`.
    pub(super) index: usize,
    /// The number of shares.
    pub(super) of: usize,
}

impl WorkShare {
    /// All of the work.
    pub(super) const WHOLE: WorkShare = WorkShare { index: 0, of: 1 };

    /// This share of `0..total`, cut at multiples of `unit`.
    pub(super) fn part(self, total: usize, unit: usize) -> Range<usize> {
        let units = total.div_ceil(unit);
        let at = |index: usize| (units * index / self.of * unit).min(total);
        at(self.index)..at(self.index + 1)
    }
}

/// A window that slides over a picture. Sizes are in pixels; pairs are vertical first, then horizontal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowShape {
    /// Height and width of the picture.
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Height and width of the result.
    pub(crate) out_height: usize,
    pub(crate) out_width: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Above and to the left. The padding below and to the right follows from the size of the result.
    pub(crate) padding: [usize; 2],
}

/// Where a matrix product writes its rows of `columns` results each.
#[derive(Clone, Copy)]
pub(super) enum Sink {
    /// Requantised bytes.
    Bytes(*mut u8, Requantise),
    /// f32.
    Floats(*mut f32),
}

/// A product of `rows` rows of activations with a packed matrix.
pub(super) struct Product<'a> {
    pub(super) matrix: &'a PackedMatrix,
    /// The first activation of the first row.
    pub(super) x: *const u8,
    /// Bytes from a row of activations to the next.
    pub(super) x_step: usize,
    /// Where column 0 of the first row goes.
    pub(super) out: Sink,
    pub(super) rows: usize,
}

/// A depthwise convolution of a whole picture.
pub(super) struct Convolution<'a> {
    pub(super) filters: &'a PackedDepthwise,
    pub(super) window: WindowShape,
    pub(super) x: *const u8,
    pub(super) out: *mut u8,
    pub(super) to: Requantise,
}
