//! The steps of a network, and what must hold of them before they may run.

use std::ops::Range;

use super::kernels::Kernels;
use super::lanes::Requantise;
use super::operands::Window;
use crate::arena::{SLACK, Span};
use crate::graph::Scale;
use crate::weights::{Depthwise, Matrix};

/// Pixels whose patches are laid out together.
pub(super) const PATCHES: usize = 96;

/// One step of a network. `x`, `a` and `b` are read, `out` is written.
pub(in super::super) enum Step {
    /// An input's planes of f32 to pixels of bytes.
    Quantise { input: usize, channels: usize, scale: f32, to: Requantise, out: Span },
    /// Pixels of bytes to planes of f32.
    Dequantise { x: Span, channels: usize, from: Scale, out: Span },
    /// Convolution 1 x 1, or a fully connected layer.
    Product { matrix: Matrix, x: Span, to: Requantise, out: Span },
    /// A fully connected layer whose results stay f32.
    Floats { matrix: Matrix, x: Span, out: Span },
    /// Any other dense convolution: a product of patches. `padding` is a stored byte.
    Dense {
        matrix: Matrix,
        window: Window,
        channels: usize,
        padding: u8,
        x: Span,
        patches: Span,
        to: Requantise,
        out: Span,
    },
    /// Depthwise convolution.
    Depthwise { kernels: &'static Kernels, filters: Depthwise, window: Window, x: Span, to: Requantise, out: Span },
    /// Sum of two values.
    Add { a: Span, b: Span, from: [Scale; 2], to: Requantise, out: Span },
    /// Product of two values; `b` may have one pixel only.
    Multiply { a: Span, b: Span, zeros: [u8; 2], factor: f32, to: Requantise, out: Span },
    /// Mean over all pixels. `sums` has room for an i32 a channel.
    Average { x: Span, zero: u8, factor: f32, to: Requantise, sums: Span, out: Span },
    /// Maximum over a window.
    Largest { window: Window, channels: usize, x: Span, out: Span },
    /// Each byte looked up.
    Table { table: Box<[u8; 256]>, x: Span, out: Span },
}

impl Step {
    /// What is read, and what is written.
    pub(super) fn spans(&self) -> (Vec<Span>, Vec<Span>) {
        match *self {
            Step::Quantise { out, .. } => (vec![], vec![out]),
            Step::Dequantise { x, out, .. }
            | Step::Product { x, out, .. }
            | Step::Floats { x, out, .. }
            | Step::Depthwise { x, out, .. }
            | Step::Largest { x, out, .. }
            | Step::Table { x, out, .. } => (vec![x], vec![out]),
            Step::Dense { x, patches: scratch, out, .. } | Step::Average { x, sums: scratch, out, .. } => {
                (vec![x], vec![scratch, out])
            }
            Step::Add { a, b, out, .. } | Step::Multiply { a, b, out, .. } => (vec![a, b], vec![out]),
        }
    }

    /// Whether it can be cut into rows of a picture of this height and width.
    fn has_rows(&self, [height, width]: [usize; 2]) -> bool {
        let pixels = height * width;
        match self {
            Step::Depthwise { window, .. } | Step::Dense { window, .. } | Step::Largest { window, .. } => {
                [window.out_height, window.out_width] == [height, width]
            }
            _ => self.is_plain(pixels),
        }
    }

    /// Whether each of so many pixels is made of the same pixel of what is read, or of what is the same for all.
    fn is_plain(&self, pixels: usize) -> bool {
        let whole = |span: &Span| pixels > 0 && span.length.is_multiple_of(pixels);
        match self {
            Step::Product { matrix, x, out, .. } => whole(x) && out.length == pixels * matrix.columns,
            Step::Add { out, .. } | Step::Table { out, .. } => whole(out),
            Step::Multiply { a, b, .. } => whole(a) && (b.length == a.length || b.length * pixels == a.length),
            _ => false,
        }
    }

    /// Whether the sizes of its spans fit what it does with them.
    pub(super) fn fits(&self, inputs: &[usize], threads: usize) -> bool {
        let pixels = |w: &Window| w.height * w.width;
        let out_pixels = |w: &Window| w.out_height * w.out_width;
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
            Step::Product { matrix, x, out, .. } => {
                let depth = x.length / (out.length / matrix.columns).max(1);
                matrix.quads == depth.div_ceil(4)
                    && out.length.is_multiple_of(matrix.columns)
                    && is(*x, out.length / matrix.columns, depth)
            }
            Step::Floats { matrix, x, out } => {
                matrix.quads == x.length.div_ceil(4) && is(*out, matrix.columns, 4) && out.start.is_multiple_of(4)
            }
            Step::Dense { matrix, window: w, channels, x, patches, out, .. } => {
                let depth = w.kernel[0] * w.kernel[1] * channels;
                matrix.quads == depth.div_ceil(4)
                    && is(*x, pixels(w), *channels)
                    && is(*out, out_pixels(w), matrix.columns)
                    && patches.length >= threads * (PATCHES * matrix.quads * 4 + SLACK)
                    && w.kernel.iter().all(|&k| k > 0)
            }
            Step::Depthwise { filters: f, window: w, x, out, .. } => {
                is(*x, pixels(w), f.channels) && is(*out, out_pixels(w), f.channels) && f.fits(w.kernel)
            }
            Step::Add { a, b, out, .. } => a.length == b.length && a.length == out.length,
            Step::Multiply { a, b, out, .. } => {
                a.length == out.length && b.length > 0 && a.length.is_multiple_of(b.length)
            }
            Step::Average { x, sums, out, .. } => {
                out.length > 0
                    && x.length.is_multiple_of(out.length)
                    && is(*sums, out.length, 4)
                    && sums.start.is_multiple_of(4)
            }
            Step::Largest { window: w, channels, x, out } => {
                is(*x, pixels(w), *channels) && is(*out, out_pixels(w), *channels)
            }
            Step::Table { x, out, .. } => x.length == out.length,
        }
    }
}

/// Steps that a thread does one after the other for some rows of the picture, while other threads do others.
///
/// The first step may read pixels around its own; the others read the same pixels only of what the group writes.
#[derive(Debug, Clone)]
pub(in super::super) struct Group {
    pub(in super::super) steps: Range<usize>,
    /// Height and width of what they write, where there is more than one step.
    pub(in super::super) size: [usize; 2],
}

impl Group {
    pub(super) fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Whether a thread may be at any step while another is at any other.
    pub(super) fn fits(&self, steps: &[Step]) -> bool {
        let Some(steps) = steps.get(self.steps.clone()) else { return false };
        if steps.len() < 2 {
            return true;
        }
        steps.iter().enumerate().all(|(at, step)| {
            let (read, written) = step.spans();
            let others = steps.iter().enumerate().filter(|(other, _)| *other != at);
            // What another step writes is the same pixels of what this one reads, or apart from it.
            let apart = others.flat_map(|(other, step)| step.spans().1.into_iter().map(move |span| (other, span))).all(
                |(other, span)| {
                    let same = |x: &Span| *x == span && other < at && step.is_plain(self.pixels());
                    written.iter().all(|out| !out.overlaps(span)) && read.iter().all(|x| !x.overlaps(span) || same(x))
                },
            );
            apart && step.has_rows(self.size)
        })
    }
}

/// Bytes that the patches of a dense convolution take, for each thread.
pub(in super::super) fn patch_bytes(quads: usize) -> usize {
    PATCHES * quads * 4 + SLACK
}
