//! Several shards of one catalogue answer as one would: a large catalogue in parts, or a shard and what was added to it.
//!
//! For most wishes each shard's own answer is enough, and [`merge`](crate::remote::merge()) joins them. Near-duplicates are
//! another matter: which listings a shard leaves out depends on what the other shards have. So each shard is asked for more
//! listings, none left out ([`Part::look`]), and [`join`] leaves out of all of them what a single shard would. Where a shard
//! may have further listings before the last one that is wanted, all look farther:
//!
//! ```no_run
//! # fn search(shards: &[magpie_index::shard::Shard], query: &magpie_index::Embedding) -> magpie_index::Result<()> {
//! use magpie_index::joined::{Part, join};
//! use magpie_index::search::{SearchParams, Searcher};
//! let mut params = SearchParams::default();
//! params.near_duplicates = Some(0.97);
//! let mut look = Part::first_look(&params);
//! let found = loop {
//!     let part = |shard| Part::look(&mut Searcher::new(shard), query, None, &params, look);
//!     let (found, more) = join(shards.iter().map(part).collect::<Result<_, _>>()?, &params);
//!     if !more {
//!         break found;
//!     }
//!     look = Part::wider(look);
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

/// What one shard has to say: its best listings, whether or not they repeat each other.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// Best first.
    listings: Vec<Near>,
    /// Whether there is nothing behind the last one.
    complete: bool,
}

/// A listing and the vector of the photo that stands for it.
#[derive(Debug, Clone)]
struct Near {
    found: Found,
    vector: Vec<f32>,
}

impl Part {
    /// Listings to look for in each shard at first: some may repeat others.
    pub fn first_look(params: &SearchParams) -> usize {
        params.k.saturating_mul(2).clamp(1, MAX_K)
    }

    /// Listings to look for where those were too few.
    pub fn wider(look: usize) -> usize {
        look.saturating_mul(4).min(MAX_K)
    }

    /// The best `look` listings of a shard that pass the filter and the lowest score. What else `params` wishes is the
    /// matter of [`join`]. Beyond [`MAX_K`] listings nothing is looked for.
    ///
    /// # Errors
    /// As [`Searcher::search`].
    pub fn look(
        searcher: &mut Searcher<'_>,
        query: &Embedding,
        filter: Option<&Filter>,
        params: &SearchParams,
        look: usize,
    ) -> Result<Part> {
        let look = look.min(MAX_K);
        let plain = SearchParams { k: look, near_duplicates: None, per: None, ..params.clone() };
        let candidates = searcher.search(query, filter, &plain)?;
        let shard = searcher.shard();
        // Shards may be turned in different ways: as they were, vectors compare.
        let rotation = Rotation::new(query.dim(), shard.index().rotation_seed);
        let vectors = candidates.iter().map(|candidate| {
            let mut vector = stored_vector(shard, candidate.photo);
            rotation.undo(&mut vector);
            vector
        });
        let found = listing::fetch(shard, &candidates)?;
        let listings = found.into_iter().zip(vectors).map(|(found, vector)| Near { found, vector }).collect();
        Ok(Part { listings, complete: candidates.len() < look || look == MAX_K })
    }
}

/// The results of all parts, best first, and whether there might be more or others if each part looked farther.
///
/// Where there are not, the results are those of one shard with everything in it, up to what rounding makes of photos that
/// are nearly equal in score, or just as near to each other as the limit. A listing that is in two parts comes once, with
/// its higher score and the texts of the later part that found it. Values of [`SearchParams::per`] are compared as texts.
pub fn join(parts: Vec<Part>, params: &SearchParams) -> (Vec<Found>, bool) {
    // Behind this, a part that ended there may have listings that are not known.
    let open = parts.iter().filter(|part| !part.complete);
    let known_to = open.filter_map(|part| part.listings.last()).map(|near| near.found.clone()).min_by(rank);
    let mut per_value: HashMap<String, usize> = HashMap::new();
    let mut originals = Originals::default();
    let mut kept: Vec<Found> = Vec::new();
    for Near { found, vector } in once(parts) {
        if kept.len() == params.k {
            return (kept, false);
        }
        if known_to.as_ref().is_some_and(|last| rank(&found, last) == Ordering::Greater) {
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

/// The listings of all parts, each once, best first.
fn once(parts: Vec<Part>) -> Vec<Near> {
    let mut all: Vec<Near> = Vec::new();
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
    all.sort_by(|a, b| rank(&a.found, &b.found));
    all
}

/// Best first: score, then listing id.
fn rank(a: &Found, b: &Found) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| a.listing.id.cmp(&b.listing.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Listing;
    use crate::search::Per;
    use proptest::prelude::*;

    fn near(id: u8, score: f32, angle: f32, colour: u8) -> Near {
        let (id, photo) = (format!("{id:03}"), format!("{id}.jpg"));
        let fields = vec![("colour".to_owned(), ["", "red", "blue"][usize::from(colour)].to_owned())];
        let listing = Listing { id, photos: vec![photo.clone()], photo, fields };
        Near { found: Found { score, listing }, vector: vec![angle.cos(), angle.sin()] }
    }

    /// What each shard says when it looks so far, of all that it has.
    fn parts(shards: &[Vec<Near>], look: usize) -> Vec<Part> {
        let part = |all: &Vec<Near>| Part {
            listings: all.iter().take(look).cloned().collect(),
            complete: all.len() < look || look == MAX_K,
        };
        shards.iter().map(part).collect()
    }

    fn all(shards: &[Vec<Near>], params: &SearchParams) -> Vec<Found> {
        let mut look = Part::first_look(params);
        loop {
            let (found, more) = join(parts(shards, look), params);
            if !more {
                return found;
            }
            assert!(look < MAX_K, "it would look for ever");
            look = Part::wider(look);
        }
    }

    fn shards() -> impl Strategy<Value = Vec<Vec<Near>>> {
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
            shards.iter_mut().for_each(|shard| shard.sort_by(|a, b| rank(&a.found, &b.found)));
            shards
        })
    }

    proptest! {
        /// However far the shards looked, nothing but the whole decides.
        #[test]
        fn shards_that_look_a_little_and_then_farther_answer_as_one_with_everything(
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
    fn what_repeats_a_better_listing_of_another_shard_is_left_out_and_others_move_up() {
        // b repeats a; c repeats b, but not a: as b is left out, c stays.
        let shards =
            [vec![near(1, 0.9, 0.0, 0), near(3, 0.7, 0.4, 0)], vec![near(2, 0.8, 0.2, 0), near(4, 0.6, 2.0, 0)]];
        let params = SearchParams { k: 3, near_duplicates: Some(0.95), ..SearchParams::default() };
        let ids: Vec<String> = all(&shards, &params).into_iter().map(|found| found.listing.id).collect();
        assert_eq!(ids, ["001", "003", "004"]);
    }

    #[test]
    fn a_listing_of_two_shards_has_its_best_photo_and_the_later_texts() {
        let (older, newer) = (near(1, 0.9, 0.0, 1), Near { vector: vec![0.0, 1.0], ..near(1, 0.8, 0.0, 2) });
        let shards = [vec![older], vec![newer, near(2, 0.7, 0.0, 1)]];
        let params = SearchParams { near_duplicates: Some(0.95), ..SearchParams::default() };
        let found = all(&shards, &params);
        // The second one repeats the photo that counts.
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].score, found[0].listing.get("colour")), (0.9, Some("blue")));
    }

    #[test]
    fn a_repeat_takes_no_place_of_its_value() {
        let shards = [vec![near(1, 0.9, 0.0, 1), near(3, 0.7, 1.0, 2)], vec![near(2, 0.8, 0.0, 2)]];
        let per = Some(Per { column: "colour".to_owned(), most: 1 });
        let params = SearchParams { near_duplicates: Some(0.95), per, ..SearchParams::default() };
        let ids: Vec<String> = all(&shards, &params).into_iter().map(|found| found.listing.id).collect();
        assert_eq!(ids, ["001", "003"]);
    }
}
