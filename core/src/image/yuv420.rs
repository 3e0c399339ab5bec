//! Camera frames as luma and chroma planes.
//!
//! Resampling and the colour matrix are both linear, so luma and chroma are resampled apart, in a quarter of the time of
//! converting every pixel. That is only right where no pixel's colour has to be clamped. Blocks with such pixels
//! (noise, saturated edges) are found first and take the long way: every pixel is converted before it is summed.

use super::frame::Plane;
use super::packed::Samples;
use super::passes::{Area, Columns, shrink};
use super::simd::{Kernels, RowLayout};
use super::taps::{Coefficients, Taps};
use super::yuv::{BLOCK, FRACTION, HALF, Matrix, each};
use crate::recipe::Filter;

/// Red, green and blue of the area at the target's size, interleaved. The planes were checked.
pub(super) fn rgb(
    planes: [&Plane<'_>; 3],
    matrix: Matrix,
    area: &Area,
    to: (u32, u32),
    filter: Filter,
    kernels: &Kernels,
) -> Vec<u8> {
    let across = Coefficients::new(filter, area.width, to.0 as usize).taps();
    shrink(&mut Yuv::new(planes, matrix, area, to, filter, kernels), &across, to, kernels)
}

/// Luma of the area at the target's size, 0 to 255 whatever the range of the pixels.
pub(super) fn grey(
    plane: &Plane<'_>,
    matrix: Matrix,
    area: &Area,
    to: (u32, u32),
    filter: Filter,
    kernels: &Kernels,
) -> Vec<u8> {
    let down = Coefficients::new(filter, area.height, to.1 as usize).taps();
    let across = Coefficients::new(filter, area.width, to.0 as usize).taps();
    let sums = vec![0; area.width.next_multiple_of(BLOCK)];
    shrink(&mut Grey { plane, matrix, area, down, sums, kernels }, &across, to, kernels)
}

/// The luma plane alone.
struct Grey<'a> {
    plane: &'a Plane<'a>,
    matrix: Matrix,
    area: &'a Area,
    down: Taps,
    sums: Vec<i16>,
    kernels: &'a Kernels,
}

impl Columns<1> for Grey<'_> {
    fn layout(&self) -> RowLayout<1> {
        RowLayout { first: [0], step: 1, length: self.sums.len() }
    }

    fn row(&mut self, target: usize, into: &mut [u8]) {
        let (first, weights) = self.down.window(target);
        let samples = Samples { plane: self.plane, group: 1, row: self.area.top + first, column: self.area.left };
        samples.each(weights.len(), &mut self.sums[..self.area.width], |rows, into| {
            self.kernels.down_words(rows, weights, self.down.precision - FRACTION, into);
        });
        self.kernels.grey(&self.matrix, &self.sums, &mut into[..self.sums.len()]);
    }
}

/// Three planes, chroma at half the resolution.
struct Yuv<'a> {
    y: &'a Plane<'a>,
    u: &'a Plane<'a>,
    v: &'a Plane<'a>,
    matrix: Matrix,
    area: &'a Area,
    down: Taps,
    /// For chroma rows, counted from the frame's top.
    chroma_down: Taps,
    /// By chroma row from the region's first, then by block: whether each pixel has to be converted by itself. Empty
    /// where all have to be: negative weights make levels of what is rounded differently.
    clamped: Vec<bool>,
    /// A row of luma and of each chroma: whole blocks.
    sums: [Vec<i16>; 3],
    kernels: &'a Kernels,
}

impl<'a> Yuv<'a> {
    fn new(
        [y, u, v]: [&'a Plane<'a>; 3],
        matrix: Matrix,
        area: &'a Area,
        to: (u32, u32),
        filter: Filter,
        kernels: &'a Kernels,
    ) -> Self {
        let down = Coefficients::new(filter, area.height, to.1 as usize);
        let (chroma_down, down, are_means) = (down.halved(area.top).taps(), down.taps(), down.are_means());
        let length = (area.left % 2 + area.width).next_multiple_of(BLOCK);
        let sums = [length, length / 2, length / 2].map(|length| vec![0; length]);
        let mut yuv = Yuv { y, u, v, matrix, area, down, chroma_down, clamped: Vec::new(), sums, kernels };
        if !are_means {
            return yuv;
        }
        for row in area.top / 2..(area.top + area.height).div_ceil(2) {
            let rows = [2 * row, (2 * row + 1).min(area.picture.1 - 1)];
            for left in yuv.blocks() {
                let luma = rows.map(|row| samples(y, row, left, area.picture.0));
                let [u, v] = yuv.chroma(row, left);
                yuv.clamped.push(!matrix.in_gamut(&luma, &u, &v));
            }
        }
        yuv
    }

    /// Where the pair of pixels that shares chroma with the region's first one starts.
    fn even_left(&self) -> usize {
        self.area.left & !1
    }

    /// Starts of the blocks of pixels that cover the region.
    fn blocks(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        (self.even_left()..self.area.left + self.area.width).step_by(BLOCK)
    }

    /// The chroma samples of a block, by chroma row.
    fn chroma(&self, row: usize, left: usize) -> [[u8; HALF]; 2] {
        [self.u, self.v].map(|plane| samples(plane, row, left / 2, self.area.picture.0.div_ceil(2)))
    }

    /// The rows of the window converted first and summed then, as photos are.
    fn long_way(&self, target: usize, left: usize) -> [[u8; BLOCK]; 3] {
        let (first, weights) = self.down.window(target);
        let mut sums = [[1i32 << self.down.precision >> 1; BLOCK]; 3];
        let mut last = None;
        for (row, weight) in (self.area.top + first..).zip(weights) {
            let tints = match last {
                Some((chroma_row, tints)) if chroma_row == row / 2 => tints,
                _ => {
                    let [u, v] = self.chroma(row / 2, left);
                    self.matrix.precise_tints(&u, &v)
                }
            };
            last = Some((row / 2, tints));
            let luma = samples(self.y, row, left, self.area.picture.0);
            let colours = self.matrix.precisely(&luma, &tints);
            for (sums, colour) in sums.iter_mut().zip(colours) {
                for (sum, value) in sums.iter_mut().zip(colour) {
                    *sum += i32::from(value) * i32::from(*weight);
                }
            }
        }
        sums.each_ref().map(|sums| each(sums, |sum| (sum >> self.down.precision).clamp(0, 255) as u8))
    }

    /// A target row of luma and chroma, not yet converted.
    fn sum(&mut self, target: usize) {
        let column = self.even_left();
        let (first, weights) = self.down.window(target);
        let shift = self.down.precision - FRACTION;
        let length = self.area.left + self.area.width - column;
        let luma = Samples { plane: self.y, group: 1, row: self.area.top + first, column };
        let [into_luma, into_u, into_v] = &mut self.sums;
        luma.each(weights.len(), &mut into_luma[..length], |rows, into| {
            self.kernels.down_words(rows, weights, shift, into);
        });
        let (row, weights) = self.chroma_down.window(target);
        let shift = self.chroma_down.precision - FRACTION;
        for (plane, into) in [(self.u, into_u), (self.v, into_v)] {
            let chroma = Samples { plane, group: 1, row, column: column / 2 };
            chroma.each(weights.len(), &mut into[..length.div_ceil(2)], |rows, into| {
                self.kernels.down_words(rows, weights, shift, into);
            });
        }
    }
}

impl Columns<3> for Yuv<'_> {
    fn layout(&self) -> RowLayout<3> {
        let (length, lead) = (self.sums[0].len(), self.area.left % 2);
        RowLayout { first: [0, 1, 2].map(|colour| colour * length + lead), step: 1, length: 3 * length }
    }

    fn row(&mut self, target: usize, into: &mut [u8]) {
        self.sum(target);
        let length = self.sums[0].len();
        self.kernels.colour(&self.matrix, &self.sums, into);
        let (first, weights) = self.chroma_down.window(target);
        let blocks = self.blocks();
        let in_row = blocks.len();
        let start = first - self.area.top / 2;
        let rows = self.clamped.get(start * in_row..(start + weights.len()) * in_row);
        for (block, left) in blocks.enumerate() {
            if rows.is_none_or(|rows| rows.iter().skip(block).step_by(in_row).any(|clamped| *clamped)) {
                let colours = self.long_way(target, left);
                for (row, colour) in into.chunks_exact_mut(length).zip(colours) {
                    row[block * BLOCK..][..BLOCK].copy_from_slice(&colour);
                }
            }
        }
    }
}

/// Samples of a plane from a column on; those beyond the last are its repetition.
///
/// The plane was checked: the first sample is there.
#[inline(always)] // as a call it costs more than what it does
fn samples<const N: usize>(plane: &Plane<'_>, row: usize, column: usize, columns: usize) -> [u8; N] {
    let from = &plane.bytes[row * plane.row_stride + column * plane.pixel_stride..];
    let count = columns - column;
    if let (1, true, Some(bytes)) = (plane.pixel_stride, count >= N, from.first_chunk()) {
        return *bytes;
    }
    // Compilers make vector code of pairs. A plane that ends with its last sample is read below.
    if let (2, true, Some(bytes)) = (plane.pixel_stride, count >= N, from.get(..2 * N)) {
        let mut samples = [0; N];
        for (sample, pair) in samples.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *sample = u16::from_le_bytes(*pair) as u8;
        }
        return samples;
    }
    one_by_one(from, plane.pixel_stride, count)
}

#[inline(never)]
fn one_by_one<const N: usize>(from: &[u8], stride: usize, count: usize) -> [u8; N] {
    std::array::from_fn(|at| from[at.min(count - 1) * stride])
}
