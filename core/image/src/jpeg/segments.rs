//! Reads the segments of a file: tables, the frame header, and the headers of scans.

use super::bits::next_marker;
use super::huffman::Code;
use super::{damaged, standard, unsupported};
use crate::error::PhotoError;
use crate::to_srgb::MAX_ICC_BYTES;

/// The order in which the coefficients of a block are stored: their places, row after row.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// The name in front of each part of a colour profile.
const ICC: &[u8] = b"ICC_PROFILE\0";

/// A component in the frame header.
#[derive(Debug, Clone, Copy)]
pub(super) struct ComponentHeader {
    pub(super) id: u8,
    /// Samples across and down in each group of blocks, 1 to 4.
    pub(super) sampling: (usize, usize),
    /// Its quantisation table, 0 to 3.
    pub(super) quant: usize,
}

/// The frame header.
#[derive(Debug, Clone)]
pub(super) struct FrameHeader {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) progressive: bool,
    pub(super) components: Vec<ComponentHeader>,
}

/// A component in a scan's header: its place in the frame, and its Huffman tables.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScanComponent {
    pub(super) component: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// The header of a scan.
#[derive(Debug, Clone)]
pub(super) struct ScanHeader {
    pub(super) components: Vec<ScanComponent>,
    /// The coefficients of a progressive scan, in zigzag order: the first one and the last one.
    pub(super) band: (usize, usize),
    /// Whether bits are added to coefficients that an earlier scan has begun.
    pub(super) refines: bool,
    /// How far the coefficients of a progressive scan are shifted.
    pub(super) shift: u32,
    /// Where its bits start.
    pub(super) start: usize,
}

/// A JPEG file, read segment by segment. Holds the tables as they are at the current place.
pub(super) struct Segments<'a> {
    pub(super) bytes: &'a [u8],
    at: usize,
    pub(super) frame: Option<FrameHeader>,
    pub(super) quant: [Option<[u16; 64]>; 4],
    dc: [Option<Code>; 4],
    ac: [Option<Code>; 4],
    /// Groups of blocks between restart markers; 0 for none.
    pub(super) restart_interval: usize,
    pub(super) jfif: bool,
    /// The colour transform that Adobe's segment names.
    pub(super) adobe: Option<u8>,
    /// The first Exif segment.
    pub(super) exif: Option<&'a [u8]>,
    /// The parts of the colour profile, with their numbers.
    icc: Vec<(u8, &'a [u8])>,
    /// Whether the end marker was seen.
    pub(super) ended: bool,
}

impl<'a> Segments<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Segments {
            bytes,
            at: 0,
            frame: None,
            quant: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart_interval: 0,
            jfif: false,
            adobe: None,
            exif: None,
            icc: Vec::new(),
            ended: false,
        }
    }

    /// Goes on after a scan whose bits were read up to here.
    pub(super) fn continue_at(&mut self, at: usize) {
        self.at = at;
    }

    /// Reads up to the next scan. None at the end of the picture or of the file.
    pub(super) fn next_scan(&mut self) -> Result<Option<ScanHeader>, PhotoError> {
        while let Some(marker) = next_marker(self.bytes, self.at) {
            self.at = marker.end();
            match marker.code {
                0xd9 => {
                    self.ended = true;
                    return Ok(None);
                }
                // Markers without a segment: start of the file, restarts, and those that have no meaning here.
                0x01..=0xbf | 0xd0..=0xd8 => continue,
                _ => {}
            }
            let Some(length) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<2>()) else { break };
            let length = usize::from(u16::from_be_bytes(*length));
            // A segment includes its length. A shorter one is an empty one of a careless program.
            let Some(segment) = self.bytes.get(self.at + 2..self.at + length.max(2)) else { break };
            self.at += length.max(2);
            match marker.code {
                0xc4 => self.huffman(segment)?,
                0xdb => self.quantisation(segment)?,
                0xdd => {
                    let interval =
                        segment.first_chunk::<2>().ok_or_else(|| damaged("its restart interval is cut off"))?;
                    self.restart_interval = usize::from(u16::from_be_bytes(*interval));
                }
                0xc0..=0xcf | 0xde | 0xdf => self.frame_header(marker.code, segment)?,
                0xda => return self.scan_header(segment).map(Some),
                0xdc if self.frame.is_none() => return Err(unsupported(LATE_HEIGHT)),
                0xe0 if segment.starts_with(b"JFIF\0") => self.jfif = true,
                0xe1 if self.exif.is_none() && segment.starts_with(b"Exif\0") => self.exif = Some(segment),
                0xe2 if segment.starts_with(ICC) => self.profile_part(segment),
                0xee if segment.starts_with(b"Adobe") => self.adobe = segment.get(11).copied(),
                _ => {}
            }
        }
        Ok(None)
    }

    fn profile_part(&mut self, segment: &'a [u8]) {
        // The number of the part, from 1, and how many there are; the first with a number counts.
        if let Some((&[number, _], part)) = segment[ICC.len()..].split_first_chunk::<2>()
            && self.icc.iter().all(|(known, _)| *known != number)
        {
            self.icc.push((number, part));
        }
    }

    /// The colour profile, put together from its parts. `None` without a profile, or if it is too large. Where a
    /// part is missing, what is left is no profile, and is not read as one.
    pub(super) fn profile(&self) -> Option<Vec<u8>> {
        let mut parts = self.icc.clone();
        parts.sort_by_key(|(number, _)| *number);
        let bytes: usize = parts.iter().map(|(_, part)| part.len()).sum();
        let whole = parts.iter().zip(1..=255).all(|((number, _), expected)| *number == expected);
        (whole && bytes > 0 && bytes <= MAX_ICC_BYTES)
            .then(|| parts.iter().flat_map(|(_, part)| *part).copied().collect())
    }

    /// The code for first coefficients, or else that of the standard, which motion JPEG leaves out.
    pub(super) fn dc_code(&self, table: usize) -> Result<Code, PhotoError> {
        let standard = if table == 0 { standard::DC_LUMA } else { standard::DC_CHROMA };
        self.dc[table].clone().or_else(|| Some(Code::parse(standard)?.0)).ok_or_else(|| damaged("no Huffman table"))
    }

    /// The code for the other coefficients; the same.
    pub(super) fn ac_code(&self, table: usize) -> Result<Code, PhotoError> {
        let standard = if table == 0 { standard::AC_LUMA } else { standard::AC_CHROMA };
        self.ac[table].clone().or_else(|| Some(Code::parse(standard)?.0)).ok_or_else(|| damaged("no Huffman table"))
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Result<(), PhotoError> {
        // A last byte too many is ignored.
        while segment.len() > 16 {
            let (class, table) = (segment[0] >> 4, usize::from(segment[0] & 15));
            let (code, length) = Code::parse(&segment[1..]).ok_or_else(|| damaged("a Huffman table is invalid"))?;
            let tables = if class == 0 { &mut self.dc } else { &mut self.ac };
            match tables.get_mut(table) {
                Some(place) if class < 2 => *place = Some(code),
                _ => return Err(damaged("a Huffman table has a number above 3")),
            }
            segment = &segment[1 + length..];
        }
        Ok(())
    }

    fn quantisation(&mut self, mut segment: &[u8]) -> Result<(), PhotoError> {
        while let Some((&head, rest)) = segment.split_first() {
            let bytes = if head >> 4 == 0 { 1 } else { 2 };
            let cut = || damaged("a quantisation table is cut off");
            let values = rest.get(..64 * bytes).ok_or_else(cut)?;
            let mut table = [0; 64];
            for (value, place) in values.chunks_exact(bytes).zip(ZIGZAG) {
                table[usize::from(place)] = value.iter().fold(0, |sum, &byte| sum << 8 | u16::from(byte));
            }
            *self.quant.get_mut(usize::from(head & 15)).ok_or_else(cut)? = Some(table);
            segment = &rest[64 * bytes..];
        }
        Ok(())
    }

    fn frame_header(&mut self, marker: u8, segment: &[u8]) -> Result<(), PhotoError> {
        match marker {
            0xc0..=0xc2 => {}
            0xc3 => return Err(unsupported("lossless coding")),
            0xc5 | 0xc6 | 0xc7 | 0xde | 0xdf => return Err(unsupported("hierarchical coding")),
            // 0xc8 is reserved, and 0xcc only says how arithmetic coding is done.
            0xc8 => return Err(unsupported("an extension of the standard")),
            _ => return Err(unsupported("arithmetic coding")),
        }
        let cut = || damaged("its frame header is cut off");
        let (head, rest) = segment.split_first_chunk::<6>().ok_or_else(cut)?;
        let [precision, h0, h1, w0, w1, count] = *head;
        if precision != 8 {
            return Err(unsupported(format!("{precision} bits a sample")));
        }
        let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
        if height == 0 {
            return Err(unsupported(LATE_HEIGHT));
        }
        if width == 0 {
            return Err(damaged("its width is 0"));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(unsupported(format!("{count} colour components")));
        }
        if self.frame.is_some() {
            return Err(damaged("it has two frame headers"));
        }
        let mut components = Vec::new();
        for component in rest.get(..3 * usize::from(count)).ok_or_else(cut)?.chunks_exact(3) {
            let sampling = (usize::from(component[1] >> 4), usize::from(component[1] & 15));
            if !(1..=4).contains(&sampling.0) || !(1..=4).contains(&sampling.1) || component[2] > 3 {
                return Err(damaged("its frame header is invalid"));
            }
            components.push(ComponentHeader { id: component[0], sampling, quant: usize::from(component[2]) });
        }
        let (width, height) = (u32::from(width), u32::from(height));
        self.frame = Some(FrameHeader { width, height, progressive: marker == 0xc2, components });
        Ok(())
    }

    fn scan_header(&self, segment: &[u8]) -> Result<ScanHeader, PhotoError> {
        let invalid = || damaged("the header of a scan is invalid");
        let frame = self.frame.as_ref().ok_or_else(|| damaged("it has no frame header"))?;
        let (&count, rest) = segment.split_first().ok_or_else(invalid)?;
        let listed = rest.get(..2 * usize::from(count)).filter(|_| (1..=4).contains(&count)).ok_or_else(invalid)?;
        let mut components: Vec<ScanComponent> = Vec::new();
        for entry in listed.chunks_exact(2) {
            let (id, dc, ac) = (entry[0], usize::from(entry[1] >> 4), usize::from(entry[1] & 15));
            // Some programs give two components the same number: each is used once.
            let free = |at: &usize| components.iter().all(|other| other.component != *at);
            let mut places = (0..frame.components.len()).filter(free);
            let component = places.find(|&at| frame.components[at].id == id).ok_or_else(invalid)?;
            if dc > 3 || ac > 3 {
                return Err(invalid());
            }
            components.push(ScanComponent { component, dc, ac });
        }
        let mut header = ScanHeader { components, band: (0, 63), refines: false, shift: 0, start: self.at };
        if frame.progressive {
            let [first, last, shifts] = *rest[listed.len()..].first_chunk().ok_or_else(invalid)?;
            header.band = (usize::from(first), usize::from(last));
            (header.refines, header.shift) = (shifts >> 4 != 0, u32::from(shifts & 15));
            let band = if first == 0 { last == 0 } else { first <= last && last < 64 && header.components.len() == 1 };
            if !band || header.shift > 13 {
                return Err(invalid());
            }
        }
        Ok(header)
    }
}

/// The height may be 0 in the header, and follow after the first scan. No camera does that.
const LATE_HEIGHT: &str = "DNL: a height that comes after the picture";
