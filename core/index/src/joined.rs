//! Searches several shards of one catalogue as if they were one: a large catalogue in parts, or a shard and its delta.
//!
//! Without near-duplicate removal it is enough to merge the results of each shard by score. With it, which listings a
//! shard omits depends on the other shards. Each shard therefore returns more listings, with their near-duplicates
//! ([`ShardAnswer::look`]), and [`join`] removes those that a single shard would. Where a shard may have further
//! listings that rank before the last result, the search is repeated with a larger limit. Texts are read only of the
//! listings that are left ([`fetch`]):
//!
//! ```no_run
//! # fn search(shards: &[magpie_index::shard::Shard], query: &magpie_index::Embedding) -> magpie_index::Result<()> {
//! use magpie_index::joined::{ShardAnswer, fetch, join};
//! use magpie_index::search::{SearchParams, Searcher};
//! let params = SearchParams::new(10).without_near_duplicates(0.97);
//! let mut look = ShardAnswer::first_look(&params);
//! let joined = loop {
//!     let part = |shard| ShardAnswer::look(&mut Searcher::new(shard), query, None, &params, look);
//!     let (joined, more) = join(shards.iter().map(part).collect::<Result<_, _>>()?, &params);
//!     if !more {
//!         break joined;
//!     }
//!     look = ShardAnswer::wider(look);
//! };
//! let found = fetch(shards, &joined)?;
//! # Ok(()) }
//! ```

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::HashMap;

use crate::embedding::Embedding;
use crate::error::{Result, ShardError};
use crate::ids::{ListingRow, PhotoRow};
use crate::listing::{self, Found};
use crate::search::{Candidate, Filter, MAX_K, Originals, SearchParams, Searcher, stored_vector};
use crate::shard::Shard;
use crate::vector::Rotation;

/// The answer of one shard: its best listings, near-duplicates included.
#[derive(Debug, Clone, Default)]
pub struct ShardAnswer {
    /// Best first.
    listings: Vec<Neighbour>,
    /// Whether no further listings follow the last one.
    complete: bool,
}

/// A listing and the vector of its best photo.
#[derive(Debug, Clone)]
struct Neighbour {
    joined: Joined,
    /// Its value of the column of [`SearchParams::per`]; empty without one.
    value: String,
    vector: Vec<f32>,
}

/// A listing that [`join`] leaves, without its texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// Cosine between the query and the photo that was found, -1 to 1.
    pub score: f32,
    /// The catalogue's id of the listing.
    pub id: String,
    /// Position of the shard that has the listing's texts, and its row there.
    texts: (usize, ListingRow),
    /// Position of the shard that has the photo, the listing's row there, and the photo's.
    photo: (usize, ListingRow, PhotoRow),
}

impl Joined {
    /// Orders best first: by score, then listing id.
    fn rank(&self, other: &Joined) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.id.cmp(&other.id))
    }
}

impl ShardAnswer {
    /// Returns the number of listings to request from each shard at first: twice `k`, because some are near-duplicates.
    pub fn first_look(params: &SearchParams) -> usize {
        params.k.saturating_mul(2).clamp(1, MAX_K)
    }

    /// Returns the next number of listings to request, where `look` were too few: four times as many.
    pub fn wider(look: usize) -> usize {
        look.saturating_mul(4).min(MAX_K)
    }

    /// Searches a shard for the best `look` listings, at most [`MAX_K`], that pass the filter and the lowest score. The
    /// other conditions of `params` are applied by [`join`]. Of their texts, it reads only what these need.
    ///
    /// # Errors
    /// As [`Searcher::search`].
    pub fn look(
        searcher: &mut Searcher<'_>,
        query: &Embedding,
        filter: Option<&Filter>,
        params: &SearchParams,
        look: usize,
    ) -> Result<ShardAnswer> {
        let look = look.min(MAX_K);
        let plain = SearchParams { k: look, near_duplicates: None, per: None, ..params.clone() };
        let candidates = searcher.search(query, filter, &plain)?;
        let shard = searcher.shard();
        // Shards may have different rotations: vectors of several are comparable once it is undone.
        let rotation = Rotation::new(query.dim(), shard.index().rotation_seed);
        let rows: Vec<ListingRow> = candidates.iter().map(|candidate| candidate.listing).collect();
        let field = params.per.as_ref().and_then(|per| shard.fields().iter().position(|name| *name == per.column));
        let briefs = shard.briefs(&rows, field)?;
        let neighbour = |(candidate, brief): (&Candidate, crate::shard::Brief)| {
            let mut vector = stored_vector(shard, candidate.photo)?;
            rotation.undo(&mut vector);
            let &Candidate { score, listing, photo, .. } = candidate;
            let joined = Joined { score, id: brief.id, texts: (0, listing), photo: (0, listing, photo) };
            Ok(Neighbour { joined, value: brief.value, vector })
        };
        let listings = candidates.iter().zip(briefs).map(neighbour).collect::<Result<_>>()?;
        Ok(ShardAnswer { listings, complete: candidates.len() < look || look == MAX_K })
    }
}

/// Joins the answers of all shards. Returns the results, best first, and whether a larger limit for each shard might
/// change them.
///
/// Final results are those of a single shard with all photos, except where rounding decides: photos with nearly equal
/// scores, or with a cosine close to the limit of near-duplicates. A listing that several shards have is returned once,
/// with its highest score and the texts of the last shard that found it. Values of [`SearchParams::per`] are compared
/// as texts.
pub fn join(parts: Vec<ShardAnswer>, params: &SearchParams) -> (Vec<Joined>, bool) {
    // After this listing, a shard that was cut off there may have unknown ones.
    let open = parts.iter().filter(|part| !part.complete);
    let known_to = open.filter_map(|part| part.listings.last()).map(|near| near.joined.clone()).min_by(Joined::rank);
    let mut per_value: HashMap<String, usize> = HashMap::new();
    let mut originals = Originals::default();
    let mut kept: Vec<Joined> = Vec::new();
    for Neighbour { joined, value, vector } in once(parts) {
        if kept.len() == params.k {
            return (kept, false);
        }
        if known_to.as_ref().is_some_and(|last| joined.rank(last) == Ordering::Greater) {
            return (kept, true);
        }
        let most = params.per.as_ref().filter(|_| !value.is_empty()).map(|per| per.most);
        if most.is_some_and(|most| per_value.get(&value).copied().unwrap_or(0) >= most) {
            continue;
        }
        if params.near_duplicates.is_some_and(|limit| originals.repeats(vector, limit)) {
            continue;
        }
        if most.is_some() {
            *per_value.entry(value).or_default() += 1;
        }
        kept.push(joined);
    }
    let more = kept.len() < params.k && known_to.is_some();
    (kept, more)
}

/// Returns the listings of all shards, each once, best first.
fn once(parts: Vec<ShardAnswer>) -> Vec<Neighbour> {
    let mut all: Vec<Neighbour> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let neighbours = parts.into_iter().enumerate().flat_map(|(part, answer)| {
        answer.listings.into_iter().map(move |mut near| {
            (near.joined.texts.0, near.joined.photo.0) = (part, part);
            near
        })
    });
    for mut near in neighbours {
        match places.get(&near.joined.id).and_then(|&at| all.get_mut(at)) {
            Some(known) => {
                if known.joined.score > near.joined.score {
                    near.joined.score = known.joined.score;
                    near.joined.photo = known.joined.photo;
                    std::mem::swap(&mut near.vector, &mut known.vector);
                }
                *known = near;
            }
            None => {
                places.insert(near.joined.id.clone(), all.len());
                all.push(near);
            }
        }
    }
    all.sort_by(|a, b| a.joined.rank(&b.joined));
    all
}

/// Reads the texts of joined listings, in their order. `shards` are those that answered, in the order of the answers.
///
/// # Errors
/// [`Error::Shard`](crate::Error::Shard) where a shard is damaged or missing, or as [`listing::fetch`].
pub fn fetch<S: Borrow<Shard>>(shards: &[S], joined: &[Joined]) -> Result<Vec<Found>> {
    let mut found: Vec<Option<Found>> = Vec::new();
    found.resize(joined.len(), None);
    for (part, shard) in shards.iter().map(Borrow::borrow).enumerate() {
        let places: Vec<usize> = (0..joined.len()).filter(|&at| joined[at].texts.0 == part).collect();
        let candidate = |&at: &usize| {
            let Joined { score, texts: (_, listing), photo: (_, _, photo), .. } = joined[at];
            Candidate { score, part, listing, photo }
        };
        let candidates: Vec<Candidate> = places.iter().map(candidate).collect();
        for (at, mut one) in places.into_iter().zip(listing::fetch(shard, &candidates)?) {
            let (of, listing, photo) = joined[at].photo;
            // The name of a photo is in the shard that has it.
            if of != part {
                let other = shards.get(of).ok_or_else(|| missing(of, shards.len()))?.borrow();
                let record = other.records(&[listing])?.into_iter().next().unwrap_or_default();
                one.listing.photo =
                    record.photos.get(usize::from(other.ordinal_of(photo))).cloned().unwrap_or_default();
            }
            found[at] = Some(one);
        }
    }
    let all: Option<Vec<Found>> = found.into_iter().collect();
    Ok(all.ok_or_else(|| missing(shards.len(), shards.len()))?)
}

fn missing(part: usize, of: usize) -> ShardError {
    let detail = format!("a listing is of shard {part}, there are {of}");
    ShardError::Invalid { part: "catalogue".to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Per;
    use crate::testing::cases;
    use proptest::prelude::*;

    fn near(id: u8, score: f32, angle: f32, colour: u8) -> Neighbour {
        let row = u32::from(id);
        let (texts, photo) = ((0, ListingRow(row)), (0, ListingRow(row), PhotoRow(row)));
        let joined = Joined { score, id: format!("{id:03}"), texts, photo };
        let value = ["", "red", "blue"][usize::from(colour)].to_owned();
        Neighbour { joined, value, vector: vec![angle.cos(), angle.sin()] }
    }

    /// The answers of shards with these listings when `look` are requested.
    fn parts(shards: &[Vec<Neighbour>], look: usize) -> Vec<ShardAnswer> {
        let part = |all: &Vec<Neighbour>| ShardAnswer {
            listings: all.iter().take(look).cloned().collect(),
            complete: all.len() < look || look == MAX_K,
        };
        shards.iter().map(part).collect()
    }

    fn all(shards: &[Vec<Neighbour>], params: &SearchParams) -> Vec<Joined> {
        let mut look = ShardAnswer::first_look(params);
        loop {
            let (found, more) = join(parts(shards, look), params);
            if !more {
                return found;
            }
            assert!(look < MAX_K, "the search would never end");
            look = ShardAnswer::wider(look);
        }
    }

    fn shards() -> impl Strategy<Value = Vec<Vec<Neighbour>>> {
        // Few scores and angles, so that ties and repeats are frequent.
        let listing = (0u8..120, -10i8..10, 0u8..12, 0usize..3);
        prop::collection::vec(listing, 0..90).prop_map(|rows| {
            let mut shards = vec![Vec::new(), Vec::new(), Vec::new()];
            let mut seen = std::collections::HashSet::new();
            for (id, score, angle, shard) in rows {
                if seen.insert((id, shard)) {
                    shards[shard].push(near(id, f32::from(score) / 10.0, f32::from(angle) / 4.0, id % 3));
                }
            }
            shards.iter_mut().for_each(|shard| shard.sort_by(|a, b| a.joined.rank(&b.joined)));
            shards
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        /// The number of listings requested at first does not change the results.
        #[test]
        fn widening_a_joined_search_gives_the_results_of_one_shard(
            shards in shards(), k in 1usize..20, limit in prop::option::of(0.5f32..1.1), most in prop::option::of(0usize..4),
        ) {
            let per = most.map(|most| Per { column: "colour".to_owned(), most });
            let params = SearchParams { k, near_duplicates: limit, per, ..SearchParams::default() };
            let found = all(&shards, &params);
            let (whole, more) = join(parts(&[once(parts(&shards, MAX_K))], MAX_K), &params);
            prop_assert!(!more);
            // As one answer, all listings are of the first shard.
            let shown = |all: &[Joined]| -> Vec<_> {
                all.iter().map(|one| (one.score, one.id.clone(), one.texts.1, one.photo.2)).collect()
            };
            prop_assert_eq!(shown(&found), shown(&whole));
        }
    }

    #[test]
    fn a_near_duplicate_of_another_shards_listing_is_omitted_and_others_move_up() {
        // 2 repeats 1; 3 repeats 2, but not 1: as 2 is omitted, 3 stays.
        let shards =
            [vec![near(1, 0.9, 0.0, 0), near(3, 0.7, 0.4, 0)], vec![near(2, 0.8, 0.2, 0), near(4, 0.6, 2.0, 0)]];
        let params = SearchParams { k: 3, near_duplicates: Some(0.95), ..SearchParams::default() };
        let ids: Vec<String> = all(&shards, &params).into_iter().map(|found| found.id).collect();
        assert_eq!(ids, ["001", "003", "004"]);
    }

    #[test]
    fn a_listing_of_two_shards_has_its_best_photo_and_the_last_texts() {
        let (older, newer) = (near(1, 0.9, 0.0, 1), Neighbour { vector: vec![0.0, 1.0], ..near(1, 0.8, 0.0, 2) });
        let shards = [vec![older], vec![newer, near(2, 0.7, 0.0, 1)]];
        let params = SearchParams { near_duplicates: Some(0.95), ..SearchParams::default() };
        let found = all(&shards, &params);
        // The second one repeats the photo with the higher score.
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].score, found[0].photo.0, found[0].texts.0), (0.9, 0, 1));
    }

    #[test]
    fn a_near_duplicate_does_not_count_in_its_group() {
        let shards = [vec![near(1, 0.9, 0.0, 1), near(3, 0.7, 1.0, 2)], vec![near(2, 0.8, 0.0, 2)]];
        let per = Some(Per { column: "colour".to_owned(), most: 1 });
        let params = SearchParams { near_duplicates: Some(0.95), per, ..SearchParams::default() };
        let ids: Vec<String> = all(&shards, &params).into_iter().map(|found| found.id).collect();
        assert_eq!(ids, ["001", "003"]);
    }
}
