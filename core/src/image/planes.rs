//! Camera planes to small pictures: down the columns first, then along the rows, as the resizer of photos does.
//!
//! Resampling and the colour matrix are both linear, so luma and chroma are resampled apart, in a quarter of the time of
//! converting every pixel. That is only right where no pixel's colour has to be clamped. Blocks with such pixels
//! (noise, saturated edges) are found first and take the long way: every pixel is converted before it is summed.

use super::frame::{Pixels, Plane};
use super::region::Region;
use super::taps::{Coefficients, Shares, Taps};
use super::yuv::{BLOCK, FRACTION, HALF, Matrix, each};
use crate::recipe::Filter;

/// A whole row of one colour, or of luma, after the columns were summed: bytes, widened for the second pass.
type Row = Vec<i16>;

/// What the second pass may read beyond a row: a padded window, or the rest of a block.
const SLACK: usize = 2 * BLOCK;

/// The weights of a second pass come in multiples of this.
const ACROSS: usize = 16;

/// Red, green and blue of the region at the target's size, interleaved.
pub(super) fn rgb(pixels: &Pixels<'_>, size: (u32, u32), region: Region, to: (u32, u32), filter: Filter) -> Vec<u8> {
    let area = Area::new(size, region);
    match pixels {
        Pixels::Rgba(plane) => shrink(&Packed::new(plane, [0, 1, 2], &area, to, filter), &area, to, filter),
        Pixels::Bgra(plane) => shrink(&Packed::new(plane, [2, 1, 0], &area, to, filter), &area, to, filter),
        Pixels::Yuv420 { y, u, v, range } => {
            shrink(&Yuv::new([y, u, v], Matrix::new(*range), &area, to, filter), &area, to, filter)
        }
    }
}

/// Luma of the region at the target's size, 0 to 255 whatever the range of the pixels.
pub(super) fn grey(pixels: &Pixels<'_>, size: (u32, u32), region: Region, to: (u32, u32), filter: Filter) -> Vec<u8> {
    if let Pixels::Yuv420 { y, range, .. } = pixels {
        let area = Area::new(size, region);
        let down = Down::new(&Coefficients::new(filter, area.height, to.1 as usize));
        return shrink(&Grey { plane: y, matrix: Matrix::new(*range), area: &area, down }, &area, to, filter);
    }
    let rgb = rgb(pixels, size, region, to, filter);
    let luma = |pixel: &[u8; 3]| {
        let [red, green, blue] = pixel.map(u32::from);
        ((red * 19_595 + green * 38_470 + blue * 7_471 + (1 << 15)) >> 16) as u8
    };
    rgb.as_chunks::<3>().0.iter().map(luma).collect()
}

/// The region in the stored frame, by columns and rows.
struct Area {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    /// Of the whole frame.
    frame: (usize, usize),
}

impl Area {
    fn new((width, height): (u32, u32), region: Region) -> Self {
        Area {
            left: region.x as usize,
            top: region.y as usize,
            width: region.width as usize,
            height: region.height as usize,
            frame: (width as usize, height as usize),
        }
    }

    /// Where the pair of pixels that shares chroma with the first one starts.
    fn even_left(&self) -> usize {
        self.left & !1
    }

    /// Starts of the blocks of pixels that cover the region, from `first`.
    fn blocks(&self, first: usize, step: usize) -> impl ExactSizeIterator<Item = usize> + use<> {
        (first..self.left + self.width).step_by(step)
    }
}

/// The first pass: one target row at the width of the source.
trait Columns<const N: usize> {
    /// Fills a row for each colour. The region starts at [`lead`](Self::lead) in them.
    fn row(&self, target: usize, into: &mut [Row; N]);

    /// Samples before the region.
    fn lead(&self) -> usize {
        0
    }
}

/// Both passes; the colours come out interleaved.
fn shrink<const N: usize>(source: &impl Columns<N>, area: &Area, to: (u32, u32), filter: Filter) -> Vec<u8> {
    let across = Coefficients::new(filter, area.width, to.0 as usize).taps(ACROSS);
    let mut rows: [Row; N] = std::array::from_fn(|_| vec![0; area.width + SLACK]);
    let mut out = Vec::with_capacity(N * to.0 as usize * to.1 as usize);
    for target in 0..to.1 as usize {
        source.row(target, &mut rows);
        for x in 0..across.len() {
            let (first, weights) = across.window(x);
            let from = source.lead() + first;
            for row in &rows {
                let sum = dot(weights, &row[from..from + weights.len()]);
                out.push(rounded(sum, across.precision, 0).clamp(0, 255) as u8);
            }
        }
    }
    out
}

/// RGBA or BGRA.
struct Packed<'a> {
    plane: &'a Plane<'a>,
    /// Where red, green and blue are.
    order: [usize; 3],
    area: &'a Area,
    down: Down,
}

/// Pixels of four bytes in a block.
const PACKED: usize = BLOCK / 4;

impl<'a> Packed<'a> {
    fn new(plane: &'a Plane<'a>, order: [usize; 3], area: &'a Area, to: (u32, u32), filter: Filter) -> Self {
        Packed { plane, order, area, down: Down::new(&Coefficients::new(filter, area.height, to.1 as usize)) }
    }
}

impl Columns<3> for Packed<'_> {
    fn row(&self, target: usize, into: &mut [Row; 3]) {
        for left in self.area.blocks(self.area.left, PACKED) {
            let count = PACKED.min(self.area.frame.0 - left);
            let load = |row| four_bytes(self.plane, self.area.top + row, left, count);
            let bytes = each(&self.down.block::<0>(target, load), |value| value.clamp(0, 255));
            for (channel, row) in self.order.into_iter().zip(into.iter_mut()) {
                let into = &mut row[left - self.area.left..][..PACKED];
                for (into, pixel) in into.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *into = pixel[channel];
                }
            }
        }
    }
}

/// The luma plane alone.
struct Grey<'a> {
    plane: &'a Plane<'a>,
    matrix: Matrix,
    area: &'a Area,
    down: Down,
}

impl Columns<1> for Grey<'_> {
    fn row(&self, target: usize, [into]: &mut [Row; 1]) {
        for left in self.area.blocks(self.area.left, BLOCK) {
            let load = |row| samples(self.plane, self.area.top + row, left, self.area.frame.0);
            let grey = self.matrix.grey(&self.down.block::<FRACTION>(target, load));
            into[left - self.area.left..][..BLOCK].copy_from_slice(&whole(grey));
        }
    }
}

/// Three planes, chroma at half the resolution.
struct Yuv<'a> {
    y: &'a Plane<'a>,
    u: &'a Plane<'a>,
    v: &'a Plane<'a>,
    matrix: Matrix,
    area: &'a Area,
    down: Down,
    /// For chroma rows, counted from the frame's top.
    chroma_down: Down,
    /// By chroma row from the region's first, then by block: whether each pixel has to be converted by itself. Empty
    /// where all have to be: negative weights make levels of what is rounded differently.
    clamped: Vec<bool>,
}

impl<'a> Yuv<'a> {
    fn new([y, u, v]: [&'a Plane<'a>; 3], matrix: Matrix, area: &'a Area, to: (u32, u32), filter: Filter) -> Self {
        let down = Coefficients::new(filter, area.height, to.1 as usize);
        let (chroma_down, down) = (Down::new(&down.halved(area.top)), Down::new(&down));
        let mut yuv = Yuv { y, u, v, matrix, area, down, chroma_down, clamped: Vec::new() };
        if yuv.down.shares.is_none() {
            return yuv;
        }
        for row in area.top / 2..(area.top + area.height).div_ceil(2) {
            let rows = [2 * row, (2 * row + 1).min(area.frame.1 - 1)];
            for left in area.blocks(area.even_left(), BLOCK) {
                let luma = rows.map(|row| samples(y, row, left, area.frame.0));
                let [u, v] = yuv.chroma(row, left);
                yuv.clamped.push(!matrix.in_gamut(&luma, &u, &v));
            }
        }
        yuv
    }

    /// The chroma samples of a block, by chroma row.
    fn chroma(&self, row: usize, left: usize) -> [[u8; HALF]; 2] {
        [self.u, self.v].map(|plane| samples(plane, row, left / 2, self.area.frame.0.div_ceil(2)))
    }

    /// The rows of the window converted first and summed then, as photos are.
    fn long_way(&self, target: usize, left: usize) -> [[i16; BLOCK]; 3] {
        let (first, weights) = self.down.taps.window(target);
        let mut sums = [[0i32; BLOCK]; 3];
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
            let luma = samples(self.y, row, left, self.area.frame.0);
            let colours = self.matrix.precisely(&luma, &tints);
            for (sums, colour) in sums.iter_mut().zip(colours) {
                for (sum, value) in sums.iter_mut().zip(colour) {
                    *sum += i32::from(value) * i32::from(*weight);
                }
            }
        }
        sums.each_ref().map(|sums| each(sums, |sum| rounded(sum, self.down.taps.precision, 0).clamp(0, 255) as i16))
    }

    /// Luma and chroma summed, their sums converted.
    fn short_way(&self, target: usize, left: usize) -> [[i16; BLOCK]; 3] {
        let load = |row| samples(self.y, self.area.top + row, left, self.area.frame.0);
        let luma = self.down.block::<FRACTION>(target, load);
        let chroma = self.chroma_down.block::<FRACTION>(target, |row| {
            let [u, v] = self.chroma(row, left);
            let mut both = [0; BLOCK];
            both[..HALF].copy_from_slice(&u);
            both[HALF..].copy_from_slice(&v);
            both
        });
        let (mut u, mut v) = ([0; HALF], [0; HALF]);
        u.copy_from_slice(&chroma[..HALF]);
        v.copy_from_slice(&chroma[HALF..]);
        self.matrix.coloured(&self.matrix.grey(&luma), &self.matrix.tints(&u, &v))
    }
}

impl Columns<3> for Yuv<'_> {
    fn lead(&self) -> usize {
        self.area.left - self.area.even_left()
    }

    fn row(&self, target: usize, into: &mut [Row; 3]) {
        let (first, weights) = self.chroma_down.taps.window(target);
        let blocks = self.area.blocks(self.area.even_left(), BLOCK);
        let in_row = blocks.len();
        let start = first - self.area.top / 2;
        let rows = self.clamped.get(start * in_row..(start + weights.len()) * in_row);
        for (block, left) in blocks.enumerate() {
            let clamped = rows.is_none_or(|rows| rows.iter().skip(block).step_by(in_row).any(|clamped| *clamped));
            let colours = if clamped { self.long_way(target, left) } else { self.short_way(target, left) };
            for (row, colour) in into.iter_mut().zip(colours) {
                row[left - self.area.even_left()..][..BLOCK].copy_from_slice(&colour);
            }
        }
    }
}

/// The first pass: weighted sums down the columns of a block.
struct Down {
    taps: Taps,
    shares: Option<Shares>,
}

impl Down {
    fn new(coefficients: &Coefficients) -> Self {
        Down { taps: coefficients.taps(1), shares: coefficients.shares() }
    }

    /// A target row's block with `LEFT` fractional bits; `load` gives a source row's.
    #[inline(always)] // the block stays in registers
    fn block<const LEFT: u32>(&self, target: usize, load: impl Fn(usize) -> [u8; BLOCK]) -> [i16; BLOCK] {
        let Some(shares) = &self.shares else {
            let (first, weights) = self.taps.window(target);
            let mut sums = [0i32; BLOCK];
            for (row, weight) in (first..).zip(weights) {
                for (sum, byte) in sums.iter_mut().zip(load(row)) {
                    *sum += i32::from(byte) * i32::from(*weight);
                }
            }
            return each(&sums, |sum| rounded(sum, self.taps.precision, LEFT) as i16);
        };
        let (first, shares) = shares.window(target);
        let mut sums = [0u16; BLOCK];
        for (row, share) in (first..).zip(shares) {
            for (sum, byte) in sums.iter_mut().zip(load(row)) {
                let wide = u16::from_le_bytes([byte, byte]);
                *sum = sum.wrapping_add(((u32::from(wide) * u32::from(*share)) >> 16) as u16);
            }
        }
        // What was cut off is made up for by its mean.
        let half = (shares.len() as u16 + (1 << (8 - LEFT))) / 2;
        each(&sums, |sum| (sum.saturating_add(half) >> (8 - LEFT)) as i16)
    }
}

fn dot(weights: &[i16], values: &[i16]) -> i32 {
    weights.iter().zip(values).map(|(weight, value)| i32::from(*weight) * i32::from(*value)).sum()
}

/// Values with [`FRACTION`] fractional bits as bytes.
fn whole(values: [i16; BLOCK]) -> [i16; BLOCK] {
    each(&values, |value| (value.saturating_add(1 << (FRACTION - 1)) >> FRACTION).clamp(0, 255))
}

/// A sum with `precision` fractional bits rounded to one with `left`.
fn rounded(sum: i32, precision: u32, left: u32) -> i32 {
    let shift = precision - left;
    (sum + (1 << shift >> 1)) >> shift
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

/// Pixels of four bytes from a column on; those beyond the last are its repetition.
fn four_bytes(plane: &Plane<'_>, row: usize, column: usize, count: usize) -> [u8; BLOCK] {
    let from = &plane.bytes[row * plane.row_stride + column * plane.pixel_stride..];
    if let (true, 4, Some(bytes)) = (count == PACKED, plane.pixel_stride, from.first_chunk()) {
        return *bytes;
    }
    std::array::from_fn(|at| from[(at / 4).min(count - 1) * plane.pixel_stride + at % 4])
}
