//! Writing a shard: sections in, one file out, the same bytes for the same input.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use super::columns::{ColumnKind, Words};
use super::format::{
    ALIGN, ColumnSpec, Entry, FORMAT_WRITTEN, HEADER_LEN, Header, Kind, MAX_COLUMNS, MAX_SCHEMA, OLDEST_READER, Schema,
    encode_header,
};
use super::metadata::{BLOCK_LIMIT, BLOCK_TARGET, IndexEntry, Record};
use crate::error::{Error, Result, ShardError};
use crate::ids::{CatalogId, ModelId};

/// Compression level of metadata: written once, read on phones.
const ZSTD_LEVEL: i32 = 19;
/// Largest trained dictionary.
const DICTIONARY_LIMIT: usize = 64 << 10;
/// Records that the dictionary is trained on, at most; spread evenly over the catalogue.
const DICTIONARY_SAMPLES: usize = 50_000;

/// What a shard says of itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The model that made the embeddings.
    pub model_id: ModelId,
    /// The catalogue's name.
    pub catalog: String,
    /// Grows with every publication.
    pub sequence: u64,
    /// The program that writes.
    pub writer: String,
}

/// The values of a filter column, one a photo.
#[derive(Debug, Clone)]
pub(crate) enum ColumnData {
    /// Sorted, distinct words, and for each photo 0 or 1 + the position of its word.
    Word(Vec<String>, Vec<u32>),
    /// Numbers; NaN for none.
    Number(Vec<f64>),
}

/// The contents of a shard, in the order of rows.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    /// Coordinates of an embedding.
    pub(crate) dim: u32,
    /// `dim` bytes a photo.
    pub(crate) codes: Vec<i8>,
    /// One a photo.
    pub(crate) factors: Vec<f32>,
    /// Listing row of each photo.
    pub(crate) photo_listings: Vec<u32>,
    /// Place of each photo among its listing's.
    pub(crate) photo_ordinals: Vec<u16>,
    /// Names of a listing's fields.
    pub(crate) fields: Vec<String>,
    /// Filter columns with their names.
    pub(crate) columns: Vec<(String, ColumnData)>,
    /// One a listing, in ascending order of ids.
    pub(crate) records: Vec<Record>,
}

/// Writes a shard to `path`: to a temporary name first, synced, then renamed, so that no one ever maps half a file.
///
/// # Errors
/// [`Error::Io`], or [`ShardError::Build`] where the contents do not fit the format.
pub(crate) fn write(path: &Path, identity: &Identity, contents: &Contents) -> Result<()> {
    let build = |detail: String| Error::Shard(ShardError::Build(detail));
    if contents.columns.len() > MAX_COLUMNS {
        let count = contents.columns.len();
        return Err(build(format!("{count} filter columns, the format holds {MAX_COLUMNS}")));
    }
    let count = |len: usize, what: &str| {
        u32::try_from(len).map_err(|_| build(format!("{len} {what}, the format holds fewer than 2^32")))
    };
    let mut header = Header {
        format: FORMAT_WRITTEN,
        oldest_reader: OLDEST_READER,
        dim: contents.dim,
        photo_count: count(contents.factors.len(), "photos")?,
        listing_count: count(contents.records.len(), "listings")?,
        model_id: identity.model_id,
        catalog_id: CatalogId::of(&identity.catalog),
        sequence: identity.sequence,
        file_len: 0,
    };
    let schema = serde_json::to_vec(&schema(identity, contents)).map_err(|e| build(e.to_string()))?;
    if schema.len() as u64 > MAX_SCHEMA {
        return Err(build(format!("the names of the columns take {} bytes, {MAX_SCHEMA} fit", schema.len())));
    }
    let metadata = Metadata::new(&contents.records).map_err(build)?;

    let part = path.with_added_extension("part");
    let written = write_sections(&part, &mut header, &schema, &metadata, contents)
        .and_then(|()| std::fs::rename(&part, path).map_err(|e| Error::io(path, e)));
    if written.is_err() {
        // Best effort: what matters to the caller is why it failed.
        let _ = std::fs::remove_file(&part);
        return written;
    }
    // The new name itself must outlive a power cut; systems where a folder cannot be opened do that by themselves.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn write_sections(
    path: &Path,
    header: &mut Header,
    schema: &[u8],
    metadata: &Metadata,
    contents: &Contents,
) -> Result<()> {
    let build = |detail: String| Error::Shard(ShardError::Build(detail));
    let io = |e| Error::io(path, e);
    let mut out = Sections::create(path).map_err(io)?;
    out.add(Kind::Schema, 0, schema).map_err(io)?;
    out.add(Kind::Factors, 0, bytemuck::cast_slice(&contents.factors)).map_err(io)?;
    out.add(Kind::PhotoListings, 0, bytemuck::cast_slice(&contents.photo_listings)).map_err(io)?;
    out.add(Kind::PhotoOrdinals, 0, bytemuck::cast_slice(&contents.photo_ordinals)).map_err(io)?;
    for (ordinal, (name, column)) in contents.columns.iter().enumerate() {
        let ordinal = ordinal as u32;
        match column {
            ColumnData::Number(values) => {
                out.add(Kind::ColumnValues, ordinal, bytemuck::cast_slice(values)).map_err(io)?;
            }
            ColumnData::Word(words, values) => {
                let words = Words::write(words).ok_or_else(|| build(format!("column '{name}': more than 4 GiB")))?;
                out.add(Kind::ColumnValues, ordinal, bytemuck::cast_slice(values)).map_err(io)?;
                out.add(Kind::ColumnWords, ordinal, &words).map_err(io)?;
            }
        }
    }
    out.add(Kind::MetadataDictionary, 0, &metadata.dictionary).map_err(io)?;
    out.add(Kind::MetadataIndex, 0, bytemuck::cast_slice(&metadata.index)).map_err(io)?;
    out.add(Kind::Codes, 0, bytemuck::cast_slice(&contents.codes)).map_err(io)?;
    out.add(Kind::MetadataBlocks, 0, &metadata.blocks).map_err(io)?;
    out.finish(header).and_then(|file| file.sync_all()).map_err(io)
}

fn schema(identity: &Identity, contents: &Contents) -> Schema {
    let kind = |column: &ColumnData| match column {
        ColumnData::Word(..) => ColumnKind::Word,
        ColumnData::Number(_) => ColumnKind::Number,
    };
    let columns = contents.columns.iter();
    Schema {
        catalog: identity.catalog.clone(),
        writer: identity.writer.clone(),
        fields: contents.fields.clone(),
        columns: columns.map(|(name, column)| ColumnSpec { name: name.clone(), kind: kind(column) }).collect(),
    }
}

/// Appends sections to a file, behind room for the header.
struct Sections {
    file: BufWriter<File>,
    end: u64,
    entries: Vec<Entry>,
}

impl Sections {
    fn create(path: &Path) -> std::io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&[0; HEADER_LEN])?;
        Ok(Sections { file, end: HEADER_LEN as u64, entries: Vec::new() })
    }

    fn pad(&mut self, align: u64) -> std::io::Result<()> {
        let next = self.end.next_multiple_of(align);
        std::io::copy(&mut std::io::Read::take(std::io::repeat(0), next - self.end), &mut self.file)?;
        self.end = next;
        Ok(())
    }

    fn add(&mut self, kind: Kind, ordinal: u32, bytes: &[u8]) -> std::io::Result<()> {
        self.pad(kind.align())?;
        let (offset, len, checksum) = (self.end, bytes.len() as u64, *blake3::hash(bytes).as_bytes());
        self.file.write_all(bytes)?;
        self.end += len;
        self.entries.push(Entry { kind: kind as u32, ordinal, offset, len, checksum });
        Ok(())
    }

    fn finish(mut self, header: &mut Header) -> std::io::Result<File> {
        self.pad(ALIGN)?;
        header.file_len = self.end;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&encode_header(header, &self.entries))?;
        self.file.into_inner().map_err(|e| e.into_error())
    }
}

/// The three metadata sections.
struct Metadata {
    dictionary: Vec<u8>,
    index: Vec<IndexEntry>,
    blocks: Vec<u8>,
}

impl Metadata {
    fn new(records: &[Record]) -> Result<Self, String> {
        let encoded = records
            .iter()
            .map(|record| record.encode().ok_or_else(|| format!("listing '{}': its texts are too long", record.id)))
            .collect::<Result<Vec<_>, _>>()?;
        let dictionary = train(&encoded);
        let mut compressor =
            zstd::bulk::Compressor::with_dictionary(ZSTD_LEVEL, &dictionary).map_err(|e| e.to_string())?;
        compressor.include_checksum(false).map_err(|e| e.to_string())?;

        let (mut index, mut blocks) = (Vec::new(), Vec::new());
        let mut first = 0;
        let mut raw: Vec<u8> = Vec::new();
        for (row, record) in encoded.iter().enumerate() {
            raw.extend(record);
            let next = encoded.get(row + 1).map_or(0, Vec::len);
            let full = raw.len() >= BLOCK_TARGET || raw.len() + next > BLOCK_LIMIT as usize;
            if full || row + 1 == encoded.len() {
                index.push(IndexEntry { offset: blocks.len() as u64, first, raw_len: raw.len() as u32 });
                blocks.extend(compressor.compress(&raw).map_err(|e| e.to_string())?);
                raw.clear();
                first = row as u32 + 1;
            }
        }
        index.push(IndexEntry { offset: blocks.len() as u64, first, raw_len: 0 });
        Ok(Metadata { dictionary, index, blocks })
    }
}

/// A dictionary trained on the records; empty where they are too few or too small to pay for one.
fn train(records: &[Vec<u8>]) -> Vec<u8> {
    let total: usize = records.iter().map(Vec::len).sum();
    let limit = (total / 16).min(DICTIONARY_LIMIT);
    if limit < 1024 {
        return Vec::new();
    }
    let step = records.len().div_ceil(DICTIONARY_SAMPLES).max(1);
    let samples: Vec<&[u8]> = records.iter().step_by(step).map(Vec::as_slice).collect();
    zstd::dict::from_samples(&samples, limit).unwrap_or_else(|error| {
        log::info!("metadata is compressed without a dictionary: {error}");
        Vec::new()
    })
}
