//! An open shard: access to its sections.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use zstd::bulk::Decompressor;
use zstd::dict::DecoderDictionary;

use super::columns::{Column, ColumnKind, WordCodes, Words};
use super::format::{Header, Schema, SectionEntry, SectionInfo, SectionKind};
use super::index::{self, CentroidGraph, ListIndex};
use super::metadata::{BlockEntry, BlockReader, Brief, Record};
use super::photos::ListingPhotos;
use super::source::ShardBytes;
use crate::error::{Result, ShardError};
use crate::ids::{ListingRow, PhotoRow};
use crate::vector::layout;

/// A catalogue shard, opened for reading. Any number of threads can share one.
///
/// Opening reads the header, the section table and the schema, and checks that every section has the length that the
/// counts require. It does not read the rest: after a download, [`Shard::verify`] does.
///
/// ```no_run
/// use magpie_index::shard::Shard;
/// let shard = Shard::open("catalogue.magpie")?;
/// let header = shard.header();
/// println!("{}: {} listings with {} photos", shard.catalog(), header.listing_count, header.photo_count);
/// for (name, kind) in shard.columns() {
///     println!("searches can filter by {name}, a {kind:?}");
/// }
/// # Ok::<(), magpie_index::Error>(())
/// ```
pub struct Shard {
    pub(super) source: ShardBytes,
    pub(super) header: Header,
    pub(super) entries: Vec<SectionEntry>,
    pub(super) schema: Schema,
    /// The names of the fields, which all listings share.
    pub(super) field_names: Vec<Arc<str>>,
    pub(super) index: ListIndex,
    /// Start and end of each section with ordinal 0, by kind.
    pub(super) places: [Option<(usize, usize)>; 32],
    pub(super) dictionary: OnceLock<Result<Option<DecoderDictionary<'static>>, ShardError>>,
    /// The photos of each listing: made when they are first asked for.
    pub(super) listing_photos: OnceLock<ListingPhotos>,
}

impl Shard {
    /// The header.
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

    /// [`Shard::fields`], to be shared by listings.
    pub fn field_names(&self) -> &[Arc<str>] {
        &self.field_names
    }

    /// The sections of the file, in their order.
    pub fn sections(&self) -> Vec<SectionInfo> {
        let info =
            |entry: &SectionEntry| SectionInfo { name: self.name_of(entry), offset: entry.offset, bytes: entry.len };
        self.entries.iter().map(info).collect()
    }

    /// Names and kinds of the filter columns.
    pub fn columns(&self) -> impl Iterator<Item = (&str, ColumnKind)> {
        self.schema.columns.iter().map(|column| (column.name.as_str(), column.kind))
    }

    /// Returns the filter column called `name`; `None` where the shard lacks it.
    pub fn column(&self, name: &str) -> Option<Column<'_>> {
        let at = self.schema.columns.iter().position(|column| column.name == name)?;
        self.column_at(at).ok()
    }

    /// The number of inverted lists.
    pub fn list_count(&self) -> u32 {
        self.index.lists
    }

    /// The seed of the [`Rotation`](crate::vector::Rotation) of all vectors.
    pub fn rotation_seed(&self) -> u64 {
        self.index.rotation_seed
    }

    /// The budgets that the builder measured. Public for benches, which print them.
    #[doc(hidden)]
    pub fn budgets(&self) -> impl std::fmt::Debug {
        self.index.budgets
    }

    /// The index section.
    pub(crate) fn index(&self) -> &ListIndex {
        &self.index
    }

    /// Returns the photos of an inverted list; each list starts where the one before it ends. Public for
    /// tests with damaged shards.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where the shard lacks the list or is damaged.
    #[doc(hidden)]
    pub fn list(&self, list: u32) -> Result<Range<u32>, ShardError> {
        let starts = self.view(SectionKind::ListStarts);
        index::list(starts, list, self.header.photo_count)
            .ok_or_else(|| invalid(SectionKind::ListStarts, format!("list {list} has photos that the shard lacks")))
    }

    /// The error where lists share photos.
    #[cold]
    pub(crate) fn overlapping_lists(&self) -> ShardError {
        let photos = self.header.photo_count;
        invalid(SectionKind::ListStarts, format!("the lists have more than the shard's {photos} photos"))
    }

    /// Returns the inverted list of a photo.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where the shard lacks the photo or is damaged.
    pub(crate) fn list_of(&self, photo: PhotoRow) -> Result<u32, ShardError> {
        if photo.0 >= self.header.photo_count {
            let detail = format!("photo {} of {}", photo.0, self.header.photo_count);
            return Err(invalid(SectionKind::Codes, detail));
        }
        let starts = self.list_starts().partition_point(|&start| start <= photo.0);
        let list =
            starts.checked_sub(1).and_then(|list| u32::try_from(list).ok()).filter(|&list| list < self.index.lists);
        list.ok_or_else(|| invalid(SectionKind::ListStarts, format!("photo {} is outside of all lists", photo.0)))
    }

    /// The first photo of each list, and the end of the last. Unchecked, unlike [`Shard::list`].
    pub(crate) fn list_starts(&self) -> &[u32] {
        self.view(SectionKind::ListStarts)
    }

    /// The bias of each list, which is added to the product of query and centroid to rank it.
    pub(crate) fn list_biases(&self) -> &[f32] {
        self.view(SectionKind::ListBiases)
    }

    /// The centroids of the lists: [`Shard::stride`] bytes each.
    pub(crate) fn centroids(&self) -> &[i8] {
        self.view(SectionKind::Centroids)
    }

    /// The graph over the centroids.
    pub(crate) fn graph(&self) -> CentroidGraph<'_> {
        let graph = CentroidGraph::read(self.view(SectionKind::CentroidGraph), self.index.lists);
        debug_assert!(graph.is_ok(), "the counts are checked on opening");
        graph.unwrap_or_default()
    }

    /// The number of nodes of each layer of the centroid graph, from the top. Public for tests.
    #[doc(hidden)]
    pub fn graph_nodes(&self) -> Vec<u32> {
        let graph = self.graph();
        (0..graph.layers()).map(|layer| graph.nodes(layer)).collect()
    }

    /// The links of a node of the centroid graph. Public for tests with damaged shards.
    #[doc(hidden)]
    pub fn graph_links(&self, layer: usize, node: u32) -> &[u32] {
        self.graph().layer(layer).of(node)
    }

    /// The binary codes of 32 photos in each block of [`Shard::block_len`] bytes, in the order of rows.
    pub(crate) fn scan_blocks(&self) -> &[u8] {
        self.view(SectionKind::ScanBlocks)
    }

    /// Length of a scan block in bytes.
    pub(crate) fn block_len(&self) -> usize {
        layout::block_len(self.header.dim as usize)
    }

    /// The byte codes: [`Shard::stride`] bytes for each photo, in the order of rows. Their signs are in the scan
    /// blocks.
    pub(crate) fn codes(&self) -> &[u8] {
        self.view(SectionKind::Codes)
    }

    /// Length of a byte code or centroid: the dimension and padding.
    pub(crate) fn stride(&self) -> usize {
        layout::stride(self.header.dim as usize)
    }

    /// The scale of each photo's byte code, in units of [`ListIndex::scale_unit`].
    pub(crate) fn code_scales(&self) -> &[u16] {
        self.view(SectionKind::CodeScales)
    }

    /// Returns the thumbnail of a photo as JPEG bytes; `None` for a photo without one, or where the file is damaged.
    pub fn thumbnail(&self, photo: PhotoRow) -> Option<&[u8]> {
        let ends = self.thumbnail_ends();
        let end = *ends.get(photo.0 as usize)?;
        let start = photo.0.checked_sub(1).map_or(Some(0), |before| ends.get(before as usize).copied())?;
        let range = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
        self.view::<u8>(SectionKind::Thumbnails).get(range).filter(|bytes| !bytes.is_empty())
    }

    /// Returns whether the shard has thumbnails.
    pub fn has_thumbnails(&self) -> bool {
        self.places[SectionKind::ThumbnailEnds as usize].is_some()
    }

    /// Returns the listing of a photo.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where the shard lacks the photo or is damaged.
    pub fn listing_of(&self, photo: PhotoRow) -> Result<ListingRow, ShardError> {
        let row = self.photo_listings().get(photo.0 as usize).copied();
        row.filter(|&row| row < self.header.listing_count).map(ListingRow).ok_or_else(|| {
            let detail = format!("photo {} belongs to listing {row:?} of {}", photo.0, self.header.listing_count);
            invalid(SectionKind::PhotoListings, detail)
        })
    }

    /// Returns the position of a photo among the photos of its listing, from 0; 0 for a photo that the shard lacks.
    pub fn ordinal_of(&self, photo: PhotoRow) -> u16 {
        self.photo_ordinals().get(photo.0 as usize).copied().unwrap_or(0)
    }

    /// Returns the photos of a listing, in the order of its record. The first call for a shard takes time linear in the
    /// number of all photos, and 4 bytes of memory for each photo and each listing.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where the shard lacks the listing.
    pub fn photos_of(&self, listing: ListingRow) -> Result<Vec<PhotoRow>, ShardError> {
        self.check_listing(listing)?;
        let mut photos: Vec<PhotoRow> = self.listing_photos().of(listing).iter().copied().map(PhotoRow).collect();
        photos.sort_by_key(|&photo| (self.ordinal_of(photo), photo));
        Ok(photos)
    }

    /// Returns the photo at a position of a listing, from 0; `None` where the listing has none there. Takes as long as
    /// [`Shard::photos_of`].
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where the shard lacks the listing.
    pub fn photo_of(&self, listing: ListingRow, ordinal: usize) -> Result<Option<PhotoRow>, ShardError> {
        self.check_listing(listing)?;
        let mut photos = self.listing_photos().of(listing).iter().copied().map(PhotoRow);
        Ok(photos.find(|&photo| usize::from(self.ordinal_of(photo)) == ordinal))
    }

    fn listing_photos(&self) -> &ListingPhotos {
        let listings = self.header.listing_count as usize;
        self.listing_photos.get_or_init(|| ListingPhotos::new(self.photo_listings(), listings))
    }

    /// Returns the listing with an id; `None` where the shard lacks it.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where the file is damaged.
    pub fn find_listing(&self, id: &str) -> Result<Option<ListingRow>, ShardError> {
        let mut reader = self.block_reader()?;
        let (mut low, mut high) = (0, self.header.listing_count);
        while low < high {
            let middle = low + (high - low) / 2;
            let record = reader.record(middle).map_err(|e| invalid(SectionKind::MetadataBlocks, e))?;
            match record.id.as_str().cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(Some(ListingRow(middle))),
            }
        }
        Ok(None)
    }

    /// Returns the listings that the shard has of these ids, which are sorted; much quicker than one by one.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where the file is damaged.
    pub(crate) fn find_listings(&self, ids: &[&str]) -> Result<Vec<ListingRow>, ShardError> {
        let mut rows = Vec::new();
        let mut reader = self.block_reader()?;
        reader.check_expansion(self.header.file_len)?;
        reader.find(ids, &mut rows).map_err(|e| invalid(SectionKind::MetadataBlocks, e))?;
        rows.sort_unstable();
        rows.dedup();
        Ok(rows.into_iter().filter(|&row| row < self.header.listing_count).map(ListingRow).collect())
    }

    /// Calls `each` with every listing, in order, until it returns an error.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where the file is damaged, or with the error of `each`.
    pub(crate) fn each_record(&self, each: impl FnMut(u32, Record) -> Result<(), String>) -> Result<(), ShardError> {
        let mut reader = self.block_reader()?;
        reader.check_expansion(self.header.file_len)?;
        reader.each(each).map_err(|e| invalid(SectionKind::MetadataBlocks, e))?;
        Ok(())
    }

    /// Decompresses the metadata of listings, in the order of `rows`.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where the shard lacks a row or is damaged, [`ShardError::TooMuch`] where the texts take
    /// more than 64 MiB, or 256 MiB have to be decompressed for them.
    pub fn records(&self, rows: &[ListingRow]) -> Result<Vec<Record>, ShardError> {
        Ok(self.block_reader()?.records(rows.iter().map(|row| row.0))?)
    }

    /// Returns the ids of listings and their values of one field, in the order of `rows`; no other text is read.
    ///
    /// # Errors
    /// As [`Shard::records`].
    pub(crate) fn briefs(&self, rows: &[ListingRow], field: Option<usize>) -> Result<Vec<Brief>, ShardError> {
        Ok(self.block_reader()?.briefs(rows.iter().map(|row| row.0), field)?)
    }

    fn check_listing(&self, listing: ListingRow) -> Result<(), ShardError> {
        let detail = || format!("listing {} of {}", listing.0, self.header.listing_count);
        let known = listing.0 < self.header.listing_count;
        if known { Ok(()) } else { Err(invalid(SectionKind::PhotoListings, detail())) }
    }

    /// The listing row of each photo. Unchecked, unlike [`Shard::listing_of`].
    pub fn photo_listings(&self) -> &[u32] {
        self.view(SectionKind::PhotoListings)
    }

    pub(super) fn thumbnail_ends(&self) -> &[u64] {
        self.view(SectionKind::ThumbnailEnds)
    }

    pub(super) fn photo_ordinals(&self) -> &[u16] {
        self.view(SectionKind::PhotoOrdinals)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.source.bytes()
    }

    pub(super) fn column_at(&self, at: usize) -> Result<Column<'_>, ShardError> {
        let ordinal = at as u32;
        let values = self.section(SectionKind::ColumnValues, ordinal)?;
        let cast = |e: bytemuck::PodCastError| invalid(SectionKind::ColumnValues, e.to_string());
        Ok(match self.schema.columns[at].kind {
            ColumnKind::Number => Column::Number { values: bytemuck::try_cast_slice(values).map_err(cast)? },
            ColumnKind::Word => {
                let words = Words::read(self.section(SectionKind::ColumnWords, ordinal)?);
                let words = words.map_err(|e| invalid(SectionKind::ColumnWords, e))?;
                let values = WordCodes::read(values, words.len()).map_err(|e| invalid(SectionKind::ColumnValues, e))?;
                Column::Word { values, words }
            }
        })
    }

    pub(super) fn block_reader(&self) -> Result<BlockReader<'_>, ShardError> {
        let dictionary = self.dictionary.get_or_init(|| self.read_dictionary()).as_ref().map_err(Clone::clone)?;
        let index = self.view::<BlockEntry>(SectionKind::MetadataIndex);
        let blocks = self.section(SectionKind::MetadataBlocks, 0)?;
        BlockReader::new(index, blocks, self.schema.fields.len(), dictionary.as_ref())
            .map_err(|e| invalid(SectionKind::MetadataBlocks, e))
    }

    pub(super) fn name_of(&self, entry: &SectionEntry) -> String {
        let column = self.schema.columns.get(entry.ordinal as usize);
        match (SectionKind::from_number(entry.kind), column) {
            (Some(kind @ (SectionKind::ColumnValues | SectionKind::ColumnWords)), Some(column)) => {
                format!("{} of {}", kind.name(), column.name)
            }
            _ => entry.name(),
        }
    }

    pub(super) fn section(&self, kind: SectionKind, ordinal: u32) -> Result<&[u8], ShardError> {
        let entry = self.entries.iter().find(|entry| entry.kind == kind as u32 && entry.ordinal == ordinal);
        let entry = entry.ok_or_else(|| invalid(kind, "the section is missing".to_owned()))?;
        // Decoding the header has checked the table against the length of the file.
        let range = entry.offset as usize..(entry.offset + entry.len) as usize;
        self.bytes().get(range).ok_or_else(|| invalid(kind, "outside of the file".to_owned()))
    }

    /// Returns a section as numbers; empty where it is missing, which only thumbnails may be after `check_lengths`.
    pub(super) fn view<T: bytemuck::Pod>(&self, kind: SectionKind) -> &[T] {
        let bytes = self.places[kind as usize].and_then(|(from, to)| self.bytes().get(from..to));
        let numbers = bytes.map(bytemuck::try_cast_slice);
        debug_assert!(numbers.is_none_or(|numbers| numbers.is_ok()), "sections are aligned, and lengths are checked");
        numbers.and_then(Result::ok).unwrap_or_default()
    }

    fn read_dictionary(&self) -> Result<Option<DecoderDictionary<'static>>, ShardError> {
        let bytes = self.section(SectionKind::MetadataDictionary, 0)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        // Preparing a damaged dictionary panics; loading it into a context returns an error.
        Decompressor::with_dictionary(bytes).map_err(|e| invalid(SectionKind::MetadataDictionary, e.to_string()))?;
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

pub(super) fn invalid(kind: SectionKind, detail: String) -> ShardError {
    ShardError::Invalid { part: kind.name().to_owned(), detail }
}
