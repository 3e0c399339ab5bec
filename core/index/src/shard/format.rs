//! The header and the section table, encoded and decoded.

use serde::{Deserialize, Serialize};

use crate::embedding::MAX_DIM;
use crate::error::ShardError;
use crate::ids::{CatalogId, ModelId};

/// The format version that is written.
pub const FORMAT_WRITTEN: u32 = 2;
/// Format version of the oldest reader that may read the files of this writer.
#[cfg(feature = "build")]
pub(super) const OLDEST_READER: u32 = 2;
/// The oldest format version that is still read.
pub const FORMAT_OLDEST_READ: u32 = 2;

pub(super) const MAGIC: [u8; 8] = *b"MAGPIE\x1a\n";
/// Header and section table together: one page.
pub(super) const HEADER_LEN: usize = 4096;
const TABLE_AT: usize = 128;
const ENTRY_LEN: usize = 64;
const CHECKSUM_AT: usize = HEADER_LEN - 32;
/// Number of table entries that fit between the header's fields and its checksum.
pub(super) const MAX_SECTIONS: usize = (CHECKSUM_AT - TABLE_AT) / ENTRY_LEN;
/// Alignment of every section: a cache line.
pub(super) const ALIGN: u64 = 64;
/// Alignment of sections with an access pattern of their own: the page size of current Android phones.
pub(super) const PAGE_ALIGN: u64 = 16 << 10;
/// Most filter columns of a shard; leaves room in the section table for later versions.
pub const MAX_COLUMNS: usize = 16;
/// Most fields of a listing. Each field takes memory in every listing that is read, however short its value is.
pub const MAX_FIELDS: usize = 1024;
/// Number of section kinds.
const KINDS: usize = 18;
/// Largest schema, in bytes: a reader parses no more JSON than this.
pub(super) const MAX_SCHEMA: u64 = 1 << 20;

/// What a section holds. The numbers are part of the format; 3 was the factors of format 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectionKind {
    Schema = 1,
    Codes = 2,
    PhotoListings = 4,
    PhotoOrdinals = 5,
    ColumnValues = 6,
    ColumnWords = 7,
    MetadataDictionary = 8,
    MetadataIndex = 9,
    MetadataBlocks = 10,
    Index = 11,
    ListStarts = 12,
    ListBiases = 13,
    Centroids = 14,
    CentroidGraph = 15,
    ScanBlocks = 16,
    CodeScales = 17,
    ThumbnailEnds = 18,
    Thumbnails = 19,
}

impl SectionKind {
    const NAMES: [(SectionKind, &'static str); KINDS] = [
        (SectionKind::Schema, "schema"),
        (SectionKind::Codes, "codes"),
        (SectionKind::PhotoListings, "photo listings"),
        (SectionKind::PhotoOrdinals, "photo ordinals"),
        (SectionKind::ColumnValues, "column values"),
        (SectionKind::ColumnWords, "column words"),
        (SectionKind::MetadataDictionary, "metadata dictionary"),
        (SectionKind::MetadataIndex, "metadata index"),
        (SectionKind::MetadataBlocks, "metadata blocks"),
        (SectionKind::Index, "index"),
        (SectionKind::ListStarts, "list starts"),
        (SectionKind::ListBiases, "list biases"),
        (SectionKind::Centroids, "centroids"),
        (SectionKind::CentroidGraph, "centroid graph"),
        (SectionKind::ScanBlocks, "scan blocks"),
        (SectionKind::CodeScales, "code scales"),
        (SectionKind::ThumbnailEnds, "thumbnail ends"),
        (SectionKind::Thumbnails, "thumbnails"),
    ];

    pub(super) fn from_number(number: u32) -> Option<SectionKind> {
        SectionKind::NAMES.into_iter().map(|(kind, _)| kind).find(|&kind| kind as u32 == number)
    }

    pub(super) fn name(self) -> &'static str {
        let name = SectionKind::NAMES.into_iter().find(|(kind, _)| *kind == self).map(|(_, name)| name);
        debug_assert!(name.is_some(), "{self:?} has no name");
        name.unwrap_or_default()
    }

    /// Returns the alignment of the section. Where the access pattern changes, a new page starts.
    pub(super) fn align(self) -> u64 {
        match self {
            SectionKind::Index | SectionKind::Codes | SectionKind::MetadataBlocks | SectionKind::Thumbnails => {
                PAGE_ALIGN
            }
            _ => ALIGN,
        }
    }
}

/// An entry of the section table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SectionEntry {
    pub(super) kind: u32,
    /// Number of the filter column, 0 for other sections.
    pub(super) ordinal: u32,
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) checksum: [u8; 32],
}

impl SectionEntry {
    /// Returns the section's name in messages.
    pub(super) fn name(&self) -> String {
        match SectionKind::from_number(self.kind) {
            Some(kind @ (SectionKind::ColumnValues | SectionKind::ColumnWords)) => {
                format!("{} {}", kind.name(), self.ordinal)
            }
            Some(kind) => kind.name().to_owned(),
            None => format!("section of unknown kind {}", self.kind),
        }
    }
}

/// A section of a shard: its name, place and length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SectionInfo {
    /// What the section holds.
    pub name: String,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// The header of a shard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Header {
    /// Format version of the file.
    pub format: u32,
    /// Format version of the oldest reader that may read the file.
    pub oldest_reader: u32,
    /// Dimension of the embeddings.
    pub dim: u32,
    /// Number of photos.
    pub photo_count: u32,
    /// Number of listings.
    pub listing_count: u32,
    /// The model that computed the embeddings.
    pub model_id: ModelId,
    /// The catalogue.
    #[serde(serialize_with = "as_text")]
    pub catalog_id: CatalogId,
    /// Grows with every publication of the catalogue.
    pub sequence: u64,
    /// Length of the file in bytes.
    pub file_len: u64,
}

fn as_text<S: serde::Serializer>(id: &CatalogId, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(id)
}

/// The schema section: JSON, because it is small, read once, and useful to people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Schema {
    /// The catalogue's name; the header has its hash.
    pub(super) catalog: String,
    /// The program that wrote the file.
    pub(super) writer: String,
    /// Names of a listing's fields, in the order of the values in its record.
    pub(super) fields: Vec<String>,
    /// Filter columns; the position of a column is the ordinal of its sections.
    pub(super) columns: Vec<ColumnSpec>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ColumnSpec {
    pub(super) name: String,
    pub(super) kind: super::columns::ColumnKind,
}

// The table always has room for all sections that a writer can produce: two for each column, one of each other kind.
const _: () = assert!(KINDS - 2 + 2 * MAX_COLUMNS <= MAX_SECTIONS);

/// Encodes the header and the section table into their page.
#[cfg(feature = "build")]
pub(super) fn encode_header(header: &Header, entries: &[SectionEntry]) -> Vec<u8> {
    let mut page = vec![0; HEADER_LEN];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC);
    put(8, &header.format.to_le_bytes());
    put(12, &header.oldest_reader.to_le_bytes());
    put(16, &(HEADER_LEN as u32).to_le_bytes());
    put(20, &(entries.len() as u32).to_le_bytes());
    put(24, &header.dim.to_le_bytes());
    put(32, &u64::from(header.photo_count).to_le_bytes());
    put(40, &u64::from(header.listing_count).to_le_bytes());
    put(48, &header.model_id.0);
    put(80, &header.catalog_id.0);
    put(96, &header.sequence.to_le_bytes());
    put(104, &header.file_len.to_le_bytes());
    for (i, entry) in entries.iter().enumerate() {
        let at = TABLE_AT + i * ENTRY_LEN;
        put(at, &entry.kind.to_le_bytes());
        put(at + 4, &entry.ordinal.to_le_bytes());
        put(at + 8, &entry.offset.to_le_bytes());
        put(at + 16, &entry.len.to_le_bytes());
        put(at + 32, &entry.checksum);
    }
    let checksum = *blake3::hash(&page[..CHECKSUM_AT]).as_bytes();
    page[CHECKSUM_AT..].copy_from_slice(&checksum);
    page
}

/// Decodes the header and the section table, from the first page of a file of `found` bytes (or all of it, if it is
/// shorter). The order of the checks is part of the format: whether the file is a shard, whether this reader may read it,
/// whether the page is intact, whether the file is complete, and only then its contents.
pub(super) fn decode_header(front: &[u8], found: u64) -> Result<(Header, Vec<SectionEntry>), ShardError> {
    if front.get(..MAGIC.len()) != Some(&MAGIC[..]) {
        return Err(ShardError::NotAShard);
    }
    let Some(page) = front.get(..HEADER_LEN) else {
        return Err(ShardError::WrongLength { expected: HEADER_LEN as u64, found });
    };
    let u32_at = |at: usize| u32::from_le_bytes(array(&page[at..]));
    let u64_at = |at: usize| u64::from_le_bytes(array(&page[at..]));
    let (format, oldest_reader) = (u32_at(8), u32_at(12));
    if oldest_reader > FORMAT_WRITTEN {
        return Err(ShardError::TooNew { found: format, needs: oldest_reader, known: FORMAT_WRITTEN });
    }
    if format < FORMAT_OLDEST_READ {
        return Err(ShardError::TooOld { found: format, oldest: FORMAT_OLDEST_READ });
    }
    if blake3::hash(&page[..CHECKSUM_AT]).as_bytes()[..] != page[CHECKSUM_AT..] {
        return Err(ShardError::Checksum { part: "header".to_owned() });
    }
    let file_len = u64_at(104);
    if file_len != found {
        return Err(ShardError::WrongLength { expected: file_len, found });
    }

    let invalid = |detail: String| ShardError::Invalid { part: "header".to_owned(), detail };
    if oldest_reader > format {
        return Err(invalid(format!("format {format} needs readers of format {oldest_reader}")));
    }
    let header_len = u32_at(16);
    if header_len as usize != HEADER_LEN {
        return Err(invalid(format!("its length is {header_len}, expected {HEADER_LEN}")));
    }
    let sections = u32_at(20) as usize;
    if sections > MAX_SECTIONS {
        return Err(invalid(format!("{sections} sections, expected at most {MAX_SECTIONS}")));
    }
    let dim = u32_at(24);
    if !(1..=MAX_DIM).contains(&dim) {
        return Err(invalid(format!("dimension {dim}, expected 1 to {MAX_DIM}")));
    }
    let count = |at: usize, what: &str| {
        u32::try_from(u64_at(at)).map_err(|_| invalid(format!("{} {what}, expected at most 2^32 - 1", u64_at(at))))
    };
    let header = Header {
        format,
        oldest_reader,
        dim,
        photo_count: count(32, "photos")?,
        listing_count: count(40, "listings")?,
        model_id: ModelId(array(&page[48..])),
        catalog_id: CatalogId(array(&page[80..])),
        sequence: u64_at(96),
        file_len,
    };
    // Bounds everything sized by the number of listings, because the photos' sections are checked against the file.
    if header.listing_count > header.photo_count {
        let (listings, photos) = (header.listing_count, header.photo_count);
        return Err(invalid(format!("{listings} listings with {photos} photos, expected at least one each")));
    }
    let mut end = HEADER_LEN as u64;
    let mut entries = Vec::with_capacity(sections);
    for i in 0..sections {
        let at = TABLE_AT + i * ENTRY_LEN;
        let entry = SectionEntry {
            kind: u32_at(at),
            ordinal: u32_at(at + 4),
            offset: u64_at(at + 8),
            len: u64_at(at + 16),
            checksum: array(&page[at + 32..]),
        };
        let align = SectionKind::from_number(entry.kind).map_or(ALIGN, SectionKind::align);
        let next = entry.offset.checked_add(entry.len).filter(|&next| next <= file_len);
        let Some(next) = next.filter(|_| entry.offset >= end && entry.offset.is_multiple_of(align)) else {
            let (name, offset, len) = (entry.name(), entry.offset, entry.len);
            return Err(invalid(format!(
                "{name} starts at {offset} with {len} bytes, expected a multiple of {align} from {end} on, \
                 and an end within {file_len}"
            )));
        };
        if entries.iter().any(|other: &SectionEntry| (other.kind, other.ordinal) == (entry.kind, entry.ordinal)) {
            return Err(invalid(format!("{} is in the table twice", entry.name())));
        }
        end = next;
        entries.push(entry);
    }
    Ok((header, entries))
}

/// Returns the first `N` bytes. The callers stay inside the page.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

/// Appends a number as LEB128: seven bits in each byte, low ones first.
#[cfg(feature = "build")]
pub(super) fn put_varint(to: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Takes a LEB128 number of at most 32 bits off the front; `None` where it is cut off or too large.
pub(super) fn take_varint(from: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in (0..32).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u32::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(all(test, feature = "build"))]
mod tests {
    use super::*;
    use crate::testing::cases;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn varints_round_trip(value: u32, tail in prop::collection::vec(any::<u8>(), 0..4)) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            bytes.extend(&tail);
            let mut rest = &bytes[..];
            prop_assert_eq!(take_varint(&mut rest), Some(value));
            prop_assert_eq!(rest, &tail[..]);
        }

        #[test]
        fn any_bytes_are_a_varint_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..8)) {
            take_varint(&mut &bytes[..]);
        }
    }
}
