//! Search parameters besides `k`: collapsing by a column, near-duplicate removal, a minimum score, more like a listing.

use magpie_core::listing::fetch;
use magpie_core::search::{Candidate, Filter, Per, SearchParams, Searcher};
use magpie_core::shard::Shard;
use magpie_core::{FilterError, IndexError, ListingRow};
use magpie_tests::cases;
use magpie_tests::shards::{Photo, build, embedding, filters};
use proptest::prelude::*;

fn ids(shard: &Shard, found: &[Candidate]) -> Vec<String> {
    fetch(shard, found).unwrap().into_iter().map(|found| found.listing.id).collect()
}

/// Listings `a`, `b`, … at these angles from the first axis; the shops take turns.
fn fan(angles: &[f32], shops: &[&str]) -> Shard {
    let photo = |(i, angle): (usize, &f32)| {
        let id = char::from(b'a' + i as u8).to_string();
        Photo::new(&id, "x", &[shops[i % shops.len()], &(i % 3).to_string()], &[angle.cos(), angle.sin(), 0.0, 0.1])
    };
    let photos: Vec<Photo> = angles.iter().enumerate().map(photo).collect();
    Shard::from_bytes(&build(4, filters(&["shop", "rating"]), &photos).unwrap()).unwrap()
}

#[test]
fn collapsing_keeps_a_few_listings_per_shop_and_fills_up_to_k() {
    let shard = fan(&[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], &["Ann", "Ann", "Ann", "Bob", ""]);
    let mut searcher = Searcher::new(&shard);
    let mut find = |column: &str, most: usize, k: usize| {
        let mut params = SearchParams::new(k);
        params.per = Some(Per { column: column.to_owned(), most });
        searcher.search(&embedding(&[1.0, 0.0, 0.0, 0.1]), None, &params).map(|found| ids(&shard, &found))
    };
    // Listings without a shop are not limited.
    assert_eq!(find("shop", 1, 4).unwrap(), ["a", "d", "e"]);
    assert_eq!(find("shop", 2, 4).unwrap(), ["a", "b", "d", "e"]);
    assert_eq!(find("rating", 1, 9).unwrap(), ["a", "b", "c"]);
    assert_eq!(find("shop", 0, 4).unwrap(), ["e"]);
    match find("colour", 1, 4).unwrap_err() {
        IndexError::Filter(FilterError::UnknownColumn { column, known }) => {
            assert_eq!((column.as_str(), known.as_str()), ("colour", "shop, rating"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn near_duplicates_of_a_better_photo_are_left_out_on_request() {
    let shard = fan(&[0.0, 0.02, 0.5, 0.52, 1.0, 0.51], &["Ann"]);
    let mut params = SearchParams::new(3);
    let query = embedding(&[1.0, 0.0, 0.0, 0.1]);
    let mut searcher = Searcher::new(&shard);
    assert_eq!(ids(&shard, &searcher.search(&query, None, &params).unwrap()), ["a", "b", "c"]);
    params.near_duplicates = Some(0.99);
    assert_eq!(ids(&shard, &searcher.search(&query, None, &params).unwrap()), ["a", "c", "e"]);
}

#[test]
fn listings_below_the_minimum_score_are_left_out() {
    let shard = fan(&[0.0, 0.3, 0.6, 0.9, 1.2, 1.5], &["Ann"]);
    let mut params = SearchParams::new(10);
    params.min_score = Some(0.8);
    let found = Searcher::new(&shard).search(&embedding(&[1.0, 0.0, 0.0, 0.1]), None, &params).unwrap();
    assert_eq!(ids(&shard, &found), ["a", "b", "c"]);
    assert!(found.iter().all(|found| found.score >= 0.8));
    params.min_score = Some(2.0);
    assert!(Searcher::new(&shard).search(&embedding(&[1.0, 0.0, 0.0, 0.1]), None, &params).unwrap().is_empty());
}

#[test]
fn more_like_a_listing_finds_its_neighbours_and_not_itself() {
    let mut photos: Vec<Photo> =
        (0..6).map(|i| Photo::new(&i.to_string(), "x", &["red"], &[1.0, i as f32, 0.0])).collect();
    // The second photo of listing 0 resembles listing 9 only.
    photos.push(Photo::new("0", "y", &["red"], &[0.0, 0.1, 1.0]));
    photos.push(Photo::new("9", "x", &["blue"], &[0.0, 0.0, 1.0]));
    let shard = Shard::from_bytes(&build(3, filters(&["colour"]), &photos).unwrap()).unwrap();
    let listing = |id: &str| shard.find_listing(id).unwrap().unwrap();
    let mut searcher = Searcher::new(&shard);
    let found = searcher.more_like(listing("0"), None, &SearchParams::new(2)).unwrap();
    assert_eq!(ids(&shard, &found), ["9", "1"]);
    let red = Filter::parse("colour=red").unwrap();
    let found = searcher.more_like(listing("0"), Some(&red), &SearchParams::new(9)).unwrap();
    assert_eq!(found.len(), 5);
    assert_eq!(ids(&shard, &found)[0], "1");
    assert_eq!(shard.find_listing("7").unwrap(), None);
    assert!(matches!(searcher.more_like(ListingRow(7), None, &SearchParams::new(2)), Err(IndexError::Shard(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(64)))]

    /// These parameters only leave listings out: the rest comes in the order of the plain search.
    #[test]
    fn parameters_leave_listings_out_and_never_reorder(
        angles in prop::collection::vec(0f32..3.0, 1..26), most in 0usize..4, limit in 0.5f32..1.1,
        min_score in -1f32..1.0, k in 1usize..30,
    ) {
        let shard = fan(&angles, &["Ann", "Bob", ""]);
        let query = embedding(&[1.0, 0.0, 0.0, 0.1]);
        let mut searcher = Searcher::new(&shard);
        let plain = searcher.search(&query, None, &SearchParams::new(100)).unwrap();
        prop_assert_eq!(plain.len(), angles.len());
        let mut params = SearchParams::new(k);
        params.per = Some(Per { column: "shop".to_owned(), most });
        params.near_duplicates = Some(limit);
        params.min_score = Some(min_score);
        let found = searcher.search(&query, None, &params).unwrap();
        let mut rest = plain.iter();
        for found in &found {
            prop_assert!(rest.any(|plain| plain == found), "{:?} is out of order", found);
            prop_assert!(found.score >= min_score);
        }
        prop_assert!(found.len() <= k);
    }
}
