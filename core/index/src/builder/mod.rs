//! Builds a shard from photos and their embeddings.
//!
//! `clusters` computes the centroids of the inverted lists, `graph` links them, `encode` assigns photos to lists and
//! quantises them, `columns` derives filter columns, and `budgets` measures how many lists a search has to probe.
//! Random numbers have fixed seeds, and the partition of the work does not depend on the number of threads: the same
//! input gives the same bytes.

mod budgets;
mod clusters;
mod columns;
mod encode;
mod graph;
mod links;
mod scaling;
mod vectors;

use std::collections::BTreeMap;
use std::path::Path;

use crate::embedding::{Embedding, MAX_DIM};
use crate::error::{Error, Result, ShardError};
use crate::shard::writer::{self, Contents, RecordData};
use crate::shard::{ColumnKind, MAX_LISTING_PHOTOS, texts};
use crate::vector::{CodeKernels, Rotation};

pub use crate::shard::writer::Identity;
use encode::Coded;
pub use scaling::LocalScaling;
use vectors::{ListedPhoto, Vectors};

/// Seed of the rotation in new shards: `magpie` in ASCII; any number works.
const ROTATION_SEED: u64 = 0x6d61_6770_6965;

/// A column of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Name of the column.
    pub name: String,
    /// Whether searches can filter by it; otherwise it is metadata only.
    pub filter: bool,
}

/// The options of a build.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct BuildOptions {
    /// Number of inverted lists; `None` chooses it by the number of photos.
    pub lists: Option<u32>,
    /// Lowers the scores of photos that are near to every query; `None` keeps all scores. Base and delta shards of a
    /// catalogue need the same.
    pub local_scaling: Option<LocalScaling>,
    /// What filter columns hold, by name; of others the values decide. A delta has few values, and needs the kinds of its
    /// base. A column that is to hold numbers holds words all the same where a value is not a number.
    pub kinds: Vec<(String, ColumnKind)>,
}

impl BuildOptions {
    /// Sets the number of inverted lists, instead of choosing it by the number of photos.
    #[must_use]
    pub fn with_lists(mut self, lists: u32) -> BuildOptions {
        self.lists = Some(lists);
        self
    }

    /// Lowers the scores of photos that are near to every query.
    #[must_use]
    pub fn with_local_scaling(mut self, scaling: LocalScaling) -> BuildOptions {
        self.local_scaling = Some(scaling);
        self
    }

    /// Sets what filter columns hold, where the values alone should not decide.
    #[must_use]
    pub fn with_kinds(mut self, kinds: Vec<(String, ColumnKind)>) -> BuildOptions {
        self.kinds = kinds;
        self
    }
}

/// A step of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Computing the centroids of the lists.
    Clustering,
    /// Assigning photos to lists.
    Assigning,
    /// Quantising photos.
    Coding,
    /// Compressing texts and writing the file.
    Writing,
    /// Measuring how many lists a search has to probe.
    Measuring,
}

/// A callback with the current step and its progress, 0 to 1.
pub type Progress<'a> = &'a (dyn Fn(Step, f32) + Sync);

/// The size of a new shard, and warnings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildReport {
    /// Number of photos.
    pub photos: usize,
    /// Number of listings.
    pub listings: usize,
    /// Number of inverted lists.
    pub lists: usize,
    /// Listings whose photos were added with different values; those of the first photo were kept.
    pub conflicting: Vec<String>,
}

/// A photo that was added: its name, the number of its vector, and its thumbnail.
struct PendingPhoto {
    name: String,
    vector: usize,
    thumbnail: Box<[u8]>,
}

struct PendingListing {
    values: Box<[u8]>,
    photos: Vec<PendingPhoto>,
    conflicting: bool,
}

/// Collects photos and writes them to a shard.
///
/// Listings are ordered by id, and the photos of a listing in the order in which they were added: the file does not
/// depend on the order of the listings. The builder keeps the vector of each photo in `f32`, its texts and its
/// thumbnail: about 1 kB for 128 coordinates and short texts.
///
/// ```
/// use magpie_index::builder::{Field, Identity, ShardBuilder};
/// use magpie_index::{Embedding, ModelId};
/// let model_id = ModelId([1; 32]);
/// let identity = Identity { model_id, catalog: "shop".into(), sequence: 1, writer: "example 1.0".into() };
/// let mut builder = ShardBuilder::new(identity, 4, vec![Field { name: "price".into(), filter: true }]);
/// let embedding = Embedding::new(&[0.1, 0.7, 0.2, 0.4], model_id).expect("finite and not zero");
/// builder.add("mug-1", "front.jpg", &["12.50".into()], &embedding)?;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("shop.magpie");
/// let report = builder.write(&path)?;
/// assert_eq!((report.listings, report.photos, report.lists), (1, 1, 1));
/// # Ok::<(), magpie_index::Error>(())
/// ```
pub struct ShardBuilder {
    identity: Identity,
    fields: Vec<Field>,
    options: BuildOptions,
    rotation: Rotation,
    vectors: Vectors,
    listings: BTreeMap<String, PendingListing>,
}

impl ShardBuilder {
    /// Creates a builder for embeddings of `dim` coordinates and listings with a value for each field.
    pub fn new(identity: Identity, dim: usize, fields: Vec<Field>) -> Self {
        // Writing rejects a dimension above the limit; no memory is allocated for it here.
        let rotation = Rotation::new(if dim <= MAX_DIM as usize { dim } else { 0 }, ROTATION_SEED);
        let (options, listings) = (BuildOptions::default(), BTreeMap::new());
        ShardBuilder { identity, fields, options, rotation, vectors: Vectors::new(dim), listings }
    }

    /// Sets the options of the build.
    #[must_use]
    pub fn with_options(mut self, options: BuildOptions) -> Self {
        self.options = options;
        self
    }

    /// Adds a photo of a listing. `values` are in the order of the fields; a missing value is empty.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] where the embedding is of another model, [`ShardError::Build`] where the number of
    /// coordinates or values is wrong or the listing has too many photos.
    pub fn add(&mut self, listing: &str, photo: &str, values: &[String], embedding: &Embedding) -> Result<()> {
        self.add_with_thumbnail(listing, photo, values, embedding, &[])
    }

    /// As [`ShardBuilder::add`], with a JPEG thumbnail; empty bytes mean no thumbnail.
    ///
    /// # Errors
    /// As [`ShardBuilder::add`].
    pub fn add_with_thumbnail(
        &mut self,
        listing: &str,
        photo: &str,
        values: &[String],
        embedding: &Embedding,
        thumbnail: &[u8],
    ) -> Result<()> {
        if embedding.model() != self.identity.model_id {
            return Err(Error::ModelMismatch { model: embedding.model(), shard: self.identity.model_id });
        }
        let differ = |what: &str, found: usize, expected: usize| {
            Err(ShardError::Build(format!("listing '{listing}': {found} {what}, expected {expected}")).into())
        };
        if embedding.dim() != self.vectors.dim() {
            return differ("coordinates", embedding.dim(), self.vectors.dim());
        }
        if values.len() != self.fields.len() {
            return differ("values", values.len(), self.fields.len());
        }
        let values = texts(values.iter().map(String::as_str));
        let values = values.ok_or_else(|| ShardError::Build(format!("listing '{listing}': its texts are too long")))?;
        let new = || PendingListing { values: values.clone().into(), photos: Vec::new(), conflicting: false };
        let entry = self.listings.entry(listing.to_owned()).or_insert_with(new);
        if entry.photos.len() as u32 == MAX_LISTING_PHOTOS {
            let count = MAX_LISTING_PHOTOS + 1;
            let detail = format!("listing '{listing}': {count} photos, at most {MAX_LISTING_PHOTOS} fit");
            return Err(ShardError::Build(detail).into());
        }
        entry.conflicting |= *entry.values != *values;
        let vector = self.vectors.push(embedding.values());
        if self.rotation.dim() == self.vectors.dim() {
            self.rotation.rotate(self.vectors.get_mut(vector));
        }
        entry.photos.push(PendingPhoto { name: photo.to_owned(), vector, thumbnail: thumbnail.into() });
        Ok(())
    }

    /// Writes the shard.
    ///
    /// # Errors
    /// [`Error::Io`], [`ShardError::Build`] where there are no photos or more than the format holds, or
    /// [`Error::ModelMismatch`] where the photos of local scaling are of another model.
    pub fn write(self, path: &Path) -> Result<BuildReport> {
        self.write_with(path, &|_, _| {})
    }

    /// As [`ShardBuilder::write`], and reports progress.
    ///
    /// # Errors
    /// As [`ShardBuilder::write`].
    pub fn write_with(mut self, path: &Path, progress: Progress<'_>) -> Result<BuildReport> {
        if self.listings.is_empty() {
            return Err(ShardError::Build("there are no photos".to_owned()).into());
        }
        let dim = self.vectors.dim();
        let dim = u32::try_from(dim)
            .ok()
            .filter(|dim| (1..=MAX_DIM).contains(dim))
            .ok_or_else(|| ShardError::Build(format!("embeddings of {dim} coordinates, expected 1 to {MAX_DIM}")))?;
        let mut report = BuildReport::default();
        let (mut photos, mut records, mut thumbnails) = (Vec::new(), Vec::new(), Vec::new());
        for (row, (id, listing)) in self.listings.into_iter().enumerate() {
            if listing.conflicting {
                report.conflicting.push(id.clone());
            }
            let mut names = Vec::with_capacity(listing.photos.len());
            for (ordinal, photo) in listing.photos.into_iter().enumerate() {
                photos.push(ListedPhoto { vector: photo.vector, listing: row as u32, ordinal: ordinal as u16 });
                names.push(photo.name);
                thumbnails.push(photo.thumbnail);
            }
            records.push(RecordData { id, photos: names, values: listing.values });
        }

        if let Some(scaling) = &self.options.local_scaling {
            // Photos of one model have one dimension.
            if scaling.model() != self.identity.model_id || scaling.dim() != self.vectors.dim() {
                return Err(Error::ModelMismatch { model: scaling.model(), shard: self.identity.model_id });
            }
            scaling.rotated(&self.rotation).apply(&mut self.vectors);
        }
        let kernels = CodeKernels::best();
        let lists = self.options.lists.map_or_else(|| clusters::count(photos.len()), |lists| lists as usize);
        let lists = lists.clamp(1, photos.len());
        let vectors = &self.vectors;
        let centroids = clusters::find(vectors, &photos, lists, kernels, &|share| progress(Step::Clustering, share));
        let (centroids, graph) = graph::link(centroids)?;
        let assigned = centroids.assign(vectors, &photos, kernels, &|share| progress(Step::Assigning, share));
        progress(Step::Coding, 0.0);
        let Coded { index, list_starts, scan_blocks, codes, code_scales, order } =
            encode::code(vectors, &photos, &centroids, &assigned);
        drop(self.vectors);

        let in_order = |row: &u32| &photos[*row as usize];
        let photo_listings: Vec<u32> = order.iter().map(|row| in_order(row).listing).collect();
        let kind = |name: &str| self.options.kinds.iter().find(|(of, _)| of == name).map(|(_, kind)| *kind);
        let columns = (self.fields.iter().enumerate())
            .filter(|(_, field)| field.filter)
            .map(|(at, field)| (field.name.clone(), columns::column(&records, at, &photo_listings, kind(&field.name))))
            .collect();
        let has_thumbnails = thumbnails.iter().any(|bytes| !bytes.is_empty());
        let pictured = order.iter().filter(|_| has_thumbnails);
        let thumbnails = pictured.map(|&row| std::mem::take(&mut thumbnails[row as usize])).collect();
        let contents = Contents {
            dim,
            index: crate::shard::ListIndex { dim, rotation_seed: ROTATION_SEED, ..index },
            list_starts,
            list_biases: centroids.biases,
            centroids: centroids.codes,
            graph,
            scan_blocks,
            codes,
            code_scales,
            photo_ordinals: order.iter().map(|row| in_order(row).ordinal).collect(),
            photo_listings,
            thumbnails,
            fields: self.fields.iter().map(|field| field.name.clone()).collect(),
            columns,
            records,
        };
        report.photos = photos.len();
        report.listings = contents.records.len();
        report.lists = lists;
        progress(Step::Writing, 0.0);
        writer::write(path, &self.identity, contents, |shard| {
            budgets::measure(shard, &|share| progress(Step::Measuring, share))
        })?;
        Ok(report)
    }
}
