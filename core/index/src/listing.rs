//! Reads the listings of search results; only their metadata is decompressed.

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::error::{Result, ShardError};
use crate::ids::ListingRow;
use crate::search::Candidate;
use crate::shard::{Record, Shard};

/// A listing and its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The catalogue's id of the listing.
    pub id: String,
    /// Name of the photo that was found; empty where the shard is damaged.
    pub photo: String,
    /// Names of all photos of the listing.
    pub photos: Vec<String>,
    /// Names and values of its fields in the catalogue's order, e.g. `title`, `price`; a missing value is empty.
    #[serde(serialize_with = "as_map")]
    pub fields: Vec<(Arc<str>, String)>,
}

impl Listing {
    /// Returns the value of a field; `None` where the catalogue lacks the field or the listing a value.
    pub fn get(&self, field: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(name, _)| **name == *field);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

fn as_map<S: Serializer>(fields: &[(Arc<str>, String)], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(fields.len()))?;
    fields.iter().try_for_each(|(name, value)| map.serialize_entry(&**name, value))?;
    map.end()
}

/// A search result: a listing and its score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Cosine between the query and the photo that was found, -1 to 1.
    pub score: f32,
    /// The listing.
    #[serde(flatten)]
    pub listing: Listing,
    /// Whether it comes first because the user said so, whatever its score. As JSON, only `true` is written.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub corrected: bool,
}

impl Found {
    /// A listing that was found for its score.
    pub fn new(score: f32, listing: Listing) -> Found {
        Found { score, listing, corrected: false }
    }
}

/// Reads a listing. Without a query, its first photo represents it.
///
/// # Errors
/// [`ShardError`] where the shard lacks the listing or is damaged.
pub fn whole(shard: &Shard, row: ListingRow) -> Result<Listing, ShardError> {
    let record = shard.records(&[row])?.into_iter().next().unwrap_or_default();
    let photo = record.photos.first().cloned().unwrap_or_default();
    Ok(listing(shard, record, photo))
}

fn listing(shard: &Shard, record: Record, photo: String) -> Listing {
    let fields = shard.field_names().iter().cloned().zip(record.values).collect();
    Listing { id: record.id, photo, photos: record.photos, fields }
}

/// Reads the listings of candidates, in the order of the candidates.
///
/// ```no_run
/// use magpie_index::{listing, search::search};
/// # fn run(shard: &magpie_index::shard::Shard, query: &magpie_index::Embedding) -> magpie_index::Result<()> {
/// for found in listing::fetch(shard, &search(shard, query, None, 10)?)? {
///     println!("{:.3} {} {}", found.score, found.listing.id, found.listing.get("title").unwrap_or("untitled"));
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shard`](crate::Error::Shard) where the shard is damaged, lacks a candidate's listing, or has texts that take
/// more than 64 MiB together.
pub fn fetch(shard: &Shard, candidates: &[Candidate]) -> Result<Vec<Found>> {
    let rows: Vec<_> = candidates.iter().map(|candidate| candidate.listing).collect();
    let records = shard.records(&rows)?;
    let found = candidates.iter().zip(records).map(|(candidate, record)| {
        let photo = record.photos.get(usize::from(shard.ordinal_of(candidate.photo))).cloned().unwrap_or_default();
        Found::new(candidate.score, listing(shard, record, photo))
    });
    Ok(found.collect())
}
