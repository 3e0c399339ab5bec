//! The steps of a planned network, and the conditions under which they may run.

use std::ops::Range;

use super::kernels::Int8Kernels;
use super::lanes::Requantise;
use super::matrix::OVERREAD;
use super::operands::WindowShape;
use crate::arena::{SLACK, Span};
use crate::graph::Scale;
use crate::weights::{PackedDepthwise, PackedMatrix};

/// Pixels per im2col: their patches are laid out together, then multiplied, so that they stay in the cache.
pub(super) const PATCHES: usize = 96;

/// The most pixels that an average is taken over: their sum has to fit an i32.
pub(crate) const MAX_AVERAGED: usize = 1 << 20;

/// Factors between the scales of an elementwise layer are below this, so that 255 * 255 times them fits an i32.
pub(crate) const MAX_RATIO: f32 = 1000.0;

/// One step of a network. It reads `x`, `a` and `b`, and writes `out`.
pub(crate) enum Step {
    /// Quantises an input: planes of f32 to pixels of bytes.
    Quantise { input: usize, channels: usize, scale: f32, to: Requantise, out: Span },
    /// Dequantises pixels of bytes to planes of f32.
    Dequantise { x: Span, channels: usize, from: Scale, out: Span },
    /// A 1 x 1 convolution or a fully connected layer. Where another step of its group writes `x`, it has a `tail` with
    /// [`tail_bytes`] for each thread, into which the last rows of a share are copied.
    Product { matrix: PackedMatrix, x: Span, tail: Option<Span>, to: Requantise, out: Span },
    /// A fully connected layer whose results stay f32.
    ProductFloats { matrix: PackedMatrix, x: Span, out: Span },
    /// Any other dense convolution: im2col into `patches`, then a product. `padding` is a stored byte. `patches` has
    /// [`patch_bytes`] for each thread.
    Dense {
        matrix: PackedMatrix,
        window: WindowShape,
        channels: usize,
        padding: u8,
        x: Span,
        patches: Span,
        to: Requantise,
        out: Span,
    },
    /// Depthwise convolution.
    Depthwise {
        kernels: &'static Int8Kernels,
        filters: PackedDepthwise,
        window: WindowShape,
        x: Span,
        to: Requantise,
        out: Span,
    },
    /// Sum of two values.
    Add { a: Span, b: Span, from: [Scale; 2], to: Requantise, out: Span },
    /// Product of two values. `b` may be a single pixel.
    Multiply { a: Span, b: Span, zeros: [u8; 2], factor: f32, to: Requantise, out: Span },
    /// Mean over all pixels. `sums` has one i32 per channel.
    AveragePool { x: Span, zero: u8, factor: f32, to: Requantise, sums: Span, out: Span },
    /// Maximum over a window.
    MaxPool { window: WindowShape, channels: usize, x: Span, out: Span },
    /// Table lookup of every byte.
    Table { table: Box<[u8; 256]>, x: Span, out: Span },
}

impl Step {
    /// The spans that the step reads, and those that it writes.
    pub(super) fn spans(&self) -> (Vec<Span>, Vec<Span>) {
        match *self {
            Step::Quantise { out, .. } => (vec![], vec![out]),
            Step::Dequantise { x, out, .. }
            | Step::Product { x, tail: None, out, .. }
            | Step::ProductFloats { x, out, .. }
            | Step::Depthwise { x, out, .. }
            | Step::MaxPool { x, out, .. }
            | Step::Table { x, out, .. } => (vec![x], vec![out]),
            Step::Dense { x, patches: scratch, out, .. }
            | Step::AveragePool { x, sums: scratch, out, .. }
            | Step::Product { x, tail: Some(scratch), out, .. } => (vec![x], vec![scratch, out]),
            Step::Add { a, b, out, .. } | Step::Multiply { a, b, out, .. } => (vec![a, b], vec![out]),
        }
    }

    /// Whether weights were packed for the kernels that read them. A depthwise step may have kernels of its own, as long as
    /// they are of the same instruction set.
    fn is_packed_for(&self, kernels: &Int8Kernels) -> bool {
        match self {
            Step::Product { matrix, .. } | Step::ProductFloats { matrix, .. } | Step::Dense { matrix, .. } => {
                matrix.layout() == kernels.layout()
            }
            Step::Depthwise { kernels: own, filters, .. } => {
                own.isa() == kernels.isa()
                    && own.layout().signed == kernels.layout().signed
                    && own.layout() == filters.layout()
            }
            _ => true,
        }
    }

    /// Whether rows of a picture of this height and width can be computed separately.
    fn has_rows(&self, [height, width]: [usize; 2]) -> bool {
        let pixels = height * width;
        match self {
            Step::Depthwise { window, .. } | Step::Dense { window, .. } | Step::MaxPool { window, .. } => {
                [window.out_height, window.out_width] == [height, width]
            }
            _ => self.spans().0.iter().all(|x| self.is_pointwise(*x, pixels) || self.is_broadcast(*x, pixels)),
        }
    }

    /// Whether each of `pixels` pixels of the result depends only on the same pixel of `span`, one of those that are read.
    fn is_pointwise(&self, span: Span, pixels: usize) -> bool {
        let whole = |span: &Span| pixels > 0 && span.length.is_multiple_of(pixels);
        match self {
            Step::Product { matrix, x, out, .. } => whole(x) && out.length == pixels * matrix.columns(),
            Step::Add { out, .. } | Step::Table { out, .. } => whole(out),
            Step::Multiply { a, .. } => whole(a) && span.length == a.length,
            _ => false,
        }
    }

    /// Whether kernels read nothing but the pixels of their share. Products read up to 15 bytes behind them, which another
    /// thread may be writing, unless they have a copy of the last ones.
    fn reads_no_further(&self) -> bool {
        !matches!(self, Step::Product { tail: None, .. })
    }

    /// Whether `span` is a single pixel that goes into every one of `pixels` pixels of the result.
    fn is_broadcast(&self, span: Span, pixels: usize) -> bool {
        matches!(self, Step::Multiply { a, b, .. } if *b == span && b.length * pixels == a.length)
    }

    /// Whether the step does what its kernels require: weights in their layout, spans of the right sizes, factors that keep
    /// results in range.
    pub(super) fn fits(&self, kernels: &Int8Kernels, inputs: &[usize], threads: usize) -> bool {
        self.is_packed_for(kernels) && self.has_sizes(inputs, threads) && self.stays_in_range()
    }

    /// Whether elementwise results fit an i32 before they are clamped, see `elementwise`.
    fn stays_in_range(&self) -> bool {
        let is_ratio = |factor: f32| (0.0..MAX_RATIO).contains(&factor);
        match self {
            Step::Add { from, .. } => from.iter().all(|scale| is_ratio(scale.factor)),
            Step::Multiply { factor, .. } => is_ratio(*factor),
            Step::AveragePool { x, out, factor, .. } => {
                let pixels = x.length / out.length;
                // The factor was divided by the number of pixels and rounded: half of it is compared.
                pixels <= MAX_AVERAGED && is_ratio(0.5 * *factor * pixels as f32)
            }
            _ => true,
        }
    }

    /// Whether the sizes of the spans match what the step does with them.
    fn has_sizes(&self, inputs: &[usize], threads: usize) -> bool {
        let pixels = |w: &WindowShape| w.height * w.width;
        let out_pixels = |w: &WindowShape| w.out_height * w.out_width;
        let is = |span: Span, a: usize, b: usize| a.checked_mul(b) == Some(span.length);
        match self {
            Step::Quantise { input, channels, out, .. } => {
                inputs.get(*input) == Some(&out.length) && *channels > 0 && out.length.is_multiple_of(*channels)
            }
            Step::Dequantise { x, channels, out, .. } => {
                *channels > 0
                    && x.length.is_multiple_of(*channels)
                    && is(*out, x.length, 4)
                    && out.start.is_multiple_of(4)
            }
            Step::Product { matrix, x, tail, out, .. } => {
                let depth = x.length / (out.length / matrix.columns()).max(1);
                matrix.quads() == depth.div_ceil(4)
                    && out.length.is_multiple_of(matrix.columns())
                    && is(*x, out.length / matrix.columns(), depth)
                    && tail.is_none_or(|tail| tail.length >= threads * tail_bytes(depth))
            }
            Step::ProductFloats { matrix, x, out } => {
                matrix.quads() == x.length.div_ceil(4) && is(*out, matrix.columns(), 4) && out.start.is_multiple_of(4)
            }
            Step::Dense { matrix, window: w, channels, x, patches, out, .. } => {
                let depth = w.kernel[0] * w.kernel[1] * channels;
                matrix.quads() == depth.div_ceil(4)
                    && is(*x, pixels(w), *channels)
                    && is(*out, out_pixels(w), matrix.columns())
                    && patches.length >= threads * (PATCHES * matrix.quads() * 4 + SLACK)
                    && w.kernel.iter().all(|&k| k > 0)
            }
            Step::Depthwise { filters: f, window: w, x, out, .. } => {
                is(*x, pixels(w), f.channels()) && is(*out, out_pixels(w), f.channels()) && f.kernel() == w.kernel
            }
            Step::Add { a, b, out, .. } => a.length == b.length && a.length == out.length,
            Step::Multiply { a, b, out, .. } => {
                a.length == out.length && b.length > 0 && a.length.is_multiple_of(b.length)
            }
            Step::AveragePool { x, sums, out, .. } => {
                out.length > 0
                    && x.length.is_multiple_of(out.length)
                    && is(*sums, out.length, 4)
                    && sums.start.is_multiple_of(4)
            }
            Step::MaxPool { window: w, channels, x, out } => {
                is(*x, pixels(w), *channels) && is(*out, out_pixels(w), *channels)
            }
            Step::Table { x, out, .. } => x.length == out.length,
        }
    }
}

/// Consecutive steps that each thread runs for its rows of the picture, without waiting for the other threads in between.
///
/// The first step may read neighbouring pixels. Of the group's own values, the others read only the pixel that they write.
#[derive(Debug, Clone)]
pub(crate) struct StepGroup {
    pub(crate) steps: Range<usize>,
    /// Height and width of every result, if there is more than one step.
    pub(crate) size: [usize; 2],
}

impl StepGroup {
    pub(super) fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Whether one thread may run any of the steps while another thread runs any other of them.
    pub(super) fn fits(&self, steps: &[Step]) -> bool {
        let Some(steps) = steps.get(self.steps.clone()) else { return false };
        if steps.len() < 2 {
            return true;
        }
        steps.iter().enumerate().all(|(at, step)| {
            let (read, written) = step.spans();
            let others = steps.iter().enumerate().filter(|(other, _)| *other != at);
            // What another step writes must be what this one reads pixel by pixel, or lie apart from it.
            let apart = others.flat_map(|(other, step)| step.spans().1.into_iter().map(move |span| (other, span))).all(
                |(other, span)| {
                    let same = |x: &Span| {
                        *x == span && other < at && step.is_pointwise(*x, self.pixels()) && step.reads_no_further()
                    };
                    written.iter().all(|out| !out.overlaps(span)) && read.iter().all(|x| !x.overlaps(span) || same(x))
                },
            );
            apart && step.has_rows(self.size)
        })
    }
}

/// Bytes of the patches of a dense convolution, for each thread.
pub(crate) fn patch_bytes(quads: usize) -> usize {
    PATCHES * quads * 4 + SLACK
}

/// The rows at the end of a share of a product that are copied: a multiple of 12, which most heights of tiles divide, and
/// so many that the rows before them are followed by at least [`OVERREAD`] bytes of the share.
pub(super) fn tail_rows(depth: usize) -> usize {
    const ROWS: usize = 12;
    ROWS * (OVERREAD + 1).div_ceil(ROWS * depth.max(1))
}

/// Bytes of the copied rows of a product, for each thread.
pub(crate) fn tail_bytes(depth: usize) -> usize {
    tail_rows(depth) * depth + SLACK
}
