//! Opens shards: reads the header, the section table, the schema and the index, and checks the lengths of all sections.

use std::path::Path;
use std::sync::OnceLock;

use super::columns::{ColumnKind, WordCodes, Words};
use super::format::{HEADER_LEN, MAX_COLUMNS, MAX_FIELDS, MAX_SCHEMA, Schema, SectionKind, decode_header};
use super::index::{CentroidGraph, ListIndex};
use super::metadata::BlockEntry;
use super::reader::{Shard, invalid};
use super::source::ShardBytes;
use crate::error::{Result, ShardError};
use crate::ids::CatalogId;
use crate::vector::layout::BLOCK;

impl Shard {
    /// Maps the file at `path` into memory.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) where it cannot be opened, [`Error::Shard`](crate::Error::Shard) where it is not
    /// a shard, too new, too old, incomplete or damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Shard> {
        Ok(Shard::new(ShardBytes::map(path.as_ref())?)?)
    }

    /// Reads the file into memory instead of mapping it: for files that other processes may truncate or overwrite,
    /// which would crash a process that maps them. The rest is read only if the first page says that it is a shard of
    /// the file's length.
    ///
    /// # Errors
    /// As [`Shard::open`].
    pub fn load(path: impl AsRef<Path>) -> Result<Shard> {
        let check = |front: &[u8], len: u64| decode_header(front, len).map(drop);
        Ok(Shard::new(ShardBytes::read(path.as_ref(), HEADER_LEN, check)?)?)
    }

    /// Opens a shard from bytes, which are copied.
    ///
    /// # Errors
    /// As [`Shard::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Shard, ShardError> {
        Shard::new(ShardBytes::copy(bytes))
    }

    fn new(source: ShardBytes) -> Result<Shard, ShardError> {
        let (header, entries) = decode_header(source.bytes(), source.bytes().len() as u64)?;
        let (schema, index) = (Schema::default(), bytemuck::Zeroable::zeroed());
        let mut shard = Shard {
            source,
            header,
            entries,
            schema,
            field_names: Vec::new(),
            index,
            places: [None; 32],
            dictionary: OnceLock::new(),
            listing_photos: OnceLock::new(),
        };
        for entry in shard.entries.iter().filter(|entry| entry.ordinal == 0) {
            if let Some(place) = shard.places.get_mut(entry.kind as usize) {
                *place = Some((entry.offset as usize, (entry.offset + entry.len) as usize));
            }
        }
        shard.schema = shard.read_schema()?;
        shard.field_names = shard.schema.fields.iter().map(|name| name.as_str().into()).collect();
        shard.index = shard.read_index()?;
        shard.check_lengths()?;
        shard.advise();
        Ok(shard)
    }

    fn read_schema(&self) -> Result<Schema, ShardError> {
        let bytes = self.section(SectionKind::Schema, 0)?;
        if bytes.len() as u64 > MAX_SCHEMA {
            return Err(invalid(SectionKind::Schema, format!("{} bytes, expected at most {MAX_SCHEMA}", bytes.len())));
        }
        // The schema is small, and everything else depends on it: a flipped bit in a column's name must be detected.
        let entry = self.entries.iter().find(|entry| entry.kind == SectionKind::Schema as u32);
        if entry.is_some_and(|entry| entry.checksum != *blake3::hash(bytes).as_bytes()) {
            return Err(ShardError::Checksum { part: SectionKind::Schema.name().to_owned() });
        }
        let schema: Schema = serde_json::from_slice(bytes).map_err(|e| invalid(SectionKind::Schema, e.to_string()))?;
        if schema.columns.len() > MAX_COLUMNS {
            let count = schema.columns.len();
            return Err(invalid(
                SectionKind::Schema,
                format!("{count} filter columns, expected at most {MAX_COLUMNS}"),
            ));
        }
        if schema.fields.len() > MAX_FIELDS {
            let detail = format!("{} fields, expected at most {MAX_FIELDS}", schema.fields.len());
            return Err(invalid(SectionKind::Schema, detail));
        }
        if CatalogId::of(&schema.catalog) != self.header.catalog_id {
            let detail = format!("the id in the header is not that of '{}'", schema.catalog.escape_debug());
            return Err(invalid(SectionKind::Schema, detail));
        }
        Ok(schema)
    }

    fn read_index(&self) -> Result<ListIndex, ShardError> {
        let bytes = self.section(SectionKind::Index, 0)?;
        let index: ListIndex = bytemuck::try_pod_read_unaligned(bytes).map_err(|_| {
            invalid(SectionKind::Index, format!("{} bytes, expected {}", bytes.len(), size_of::<ListIndex>()))
        })?;
        index.check(self.header.photo_count, self.header.dim).map_err(|e| invalid(SectionKind::Index, e))?;
        Ok(index)
    }

    /// Checks that every section has the length that [`Shard::view`] and its callers rely on.
    fn check_lengths(&self) -> Result<(), ShardError> {
        let photos = u64::from(self.header.photo_count);
        let lists = u64::from(self.index.lists);
        let expect = |kind: SectionKind, ordinal: u32, expected: u64| {
            let found = self.section(kind, ordinal)?.len() as u64;
            if found == expected {
                return Ok(());
            }
            Err(invalid(kind, format!("{found} bytes, expected {expected} for {photos} photos in {lists} lists")))
        };
        let stride = self.stride() as u64;
        expect(SectionKind::ListStarts, 0, (lists + 1) * 4)?;
        expect(SectionKind::ListBiases, 0, lists * 4)?;
        expect(SectionKind::Centroids, 0, lists * stride)?;
        expect(SectionKind::ScanBlocks, 0, photos.div_ceil(BLOCK as u64) * self.block_len() as u64)?;
        expect(SectionKind::CodeScales, 0, photos * 2)?;
        expect(SectionKind::Codes, 0, photos * stride)?;
        expect(SectionKind::PhotoListings, 0, photos * 4)?;
        expect(SectionKind::PhotoOrdinals, 0, photos * 2)?;
        let graph = self.section(SectionKind::CentroidGraph, 0)?;
        let graph = bytemuck::try_cast_slice(graph).map_err(|e| invalid(SectionKind::CentroidGraph, e.to_string()))?;
        CentroidGraph::read(graph, self.index.lists).map_err(|e| invalid(SectionKind::CentroidGraph, e))?;
        if self.has_thumbnails() || self.places[SectionKind::Thumbnails as usize].is_some() {
            expect(SectionKind::ThumbnailEnds, 0, photos * 8)?;
            let (end, bytes) = (self.thumbnail_ends().last(), self.section(SectionKind::Thumbnails, 0)?.len() as u64);
            if end.copied().unwrap_or(0) != bytes {
                return Err(invalid(SectionKind::ThumbnailEnds, format!("the last one is {end:?}, expected {bytes}")));
            }
        }
        for (at, column) in self.schema.columns.iter().enumerate() {
            let ordinal = at as u32;
            let width = match column.kind {
                ColumnKind::Number => 8,
                ColumnKind::Word => {
                    let words = Words::read(self.section(SectionKind::ColumnWords, ordinal)?);
                    WordCodes::width(words.map_err(|e| invalid(SectionKind::ColumnWords, e))?.len()) as u64
                }
            };
            expect(SectionKind::ColumnValues, ordinal, photos * width)?;
            self.column_at(at)?;
        }
        self.section(SectionKind::MetadataDictionary, 0)?;
        let blocks = self.section(SectionKind::MetadataBlocks, 0)?.len() as u64;
        let index = self.section(SectionKind::MetadataIndex, 0)?;
        if index.is_empty() || index.len() % size_of::<BlockEntry>() != 0 {
            let (found, unit) = (index.len(), size_of::<BlockEntry>());
            return Err(invalid(
                SectionKind::MetadataIndex,
                format!("{found} bytes, expected a multiple of {unit} above 0"),
            ));
        }
        let closing = BlockEntry { offset: blocks, first: self.header.listing_count, raw_len: 0 };
        if self.view::<BlockEntry>(SectionKind::MetadataIndex).last() != Some(&closing) {
            return Err(invalid(SectionKind::MetadataIndex, format!("the last entry is not {closing:?}")));
        }
        Ok(())
    }

    /// Tells the system how the mapped sections will be read: by every search, or at random.
    fn advise(&self) {
        for entry in &self.entries {
            let range = entry.offset as usize..(entry.offset + entry.len) as usize;
            match SectionKind::from_number(entry.kind) {
                Some(SectionKind::Codes | SectionKind::MetadataBlocks | SectionKind::Thumbnails) => {
                    self.source.will_pick(range)
                }
                Some(
                    SectionKind::ListStarts
                    | SectionKind::ListBiases
                    | SectionKind::Centroids
                    | SectionKind::CentroidGraph
                    | SectionKind::ScanBlocks,
                ) => {
                    self.source.will_need(range);
                }
                _ => {}
            }
        }
    }
}
