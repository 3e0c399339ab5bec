//! From photos with their embeddings to the contents of a shard.

use std::collections::BTreeMap;
use std::path::Path;

use crate::embedding::{Embedding, MAX_DIM};
use crate::error::{Error, Result, ShardError};
use crate::shard::writer::{self, ColumnData, Contents};
use crate::shard::{MAX_LISTING_PHOTOS, Record};
use crate::vector;

pub use crate::shard::writer::Identity;

/// What one column of the catalogue is used for beside being metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Name of the column.
    pub name: String,
    /// Whether searches can filter by it.
    pub filter: bool,
}

/// What the builder noticed; none of it stops the build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildReport {
    /// Photos in the shard.
    pub photos: usize,
    /// Listings in the shard.
    pub listings: usize,
    /// Listings whose photos came with different values; those of the first photo were kept.
    pub conflicting: Vec<String>,
}

struct Photo {
    name: String,
    code: vector::Code,
}

struct Listing {
    values: Vec<String>,
    photos: Vec<Photo>,
    conflicting: bool,
}

/// Collects photos in any order and writes a shard.
///
/// Listings are ordered by id, and a listing's photos as they were added, so that the same photos give the same file
/// whatever the order of the listings.
pub struct ShardBuilder {
    identity: Identity,
    fields: Vec<Field>,
    dim: usize,
    listings: BTreeMap<String, Listing>,
}

impl ShardBuilder {
    /// A builder for embeddings of `dim` coordinates; each listing has one value a field.
    pub fn new(identity: Identity, dim: usize, fields: Vec<Field>) -> Self {
        ShardBuilder { identity, fields, dim, listings: BTreeMap::new() }
    }

    /// Adds a photo of a listing; `values` are in the order of the fields, empty where there is none.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] where the embedding is of another model, [`ShardError::Build`] where sizes differ.
    pub fn add(&mut self, listing: &str, photo: &str, values: &[String], embedding: &Embedding) -> Result<()> {
        if embedding.model() != self.identity.model_id {
            return Err(Error::ModelMismatch { model: embedding.model(), shard: self.identity.model_id });
        }
        let differ = |what: &str, found: usize, expected: usize| {
            Err(ShardError::Build(format!("listing '{listing}': {found} {what}, expected {expected}")).into())
        };
        if embedding.dim() != self.dim {
            return differ("coordinates", embedding.dim(), self.dim);
        }
        if values.len() != self.fields.len() {
            return differ("values", values.len(), self.fields.len());
        }
        let new = || Listing { values: values.to_vec(), photos: Vec::new(), conflicting: false };
        let entry = self.listings.entry(listing.to_owned()).or_insert_with(new);
        if entry.photos.len() as u32 == MAX_LISTING_PHOTOS {
            let count = MAX_LISTING_PHOTOS + 1;
            let detail = format!("listing '{listing}': {count} photos, at most {MAX_LISTING_PHOTOS} fit");
            return Err(ShardError::Build(detail).into());
        }
        entry.conflicting |= entry.values != values;
        entry.photos.push(Photo { name: photo.to_owned(), code: vector::encode(embedding.values()) });
        Ok(())
    }

    /// Writes the shard.
    ///
    /// # Errors
    /// [`Error::Io`], or [`ShardError::Build`] where there is nothing to write or too much for the format.
    pub fn write(self, path: &Path) -> Result<BuildReport> {
        if self.listings.is_empty() {
            return Err(ShardError::Build("there are no photos".to_owned()).into());
        }
        let dim = u32::try_from(self.dim).ok().filter(|dim| (1..=MAX_DIM).contains(dim)).ok_or_else(|| {
            ShardError::Build(format!("embeddings of {} coordinates, expected 1 to {MAX_DIM}", self.dim))
        })?;
        let mut contents = Contents {
            dim,
            codes: Vec::new(),
            factors: Vec::new(),
            photo_listings: Vec::new(),
            photo_ordinals: Vec::new(),
            fields: self.fields.iter().map(|field| field.name.clone()).collect(),
            columns: Vec::new(),
            records: Vec::new(),
        };
        let mut report = BuildReport::default();
        let mut photo_rows = Vec::new();
        for (row, (id, listing)) in self.listings.into_iter().enumerate() {
            if listing.conflicting {
                report.conflicting.push(id.clone());
            }
            for (ordinal, photo) in listing.photos.iter().enumerate() {
                contents.codes.extend(&photo.code.values);
                contents.factors.push(photo.code.factor);
                contents.photo_listings.push(row as u32);
                contents.photo_ordinals.push(ordinal as u16);
                photo_rows.push(row);
            }
            let photos = listing.photos.into_iter().map(|photo| photo.name).collect();
            contents.records.push(Record { id, photos, values: listing.values });
        }
        contents.columns = (self.fields.iter().enumerate())
            .filter(|(_, field)| field.filter)
            .map(|(at, field)| {
                let value = |&row: &usize| contents.records[row].values[at].as_str();
                (field.name.clone(), column(photo_rows.iter().map(value)))
            })
            .collect();
        writer::write(path, &self.identity, &contents)?;
        report.photos = contents.factors.len();
        report.listings = contents.records.len();
        Ok(report)
    }
}

/// A column of numbers where every value is one, else of words.
fn column<'a>(values: impl Iterator<Item = &'a str> + Clone) -> ColumnData {
    let present = || values.clone().filter(|value| !value.is_empty());
    let numbers = present().next().is_some() && present().all(|value| number(value).is_some());
    if numbers {
        return ColumnData::Number(values.map(|value| number(value).unwrap_or(f64::NAN)).collect());
    }
    let codes: BTreeMap<&str, u32> = present().map(|value| (value, 0)).collect();
    let codes: BTreeMap<&str, u32> = codes.into_keys().zip(1..).collect();
    let of_photos = values.map(|value| codes.get(value).copied().unwrap_or(0)).collect();
    ColumnData::Word(codes.into_keys().map(str::to_owned).collect(), of_photos)
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_numbers_only_where_all_values_are() {
        let of = |values: &[&'static str]| column(values.iter().copied());
        assert!(matches!(of(&["1", "", "2.5"]), ColumnData::Number(v) if v[0] == 1.0 && v[1].is_nan() && v[2] == 2.5));
        let words = of(&["red", "", "1", "red"]);
        assert!(matches!(words, ColumnData::Word(w, v) if w == ["1", "red"] && v == [2, 0, 1, 2]));
        assert!(matches!(of(&["", ""]), ColumnData::Word(w, v) if w.is_empty() && v == [0, 0]));
        assert!(matches!(of(&["nan"]), ColumnData::Word(..)));
    }
}
