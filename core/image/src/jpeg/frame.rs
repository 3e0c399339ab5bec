//! The blocks of a picture: how many there are, at which size they are decoded, and which of them are needed.

use std::ops::Range;

use super::dct;
use super::segments::FrameHeader;

/// The samples of one component.
pub(super) struct Component {
    /// Blocks across and down of a group, if a scan has several components.
    pub(super) sampling: (usize, usize),
    /// Blocks that cover the component's part of the picture.
    pub(super) blocks: (usize, usize),
    /// Blocks across and down, with those that fill up the last groups.
    pub(super) padded: (usize, usize),
    /// Pixels across and down that a block becomes: 1, 2, 4 or 8.
    pub(super) size: usize,
    /// Width and height of its decoded part of the picture.
    pub(super) decoded: (usize, usize),
    /// Rows of blocks that the region of interest needs.
    pub(super) needed: Range<usize>,
    /// The quantisation table that the frame header names, 0 to 3.
    pub(super) quant: usize,
    /// Its quantisation table as it was at its first scan.
    pub(super) table: Option<[u16; 64]>,
    /// Decoded samples, `stride()` in each row. Grey where nothing was decoded.
    pub(super) samples: Vec<u8>,
    /// Coefficients that are kept of each block: all of a progressive picture, or at 1/8 the first ones only.
    pub(super) kept: usize,
    pub(super) coefficients: Vec<i16>,
    /// For each coefficient of a progressive picture, the bits that are still missing; none if all are.
    pub(super) missing: [Option<u32>; 64],
    /// Groups of blocks whose first coefficients were read, and all groups.
    pub(super) reached: Option<(u64, u64)>,
}

impl Component {
    /// Samples of a decoded row, with those outside of the picture.
    pub(super) fn stride(&self) -> usize {
        self.padded.0 * self.size
    }

    /// Whether a progressive picture still lacks bits of this component. A file that has its end marker may lack
    /// coefficients altogether; they are zero.
    pub(super) fn lacks_bits(&self, ended: bool) -> bool {
        let kept = &self.missing[..self.kept];
        kept.iter().any(|missing| missing.map_or(!ended, |bits| bits > 0))
    }
}

/// The blocks of all components.
pub(super) struct Frame {
    pub(super) components: Vec<Component>,
    pub(super) progressive: bool,
    /// Largest sampling of a component.
    pub(super) largest: (usize, usize),
    /// Groups of blocks across and down.
    pub(super) groups: (usize, usize),
    /// Eighths of the full size at which the picture is decoded: 1, 2, 4 or 8.
    pub(super) scale: usize,
    /// Width and height of the decoded picture.
    pub(super) decoded: (usize, usize),
    /// Rows of the decoded picture that the region of interest needs.
    pub(super) rows: Range<usize>,
}

/// Rows around the region that are decoded too: chroma is interpolated with the next row.
const MARGIN: usize = 2;

/// Width or height at a scale of eighths.
pub(super) fn scaled(side: u32, scale: usize) -> usize {
    (side as usize * scale).div_ceil(8)
}

impl Frame {
    /// Lays out the blocks. `rows` are those of the decoded picture that are needed. Allocates nothing.
    pub(super) fn new(header: &FrameHeader, scale: usize, rows: Range<usize>) -> Frame {
        let sides = (header.width as usize, header.height as usize);
        let most =
            |of: fn((usize, usize)) -> usize| header.components.iter().map(|c| of(c.sampling)).max().unwrap_or(1);
        let largest = (most(|s| s.0), most(|s| s.1));
        let groups = (sides.0.div_ceil(8 * largest.0), sides.1.div_ceil(8 * largest.1));
        let wanted = rows.start.saturating_sub(MARGIN * largest.1)..rows.end + MARGIN * largest.1;
        // At 1/8 a block becomes its mean.
        let kept = match (header.progressive, scale) {
            (false, _) => 0,
            (true, 1) => 1,
            (true, _) => 64,
        };
        let component = |c: &super::segments::ComponentHeader| {
            let (h, v) = c.sampling;
            let size = block_size(scale, c.sampling, largest, header.progressive);
            let blocks = ((sides.0 * h).div_ceil(8 * largest.0), (sides.1 * v).div_ceil(8 * largest.1));
            let decoded = ((sides.0 * h * size).div_ceil(8 * largest.0), (sides.1 * v * size).div_ceil(8 * largest.1));
            let padded = (groups.0 * h, groups.1 * v);
            let needed = wanted.start * v / (scale * largest.1)..(wanted.end * v).div_ceil(scale * largest.1);
            Component {
                sampling: c.sampling,
                blocks,
                padded,
                size,
                decoded,
                needed,
                quant: c.quant,
                table: None,
                samples: Vec::new(),
                kept,
                coefficients: Vec::new(),
                missing: [None; 64],
                reached: None,
            }
        };
        Frame {
            components: header.components.iter().map(component).collect(),
            progressive: header.progressive,
            largest,
            groups,
            scale,
            decoded: (scaled(header.width, scale), scaled(header.height, scale)),
            rows,
        }
    }

    /// Memory in bytes that decoding holds: samples, coefficients, and the picture in RGB.
    pub(super) fn memory(&self) -> u64 {
        let picture = 3 * self.decoded.0 as u64 * self.decoded.1 as u64;
        let of = |c: &Component| {
            let blocks = c.padded.0 as u64 * c.padded.1 as u64;
            blocks * (c.size * c.size + 2 * c.kept) as u64
        };
        picture + self.components.iter().map(of).sum::<u64>()
    }

    /// Takes the memory.
    pub(super) fn allocate(&mut self) {
        for component in &mut self.components {
            let blocks = component.padded.0 * component.padded.1;
            component.samples = vec![128; blocks * component.size * component.size];
            component.coefficients = vec![0; blocks * component.kept];
        }
    }

    /// Makes samples from the coefficients of a progressive picture.
    pub(super) fn transform(&mut self) {
        for component in &mut self.components {
            let (stride, size, kept) = (component.stride(), component.size, component.kept);
            let (Some(table), true) = (&component.table, kept > 0) else { continue };
            let rows = component.needed.start..component.needed.end.min(component.padded.1);
            for (y, x) in rows.flat_map(|y| (0..component.padded.0).map(move |x| (y, x))) {
                let coefficients = &component.coefficients[(y * component.padded.0 + x) * kept..];
                let to = &mut component.samples[y * size * stride + x * size..];
                match coefficients.first_chunk::<64>() {
                    Some(block) if kept == 64 => dct::inverse(size, block, table, to, stride),
                    _ => to[0] = dct::mean(i32::from(coefficients[0]), table),
                }
            }
        }
    }
}

/// Pixels across and down that a block of a component becomes.
///
/// A component with fewer samples is decoded at a larger size where that replaces interpolation, as libjpeg does. Of a
/// progressive picture at 1/8 only first coefficients are read, which have no more pixels to give.
fn block_size(scale: usize, (h, v): (usize, usize), largest: (usize, usize), progressive: bool) -> usize {
    let mut size = scale;
    if progressive && scale == 1 {
        return size;
    }
    let doubles = |size: usize| {
        (largest.0 * scale).is_multiple_of(2 * h * size) && (largest.1 * scale).is_multiple_of(2 * v * size)
    };
    while size < 8 && doubles(size) {
        size *= 2;
    }
    size
}
