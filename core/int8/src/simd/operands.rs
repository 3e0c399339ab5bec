//! What kernels work on.

use std::ops::Range;

use super::lanes::Requantise;
use crate::weights::{Depthwise, Matrix};

/// Which share of a step a thread does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// From 0.
    pub(super) index: usize,
    /// Threads in all.
    pub(super) of: usize,
}

impl Job {
    /// The share of `total` things, in multiples of `unit`.
    pub(super) fn part(self, total: usize, unit: usize) -> Range<usize> {
        let units = total.div_ceil(unit);
        let at = |index: usize| (units * index / self.of * unit).min(total);
        at(self.index)..at(self.index + 1)
    }
}

/// A window that moves over a picture: sizes are rows first, then columns.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Window {
    pub(in super::super) height: usize,
    pub(in super::super) width: usize,
    pub(in super::super) out_height: usize,
    pub(in super::super) out_width: usize,
    pub(in super::super) kernel: [usize; 2],
    pub(in super::super) stride: [usize; 2],
    /// Rows above, columns to the left. What is missing below and to the right follows from the output's size.
    pub(in super::super) padding: [usize; 2],
}

/// Where the results of a product go.
#[derive(Clone, Copy)]
pub(super) enum Sink {
    /// Stored bytes, `columns` a row.
    Bytes(*mut u8, Requantise),
    /// Numbers, `columns` a row.
    Floats(*mut f32),
}

/// What one product works on.
pub(super) struct Product<'a> {
    pub(super) matrix: &'a Matrix,
    /// First activation of the first row.
    pub(super) x: *const u8,
    /// Bytes from one row of activations to the next.
    pub(super) x_step: usize,
    /// Where column 0 of the first row goes: bytes or f32.
    pub(super) out: Sink,
    pub(super) rows: usize,
}

/// What one convolution works on.
pub(super) struct Convolution<'a> {
    pub(super) filters: &'a Depthwise,
    pub(super) window: Window,
    pub(super) x: *const u8,
    pub(super) out: *mut u8,
    pub(super) to: Requantise,
}
