//! Small shards built by the real builder, and tools to damage one and recompute its checksums afterwards.

use std::path::Path;
use std::sync::OnceLock;

use magpie_core::builder::{BuildOptions, BuildReport, Field, Identity, ShardBuilder};
use magpie_core::search::{Filter, Per, SearchParams, Searcher};
use magpie_core::shard::Shard;
use magpie_core::{Embedding, IndexError, ListingRow, ModelId, PhotoRow, ShardError, listing};

/// The id of the model that the small shards were built for.
pub const MODEL: ModelId = ModelId([0x4d; 32]);

/// Numbers of the section kinds, as SHARD_FORMAT.md gives them.
pub mod kind {
    #![allow(missing_docs)] // The names are the specification's.
    pub const SCHEMA: u32 = 1;
    pub const CODES: u32 = 2;
    pub const PHOTO_LISTINGS: u32 = 4;
    pub const PHOTO_ORDINALS: u32 = 5;
    pub const COLUMN_VALUES: u32 = 6;
    pub const COLUMN_WORDS: u32 = 7;
    pub const METADATA_INDEX: u32 = 9;
    pub const METADATA_BLOCKS: u32 = 10;
    pub const INDEX: u32 = 11;
    pub const LIST_STARTS: u32 = 12;
    pub const LIST_BIASES: u32 = 13;
    pub const CENTROIDS: u32 = 14;
    pub const CENTROID_GRAPH: u32 = 15;
    pub const SCAN_BLOCKS: u32 = 16;
    pub const CODE_SCALES: u32 = 17;
    pub const THUMBNAIL_ENDS: u32 = 18;
    pub const THUMBNAILS: u32 = 19;
}

/// One photo of a listing.
#[derive(Debug, Clone)]
pub struct Photo {
    /// Id of the listing.
    pub listing: String,
    /// Name of the photo.
    pub name: String,
    /// One value per field.
    pub values: Vec<String>,
    /// The embedding before it is scaled to unit length.
    pub vector: Vec<f32>,
}

impl Photo {
    /// A photo from borrowed values.
    pub fn new(listing: &str, name: &str, values: &[&str], vector: &[f32]) -> Photo {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        Photo { listing: listing.to_owned(), name: name.to_owned(), values, vector: vector.to_vec() }
    }
}

/// The identity of the small shards.
pub fn identity() -> Identity {
    Identity { model_id: MODEL, catalog: "Ann's shop".to_owned(), sequence: 7, writer: "magpie-tests".to_owned() }
}

/// An embedding of the small shards' model.
pub fn embedding(vector: &[f32]) -> Embedding {
    Embedding::new(vector, MODEL).expect("the tests' vectors are finite and not zero")
}

/// Fields that searches can filter by.
pub fn filters(names: &[&str]) -> Vec<Field> {
    names.iter().map(|&name| Field { name: name.to_owned(), filter: true }).collect()
}

/// A builder that holds these photos.
///
/// # Errors
/// The builder's error.
pub fn builder(dim: usize, fields: Vec<Field>, photos: &[Photo]) -> Result<ShardBuilder, IndexError> {
    let mut builder = ShardBuilder::new(identity(), dim, fields);
    for photo in photos {
        builder.add(&photo.listing, &photo.name, &photo.values, &embedding(&photo.vector))?;
    }
    Ok(builder)
}

/// Writes a shard of these photos.
///
/// # Errors
/// The builder's error.
pub fn write(path: &Path, dim: usize, fields: Vec<Field>, photos: &[Photo]) -> Result<BuildReport, IndexError> {
    builder(dim, fields, photos)?.write(path)
}

/// The bytes of a shard of these photos.
///
/// # Errors
/// The builder's error.
pub fn build(dim: usize, fields: Vec<Field>, photos: &[Photo]) -> Result<Vec<u8>, IndexError> {
    bytes(builder(dim, fields, photos)?)
}

/// The bytes of a shard of these photos, in this many inverted lists.
///
/// # Errors
/// The builder's error.
pub fn build_lists(dim: usize, fields: Vec<Field>, photos: &[Photo], lists: u32) -> Result<Vec<u8>, IndexError> {
    bytes(builder(dim, fields, photos)?.with_options(BuildOptions::default().with_lists(lists)))
}

/// The bytes of the file that a builder writes.
///
/// # Errors
/// The builder's error.
pub fn bytes(builder: ShardBuilder) -> Result<Vec<u8>, IndexError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("test.magpie");
    builder.write(&path)?;
    Ok(std::fs::read(&path).expect("the builder wrote it"))
}

/// The photos of the shard that tests damage: 60 listings, 90 photos, a word and a number column, and enough text for a
/// trained dictionary and for more than one block.
pub fn shop() -> Vec<Photo> {
    let colours = ["red", "green", "blue", ""];
    let photo = |i: usize| {
        let listing = i % 60;
        let words = ["hand-thrown", "glazed", "dishwasher-safe", "speckled", "tall", "wide", "two-handled"];
        let words: Vec<_> =
            (0..40).map(|w| format!("{} {:x}", words[(w * listing + w / 3) % 7], w * listing)).collect();
        let title = format!("Stoneware mug no. {listing}: {}", words.join(", "));
        let price = format!("{}.50", 5 + listing);
        let vector: Vec<f32> = (0..8).map(|d| ((i * 37 + d * 11) as f32 * 0.7).sin()).collect();
        let name = format!("shop/{listing:03}-{}.jpg", i / 60);
        Photo::new(&format!("mug-{listing:03}"), &name, &[&title, colours[listing % 4], &price], &vector)
    };
    (0..90).map(photo).collect()
}

/// The bytes of [`shop`]'s shard: one list, and a thumbnail for each photo.
pub fn shop_bytes() -> Vec<u8> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| shop_in_lists(1)).clone()
}

/// The bytes of [`shop`]'s shard with five lists.
pub fn listed_shop_bytes() -> Vec<u8> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| shop_in_lists(5)).clone()
}

fn shop_in_lists(lists: u32) -> Vec<u8> {
    let mut fields = filters(&["title", "colour", "price"]);
    fields[0].filter = false;
    let mut builder = ShardBuilder::new(identity(), 8, fields).with_options(BuildOptions::default().with_lists(lists));
    for (at, photo) in shop().iter().enumerate() {
        let thumbnail = format!("picture {at}");
        let vector = embedding(&photo.vector);
        let added =
            builder.add_with_thumbnail(&photo.listing, &photo.name, &photo.values, &vector, thumbnail.as_bytes());
        added.expect("the shop fits a shard");
    }
    bytes(builder).expect("the shop fits a shard")
}

/// The bytes of a shard with enough lists to have a centroid graph.
pub fn graph_bytes() -> Vec<u8> {
    let vector = |i: usize| -> Vec<f32> { (0..4).map(|d| ((i * 31 + d * 17) as f32 * 0.61).sin()).collect() };
    let photo = |i: usize| Photo::new(&format!("item-{i:04}"), "", &[["red", "blue"][i % 2]], &vector(i));
    let photos: Vec<Photo> = (0..2100).map(photo).collect();
    build_lists(4, filters(&["colour"]), &photos, 2048).expect("it fits a shard")
}

const TABLE: usize = 128;
const ENTRY: usize = 64;
const HEADER: usize = 4096;
const HEADER_CHECKSUM: usize = HEADER - 32;

/// A section as its entry in the table describes it.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Offset of its table entry in the file.
    pub entry: usize,
    /// Its kind, see [`kind`].
    pub kind: u32,
    /// Number of the filter column.
    pub ordinal: u32,
    /// Offset of its first byte in the file.
    pub offset: usize,
    /// Its length in bytes.
    pub len: usize,
}

/// The sections of a shard. This second reader follows the specification, independently of the core.
pub fn sections(bytes: &[u8]) -> Vec<Section> {
    let count = u32_at(bytes, 20) as usize;
    let section = |entry: usize| Section {
        entry,
        kind: u32_at(bytes, entry),
        ordinal: u32_at(bytes, entry + 4),
        offset: u64_at(bytes, entry + 8) as usize,
        len: u64_at(bytes, entry + 16) as usize,
    };
    (0..count).map(|i| section(TABLE + i * ENTRY)).collect()
}

/// The first section of this kind.
pub fn section(bytes: &[u8], kind: u32) -> Section {
    sections(bytes).into_iter().find(|section| section.kind == kind).expect("the shard has the section")
}

/// The little-endian `u32` at this offset.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The little-endian `u64` at this offset.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Overwrites bytes at this offset.
pub fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes[at..at + new.len()].copy_from_slice(new);
}

/// Recomputes all checksums, except those of sections that the table places outside the file.
pub fn fix_checksums(bytes: &mut [u8]) {
    for section in sections(bytes).into_iter().take((HEADER_CHECKSUM - TABLE) / ENTRY) {
        let end = section.offset.checked_add(section.len);
        if let Some(body) = end.and_then(|end| bytes.get(section.offset..end)) {
            let hash = *blake3::hash(body).as_bytes();
            put(bytes, section.entry + 32, &hash);
        }
    }
    fix_header_checksum(bytes);
}

/// Recomputes the header's checksum.
pub fn fix_header_checksum(bytes: &mut [u8]) {
    let hash = *blake3::hash(&bytes[..HEADER_CHECKSUM]).as_bytes();
    put(bytes, HEADER_CHECKSUM, &hash);
}

/// Does everything with a shard that an app does, ignoring errors: the caller only checks that nothing panics. Returns
/// whether it could be opened.
pub fn use_in_every_way(bytes: &[u8]) -> bool {
    let Ok(shard) = Shard::from_bytes(bytes) else { return false };
    let _ = shard.verify();
    let (model, dim) = (shard.header().model_id, shard.header().dim as usize);
    let query: Vec<f32> = (0..dim).map(|d| (d as f32 * 0.7).sin() + 0.1).collect();
    let query = Embedding::new(&query, model).expect("finite and not zero");
    let mut searcher = Searcher::new(&shard);
    // An explicit number of lists, an exact search over all codes, and the shard's own choice for the recall.
    for (recall, probes) in [(0.9, Some(3)), (1.0, None), (0.9, None)] {
        let mut params = SearchParams::default();
        (params.k, params.recall, params.probes) = (5, recall, probes);
        for text in ["colour=red and price<50", "not colour in (green, blue)", "price>=0 or title='x'"] {
            let filter = Filter::parse(text).expect("a filter");
            let _ = searcher.search(&query, Some(&filter), &params);
        }
        params.near_duplicates = Some(0.9);
        params.per = Some(Per { column: "colour".to_owned(), most: 2 });
        let _ = searcher.search(&query, None, &params);
        let _ = searcher.more_like(ListingRow(3), None, &params);
        params.k = 10_000;
        if let Ok(found) = searcher.search(&query, None, &params) {
            let _ = listing::fetch(&shard, &found);
        }
    }
    let rows = [0, 1, 59, 60, u32::MAX].map(ListingRow);
    rows.iter().for_each(|&row| drop((shard.records(&[row]), shard.photos_of(row))));
    for row in [0, 1, 89, 90, u32::MAX] {
        let _ = (shard.thumbnail(PhotoRow(row)), shard.list(row), shard.graph_links(row as usize % 40, row));
    }
    let _ = (shard.find_listing("mug-003"), shard.find_listing(""));
    let _ = (shard.sections(), format!("{shard:?}"), shard.columns().count());
    true
}

/// The error of opening, or else of verifying, the shop's shard after a change that makes it invalid.
///
/// # Panics
/// If the changed shard passes, or if using it panics.
pub fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> ShardError {
    let mut bytes = shop_bytes();
    change(&mut bytes);
    use_in_every_way(&bytes);
    match Shard::from_bytes(&bytes).and_then(|shard| shard.verify()) {
        Ok(_) => panic!("an invalid shard passed"),
        Err(error) => error,
    }
}
