//! A catalogue of a base shard and deltas, as one: a listing of a later shard replaces that of an earlier one, and
//! listings can be removed.
//!
//! `settle` gives each shard the columns that it would have as a part of one shard with all listings. What a search does
//! with several shards is in [`search`](crate::search).

mod settle;
#[cfg(all(test, feature = "build"))]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{FilterError, Result, ShardError};
use crate::ids::ModelId;
use crate::listing::{self, Found, Listing};
use crate::search::{Candidate, Hidden, ListingPlace, Part, PartColumn, SearchScratch, Searcher, SettledColumn};
use crate::shard::{Column, ColumnKind, MAX_FIELDS, Shard};

/// Most bytes of listing ids of deltas and removals that opening a catalogue reads.
const MAX_ID_BYTES: usize = 256 << 20;

/// The files of one part of a catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartFiles {
    /// The shard; `None` for a part that only removes. The first part has one.
    pub shard: Option<PathBuf>,
    /// Ids of listings of earlier parts that are not in the catalogue any more.
    pub removed: Vec<String>,
}

/// A base shard and its deltas, searched as one shard. Any number of threads can share one.
///
/// A listing of a part hides those with the same id in all earlier parts, and so does an id that the part removes. What
/// a search finds is what it would find in a single shard that is built from the listings that are left, up to the
/// rounding of the stored vectors.
///
/// ```no_run
/// use magpie_index::catalog::{Catalog, PartFiles};
/// use magpie_index::search::{SearchParams, SearchScratch};
/// # fn run(query: &magpie_index::Embedding) -> magpie_index::Result<()> {
/// let base = PartFiles { shard: Some("base.magpie".into()), removed: Vec::new() };
/// let monday = PartFiles { shard: Some("monday.magpie".into()), removed: vec!["mug-17".to_owned()] };
/// let catalog = Catalog::open(&[base, monday])?;
/// let mut searcher = catalog.searcher(SearchScratch::default());
/// for found in catalog.fetch(&searcher.search(query, None, &SearchParams::new(10))?)? {
///     println!("{:.3} {}", found.score, found.listing.id);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Catalog {
    members: Vec<Member>,
    fields: Vec<String>,
    /// [`Catalog::fields`], to be shared by listings.
    field_names: Vec<Arc<str>>,
}

/// A shard of a catalogue.
#[derive(Debug)]
struct Member {
    shard: Shard,
    hidden: Option<Hidden>,
    settled: Vec<SettledColumn>,
}

impl Member {
    fn part(&self) -> Part<'_> {
        Part { shard: &self.shard, hidden: self.hidden.as_ref(), settled: &self.settled }
    }
}

impl From<Shard> for Catalog {
    /// A catalogue of one shard.
    fn from(shard: Shard) -> Catalog {
        let (fields, field_names) = (shard.fields().to_vec(), shard.field_names().to_vec());
        Catalog { members: vec![Member { shard, hidden: None, settled: Vec::new() }], fields, field_names }
    }
}

impl Catalog {
    /// Opens the shards of a catalogue, the base first. Does not verify them, see [`Shard::verify`].
    ///
    /// # Errors
    /// As [`Shard::open`] and [`Catalog::new`].
    pub fn open(parts: &[PartFiles]) -> Result<Catalog> {
        Catalog::of_files(parts, |path| Shard::open(path))
    }

    /// As [`Catalog::open`], but reads the shards into memory: see [`Shard::load`].
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub fn load(parts: &[PartFiles]) -> Result<Catalog> {
        Catalog::of_files(parts, |path| Shard::load(path))
    }

    fn of_files(parts: &[PartFiles], open: fn(&PathBuf) -> Result<Shard>) -> Result<Catalog> {
        let part = |part: &PartFiles| Ok((part.shard.as_ref().map(open).transpose()?, part.removed.clone()));
        Catalog::of_parts(parts.iter().map(part).collect::<Result<_>>()?)
    }

    /// Creates a catalogue of shards, the base first. Each comes with the ids of the listings of earlier shards that it
    /// removes.
    ///
    /// Reads the ids of all listings but those of the base.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where there is no shard, where a shard does not belong to the first one (another
    /// catalogue, model, dimension or rotation) or is damaged, or where they have too many photos together.
    pub fn new(parts: Vec<(Shard, Vec<String>)>) -> Result<Catalog> {
        Catalog::of_parts(parts.into_iter().map(|(shard, removed)| (Some(shard), removed)).collect())
    }

    fn of_parts(parts: Vec<(Option<Shard>, Vec<String>)>) -> Result<Catalog> {
        check(&parts)?;
        let mut members: Vec<Member> = Vec::with_capacity(parts.len());
        let mut gone: BTreeSet<String> = BTreeSet::new();
        let (mut bytes, count) = (0, parts.len());
        for (at, (shard, removed)) in parts.into_iter().enumerate().rev() {
            let ids: Vec<&str> = gone.iter().map(String::as_str).collect();
            let rows = match &shard {
                Some(shard) if !ids.is_empty() => shard.find_listings(&ids)?,
                _ => Vec::new(),
            };
            let hidden = shard.as_ref().filter(|_| !rows.is_empty()).map(|shard| Hidden::new(shard, rows));
            if at > 0 {
                let mut hide = |id: String| {
                    bytes += id.len() + size_of::<String>();
                    gone.insert(id);
                    let detail =
                        || format!("the ids of part {} of {count} take more than {MAX_ID_BYTES} bytes", at + 1);
                    if bytes > MAX_ID_BYTES { Err(detail()) } else { Ok(()) }
                };
                if let Some(shard) = &shard {
                    shard.each_record(|_, record| hide(record.id))?;
                }
                removed.into_iter().try_for_each(hide).map_err(unfit)?;
            }
            members.extend(shard.map(|shard| Member { shard, hidden, settled: Vec::new() }));
        }
        members.reverse();
        let settled = settle::columns(&members.iter().map(Member::part).collect::<Vec<_>>())?;
        members.iter_mut().zip(settled).for_each(|(member, settled)| member.settled = settled);
        let mut field_names: Vec<Arc<str>> = Vec::new();
        for field in members.iter().flat_map(|member| member.shard.field_names()) {
            if field_names.contains(field) {
                continue;
            }
            // As many as one shard may have: each result gets them all.
            if field_names.len() == MAX_FIELDS {
                return Err(unfit(format!("the parts have more than {MAX_FIELDS} different fields")).into());
            }
            field_names.push(field.clone());
        }
        let fields = field_names.iter().map(|name| name.to_string()).collect();
        Ok(Catalog { members, fields, field_names })
    }

    /// The shards, the base first.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = &Shard> {
        self.members.iter().map(|member| &member.shard)
    }

    /// The catalogue's name.
    pub fn name(&self) -> &str {
        self.base().catalog()
    }

    /// The model that all shards were built with.
    pub fn model_id(&self) -> ModelId {
        self.base().header().model_id
    }

    /// The number of coordinates of an embedding.
    pub fn dim(&self) -> u32 {
        self.base().header().dim
    }

    /// The highest sequence number of the shards.
    pub fn sequence(&self) -> u64 {
        self.shards().map(|shard| shard.header().sequence).max().unwrap_or_default()
    }

    /// The number of listings, without those that are replaced or removed.
    pub fn listing_count(&self) -> u64 {
        let left = |member: &Member| {
            let hidden = member.hidden.as_ref().map_or(0, Hidden::listing_count);
            u64::from(member.shard.header().listing_count).saturating_sub(hidden as u64)
        };
        self.members.iter().map(left).sum()
    }

    /// The number of photos of these listings.
    pub fn photo_count(&self) -> u64 {
        let left = |member: &Member| {
            let hidden = member.hidden.as_ref().map_or(0, Hidden::photo_count);
            u64::from(member.shard.header().photo_count).saturating_sub(hidden as u64)
        };
        self.members.iter().map(left).sum()
    }

    /// Names of a listing's fields: those of the base, then those that only a delta has.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Names and kinds of the filter columns: those of the base, then those that only a delta has.
    pub fn columns(&self) -> Vec<(&str, ColumnKind)> {
        let part = self.members[0].part();
        let kind = |name| Some((name, part.column(name)?.kind()));
        part.columns().filter_map(kind).collect()
    }

    /// Returns whether a shard has thumbnails.
    pub fn has_thumbnails(&self) -> bool {
        self.shards().any(Shard::has_thumbnails)
    }

    /// Creates a searcher of the catalogue, with the buffers of an earlier one of any catalogue.
    pub fn searcher(&self, scratch: SearchScratch) -> Searcher<'_> {
        Searcher::of_parts(self.members.iter().map(Member::part).collect(), scratch)
    }

    /// Reads the listings of candidates, in their order.
    ///
    /// # Errors
    /// [`Error::Shard`](crate::Error::Shard) where a shard is damaged, or lacks a candidate's listing.
    pub fn fetch(&self, candidates: &[Candidate]) -> Result<Vec<Found>> {
        if let [one] = &*self.members {
            return listing::fetch(&one.shard, candidates);
        }
        let mut found: Vec<Option<Found>> = Vec::new();
        found.resize(candidates.len(), None);
        for (part, member) in self.members.iter().enumerate() {
            let places = || candidates.iter().enumerate().filter(move |(_, candidate)| candidate.part == part);
            let of_part: Vec<Candidate> = places().map(|(_, candidate)| *candidate).collect();
            if !of_part.is_empty() {
                let listings = listing::fetch(&member.shard, &of_part)?;
                places().zip(listings).for_each(|((at, _), listing)| found[at] = Some(listing));
            }
        }
        let all: Option<Vec<Found>> = found.into_iter().map(|found| Some(self.with_all_fields(found?))).collect();
        Ok(all.ok_or_else(|| unfit("a candidate is of a part that the catalogue lacks".to_owned()))?)
    }

    /// Returns where a listing is; `None` where the catalogue lacks it.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where a shard is damaged.
    pub fn find_listing(&self, id: &str) -> Result<Option<ListingPlace>, ShardError> {
        for (part, member) in self.members.iter().enumerate().rev() {
            if let Some(listing) = member.shard.find_listing(id)? {
                let hidden = member.hidden.as_ref().is_some_and(|hidden| hidden.has_listing(listing));
                return Ok((!hidden).then_some(ListingPlace { part, listing }));
            }
        }
        Ok(None)
    }

    /// Reads a listing by its id. Without a query, its first photo represents it.
    ///
    /// # Errors
    /// As [`Catalog::find_listing`].
    pub fn listing(&self, id: &str) -> Result<Option<Listing>> {
        let Some(place) = self.find_listing(id)? else { return Ok(None) };
        let listing = listing::whole(&self.members[place.part].shard, place.listing)?;
        let found = self.with_all_fields(Found::new(0.0, listing));
        Ok(Some(found.listing))
    }

    /// Returns the thumbnail of a listing's photo, by the photo's name, as JPEG bytes; `None` where the catalogue lacks
    /// it.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where a shard is damaged, or lacks the listing.
    pub fn thumbnail(&self, place: ListingPlace, photo: &str) -> Result<Option<&[u8]>, ShardError> {
        let unknown = || unfit(format!("no part {} of {}", place.part, self.members.len()));
        let shard = &self.members.get(place.part).ok_or_else(unknown)?.shard;
        if !shard.has_thumbnails() {
            return Ok(None);
        }
        let records = shard.records(&[place.listing])?;
        let at = records.first().and_then(|record| record.photos.iter().position(|name| name == photo));
        let Some(at) = at else { return Ok(None) };
        Ok(shard.photo_of(place.listing, at)?.and_then(|photo| shard.thumbnail(photo)))
    }

    /// Returns at most `most` words of a filter column, in order; none if the column holds numbers.
    ///
    /// # Errors
    /// [`FilterError::UnknownColumn`] if there is no such column.
    pub fn words(&self, column: &str, most: usize) -> Result<Vec<String>, FilterError> {
        let unknown = || FilterError::unknown_column(column, self.columns().into_iter().map(|(name, _)| name));
        let mut all: BTreeSet<&str> = BTreeSet::new();
        for member in &self.members {
            let part = member.part();
            if let PartColumn::Stored(Column::Word { values, words }) = part.column(column).ok_or_else(unknown)? {
                match &member.hidden {
                    None if self.members.len() == 1 => {
                        all.extend((0..words.len().min(most)).filter_map(|at| words.get(at)));
                    }
                    None => all.extend((0..words.len()).filter_map(|at| words.get(at))),
                    // Words of hidden listings alone are not in the catalogue.
                    Some(hidden) => all.extend(settle::visible_words(&member.shard, hidden, values, words)),
                }
            }
        }
        Ok(all.into_iter().take(most).map(str::to_owned).collect())
    }

    fn base(&self) -> &Shard {
        &self.members[0].shard
    }

    /// Gives a listing the catalogue's fields, in their order; those that its shard lacks are empty.
    fn with_all_fields(&self, mut found: Found) -> Found {
        let fields = &mut found.listing.fields;
        let names = &self.field_names;
        if fields.len() == names.len() && fields.iter().zip(names).all(|((name, _), field)| name == field) {
            return found;
        }
        let mut own = std::mem::take(fields);
        *fields = (names.iter())
            .map(|name| match own.iter().position(|(own, _)| own == name) {
                Some(at) => own.swap_remove(at),
                None => (name.clone(), String::new()),
            })
            .collect();
        found
    }
}

/// Checks that the shards belong together.
fn check(parts: &[(Option<Shard>, Vec<String>)]) -> Result<(), ShardError> {
    let first = parts.first().and_then(|(shard, _)| shard.as_ref());
    let first = first.ok_or_else(|| unfit("the first part of a catalogue needs a shard".to_owned()))?;
    let shards = || parts.iter().enumerate().filter_map(|(at, (shard, _))| Some((at, shard.as_ref()?)));
    for (at, shard) in shards() {
        let differs = |what: &str, found: &dyn std::fmt::Display, expected: &dyn std::fmt::Display| {
            let detail = format!("part {} has the {what} {found}, the first part has {expected}", at + 1);
            Err(unfit(format!("{detail}: build it again from the same catalogue with the same model")))
        };
        let (header, expected) = (shard.header(), first.header());
        if header.model_id != expected.model_id {
            return differs("model", &header.model_id, &expected.model_id);
        }
        if header.dim != expected.dim {
            return differs("dimension", &header.dim, &expected.dim);
        }
        if shard.catalog() != first.catalog() {
            return differs("catalogue name", &shard.catalog().escape_debug(), &first.catalog().escape_debug());
        }
        if shard.rotation_seed() != first.rotation_seed() {
            return differs("rotation seed", &shard.rotation_seed(), &first.rotation_seed());
        }
    }
    let photos: u64 = shards().map(|(_, shard)| u64::from(shard.header().photo_count)).sum();
    if photos > u64::from(u32::MAX) {
        return Err(unfit(format!("the parts have {photos} photos, at most {} can be searched together", u32::MAX)));
    }
    Ok(())
}

fn unfit(detail: String) -> ShardError {
    ShardError::Invalid { part: "catalogue".to_owned(), detail }
}
