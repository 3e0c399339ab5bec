//! Metadata of listings: records in zstd blocks that share a trained dictionary.
//!
//! A search decompresses only the blocks of its results. A record is a varint length, the listing id, the number of
//! photos and their names, then one value for each field of the schema.

use std::ops::Range;

use zstd::dict::DecoderDictionary;

use super::format::{SectionKind, take_varint};
use crate::error::ShardError;

/// Size at which a block is closed, before compression. A search decompresses about one block for each result.
#[cfg(feature = "build")]
pub(super) const BLOCK_TARGET: usize = 4 << 10;
/// Largest block that a reader decompresses: bounds the memory that a damaged file can take.
pub(super) const BLOCK_LIMIT: u32 = 4 << 20;
/// Largest record, with its length; below [`BLOCK_LIMIT`], so that a block can hold any.
pub(super) const RECORD_LIMIT: usize = 1 << 20;

/// Most bytes that the blocks of a shard may have once decompressed, for each byte of its file, and how many more.
const MAX_EXPANSION: (u64, u64) = (256, 64 << 20);
/// Most bytes that reading the listings of one call may decompress.
const MAX_UNPACKED: u64 = 256 << 20;
/// Most memory of the texts that one call reads, in bytes.
const MAX_TEXTS: usize = 64 << 20;

/// Most photos of a listing: their ordinals have 16 bits.
pub(crate) const MAX_LISTING_PHOTOS: u32 = 1 << 16;

/// An entry of the metadata index. A block holds the listings from `first` up to that of the next entry; the last entry
/// has no block and marks the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct BlockEntry {
    /// Start of the compressed block in its section.
    pub(super) offset: u64,
    /// Row of its first listing.
    pub(super) first: u32,
    /// Length of the decompressed block.
    pub(super) raw_len: u32,
}

/// The metadata of one listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The catalogue's id of the listing.
    pub id: String,
    /// Names of its photos, in the catalogue's order.
    pub photos: Vec<String>,
    /// Values in the order of [`Shard::fields`](super::Shard::fields); a missing value is empty.
    pub values: Vec<String>,
}

impl Record {
    /// The memory of its texts, in bytes.
    fn memory(&self) -> usize {
        let texts = || [&self.id].into_iter().chain(&self.photos).chain(&self.values);
        texts().map(|text| text.len() + size_of::<String>()).sum()
    }

    fn decode(mut bytes: &[u8], fields: usize) -> Option<Record> {
        // A short text takes far more memory than bytes: the two limits bound what a small file can allocate.
        if bytes.len() > RECORD_LIMIT {
            return None;
        }
        let id = take_text(&mut bytes)?;
        let photos = take_varint(&mut bytes).filter(|&count| count <= MAX_LISTING_PHOTOS)?;
        let photos = (0..photos).map(|_| take_text(&mut bytes)).collect::<Option<Vec<_>>>()?;
        let values = (0..fields).map(|_| take_text(&mut bytes)).collect::<Option<Vec<_>>>()?;
        bytes.is_empty().then_some(Record { id, photos, values })
    }
}

/// Encodes the record of a listing whose values are encoded by [`texts`] already; `None` where a length does not fit.
#[cfg(feature = "build")]
pub(super) fn encode(id: &str, photos: &[String], values: &[u8]) -> Option<Vec<u8>> {
    use super::format::put_varint;
    let mut body = texts([id].into_iter())?;
    put_varint(&mut body, u32::try_from(photos.len()).ok()?);
    body.extend(texts(photos.iter().map(String::as_str))?);
    body.extend(values);
    let mut record = Vec::with_capacity(body.len() + 3);
    put_varint(&mut record, u32::try_from(body.len()).ok()?);
    record.extend(body);
    Some(record)
}

/// Encodes texts with their lengths, one after the other; `None` where a length does not fit.
#[cfg(feature = "build")]
pub(crate) fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for text in texts {
        super::format::put_varint(&mut bytes, u32::try_from(text.len()).ok()?);
        bytes.extend(text.as_bytes());
    }
    Some(bytes)
}

/// Returns the text at a position of encoded [`texts`].
#[cfg(feature = "build")]
pub(crate) fn text_at(mut texts: &[u8], at: usize) -> &str {
    let found = (0..=at).map_while(|_| take(&mut texts)).nth(at);
    let text = found.and_then(|text| std::str::from_utf8(text).ok());
    debug_assert!(text.is_some(), "the builder has encoded a text for each field");
    text.unwrap_or_default()
}

/// Returns the id of a record.
fn id(mut record: &[u8]) -> Option<&[u8]> {
    take(&mut record)
}

fn take<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take_varint(from)? as usize;
    let (taken, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(taken)
}

fn take_text(from: &mut &[u8]) -> Option<String> {
    String::from_utf8(take(from)?.to_vec()).ok()
}

/// What merging the results of several shards needs to know of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Brief {
    pub(crate) id: String,
    /// The value of the field that was asked for; empty without one.
    pub(crate) value: String,
}

impl Brief {
    fn decode(mut bytes: &[u8], field: Option<usize>) -> Option<Brief> {
        let id = take_text(&mut bytes)?;
        let Some(field) = field else { return Some(Brief { id, value: String::new() }) };
        let photos = take_varint(&mut bytes).filter(|&count| count <= MAX_LISTING_PHOTOS)?;
        let before = photos as usize + field;
        for _ in 0..before {
            take(&mut bytes)?;
        }
        Some(Brief { id, value: take_text(&mut bytes)? })
    }
}

/// Why texts cannot be read.
#[derive(Debug)]
pub(super) enum ReadFault {
    /// The metadata is damaged.
    Damaged(String),
    /// They are more than a reader accepts.
    TooMuch { what: &'static str, limit: u64 },
}

impl From<String> for ReadFault {
    fn from(detail: String) -> ReadFault {
        ReadFault::Damaged(detail)
    }
}

impl From<ReadFault> for ShardError {
    fn from(fault: ReadFault) -> ShardError {
        match fault {
            ReadFault::Damaged(detail) => {
                ShardError::Invalid { part: SectionKind::MetadataBlocks.name().to_owned(), detail }
            }
            ReadFault::TooMuch { what, limit } => ShardError::TooMuch { what, limit },
        }
    }
}

fn damaged(row: u32) -> String {
    format!("the record of listing {row} is damaged")
}

/// The most bytes that the blocks of a file of this length may have once decompressed.
pub(super) fn most_unpacked(file_len: u64) -> u64 {
    file_len.saturating_mul(MAX_EXPANSION.0).saturating_add(MAX_EXPANSION.1)
}

/// Reads records. Keeps the last block, because neighbouring listings are often read together.
pub(super) struct BlockReader<'a> {
    index: &'a [BlockEntry],
    blocks: &'a [u8],
    fields: usize,
    decompressor: zstd::bulk::Decompressor<'a>,
    current: Option<(usize, Vec<u8>)>,
    /// The bytes decompressed so far.
    unpacked: u64,
}

impl<'a> BlockReader<'a> {
    pub(super) fn new(
        index: &'a [BlockEntry],
        blocks: &'a [u8],
        fields: usize,
        dictionary: Option<&'a DecoderDictionary<'static>>,
    ) -> Result<Self, String> {
        let decompressor = match dictionary {
            Some(dictionary) => zstd::bulk::Decompressor::with_prepared_dictionary(dictionary),
            None => zstd::bulk::Decompressor::new(),
        };
        Ok(BlockReader {
            index,
            blocks,
            fields,
            decompressor: decompressor.map_err(|e| e.to_string())?,
            current: None,
            unpacked: 0,
        })
    }

    /// Returns the records of listings, in the order of `rows`.
    ///
    /// # Errors
    /// [`ReadFault::TooMuch`] where they take more memory, or more work, than a call may.
    pub(super) fn records(&mut self, rows: impl Iterator<Item = u32>) -> Result<Vec<Record>, ReadFault> {
        let (mut records, mut memory) = (Vec::new(), 0);
        for row in rows {
            let record = self.record(row)?;
            memory += record.memory();
            if memory > MAX_TEXTS {
                return Err(ReadFault::TooMuch { what: "texts", limit: MAX_TEXTS as u64 });
            }
            self.check_work()?;
            records.push(record);
        }
        Ok(records)
    }

    /// Returns the id of each listing, and its value of a field, in the order of `rows`. Other texts are not read.
    ///
    /// # Errors
    /// As [`BlockReader::records`].
    pub(super) fn briefs(
        &mut self,
        rows: impl Iterator<Item = u32>,
        field: Option<usize>,
    ) -> Result<Vec<Brief>, ReadFault> {
        let (mut briefs, mut memory) = (Vec::new(), 0);
        for row in rows {
            let brief = Brief::decode(self.body(row)?, field).ok_or_else(|| damaged(row))?;
            memory += size_of::<Brief>() + brief.id.len() + brief.value.len();
            if memory > MAX_TEXTS {
                return Err(ReadFault::TooMuch { what: "texts", limit: MAX_TEXTS as u64 });
            }
            self.check_work()?;
            briefs.push(brief);
        }
        Ok(briefs)
    }

    fn check_work(&self) -> Result<(), ReadFault> {
        if self.unpacked > MAX_UNPACKED {
            return Err(ReadFault::TooMuch { what: "blocks, decompressed", limit: MAX_UNPACKED });
        }
        Ok(())
    }

    /// Returns the record of a listing.
    pub(super) fn record(&mut self, row: u32) -> Result<Record, String> {
        let fields = self.fields;
        Record::decode(self.body(row)?, fields).ok_or_else(|| damaged(row))
    }

    /// Returns the bytes of a listing's record, without their length.
    fn body(&mut self, row: u32) -> Result<&[u8], String> {
        let block = self.index.partition_point(|entry| entry.first <= row).checked_sub(1);
        let block = block.filter(|&b| b + 1 < self.index.len()).ok_or_else(|| format!("no block for listing {row}"))?;
        let skip = row - self.index[block].first;
        let mut rest = self.block(block)?;
        for _ in 0..skip {
            take(&mut rest).ok_or_else(|| damaged(row))?;
        }
        take(&mut rest).ok_or_else(|| damaged(row))
    }

    /// Checks that all blocks of a file of this length may be decompressed, one after the other.
    pub(super) fn check_expansion(&self, file_len: u64) -> Result<(), ReadFault> {
        let unpacked = self.index.iter().map(|entry| u64::from(entry.raw_len)).sum::<u64>();
        let limit = most_unpacked(file_len);
        if unpacked > limit {
            return Err(ReadFault::TooMuch { what: "all blocks, decompressed", limit });
        }
        Ok(())
    }

    /// Returns the decompressed bytes of a block.
    pub(super) fn block(&mut self, block: usize) -> Result<&[u8], String> {
        let bytes = match self.current.take() {
            Some((current, bytes)) if current == block => bytes,
            _ => self.decompress(block)?,
        };
        Ok(&self.current.insert((block, bytes)).1)
    }

    fn decompress(&mut self, block: usize) -> Result<Vec<u8>, String> {
        let (entry, next) = match self.index.get(block..).unwrap_or_default() {
            [entry, next, ..] => (entry, next),
            _ => return Err(format!("no block {block}")),
        };
        let range = usize::try_from(entry.offset).ok().zip(usize::try_from(next.offset).ok());
        let compressed = range.and_then(|(from, to)| self.blocks.get(from..to));
        let compressed = compressed.ok_or_else(|| format!("block {block} has wrong offsets"))?;
        if entry.raw_len > BLOCK_LIMIT {
            return Err(format!("block {block} would have {} bytes, at most {BLOCK_LIMIT} expected", entry.raw_len));
        }
        self.unpacked += u64::from(entry.raw_len);
        let bytes = self.decompressor.decompress(compressed, entry.raw_len as usize);
        let bytes = bytes.map_err(|e| format!("block {block}: {e}"))?;
        if bytes.len() != entry.raw_len as usize {
            return Err(format!("block {block} has {} bytes, {} expected", bytes.len(), entry.raw_len));
        }
        Ok(bytes)
    }

    /// Adds the rows of the listings with these ids, which are sorted, to `rows`. Reads only blocks that may have one.
    pub(super) fn find(&mut self, ids: &[&str], rows: &mut Vec<u32>) -> Result<(), String> {
        self.find_in(0..self.index.len().saturating_sub(1), ids, rows)
    }

    fn find_in(&mut self, blocks: Range<usize>, ids: &[&str], rows: &mut Vec<u32>) -> Result<(), String> {
        if ids.is_empty() || blocks.is_empty() {
            return Ok(());
        }
        if blocks.len() > 1 {
            let middle = blocks.start + blocks.len() / 2;
            let mut bytes = self.block(middle)?;
            let first = take(&mut bytes).and_then(id).unwrap_or_default();
            let before = ids.partition_point(|&id| id.as_bytes() < first);
            self.find_in(blocks.start..middle, &ids[..before], rows)?;
            return self.find_in(middle..blocks.end, &ids[before..], rows);
        }
        let mut row = self.index[blocks.start].first;
        let mut bytes = self.block(blocks.start)?;
        let mut ids = ids.iter().peekable();
        while let Some(record) = take(&mut bytes) {
            let found = id(record).unwrap_or_default();
            while ids.next_if(|id| id.as_bytes() < found).is_some() {}
            if ids.next_if(|id| id.as_bytes() == found).is_some() {
                rows.push(row);
            }
            row = row.saturating_add(1);
        }
        Ok(())
    }

    /// Calls `each` with the row and record of every listing, in order; returns their number.
    pub(super) fn each(&mut self, mut each: impl FnMut(u32, Record) -> Result<(), String>) -> Result<u32, String> {
        let mut row = 0;
        for block in 0..self.index.len().saturating_sub(1) {
            let (first, next) = (self.index[block].first, self.index[block + 1].first);
            if first != row || next <= first {
                return Err(format!("block {block} starts with listing {first}, expected {row}, and ends at {next}"));
            }
            let fields = self.fields;
            let mut rest = self.block(block)?;
            while !rest.is_empty() {
                let record = take(&mut rest).and_then(|bytes| Record::decode(bytes, fields));
                each(row, record.ok_or_else(|| damaged(row))?)?;
                row += 1;
            }
            if row != next {
                return Err(format!("block {block} ends with listing {row}, expected {next}"));
            }
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(index: &[BlockEntry]) -> BlockReader<'_> {
        BlockReader::new(index, &[], 1, None).expect("zstd")
    }

    #[test]
    fn a_small_file_whose_texts_are_gigabytes_is_refused_before_any_is_decompressed() {
        let block = |at: u32| BlockEntry { offset: 0, first: at, raw_len: BLOCK_LIMIT };
        let index: Vec<BlockEntry> = (0..800).map(block).collect();
        let refused = reader(&index).check_expansion(4 << 20).map_err(ShardError::from);
        let limit = (4 << 30 >> 2) + (64 << 20);
        assert_eq!(refused, Err(ShardError::TooMuch { what: "all blocks, decompressed", limit }));
        // A sixteenth of them would be fine.
        assert!(reader(&index[..50]).check_expansion(4 << 20).is_ok());
    }

    #[test]
    fn of_a_brief_listing_only_the_wanted_value_is_read() {
        // id "a", photos "x" and "yy", values "red" and "9".
        let body = [&[1, b'a', 2, 1, b'x', 2, b'y', b'y', 3], &b"red"[..], &[1, b'9']].concat();
        let read = |field| Brief::decode(&body, field).map(|brief| (brief.id, brief.value));
        let some = |value: &str| Some(("a".to_owned(), value.to_owned()));
        assert_eq!([read(None), read(Some(0)), read(Some(1)), read(Some(2))], [some(""), some("red"), some("9"), None]);
    }
}
