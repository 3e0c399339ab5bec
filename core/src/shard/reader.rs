//! Opening a shard and the views of its sections.

use std::path::Path;
use std::sync::OnceLock;

use zstd::bulk::Decompressor;
use zstd::dict::DecoderDictionary;

use super::columns::{Column, ColumnKind, Words};
use super::format::{Entry, Header, Kind, MAX_COLUMNS, MAX_SCHEMA, Schema, SectionInfo, decode_header};
use super::metadata::{BlockReader, IndexEntry, Record};
use super::source::Source;
use crate::error::{Result, ShardError};
use crate::ids::{CatalogId, ListingRow, PhotoRow};

/// A catalogue shard, opened for reading. Shared by any number of threads.
///
/// Opening reads the header, the section table and the schema, and checks that every section has the length that the
/// counts ask for. It does not read the rest: [`Shard::verify`] does, after a download.
pub struct Shard {
    source: Source,
    header: Header,
    pub(super) entries: Vec<Entry>,
    schema: Schema,
    dictionary: OnceLock<Result<Option<DecoderDictionary<'static>>, ShardError>>,
}

impl Shard {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) where it cannot be opened, [`Error::Shard`](crate::Error::Shard) where it is no
    /// shard, too new, too old, incomplete or damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Shard> {
        Ok(Shard::new(Source::map(path.as_ref())?)?)
    }

    /// A shard in memory; the bytes are copied.
    ///
    /// # Errors
    /// As [`Shard::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Shard, ShardError> {
        Shard::new(Source::copy(bytes))
    }

    fn new(source: Source) -> Result<Shard, ShardError> {
        let (header, entries) = decode_header(source.bytes())?;
        let mut shard = Shard { source, header, entries, schema: Schema::default(), dictionary: OnceLock::new() };
        shard.schema = shard.read_schema()?;
        shard.check_lengths()?;
        Ok(shard)
    }

    /// What the header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The catalogue's name.
    pub fn catalog(&self) -> &str {
        &self.schema.catalog
    }

    /// The program that wrote the file.
    pub fn writer(&self) -> &str {
        &self.schema.writer
    }

    /// Names of a listing's fields, in the order of [`Record::values`].
    pub fn fields(&self) -> &[String] {
        &self.schema.fields
    }

    /// The sections with their places and lengths.
    pub fn sections(&self) -> Vec<SectionInfo> {
        let info = |entry: &Entry| SectionInfo { name: self.name_of(entry), offset: entry.offset, bytes: entry.len };
        self.entries.iter().map(info).collect()
    }

    /// Names and kinds of the filter columns.
    pub fn columns(&self) -> impl Iterator<Item = (&str, ColumnKind)> {
        self.schema.columns.iter().map(|column| (column.name.as_str(), column.kind))
    }

    /// The filter column called `name`.
    pub fn column(&self, name: &str) -> Option<Column<'_>> {
        let at = self.schema.columns.iter().position(|column| column.name == name)?;
        self.column_at(at).ok()
    }

    /// Int8 codes: `dim` bytes a photo, in the order of rows.
    pub fn codes(&self) -> &[i8] {
        self.view(Kind::Codes)
    }

    /// The factor of each photo's code, see [`vector`](crate::vector).
    pub fn factors(&self) -> &[f32] {
        self.view(Kind::Factors)
    }

    /// The listing of a photo.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where the file is damaged.
    pub fn listing_of(&self, photo: PhotoRow) -> Result<ListingRow, ShardError> {
        let row = self.photo_listings().get(photo.0 as usize).copied();
        row.filter(|&row| row < self.header.listing_count).map(ListingRow).ok_or_else(|| {
            let detail = format!("photo {} belongs to listing {row:?} of {}", photo.0, self.header.listing_count);
            invalid(Kind::PhotoListings, detail)
        })
    }

    /// The place of a photo among its listing's photos, from 0.
    pub fn ordinal_of(&self, photo: PhotoRow) -> u16 {
        self.photo_ordinals().get(photo.0 as usize).copied().unwrap_or(0)
    }

    /// Decompresses the metadata of listings, in the order asked.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where a row is beyond the end or the file is damaged.
    pub fn records(&self, rows: &[ListingRow]) -> Result<Vec<Record>, ShardError> {
        let mut reader = self.block_reader()?;
        rows.iter().map(|row| reader.record(row.0).map_err(|e| invalid(Kind::MetadataBlocks, e))).collect()
    }

    pub(super) fn photo_listings(&self) -> &[u32] {
        self.view(Kind::PhotoListings)
    }

    pub(super) fn photo_ordinals(&self) -> &[u16] {
        self.view(Kind::PhotoOrdinals)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.source.bytes()
    }

    pub(super) fn column_at(&self, at: usize) -> Result<Column<'_>, ShardError> {
        let ordinal = at as u32;
        let values = self.section(Kind::ColumnValues, ordinal)?;
        let cast = |e: bytemuck::PodCastError| invalid(Kind::ColumnValues, e.to_string());
        Ok(match self.schema.columns[at].kind {
            ColumnKind::Number => Column::Number { values: bytemuck::try_cast_slice(values).map_err(cast)? },
            ColumnKind::Word => {
                let words = Words::read(self.section(Kind::ColumnWords, ordinal)?);
                let words = words.map_err(|e| invalid(Kind::ColumnWords, e))?;
                Column::Word { values: bytemuck::try_cast_slice(values).map_err(cast)?, words }
            }
        })
    }

    pub(super) fn block_reader(&self) -> Result<BlockReader<'_>, ShardError> {
        let dictionary = self.dictionary.get_or_init(|| self.read_dictionary()).as_ref().map_err(Clone::clone)?;
        let index = self.view::<IndexEntry>(Kind::MetadataIndex);
        let blocks = self.section(Kind::MetadataBlocks, 0)?;
        BlockReader::new(index, blocks, self.schema.fields.len(), dictionary.as_ref())
            .map_err(|e| invalid(Kind::MetadataBlocks, e))
    }

    pub(super) fn name_of(&self, entry: &Entry) -> String {
        let column = self.schema.columns.get(entry.ordinal as usize);
        match (Kind::from_number(entry.kind), column) {
            (Some(kind @ (Kind::ColumnValues | Kind::ColumnWords)), Some(column)) => {
                format!("{} of {}", kind.name(), column.name)
            }
            _ => entry.name(),
        }
    }

    fn read_schema(&self) -> Result<Schema, ShardError> {
        let bytes = self.section(Kind::Schema, 0)?;
        if bytes.len() as u64 > MAX_SCHEMA {
            return Err(invalid(Kind::Schema, format!("{} bytes, expected at most {MAX_SCHEMA}", bytes.len())));
        }
        // Small, and everything else depends on it: a flipped bit in a column's name must not pass.
        let entry = self.entries.iter().find(|entry| entry.kind == Kind::Schema as u32);
        if entry.is_some_and(|entry| entry.checksum != *blake3::hash(bytes).as_bytes()) {
            return Err(ShardError::Checksum { part: Kind::Schema.name().to_owned() });
        }
        let schema: Schema = serde_json::from_slice(bytes).map_err(|e| invalid(Kind::Schema, e.to_string()))?;
        if schema.columns.len() > MAX_COLUMNS {
            let count = schema.columns.len();
            return Err(invalid(Kind::Schema, format!("{count} filter columns, expected at most {MAX_COLUMNS}")));
        }
        if CatalogId::of(&schema.catalog) != self.header.catalog_id {
            let detail = format!("the catalogue '{}' has another id", schema.catalog.escape_debug());
            return Err(invalid(Kind::Schema, detail));
        }
        Ok(schema)
    }

    /// After this every view has the length that its users count on.
    fn check_lengths(&self) -> Result<(), ShardError> {
        let photos = u64::from(self.header.photo_count);
        let expect = |kind: Kind, ordinal: u32, expected: u64| {
            let found = self.section(kind, ordinal)?.len() as u64;
            if found == expected {
                return Ok(());
            }
            Err(invalid(kind, format!("{found} bytes, expected {expected} for {photos} photos")))
        };
        expect(Kind::Codes, 0, photos * u64::from(self.header.dim))?;
        expect(Kind::Factors, 0, photos * 4)?;
        expect(Kind::PhotoListings, 0, photos * 4)?;
        expect(Kind::PhotoOrdinals, 0, photos * 2)?;
        for (at, column) in self.schema.columns.iter().enumerate() {
            let width = match column.kind {
                ColumnKind::Word => 4,
                ColumnKind::Number => 8,
            };
            expect(Kind::ColumnValues, at as u32, photos * width)?;
            self.column_at(at)?;
        }
        self.section(Kind::MetadataDictionary, 0)?;
        let blocks = self.section(Kind::MetadataBlocks, 0)?.len() as u64;
        let index = self.section(Kind::MetadataIndex, 0)?;
        if index.is_empty() || index.len() % size_of::<IndexEntry>() != 0 {
            let (found, unit) = (index.len(), size_of::<IndexEntry>());
            return Err(invalid(Kind::MetadataIndex, format!("{found} bytes, expected a multiple of {unit} above 0")));
        }
        let closing = IndexEntry { offset: blocks, first: self.header.listing_count, raw_len: 0 };
        if self.view::<IndexEntry>(Kind::MetadataIndex).last() != Some(&closing) {
            return Err(invalid(Kind::MetadataIndex, format!("the last entry is not {closing:?}")));
        }
        Ok(())
    }

    fn section(&self, kind: Kind, ordinal: u32) -> Result<&[u8], ShardError> {
        let entry = self.entries.iter().find(|entry| entry.kind == kind as u32 && entry.ordinal == ordinal);
        let entry = entry.ok_or_else(|| invalid(kind, "the section is missing".to_owned()))?;
        // The table was checked against the file's length when it was read.
        let range = entry.offset as usize..(entry.offset + entry.len) as usize;
        self.bytes().get(range).ok_or_else(|| invalid(kind, "outside of the file".to_owned()))
    }

    /// A section as numbers; empty where it is missing or cut off, which `check_lengths` has ruled out.
    fn view<T: bytemuck::Pod>(&self, kind: Kind) -> &[T] {
        self.section(kind, 0).ok().and_then(|bytes| bytemuck::try_cast_slice(bytes).ok()).unwrap_or_default()
    }

    fn read_dictionary(&self) -> Result<Option<DecoderDictionary<'static>>, ShardError> {
        let bytes = self.section(Kind::MetadataDictionary, 0)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        // Preparing a damaged dictionary panics; loading it into a context reports it.
        Decompressor::with_dictionary(bytes).map_err(|e| invalid(Kind::MetadataDictionary, e.to_string()))?;
        Ok(Some(DecoderDictionary::copy(bytes)))
    }
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard")
            .field("catalog", &self.schema.catalog)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

pub(super) fn invalid(kind: Kind, detail: String) -> ShardError {
    ShardError::Invalid { part: kind.name().to_owned(), detail }
}
