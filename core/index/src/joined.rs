//! Searches several shards of one catalogue as if they were one: a large catalogue in parts, or a shard and its delta.
//!
//! Without near-duplicate removal it is enough to merge the results of each shard by score. With it, which listings a
//! shard omits depends on the other shards. Each shard therefore returns more listings, with their near-duplicates
//! ([`ShardAnswer::look`]), and [`join`] removes those that a single shard would. Where a shard may have further
//! listings that rank before the last result, the search is repeated with a larger limit:
//!
//! ```no_run
//! # fn search(shards: &[magpie_index::shard::Shard], query: &magpie_index::Embedding) -> magpie_index::Result<()> {
//! use magpie_index::joined::{ShardAnswer, join};
//! use magpie_index::search::{SearchParams, Searcher};
//! let params = SearchParams::new(10).without_near_duplicates(0.97);
//! let mut look = ShardAnswer::first_look(&params);
//! let found = loop {
//!     let part = |shard| ShardAnswer::look(&mut Searcher::new(shard), query, None, &params, look);
//!     let (found, more) = join(shards.iter().map(part).collect::<Result<_, _>>()?, &params);
//!     if !more {
//!         break found;
//!     }
//!     look = ShardAnswer::wider(look);
//! };
//! # Ok(()) }
//! ```

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::embedding::Embedding;
use crate::error::Result;
use crate::listing::{self, Found};
use crate::search::{Filter, MAX_K, Originals, SearchParams, Searcher, stored_vector};
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
    found: Found,
    vector: Vec<f32>,
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
    /// other conditions of `params` are applied by [`join`].
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
        let vectors = candidates.iter().map(|candidate| {
            let mut vector = stored_vector(shard, candidate.photo)?;
            rotation.undo(&mut vector);
            Ok(vector)
        });
        let vectors: Vec<Vec<f32>> = vectors.collect::<Result<_>>()?;
        let found = listing::fetch(shard, &candidates)?;
        let listings = found.into_iter().zip(vectors).map(|(found, vector)| Neighbour { found, vector }).collect();
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
pub fn join(parts: Vec<ShardAnswer>, params: &SearchParams) -> (Vec<Found>, bool) {
    // After this listing, a shard that was cut off there may have unknown ones.
    let open = parts.iter().filter(|part| !part.complete);
    let known_to = open.filter_map(|part| part.listings.last()).map(|near| near.found.clone()).min_by(Found::rank);
    let mut per_value: HashMap<String, usize> = HashMap::new();
    let mut originals = Originals::default();
    let mut kept: Vec<Found> = Vec::new();
    for Neighbour { found, vector } in once(parts) {
        if kept.len() == params.k {
            return (kept, false);
        }
        if known_to.as_ref().is_some_and(|last| found.rank(last) == Ordering::Greater) {
            return (kept, true);
        }
        let value = params.per.as_ref().and_then(|per| Some((found.listing.get(&per.column)?.to_owned(), per.most)));
        if value.as_ref().is_some_and(|(value, most)| per_value.get(value).copied().unwrap_or(0) >= *most) {
            continue;
        }
        if params.near_duplicates.is_some_and(|limit| originals.repeats(vector, limit)) {
            continue;
        }
        if let Some((value, _)) = value {
            *per_value.entry(value).or_default() += 1;
        }
        kept.push(found);
    }
    let more = kept.len() < params.k && known_to.is_some();
    (kept, more)
}

/// Returns the listings of all shards, each once, best first.
fn once(parts: Vec<ShardAnswer>) -> Vec<Neighbour> {
    let mut all: Vec<Neighbour> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for mut near in parts.into_iter().flat_map(|part| part.listings) {
        match places.get(&near.found.listing.id).and_then(|&at| all.get_mut(at)) {
            Some(known) => {
                if known.found.score > near.found.score {
                    near.found.score = known.found.score;
                    std::mem::swap(&mut near.found.listing.photo, &mut known.found.listing.photo);
                    std::mem::swap(&mut near.vector, &mut known.vector);
                }
                *known = near;
            }
            None => {
                places.insert(near.found.listing.id.clone(), all.len());
                all.push(near);
            }
        }
    }
    all.sort_by(|a, b| a.found.rank(&b.found));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Listing;
    use crate::search::Per;
    use crate::testing::cases;
    use proptest::prelude::*;

    fn near(id: u8, score: f32, angle: f32, colour: u8) -> Neighbour {
        let (id, photo) = (format!("{id:03}"), format!("{id}.jpg"));
        let fields = vec![("colour".to_owned(), ["", "red", "blue"][usize::from(colour)].to_owned())];
        let listing = Listing { id, photos: vec![photo.clone()], photo, fields };
        Neighbour { found: Found::new(score, listing), vector: vec![angle.cos(), angle.sin()] }
    }

    /// The answers of shards with these listings when `look` are requested.
    fn parts(shards: &[Vec<Neighbour>], look: usize) -> Vec<ShardAnswer> {
        let part = |all: &Vec<Neighbour>| ShardAnswer {
            listings: all.iter().take(look).cloned().collect(),
            complete: all.len() < look || look == MAX_K,
        };
        shards.iter().map(part).collect()
    }

    fn all(shards: &[Vec<Neighbour>], params: &SearchParams) -> Vec<Found> {
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
            shards.iter_mut().for_each(|shard| shard.sort_by(|a, b| a.found.rank(&b.found)));
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
            prop_assert_eq!(found, whole);
        }
    }

    #[test]
    fn a_near_duplicate_of_another_shards_listing_is_omitted_and_others_move_up() {
        // 2 repeats 1; 3 repeats 2, but not 1: as 2 is omitted, 3 stays.
        let shards =
            [vec![near(1, 0.9, 0.0, 0), near(3, 0.7, 0.4, 0)], vec![near(2, 0.8, 0.2, 0), near(4, 0.6, 2.0, 0)]];
        let params = SearchParams { k: 3, near_duplicates: Some(0.95), ..SearchParams::default() };
        let ids: Vec<String> = all(&shards, &params).into_iter().map(|found| found.listing.id).collect();
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
        assert_eq!((found[0].score, found[0].listing.get("colour")), (0.9, Some("blue")));
    }

    #[test]
    fn a_near_duplicate_does_not_count_in_its_group() {
        let shards = [vec![near(1, 0.9, 0.0, 1), near(3, 0.7, 1.0, 2)], vec![near(2, 0.8, 0.0, 2)]];
        let per = Some(Per { column: "colour".to_owned(), most: 1 });
        let params = SearchParams { near_duplicates: Some(0.95), per, ..SearchParams::default() };
        let ids: Vec<String> = all(&shards, &params).into_iter().map(|found| found.listing.id).collect();
        assert_eq!(ids, ["001", "003"]);
    }
}
