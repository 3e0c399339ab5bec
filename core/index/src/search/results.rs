//! Collapses the best photos to listings, each represented by its best photo, and applies the options of the search.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::groups::{Group, Groups};
use super::params::SearchParams;
use super::part::Part;
use super::stored::stored_vector;
use crate::error::{Result, ShardError};
use crate::ids::{ListingRow, PhotoRow};
use crate::vector::float::dot;

/// Listings that are looked for one by one; above it, a set is quicker.
const FEW: usize = 64;

/// A listing that was found: its best photo and that photo's score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Cosine to the query, -1 to 1.
    pub score: f32,
    /// Position of the shard in its catalogue; 0 where one shard is searched.
    pub part: usize,
    /// The listing.
    pub listing: ListingRow,
    /// The listing's photo that is most similar to the query.
    pub photo: PhotoRow,
}

impl Candidate {
    /// The listing and its shard.
    pub fn place(&self) -> ListingPlace {
        ListingPlace { part: self.part, listing: self.listing }
    }

    /// Orders best first: by score, then listing id (rows are in the order of ids), then photo. Listings of different
    /// parts with equal scores are in the order of parts, see [`order`].
    pub(super) fn rank(&self, other: &Self) -> Ordering {
        let by_score = other.score.total_cmp(&self.score);
        by_score.then(self.place().cmp(&other.place())).then(self.photo.cmp(&other.photo))
    }
}

/// Where a listing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListingPlace {
    /// Position of the shard in its catalogue; 0 where there is one shard.
    pub part: usize,
    /// The listing's row in that shard.
    pub listing: ListingRow,
}

impl From<ListingRow> for ListingPlace {
    /// A listing of the first shard.
    fn from(listing: ListingRow) -> ListingPlace {
        ListingPlace { part: 0, listing }
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// The requested listings, best first.
    pub candidates: Vec<Candidate>,
    /// Scores of the best listings that pass the filter, regardless of most other options; see [`Searcher::rank`].
    ///
    /// [`Searcher::rank`]: super::Searcher::rank
    pub leading: Vec<f32>,
    /// `false` where fewer listings than requested were found because the search gave up: others may meet the
    /// conditions.
    pub complete: bool,
    /// Whether the first candidate is there because [`Searcher::rank_with_first`] was told so, and not for its score.
    ///
    /// [`Searcher::rank_with_first`]: super::Searcher::rank_with_first
    pub put_first: bool,
}

/// Orders photos best first, and those of different parts with equal scores by the ids of their listings, which are read
/// only for these.
pub(super) fn order(photos: &mut [Candidate], parts: &[Part<'_>]) -> Result<(), ShardError> {
    photos.sort_unstable_by(Candidate::rank);
    if parts.len() < 2 {
        return Ok(());
    }
    for tied in photos.chunk_by_mut(|a, b| a.score.total_cmp(&b.score) == Ordering::Equal) {
        if tied.first().map(|photo| photo.part) == tied.last().map(|photo| photo.part) {
            continue;
        }
        let mut named = Vec::with_capacity(tied.len());
        for photos in tied.chunk_by(|a, b| a.part == b.part) {
            let rows: Vec<ListingRow> = photos.iter().map(|photo| photo.listing).collect();
            let part = photos.first().and_then(|photo| parts.get(photo.part));
            let briefs = part.map(|part| part.shard.briefs(&rows, None)).transpose()?.unwrap_or_default();
            named.extend(briefs.into_iter().map(|brief| brief.id).zip(photos.iter().copied()));
        }
        named.sort_by(|(id, photo), (other_id, other)| id.cmp(other_id).then_with(|| photo.rank(other)));
        tied.iter_mut().zip(named).for_each(|(photo, (_, named))| *photo = named);
    }
    Ok(())
}

/// The conditions on results other than similarity, bound to the parts of a search.
pub(super) struct Rules<'a> {
    pub(super) parts: &'a [Part<'a>],
    pub(super) k: usize,
    min_score: f32,
    near_duplicates: Option<f32>,
    pub(super) groups: Option<Groups<'a>>,
    exclude: Option<ListingPlace>,
}

/// The listings that rules leave.
pub(super) struct Applied<'a> {
    pub(super) kept: Vec<Candidate>,
    /// Whether more photos could add to them.
    pub(super) more: bool,
    /// The groups that take no further listing.
    pub(super) full: Vec<Group<'a>>,
}

impl<'a> Rules<'a> {
    pub(super) fn bind(
        parts: &'a [Part<'a>],
        params: &SearchParams,
        k: usize,
        exclude: Option<ListingPlace>,
    ) -> Result<Self> {
        let groups = params.per.as_ref().map(|per| Groups::bind(parts, per)).transpose()?;
        let min_score = params.min_score.unwrap_or(f32::NEG_INFINITY);
        Ok(Rules { parts, k, min_score, near_duplicates: params.near_duplicates, groups, exclude })
    }

    /// Returns the rules for the leading listings, which do not depend on `k`, the lowest score or the limit of a
    /// group. Near-duplicates of a better listing are still omitted where the caller asked for that, and a limit of 0
    /// for each group still applies, because it acts as a filter.
    pub(super) fn leading(&self, k: usize) -> Rules<'a> {
        let groups = self.groups.clone().filter(|groups| groups.most == 0);
        let (parts, near_duplicates, exclude) = (self.parts, self.near_duplicates, self.exclude);
        Rules { parts, k, min_score: f32::NEG_INFINITY, near_duplicates, groups, exclude }
    }

    /// Returns the listings of `photos`, which are sorted best first. The listing of `first` comes before them, whatever
    /// its score.
    ///
    /// # Errors
    /// [`ShardError::Invalid`] where a shard is damaged.
    pub(super) fn apply(&self, first: Option<&Candidate>, photos: &[Candidate]) -> Result<Applied<'a>, ShardError> {
        let mut seen = Seen::default();
        let mut counts: Vec<(Group<'a>, usize)> = Vec::new();
        let mut places = GroupPlaces::default();
        let mut kept: Vec<Candidate> = Vec::new();
        let mut originals = Originals::default();
        let mut more = true;
        let (first, photos) = (first.map(|photo| (photo, f32::NEG_INFINITY)), photos.iter());
        for (photo, least) in first.into_iter().chain(photos.map(|photo| (photo, self.min_score))) {
            if photo.score < least || kept.len() == self.k {
                more = false;
                break;
            }
            if self.exclude == Some(photo.place()) || !seen.insert(photo.place()) {
                continue;
            }
            let group = self.groups.as_ref().and_then(|groups| Some((groups.of(photo)?, groups.most)));
            let counted = group.map(|(group, most)| (places.of(group, &mut counts), most));
            if counted.is_some_and(|(at, most)| counts[at].1 >= most) {
                continue;
            }
            if let Some(limit) = self.near_duplicates
                && let Some(part) = self.parts.get(photo.part)
                && originals.repeats(stored_vector(part.shard, photo.photo)?, limit)
            {
                continue;
            }
            if let Some((at, _)) = counted {
                counts[at].1 += 1;
            }
            kept.push(*photo);
        }
        // Every photo has a cosine of -1 to the first one.
        let single = !kept.is_empty() && self.near_duplicates.is_some_and(|limit| limit <= -1.0);
        let most = self.groups.as_ref().map_or(0, |groups| groups.most);
        let full = counts.into_iter().filter(|(_, count)| *count >= most).map(|(group, _)| group).collect();
        Ok(Applied { more: more && !single && kept.len() < self.k, kept, full })
    }
}

/// The listings that a search has met.
#[derive(Default)]
struct Seen {
    few: Vec<ListingPlace>,
    many: HashSet<ListingPlace>,
}

impl Seen {
    /// Returns whether the listing is new.
    fn insert(&mut self, place: ListingPlace) -> bool {
        if self.many.is_empty() && self.few.len() < FEW {
            let new = !self.few.contains(&place);
            if new {
                self.few.push(place);
            }
            return new;
        }
        if self.many.is_empty() {
            self.many.extend(&self.few);
        }
        self.many.insert(place)
    }
}

/// Where the count of each group is.
#[derive(Default)]
struct GroupPlaces<'a>(std::collections::HashMap<Group<'a>, usize>);

impl<'a> GroupPlaces<'a> {
    fn of(&mut self, group: Group<'a>, counts: &mut Vec<(Group<'a>, usize)>) -> usize {
        if counts.len() < FEW {
            let known = counts.iter().position(|(known, _)| *known == group);
            return known.unwrap_or_else(|| {
                counts.push((group, 0));
                counts.len() - 1
            });
        }
        if self.0.is_empty() {
            self.0.extend(counts.iter().enumerate().map(|(at, (group, _))| (*group, at)));
        }
        *self.0.entry(group).or_insert_with(|| {
            counts.push((group, 0));
            counts.len() - 1
        })
    }
}

/// Finds near-duplicates: the unit vectors of the photos kept so far.
#[derive(Debug, Default)]
pub(crate) struct Originals(Vec<Vec<f32>>);

impl Originals {
    /// Returns whether a vector has a cosine of at least `limit` to one that was kept; keeps it if not.
    pub(crate) fn repeats(&mut self, mut vector: Vec<f32>, limit: f32) -> bool {
        let length = dot(&vector, &vector).sqrt().max(f32::MIN_POSITIVE);
        vector.iter_mut().for_each(|v| *v /= length);
        let repeats = self.0.iter().any(|kept| dot(kept, &vector) >= limit);
        if !repeats {
            self.0.push(vector);
        }
        repeats
    }
}
