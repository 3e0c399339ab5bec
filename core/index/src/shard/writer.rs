//! Writes the sections of a shard to a file; the same contents give the same bytes.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::columns::{ColumnKind, WordCodes, Words};
use super::format::{
    ALIGN, ColumnSpec, FORMAT_WRITTEN, HEADER_LEN, Header, MAX_COLUMNS, MAX_FIELDS, MAX_SCHEMA, OLDEST_READER, Schema,
    SectionEntry, SectionKind, encode_header,
};
use super::index::{Budget, CentroidGraph, ListIndex, RECALLS};
use super::metadata::{BLOCK_LIMIT, BLOCK_TARGET, BlockEntry, RECORD_LIMIT, encode, most_unpacked};
use super::reader::Shard;
use crate::error::{Error, Result, ShardError};
use crate::ids::{CatalogId, ModelId};

/// Compression level of metadata: the highest before zstd's "ultra" levels. It is written once and read on phones, and
/// the level does not slow down reading.
const ZSTD_LEVEL: i32 = 19;
/// Largest trained dictionary.
const DICTIONARY_LIMIT: usize = 64 << 10;
/// Most records that the dictionary is trained on, spread evenly over the catalogue: bounds the time of training.
const DICTIONARY_SAMPLES: usize = 50_000;

/// What a shard says about its origin.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The model that computed the embeddings.
    pub model_id: ModelId,
    /// The catalogue's name.
    pub catalog: String,
    /// Grows with every publication of the catalogue.
    pub sequence: u64,
    /// Name and version of the program that writes the file.
    pub writer: String,
}

/// The values of a filter column, one for each photo.
#[derive(Debug, Clone)]
pub(crate) enum ColumnData {
    /// Sorted, distinct words, and for each photo 0 or 1 + the position of its word.
    Word(Vec<String>, Vec<u32>),
    /// Numbers; NaN for a missing value.
    Number(Vec<f64>),
}

/// The contents of a shard, in the order of rows.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    /// Dimension of the embeddings.
    pub(crate) dim: u32,
    /// The index section, without budgets.
    pub(crate) index: ListIndex,
    /// The first photo of each list, and the number of photos.
    pub(crate) list_starts: Vec<u32>,
    /// One for each list.
    pub(crate) list_biases: Vec<f32>,
    /// A code for each list.
    pub(crate) centroids: Vec<i8>,
    /// For each layer from the top, the links of each node; empty without a graph.
    pub(crate) graph: Vec<Vec<Vec<u32>>>,
    /// A block for every 32 photos.
    pub(crate) scan_blocks: Vec<u8>,
    /// A byte code for each photo.
    pub(crate) codes: Vec<u8>,
    /// One for each photo.
    pub(crate) code_scales: Vec<u16>,
    /// Listing row of each photo.
    pub(crate) photo_listings: Vec<u32>,
    /// Position of each photo among those of its listing.
    pub(crate) photo_ordinals: Vec<u16>,
    /// JPEG bytes of each photo, empty for a photo without a thumbnail; no entries in a shard without thumbnails.
    pub(crate) thumbnails: Vec<Box<[u8]>>,
    /// Names of a listing's fields.
    pub(crate) fields: Vec<String>,
    /// Filter columns with their names.
    pub(crate) columns: Vec<(String, ColumnData)>,
    /// One for each listing, in ascending order of ids.
    pub(crate) records: Vec<RecordData>,
}

/// The metadata of a listing, before compression.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordData {
    /// The catalogue's id.
    pub(crate) id: String,
    /// Names of its photos.
    pub(crate) photos: Vec<String>,
    /// Its values, encoded by [`texts`](super::metadata::texts).
    pub(crate) values: Box<[u8]>,
}

/// Bytes that are written in one call, see [`Sections::add_parts`].
const PIECE: usize = 1 << 16;

/// Writes a shard to `path`: to a temporary name first, synced, then renamed, so that no reader ever maps half a file.
/// `measure` is called with the shard once its sections are written, and returns the budgets for its index.
///
/// # Errors
/// [`Error::Io`], or [`ShardError::Build`] where the contents do not fit the format.
pub(crate) fn write(
    path: &Path,
    identity: &Identity,
    contents: Contents,
    measure: impl FnOnce(&Shard) -> Result<[Budget; RECALLS.len()]>,
) -> Result<()> {
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
        photo_count: count(contents.photo_listings.len(), "photos")?,
        listing_count: count(contents.records.len(), "listings")?,
        model_id: identity.model_id,
        catalog_id: CatalogId::of(&identity.catalog),
        sequence: identity.sequence,
        file_len: 0,
    };
    let schema = serde_json::to_vec(&schema(identity, &contents)).map_err(|e| build(e.to_string()))?;
    if schema.len() as u64 > MAX_SCHEMA {
        return Err(build(format!("the names of the columns take {} bytes, {MAX_SCHEMA} fit", schema.len())));
    }
    if contents.fields.len() > MAX_FIELDS {
        let count = contents.fields.len();
        return Err(build(format!("{count} fields, the format holds {MAX_FIELDS}: leave out some columns")));
    }
    let metadata = Metadata::new(&contents.records).map_err(build)?;

    let (part, file) = part_of(path)?;
    let written = write_sections(&part, file, &mut header, &schema, metadata, contents, measure)
        .and_then(|()| std::fs::rename(&part, path).map_err(|e| Error::io(path, e)));
    if written.is_err() {
        // Best effort: the caller needs the first error.
        let _ = std::fs::remove_file(&part);
        return written;
    }
    // The rename must survive a power cut. Systems where a folder cannot be opened ensure that by themselves.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Names tried for a file that is being written: others exist only if their writers were killed.
const PART_NAMES: u32 = 1000;

/// Creates a new file beside `path`, for a shard that is not complete yet. Its name is not that of another writer's, so
/// that two writers of one shard cannot damage each other's file: the last to finish wins.
fn part_of(path: &Path) -> Result<(PathBuf, File)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let exists = |e: &std::io::Error| e.kind() == std::io::ErrorKind::AlreadyExists;
    for _ in 0..PART_NAMES {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let part = path.with_added_extension(format!("{}-{number}.part", std::process::id()));
        match File::options().read(true).write(true).create_new(true).open(&part) {
            Ok(file) => return Ok((part, file)),
            Err(e) if exists(&e) => {}
            Err(e) => return Err(Error::io(path, e)),
        }
    }
    Err(Error::io(path, std::io::Error::other("too many unfinished files (*.part) lie beside it; remove them")))
}

fn write_sections(
    path: &Path,
    file: File,
    header: &mut Header,
    schema: &[u8],
    metadata: Metadata,
    contents: Contents,
    measure: impl FnOnce(&Shard) -> Result<[Budget; RECALLS.len()]>,
) -> Result<()> {
    let build = |detail: String| Error::Shard(ShardError::Build(detail));
    let io = |e| Error::io(path, e);
    let mut out = Sections::create(file).map_err(io)?;
    out.add(SectionKind::Schema, 0, schema).map_err(io)?;
    // First the sections that every search reads, then those read for re-ranked photos, then the rest.
    out.add(SectionKind::Index, 0, bytemuck::bytes_of(&contents.index)).map_err(io)?;
    out.add(SectionKind::ListStarts, 0, bytemuck::cast_slice(&contents.list_starts)).map_err(io)?;
    out.add(SectionKind::ListBiases, 0, bytemuck::cast_slice(&contents.list_biases)).map_err(io)?;
    out.add(SectionKind::Centroids, 0, bytemuck::cast_slice(&contents.centroids)).map_err(io)?;
    out.add(SectionKind::CentroidGraph, 0, bytemuck::cast_slice(&CentroidGraph::write(&contents.graph))).map_err(io)?;
    out.add(SectionKind::ScanBlocks, 0, &contents.scan_blocks).map_err(io)?;
    out.add(SectionKind::Codes, 0, &contents.codes).map_err(io)?;
    out.add(SectionKind::CodeScales, 0, bytemuck::cast_slice(&contents.code_scales)).map_err(io)?;
    out.add(SectionKind::PhotoListings, 0, bytemuck::cast_slice(&contents.photo_listings)).map_err(io)?;
    out.add(SectionKind::PhotoOrdinals, 0, bytemuck::cast_slice(&contents.photo_ordinals)).map_err(io)?;
    for (ordinal, (name, column)) in contents.columns.iter().enumerate() {
        let ordinal = ordinal as u32;
        match column {
            ColumnData::Number(values) => {
                out.add(SectionKind::ColumnValues, ordinal, bytemuck::cast_slice(values)).map_err(io)?;
            }
            ColumnData::Word(words, values) => {
                out.add(SectionKind::ColumnValues, ordinal, &WordCodes::write(values, words.len())).map_err(io)?;
                let words = Words::write(words).ok_or_else(|| build(format!("column '{name}': more than 4 GiB")))?;
                out.add(SectionKind::ColumnWords, ordinal, &words).map_err(io)?;
            }
        }
    }
    out.add(SectionKind::MetadataDictionary, 0, &metadata.dictionary).map_err(io)?;
    out.add(SectionKind::MetadataIndex, 0, bytemuck::cast_slice(&metadata.index)).map_err(io)?;
    out.add(SectionKind::MetadataBlocks, 0, &metadata.blocks).map_err(io)?;
    if !contents.thumbnails.is_empty() {
        let ends = contents.thumbnails.iter().scan(0, |end, bytes| {
            *end += bytes.len() as u64;
            Some(*end)
        });
        out.add(SectionKind::ThumbnailEnds, 0, bytemuck::cast_slice(&ends.collect::<Vec<u64>>())).map_err(io)?;
        out.add_parts(SectionKind::Thumbnails, 0, contents.thumbnails.iter().map(AsRef::as_ref)).map_err(io)?;
    }
    let index = contents.index;
    let unpacked = metadata.index.iter().map(|entry| u64::from(entry.raw_len)).sum::<u64>();
    // Frees the codes, which would be in memory twice while the new file is searched.
    drop((metadata, contents));
    let budgets = measure(&Shard::open(out.complete(header).map(|()| path).map_err(io)?)?)?;
    out.replace(SectionKind::Index, bytemuck::bytes_of(&ListIndex { budgets, ..index })).map_err(io)?;
    out.complete(header).map_err(io)?;
    if unpacked > most_unpacked(header.file_len) {
        let detail = format!(
            "its texts take {unpacked} bytes, most of them repeated; readers refuse that in a file of \
                              {} bytes: shorten the longest columns",
            header.file_len
        );
        return Err(build(detail));
    }
    out.file.get_ref().sync_all().map_err(io)
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

/// Appends sections to a file, after space for the header.
struct Sections {
    file: BufWriter<File>,
    end: u64,
    entries: Vec<SectionEntry>,
}

impl Sections {
    fn create(file: File) -> std::io::Result<Self> {
        let mut file = BufWriter::new(file);
        file.write_all(&[0; HEADER_LEN])?;
        Ok(Sections { file, end: HEADER_LEN as u64, entries: Vec::new() })
    }

    fn pad(&mut self, align: u64) -> std::io::Result<()> {
        let next = self.end.next_multiple_of(align);
        std::io::copy(&mut std::io::Read::take(std::io::repeat(0), next - self.end), &mut self.file)?;
        self.end = next;
        Ok(())
    }

    fn add(&mut self, kind: SectionKind, ordinal: u32, bytes: &[u8]) -> std::io::Result<()> {
        self.add_parts(kind, ordinal, [bytes].into_iter())
    }

    fn add_parts<'a>(
        &mut self,
        kind: SectionKind,
        ordinal: u32,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> std::io::Result<()> {
        self.pad(kind.align())?;
        let (offset, mut hasher) = (self.end, blake3::Hasher::new());
        for part in parts {
            hasher.update(part);
            // In pieces: Linux caches what one call wrote in large folios, and then maps a whole one where one photo is
            // read.
            part.chunks(PIECE).try_for_each(|piece| self.file.write_all(piece))?;
            self.end += part.len() as u64;
        }
        let (len, checksum) = (self.end - offset, *hasher.finalize().as_bytes());
        self.entries.push(SectionEntry { kind: kind as u32, ordinal, offset, len, checksum });
        Ok(())
    }

    /// Replaces the bytes of a section by others of the same length.
    fn replace(&mut self, kind: SectionKind, bytes: &[u8]) -> std::io::Result<()> {
        for entry in self.entries.iter_mut().filter(|entry| entry.kind == kind as u32) {
            self.file.seek(SeekFrom::Start(entry.offset))?;
            self.file.write_all(bytes)?;
            entry.checksum = *blake3::hash(bytes).as_bytes();
        }
        Ok(())
    }

    /// Pads the file and writes the header to its start.
    fn complete(&mut self, header: &mut Header) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.pad(ALIGN)?;
        header.file_len = self.end;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&encode_header(header, &self.entries))?;
        self.file.flush()
    }
}

/// The three metadata sections.
struct Metadata {
    dictionary: Vec<u8>,
    index: Vec<BlockEntry>,
    blocks: Vec<u8>,
}

impl Metadata {
    /// Compresses records on all threads; block boundaries depend on the records alone.
    fn new(records: &[RecordData]) -> Result<Self, String> {
        let encode = |record: &RecordData| {
            let bytes = encode(&record.id, &record.photos, &record.values).filter(|bytes| bytes.len() <= RECORD_LIMIT);
            bytes.ok_or_else(|| format!("listing '{}': its texts are too long", record.id))
        };
        let lengths = records.par_iter().map(|record| Ok(encode(record)?.len())).collect::<Result<Vec<_>, String>>()?;
        let dictionary = train(&lengths, |row| {
            let bytes = encode(&records[row]);
            debug_assert!(bytes.is_ok(), "its length was taken");
            bytes.unwrap_or_default()
        });

        let mut ranges = Vec::new();
        let (mut first, mut len) = (0, 0);
        for (row, &this) in lengths.iter().enumerate() {
            len += this;
            let next = lengths.get(row + 1).copied().unwrap_or(0);
            if len >= BLOCK_TARGET || len + next > BLOCK_LIMIT as usize || row + 1 == lengths.len() {
                ranges.push((first..row + 1, len as u32));
                (first, len) = (row + 1, 0);
            }
        }
        let compressor = || {
            let mut compressor = zstd::bulk::Compressor::with_dictionary(ZSTD_LEVEL, &dictionary)?;
            compressor.include_checksum(false)?;
            Ok::<_, std::io::Error>(compressor)
        };
        let compress = |compressor: &mut std::io::Result<zstd::bulk::Compressor<'_>>, rows: &std::ops::Range<usize>| {
            let raw = records[rows.clone()].iter().map(encode).collect::<Result<Vec<_>, String>>()?.concat();
            let compressor = compressor.as_mut().map_err(|e| e.to_string())?;
            compressor.compress(&raw).map_err(|e| e.to_string())
        };
        let compressed = ranges.par_iter().map_init(compressor, |compressor, (rows, _)| compress(compressor, rows));
        let compressed = compressed.collect::<Result<Vec<_>, String>>()?;

        let (mut index, mut end) = (Vec::new(), 0);
        for ((rows, raw_len), block) in ranges.iter().zip(&compressed) {
            index.push(BlockEntry { offset: end, first: rows.start as u32, raw_len: *raw_len });
            end += block.len() as u64;
        }
        index.push(BlockEntry { offset: end, first: records.len() as u32, raw_len: 0 });
        Ok(Metadata { dictionary, index, blocks: compressed.concat() })
    }
}

/// Trains a dictionary on records of these lengths: at most a sixteenth of their bytes, and empty where that is less
/// than 1 KiB, too little to pay for itself.
fn train(lengths: &[usize], record: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let total: usize = lengths.iter().sum();
    let limit = (total / 16).min(DICTIONARY_LIMIT);
    if limit < 1024 {
        return Vec::new();
    }
    let step = lengths.len().div_ceil(DICTIONARY_SAMPLES).max(1);
    let samples: Vec<Vec<u8>> = (0..lengths.len()).step_by(step).map(record).collect();
    zstd::dict::from_samples(&samples, limit).unwrap_or_else(|error| {
        log::info!("metadata is compressed without a dictionary: {error}");
        Vec::new()
    })
}
