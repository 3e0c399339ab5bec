//! Reads the bits of one scan: its groups of blocks, in intervals between restart markers.

use super::bits::{Bits, next_marker};
use super::block::{Band, difference, sequential};
use super::frame::{Component, Frame};
use super::huffman::{Lookup, Skipper};
use super::segments::{ScanHeader, Segments};
use super::{damaged, dct};
use crate::error::PhotoError;

/// What became of a scan.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    /// Groups of blocks that it should have.
    pub(super) total: u64,
    /// Groups that its data did not reach.
    pub(super) missing: u64,
    /// Groups that were read after an invalid code: they are likely to be wrong.
    pub(super) doubtful: u64,
    /// Where the data ends: the next marker is there or later.
    pub(super) end: usize,
}

/// What a scan has of each block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// All coefficients.
    Sequential,
    /// First coefficients, or one more bit of them.
    First { refines: bool },
    /// Others, or one more bit of them.
    Others { refines: bool },
}

/// A block of a group.
#[derive(Debug, Clone, Copy)]
struct Part {
    component: usize,
    across: usize,
    down: usize,
    dc: usize,
    ac: usize,
}

/// The number of a scan's groups across and down, and of the blocks in a group.
pub(super) fn groups(header: &ScanHeader, frame: &Frame) -> ((usize, usize), usize) {
    match header.components[..] {
        // The blocks of a single component are not grouped.
        [ref only] => (frame.components[only.component].blocks, 1),
        ref several => {
            let blocks = |c: &super::segments::ScanComponent| {
                let (h, v) = frame.components[c.component].sampling;
                h * v
            };
            (frame.groups, several.iter().map(blocks).sum())
        }
    }
}

struct Scan<'a> {
    content: Content,
    bits: Bits<'a>,
    parts: Vec<Part>,
    grouped: bool,
    across: usize,
    dc: [Option<Lookup>; 4],
    ac: [Option<(Lookup, Option<Skipper>)>; 4],
    /// The last first coefficient of each component.
    last: [i32; 4],
    band: Band,
    frame: &'a mut Frame,
    outcome: Outcome,
}

/// Reads a scan into the frame's samples or coefficients.
pub(super) fn read(file: &Segments<'_>, header: &ScanHeader, frame: &mut Frame) -> Result<Outcome, PhotoError> {
    let ((across, down), _) = groups(header, frame);
    let content = match (frame.progressive, header.band.0) {
        (false, _) => Content::Sequential,
        (true, 0) => Content::First { refines: header.refines },
        (true, _) => Content::Others { refines: header.refines },
    };
    let mut scan = Scan {
        content,
        bits: Bits::new(file.bytes, header.start),
        parts: Vec::new(),
        grouped: header.components.len() > 1,
        across,
        dc: [const { None }; 4],
        ac: [const { None }; 4],
        last: [0; 4],
        band: Band { band: header.band, shift: header.shift, ended: 0 },
        frame,
        outcome: Outcome { total: across as u64 * down as u64, ..Outcome::default() },
    };
    scan.prepare(file, header)?;
    scan.intervals(file, header.start);
    scan.outcome.end = scan.bits.position();
    Ok(scan.outcome)
}

impl Scan<'_> {
    /// Builds the tables that the scan uses, and lists the blocks of a group.
    fn prepare(&mut self, file: &Segments<'_>, header: &ScanHeader) -> Result<(), PhotoError> {
        for scanned in &header.components {
            let component = &mut self.frame.components[scanned.component];
            if component.table.is_none() {
                let table = file.quant[component.quant];
                component.table = Some(table.ok_or_else(|| damaged("a quantisation table is missing"))?);
            }
            if matches!(self.content, Content::Sequential | Content::First { refines: false })
                && self.dc[scanned.dc].is_none()
            {
                self.dc[scanned.dc] = Some(Lookup::new(&file.dc_code(scanned.dc)?));
            }
            if matches!(self.content, Content::Sequential | Content::Others { .. }) {
                let skips = self.content == Content::Sequential
                    && (component.size == 1 || component.needed.start > 0 || component.needed.end < component.padded.1);
                let (lookup, skipper) = match self.ac[scanned.ac].take() {
                    Some(tables) => tables,
                    None => (Lookup::new(&file.ac_code(scanned.ac)?), None),
                };
                let skipper = skipper.or_else(|| skips.then(|| Skipper::new(&lookup)));
                self.ac[scanned.ac] = Some((lookup, skipper));
            }
            let (h, v) = if self.grouped { component.sampling } else { (1, 1) };
            self.parts.extend((0..h * v).map(|at| Part {
                component: scanned.component,
                across: at % h,
                down: at / h,
                dc: scanned.dc,
                ac: scanned.ac,
            }));
        }
        Ok(())
    }

    fn intervals(&mut self, file: &Segments<'_>, start: usize) {
        let total = self.outcome.total;
        // Some programs announce restart markers and write none.
        let announced = file.restart_interval as u64;
        let interval = if announced == 0 || !has_restart(file.bytes, start) { total } else { announced };
        let (mut group, mut number, mut here) = (0, 0, true);
        while group < total {
            let end = total.min(group + interval);
            if here {
                self.interval(group, end);
            } else {
                self.outcome.missing += end - group;
            }
            group = end;
            if group == total {
                break;
            }
            let Some(found) = self.restart(file.bytes, number) else {
                self.outcome.missing += total - group;
                break;
            };
            here = found;
            number = (number + 1) & 7;
        }
    }

    fn interval(&mut self, from: u64, to: u64) {
        let mut valid = true;
        for group in from..to {
            valid &= self.group(group as usize);
            if self.bits.overrun() {
                self.outcome.missing += to - group;
                return;
            }
            self.outcome.doubtful += u64::from(!valid);
        }
    }

    /// Goes to the restart marker with this number. Returns whether the interval after it is there: a marker that is one
    /// or two ahead says that it is lost. None at the end of the scan.
    fn restart(&mut self, bytes: &[u8], expected: u8) -> Option<bool> {
        self.last = [0; 4];
        self.band.ended = 0;
        let mut at = self.bits.position();
        loop {
            let marker = next_marker(bytes, at)?;
            at = marker.end();
            // A code that no marker has is damaged data.
            if marker.code < 0xc0 {
                continue;
            }
            let ahead = marker.restart()?.wrapping_sub(expected) & 7;
            match ahead {
                1 | 2 => {
                    self.bits = self.bits.at(marker.start);
                    return Some(false);
                }
                // One that should have come before.
                6 | 7 => continue,
                _ => {
                    self.bits = self.bits.at(marker.end());
                    return Some(true);
                }
            }
        }
    }

    /// Reads a group of blocks. Returns whether its codes were valid.
    fn group(&mut self, group: usize) -> bool {
        let (x, y) = (group % self.across, group / self.across);
        let mut valid = true;
        for at in 0..self.parts.len() {
            let part = self.parts[at];
            let (h, v) = if self.grouped { self.frame.components[part.component].sampling } else { (1, 1) };
            valid &= self.block(part, (x * h + part.across, y * v + part.down));
        }
        valid
    }

    #[inline]
    fn block(&mut self, part: Part, (x, y): (usize, usize)) -> bool {
        let component = &mut self.frame.components[part.component];
        let bits = &mut self.bits;
        let mut valid = true;
        let mut first = |bits: &mut Bits<'_>| {
            let difference = self.dc[part.dc].as_ref().and_then(|dc| difference(bits, dc));
            valid = difference.is_some();
            let last = &mut self.last[part.component];
            *last = last.wrapping_add(difference.unwrap_or(0));
            *last
        };
        let place = y * component.padded.0 + x;
        match self.content {
            Content::Sequential => {
                let first = first(bits);
                let Some((ac, skipper)) = &self.ac[part.ac] else { return false };
                valid & sequential_block(component, bits, first, (x, y), ac, skipper.as_ref())
            }
            Content::First { refines: false } => {
                let first = first(bits).wrapping_shl(self.band.shift) as i16;
                component.coefficients[place * component.kept] = first;
                valid
            }
            Content::First { refines: true } => {
                let bit = i16::from(bits.bit()) << self.band.shift;
                component.coefficients[place * component.kept] |= bit;
                true
            }
            Content::Others { refines } => {
                let Some((ac, _)) = &self.ac[part.ac] else { return false };
                let block = &mut component.coefficients[64 * place..64 * place + 64];
                if refines { self.band.refine(bits, ac, block) } else { self.band.first(bits, ac, block) }
            }
        }
    }
}

/// Reads the rest of a block and makes its samples, if they are needed. Returns whether its codes were valid.
#[inline(always)]
fn sequential_block(
    component: &mut Component,
    bits: &mut Bits<'_>,
    first: i32,
    (x, y): (usize, usize),
    ac: &Lookup,
    skipper: Option<&Skipper>,
) -> bool {
    let Some(table) = &component.table else { return false };
    let needed = component.needed.contains(&y);
    let (stride, size) = (component.stride(), component.size);
    let place = y * size * stride + x * size;
    if needed && size > 1 {
        let mut block = [0; 64];
        block[0] = first as i16;
        let valid = sequential(bits, ac, &mut block);
        dct::inverse(size, &block, table, &mut component.samples[place..], stride);
        return valid;
    }
    if needed {
        component.samples[place] = dct::mean(first, table);
    }
    match skipper {
        Some(skipper) => skipper.skip(bits, ac),
        None => sequential(bits, ac, &mut [0; 64]),
    }
}

/// Whether the next marker after the start of a scan is a restart marker.
fn has_restart(bytes: &[u8], start: usize) -> bool {
    let mut at = start;
    while let Some(marker) = next_marker(bytes, at) {
        if marker.code >= 0xc0 {
            return marker.restart().is_some();
        }
        at = marker.end();
    }
    false
}
