//! Resamples YUV 4:2:0: a luma plane, and chroma planes at half the resolution.
//!
//! Resampling and the colour matrix are both linear, so luma and chroma are resampled separately, in a quarter of the
//! time of converting every pixel. That is only correct if no pixel's colour has to be clamped. Blocks with such pixels
//! (noise, saturated edges) are found first, by the extremes of luma and chroma. There, every pixel is converted before
//! it is summed.
//!
//! With a filter that overshoots, this is done for all blocks: the two ways round differently, by at most one level,
//! and the negative weights of the horizontal pass could make two levels of it.

use std::borrow::Cow;

use super::passes::{Area, Columns, shrink};
use super::pixels::Plane;
use super::rows::{BLOCK, RowLayout, Rows};
use super::simd::ResampleKernels;
use super::taps::{self, Coefficients, FRACTION, Taps};
use super::yuv::{ColourMatrix, Extremes, HALF, Strip};
use crate::recipe::ResizeFilter;

/// Resizes the area to `to` and returns interleaved red, green and blue. The planes must have been checked.
pub(super) fn rgb(
    planes: [&Plane<'_>; 3],
    matrix: ColourMatrix,
    area: &Area,
    to: (u32, u32),
    filter: ResizeFilter,
    kernels: &ResampleKernels,
) -> Vec<u8> {
    let [down, across] = area.coefficients(to, filter);
    let mut yuv = Yuv::new(planes, matrix, area, &down, kernels);
    if !taps::overshoots(filter) {
        yuv.find_clamped();
    }
    shrink(&mut yuv, &across.taps(), to, kernels)
}

/// Resizes the luma of the area to `to`. The result is 0 to 255 whatever the range of the pixels.
pub(super) fn grey(
    plane: &Plane<'_>,
    matrix: ColourMatrix,
    area: &Area,
    to: (u32, u32),
    filter: ResizeFilter,
    kernels: &ResampleKernels,
) -> Vec<u8> {
    let [down, across] = area.taps(to, filter);
    let luma = Samples::new(plane, (area.left, area.top), (area.width, area.height));
    let sums = vec![0; area.width.next_multiple_of(BLOCK)];
    shrink(&mut Grey { luma, matrix, down, sums, kernels }, &across, to, kernels)
}

/// The vertical pass over luma alone.
struct Grey<'a> {
    luma: Samples<'a>,
    matrix: ColourMatrix,
    down: Taps,
    sums: Vec<i16>,
    kernels: &'a ResampleKernels,
}

impl Columns<1> for Grey<'_> {
    fn layout(&self) -> RowLayout<1> {
        RowLayout { first: [0], step: 1, length: self.sums.len() }
    }

    fn row(&mut self, target: usize, into: &mut [u8]) {
        let (first, weights) = self.down.window(target);
        let (rows, shift) = (self.luma.from(first, 0), self.down.precision - FRACTION);
        self.kernels.down_words(rows, weights, shift, &mut self.sums[..self.luma.columns]);
        self.kernels.grey(&self.matrix, &self.sums, &mut into[..self.sums.len()]);
    }
}

/// The vertical pass over luma and chroma.
struct Yuv<'a> {
    /// From the area's first row on. It starts at an even column, where a chroma sample starts: the area's first column
    /// or the one to its left.
    luma: Samples<'a>,
    /// U and V, from the same column on.
    chroma: [Samples<'a>; 2],
    matrix: ColourMatrix,
    area: &'a Area,
    down: Taps,
    /// For chroma rows, counted from the top of the frame.
    chroma_down: Taps,
    /// By group of chroma rows, then by block: whether pixels have to be converted before they are summed. Empty if all
    /// have to be.
    clamped: Vec<bool>,
    /// Resampled rows of luma, U and V, in whole blocks.
    sums: [Vec<i16>; 3],
    kernels: &'a ResampleKernels,
}

/// Chroma rows whose extremes are taken together. More would cost less per row, and find more blocks that only look as
/// if they had to be clamped.
const GROUP: usize = 4;

/// The number of chroma rows that the area touches.
fn chroma_rows(area: &Area) -> usize {
    (area.top + area.height).div_ceil(2) - area.top / 2
}

impl<'a> Yuv<'a> {
    fn new(
        [y, u, v]: [&'a Plane<'a>; 3],
        matrix: ColourMatrix,
        area: &'a Area,
        down: &Coefficients,
        kernels: &'a ResampleKernels,
    ) -> Self {
        let (chroma_down, down) = (down.halved(area.top).taps(), down.taps());
        let (top, left, odd) = (area.top / 2, area.left / 2, area.left % 2);
        let (width, rows) = (odd + area.width, chroma_rows(area));
        let luma = Samples::new(y, (2 * left, area.top), (width, area.height));
        let chroma = [u, v].map(|plane| Samples::new(plane, (left, top), (width.div_ceil(2), rows)));
        let length = width.next_multiple_of(BLOCK);
        let sums = [length, length / 2, length / 2].map(|length| vec![0; length]);
        Yuv { luma, chroma, matrix, area, down, chroma_down, clamped: Vec::new(), sums, kernels }
    }

    /// Finds the blocks with colours that may have to be clamped.
    fn find_clamped(&mut self) {
        let rows = chroma_rows(self.area);
        let in_row = self.sums[0].len() / BLOCK;
        self.clamped = vec![false; rows.div_ceil(GROUP) * in_row];
        let mut extremes = self.sums.each_ref().map(|sums| Extremes::new(sums.len()));
        let odd = self.area.top % 2;
        for (group, clamped) in self.clamped.chunks_exact_mut(in_row).enumerate() {
            let (first, last) = (group * GROUP, (group * GROUP + GROUP).min(rows));
            extremes.iter_mut().for_each(Extremes::clear);
            let [luma, chroma @ ..] = &mut extremes;
            for row in (2 * first).saturating_sub(odd)..(2 * last - odd).min(self.area.height) {
                self.kernels.extend(luma, self.luma.row(row));
            }
            for (extremes, plane) in chroma.iter_mut().zip(&self.chroma) {
                for row in first..last {
                    self.kernels.extend(extremes, plane.row(row));
                }
            }
            self.kernels.leaves_gamut(&self.matrix, &extremes, clamped);
        }
    }

    /// The first chroma row of a target row, counted from the area's first one, and the weights.
    fn chroma_window(&self, target: usize) -> (usize, &[i16]) {
        let (first, weights) = self.chroma_down.window(target);
        (first - self.area.top / 2, weights)
    }

    /// Resamples a target row of luma and chroma into `sums`, not yet converted.
    fn sum(&mut self, target: usize) {
        let mut sums = std::mem::take(&mut self.sums);
        let (first, weights) = self.down.window(target);
        let shift = self.down.precision - FRACTION;
        self.kernels.down_words(self.luma.from(first, 0), weights, shift, &mut sums[0][..self.luma.columns]);
        let (first, weights) = self.chroma_window(target);
        let shift = self.chroma_down.precision - FRACTION;
        for (plane, into) in self.chroma.iter().zip(&mut sums[1..]) {
            self.kernels.down_words(plane.from(first, 0), weights, shift, &mut into[..plane.columns]);
        }
        self.sums = sums;
    }
}

impl Columns<3> for Yuv<'_> {
    fn layout(&self) -> RowLayout<3> {
        let (length, lead) = (self.sums[0].len(), self.area.left % 2);
        RowLayout { first: [0, 1, 2].map(|colour| colour * length + lead), step: 1, length: 3 * length }
    }

    fn row(&mut self, target: usize, into: &mut [u8]) {
        let length = self.sums[0].len();
        if !self.clamped.is_empty() {
            self.sum(target);
            self.kernels.colour(&self.matrix, &self.sums, into);
        }
        let (chroma_first, chroma_weights) = self.chroma_window(target);
        let (first, weights) = self.down.window(target);
        let odd = (self.area.top + first) % 2 == 1;
        let in_row = length / BLOCK;
        let groups = chroma_first / GROUP..(chroma_first + chroma_weights.len()).div_ceil(GROUP);
        let clamped = self.clamped.get(groups.start * in_row..groups.end * in_row);
        debug_assert!(clamped.is_some() || self.clamped.is_empty(), "the window lies in the area");
        for block in 0..in_row {
            if clamped.is_some_and(|rows| !rows.iter().skip(block).step_by(in_row).any(|clamped| *clamped)) {
                continue;
            }
            let chroma = self.chroma.each_ref().map(|plane| plane.from(chroma_first, block * HALF));
            let strip = Strip { luma: self.luma.from(first, block * BLOCK), chroma, odd };
            let colours = self.kernels.convert_then_sum(&self.matrix, &strip, weights, self.down.precision);
            for (row, colour) in into.chunks_exact_mut(length).zip(colours) {
                row[block * BLOCK..][..BLOCK].copy_from_slice(&colour);
            }
        }
    }
}

/// A part of a plane with contiguous samples: the plane itself, or a copy if its pixel stride is not 1.
struct Samples<'a> {
    bytes: Cow<'a, [u8]>,
    row_stride: usize,
    columns: usize,
}

impl<'a> Samples<'a> {
    /// The plane must have been checked to hold these samples.
    fn new(plane: &Plane<'a>, (left, top): (usize, usize), (columns, rows): (usize, usize)) -> Self {
        let stride = plane.pixel_stride;
        let bytes = &plane.bytes[top * plane.row_stride + left * stride..];
        if stride == 1 {
            return Samples { bytes: Cow::Borrowed(bytes), row_stride: plane.row_stride, columns };
        }
        let mut copy = vec![0; columns * rows];
        for (row, copy) in copy.chunks_exact_mut(columns).enumerate() {
            // The last row may end with its last sample, without padding.
            let row = &bytes[row * plane.row_stride..][..(columns - 1) * stride + 1];
            if stride == 2 {
                // Compilers vectorise the loop over pairs.
                let (pairs, last) = row.as_chunks::<2>();
                for (sample, pair) in copy.iter_mut().zip(pairs) {
                    *sample = u16::from_le_bytes(*pair) as u8;
                }
                copy[columns - 1] = last[0];
            } else {
                for (sample, from) in copy.iter_mut().zip(row.iter().step_by(stride)) {
                    *sample = *from;
                }
            }
        }
        Samples { bytes: Cow::Owned(copy), row_stride: columns, columns }
    }

    fn row(&self, row: usize) -> &[u8] {
        &self.bytes[row * self.row_stride..][..self.columns]
    }

    fn from(&self, row: usize, column: usize) -> Rows<'_> {
        Rows { bytes: &self.bytes[row * self.row_stride + column..], stride: self.row_stride }
    }
}
