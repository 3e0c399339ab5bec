//! A search finds exactly the nearest listings, and a listing comes back as it was added.

use std::collections::BTreeMap;

use magpie_core::builder::{BuildOptions, Field, LocalScaling, ShardBuilder};
use magpie_core::listing::{self, Found};
use magpie_core::search::{Candidate, Filter, search};
use magpie_core::shard::Shard;
use magpie_core::{Embedding, FilterError, IndexError, ListingRow, ModelId, ShardError};
use magpie_tests::cases;
use magpie_tests::shards::{Photo, build, builder, bytes, embedding, filters, identity};
use proptest::prelude::*;

/// The largest error of a score from int8 codes, for the short vectors of these tests.
const EXACT: f64 = 0.008;

fn open(dim: usize, fields: Vec<Field>, photos: &[Photo]) -> Shard {
    Shard::from_bytes(&build(dim, fields, photos).unwrap()).unwrap()
}

fn find(shard: &Shard, query: &[f32], filter: &str, k: usize) -> Vec<Found> {
    let filter = (!filter.is_empty()).then(|| Filter::parse(filter).unwrap());
    listing::fetch(shard, &search(shard, &embedding(query), filter.as_ref(), k).unwrap()).unwrap()
}

fn ids(found: &[Found]) -> Vec<&str> {
    found.iter().map(|found| found.listing.id.as_str()).collect()
}

/// Vectors with mostly small integers, so that many photos have the same direction and ties are frequent.
fn vectors(dim: usize) -> impl Strategy<Value = Vec<f32>> {
    let coordinate = prop_oneof![(-2i8..=2).prop_map(f32::from), -1f32..1.0];
    prop::collection::vec(coordinate, dim).prop_map(|mut vector| {
        vector[0] += if vector.iter().all(|v| *v == 0.0) { 1.0 } else { 0.0 };
        vector
    })
}

fn photos(dim: usize) -> impl Strategy<Value = Vec<Photo>> {
    let photo = (0..25u32, prop::sample::select(vec!["red", "blue", "", "sea green"]), 0..40u32, vectors(dim));
    prop::collection::vec(photo, 1..80).prop_map(|photos| {
        let mut values = BTreeMap::new();
        photos
            .into_iter()
            .enumerate()
            .map(|(i, (listing, colour, price, vector))| {
                // All photos of a listing have the values of the first one.
                let (colour, price) = values.entry(listing).or_insert((colour, price.to_string()));
                Photo::new(&format!("listing {listing}"), &format!("{i}.jpg"), &[colour, price], &vector)
            })
            .collect()
    })
}

/// For each listing, the best exact score and the names of the photos that are about as good.
fn brute_force(
    photos: &[Photo],
    query: &[f32],
    passes: impl Fn(&Photo) -> bool,
) -> BTreeMap<String, (f64, Vec<String>)> {
    let unit = |vector: &[f32]| -> Vec<f64> { embedding(vector).values().iter().map(|&v| f64::from(v)).collect() };
    let query = unit(query);
    let mut best: BTreeMap<String, (f64, Vec<String>)> = BTreeMap::new();
    for photo in photos.iter().filter(|photo| passes(photo)) {
        let score = unit(&photo.vector).iter().zip(&query).map(|(a, b)| a * b).sum::<f64>();
        let entry = best.entry(photo.listing.clone()).or_insert((score, Vec::new()));
        entry.0 = entry.0.max(score);
    }
    for photo in photos.iter().filter(|photo| passes(photo)) {
        let score = unit(&photo.vector).iter().zip(&query).map(|(a, b)| a * b).sum::<f64>();
        if let Some((best, names)) = best.get_mut(&photo.listing)
            && score > *best - 2.0 * EXACT
        {
            names.push(photo.name.clone());
        }
    }
    best
}

/// Checks that the found listings are the best ones, in order, each with one of its best photos.
fn check(found: &[Found], mut expected: BTreeMap<String, (f64, Vec<String>)>, k: usize) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), k.min(expected.len()), "wrong number of listings");
    for pair in found.windows(2) {
        let ordered = pair[0].score > pair[1].score
            || (pair[0].score == pair[1].score && pair[0].listing.id < pair[1].listing.id);
        prop_assert!(ordered, "{:?} before {:?}", pair[0], pair[1]);
    }
    for found in found {
        let best = expected.remove(&found.listing.id);
        let (score, photos) = best.ok_or_else(|| TestCaseError::fail(format!("{found:?} twice or filtered")))?;
        prop_assert!((f64::from(found.score) - score).abs() < EXACT, "{} is not {score}", found.score);
        prop_assert!(photos.contains(&found.listing.photo), "{found:?}, best are {photos:?}");
    }
    // No listing that was left out is better than one that was found.
    let left_out = expected.values().map(|(score, _)| *score).fold(f64::MIN, f64::max);
    prop_assert!(
        found.last().is_none_or(|last| f64::from(last.score) > left_out - 2.0 * EXACT),
        "{left_out} was left out"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(200)))]

    #[test]
    fn the_nearest_listings_are_found(photos in photos(6), query in vectors(6), k in 0usize..40) {
        let shard = open(6, filters(&["colour", "price"]), &photos);
        check(&find(&shard, &query, "", k), brute_force(&photos, &query, |_| true), k)?;
    }

    #[test]
    fn a_filter_keeps_k_whenever_enough_listings_match(
        photos in photos(5), query in vectors(5), k in 1usize..12, limit in 0u32..40,
    ) {
        let shard = open(5, filters(&["colour", "price"]), &photos);
        let filter = format!("price < {limit} and colour in (red, 'sea green', unheard-of)");
        let passes = |photo: &Photo| {
            // The generated prices are always numbers, so the column is a number column.
            photo.values[1].parse::<u32>().unwrap() < limit && ["red", "sea green"].contains(&photo.values[0].as_str())
        };
        check(&find(&shard, &query, &filter, k), brute_force(&photos, &query, passes), k)?;
        let others = format!("not ({filter})");
        check(&find(&shard, &query, &others, k), brute_force(&photos, &query, |p| !passes(p)), k)?;
    }

    #[test]
    fn the_order_in_which_listings_are_added_does_not_matter(photos in photos(4), seed in any::<u64>()) {
        let mut other = photos.clone();
        // Listings are shuffled; the photos of each keep their order.
        let key = |photo: &Photo| blake3::hash(format!("{seed}{}", photo.listing).as_bytes()).to_string();
        other.sort_by_key(key);
        let fields = || filters(&["colour", "price"]);
        prop_assert!(build(4, fields(), &photos).unwrap() == build(4, fields(), &other).unwrap());
    }

    #[test]
    fn every_listing_comes_back_as_it_was_added(
        listings in prop::collection::btree_map(".{0,12}", ("\\PC{0,40}", ".{0,9}", prop::collection::vec(".{0,20}", 1..4)), 1..40),
        fields in ("[^\\x00]{1,8}", "[^\\x00]{1,8}").prop_filter("two names", |(a, b)| a != b),
        filter in any::<[bool; 2]>(),
    ) {
        let fields = [fields.0, fields.1];
        let photos: Vec<Photo> = listings.iter().flat_map(|(id, (title, colour, names))| {
            names.iter().map(move |name| Photo::new(id, name, &[title, colour], &[1.0, 0.5]))
        }).collect();
        let spec = fields.iter().zip(filter).map(|(name, filter)| Field { name: name.clone(), filter }).collect();
        let shard = open(2, spec, &photos);
        shard.verify().unwrap();
        prop_assert_eq!(shard.fields(), &fields[..]);
        let rows: Vec<ListingRow> = (0..listings.len() as u32).map(ListingRow).collect();
        for (record, (id, (title, colour, names))) in shard.records(&rows).unwrap().iter().zip(&listings) {
            prop_assert_eq!((&record.id, &record.photos), (id, names));
            prop_assert_eq!(&record.values[..], &[title.clone(), colour.clone()][..]);
        }
        prop_assert_eq!(find(&shard, &[1.0, 0.5], "", listings.len()).len(), listings.len());
    }
}

#[test]
fn a_listing_with_several_photos_is_found_once_with_the_best() {
    let photo = |listing: &str, name: &str, x: f32| Photo::new(listing, name, &[], &[x, 1.0]);
    let shard = open(
        2,
        vec![],
        &[
            photo("b", "back", 0.0),
            photo("a", "side", 4.0),
            photo("b", "front", 9.0),
            photo("b", "detail", 5.0),
            photo("a", "top", 2.0),
        ],
    );
    let found = find(&shard, &[9.0, 1.0], "", 10);
    assert_eq!(ids(&found), ["b", "a"]);
    assert_eq!((found[0].listing.photo.as_str(), found[1].listing.photo.as_str()), ("front", "side"));
    assert_eq!(found[0].listing.photos, ["back", "front", "detail"]);
}

/// A listing with more photos than the search first retrieves must not push other listings out.
#[test]
fn a_listing_with_very_many_photos_leaves_room_for_others() {
    let many = (0..500).map(|i| Photo::new("many", &i.to_string(), &[], &[1.0, 0.001 * i as f32]));
    let few = (0..9).map(|i| Photo::new(&format!("few {i}"), "x", &[], &[1.0, 5.0 + i as f32]));
    let shard = open(2, vec![], &many.chain(few).collect::<Vec<_>>());
    let found = find(&shard, &[1.0, 0.0], "", 5);
    assert_eq!(ids(&found), ["many", "few 0", "few 1", "few 2", "few 3"]);
}

#[test]
fn ties_are_in_the_order_of_listing_ids() {
    let names = ["Zebra", "apple", "Äpfel", "10", "9", "", "apple ", "猫"];
    let photos: Vec<Photo> = names.iter().map(|id| Photo::new(id, "x", &[], &[0.3, 0.7, 0.1])).collect();
    let shard = open(3, vec![], &photos);
    let mut sorted = names;
    sorted.sort_unstable();
    assert_eq!(ids(&find(&shard, &[1.0, 0.2, 0.3], "", 100)), sorted);
    assert_eq!(ids(&find(&shard, &[1.0, 0.2, 0.3], "", 3)), sorted[..3]);
}

#[test]
fn any_k_is_accepted() {
    let photos: Vec<Photo> = (0..4).map(|i| Photo::new(&i.to_string(), "x", &[], &[1.0, i as f32])).collect();
    let shard = open(2, vec![], &photos);
    for (k, expected) in [(0, 0), (1, 1), (4, 4), (5, 4), (10_001, 4), (usize::MAX, 4)] {
        assert_eq!(find(&shard, &[1.0, 1.0], "", k).len(), expected, "k = {k}");
    }
}

#[test]
fn a_filter_on_a_shard_without_columns_is_refused() {
    let shard = open(1, vec![], &[Photo::new("a", "x", &[], &[1.0])]);
    let filter = Filter::parse("colour=red").unwrap();
    match search(&shard, &embedding(&[1.0]), Some(&filter), 1).unwrap_err() {
        IndexError::Filter(FilterError::UnknownColumn { column, known }) => {
            assert_eq!((column.as_str(), known.as_str()), ("colour", "no column"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn filters_accept_names_in_any_script_and_with_quotes() {
    let colours = ["meer'grün", "say \"red\"", "красный", "赤", " padded ", "and"];
    let photos: Vec<Photo> = colours.iter().map(|c| Photo::new(c, "x", &[c], &[1.0])).collect();
    let shard = open(1, filters(&["Farbe (außen)"]), &photos);
    for colour in colours {
        let filter = format!("'Farbe (außen)' = '{}'", colour.replace('\'', "''"));
        assert_eq!(ids(&find(&shard, &[1.0], &filter, 10)), [colour], "{filter}");
    }
}

#[test]
fn candidates_of_another_shard_are_an_error_not_a_panic() {
    let shard = open(1, vec![], &[Photo::new("a", "x", &[], &[1.0])]);
    let foreign = Candidate { score: 1.0, part: 0, listing: ListingRow(5), photo: magpie_core::PhotoRow(70) };
    assert!(matches!(listing::fetch(&shard, &[foreign]), Err(IndexError::Shard(_))));
}

#[test]
fn a_listing_holds_65536_photos_and_one_more_is_refused_with_both_numbers() {
    let mut builder = ShardBuilder::new(identity(), 1, vec![]);
    for _ in 0..65_536 {
        builder.add("statue", "x", &[], &embedding(&[1.0])).unwrap();
    }
    let error = builder.add("statue", "x", &[], &embedding(&[1.0])).unwrap_err().to_string();
    assert!(error.contains("statue") && error.contains("65537") && error.contains("65536"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.magpie");
    assert_eq!(builder.write(&path).unwrap().photos, 65_536);
    Shard::open(&path).unwrap().verify().unwrap();
}

/// Every shard that is built can be opened. One that could not be is refused on building, and the old file stays.
#[test]
fn the_builder_refuses_what_a_reader_would_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.magpie");
    let outcome = |dim: usize, fields: Vec<Field>, title: &str| {
        std::fs::write(&path, b"the old one").unwrap();
        let photo = Photo::new("mug", "x", &vec![title; fields.len()], &vec![0.5; dim]);
        let built = magpie_tests::shards::write(&path, dim, fields, &[photo]);
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["shop.magpie"], "leftovers");
        match built {
            Ok(_) => match Shard::open(&path).map(|shard| shard.verify()) {
                Ok(Ok(_)) => "built".to_owned(),
                other => format!("built, but cannot be read: {other:?}"),
            },
            Err(IndexError::Shard(ShardError::Build(_))) => {
                assert_eq!(std::fs::read(&path).unwrap(), b"the old one");
                "refused".to_owned()
            }
            Err(other) => panic!("{other}"),
        }
    };
    let columns = |count: usize| {
        let field = |i: usize| Field { name: format!("column {i}"), filter: true };
        (0..count).map(field).collect::<Vec<_>>()
    };
    let long = |megabytes: usize| "t".repeat(megabytes << 20);
    let outcomes = [
        ("4096 coordinates, 16 columns", "built", outcome(4096, columns(16), "Mug")),
        ("4097 coordinates", "refused", outcome(4097, vec![], "")),
        ("17 filter columns", "refused", outcome(2, columns(17), "Mug")),
        ("a column's name of 2 MiB", "refused", outcome(2, filters(&[&long(2)]), "Mug")),
        ("a title of 2 MiB", "refused", outcome(2, columns(1), &long(2))),
        ("a title of half a MiB", "built", outcome(2, columns(1), &long(1)[..1 << 19])),
    ];
    let wrong: Vec<_> = outcomes.iter().filter(|(_, expected, found)| expected != found).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_empty_shard_cannot_be_built() {
    assert!(matches!(build(2, vec![], &[]), Err(IndexError::Shard(ShardError::Build(_)))));
}

/// Local scaling multiplies each score by its photo's factor and changes nothing else.
#[test]
fn with_local_scaling_scores_are_the_cosines_times_the_factors() {
    let vector = |i: usize| -> Vec<f32> { (0..8).map(|d| ((i * 37 + d * 11) as f32 * 0.7).sin() + 0.4).collect() };
    let photos: Vec<Photo> = (0..200).map(|i| Photo::new(&format!("{i:03}"), "", &[], &vector(i))).collect();
    let shoppers: Vec<_> = (500..540).map(|i| embedding(&vector(i))).collect();
    let scaling = LocalScaling::new(&shoppers, 0.8).unwrap();
    for lists in [1, 6] {
        let options = BuildOptions::default().with_lists(lists).with_local_scaling(scaling.clone());
        let built = bytes(builder(8, vec![], &photos).unwrap().with_options(options)).unwrap();
        let shard = Shard::from_bytes(&built).unwrap();
        for query in (900..910).map(vector) {
            let mut exact: Vec<(f32, &str)> = photos
                .iter()
                .map(|photo| {
                    let stored = embedding(&photo.vector);
                    let cosine = stored.cosine(&embedding(&query)).unwrap();
                    (cosine * scaling.factor(stored.values()), photo.listing.as_str())
                })
                .collect();
            exact.sort_by(|a, b| b.0.total_cmp(&a.0));
            let found = find(&shard, &query, "", 200);
            assert_eq!(found.len(), 200);
            for (found, (score, _)) in found.iter().zip(&exact) {
                assert!((found.score - score).abs() < EXACT as f32, "{} {score}", found.score);
            }
            let factors = |at: usize| scaling.factor(embedding(&photos[at].vector).values());
            assert!((0..200).any(|at| (factors(at) - 1.0).abs() > 0.05), "all factors are about 1: this tests nothing");
        }
    }
}

#[test]
fn local_scaling_with_another_models_photos_is_refused() {
    let foreign: Vec<_> = (1..20).map(|i| Embedding::new(&[i as f32, 1.0], ModelId([9; 32])).unwrap()).collect();
    let options = BuildOptions::default().with_local_scaling(LocalScaling::new(&foreign, 0.5).unwrap());
    let photos = [Photo::new("a", "x", &[], &[1.0, 0.0])];
    let refused = bytes(builder(2, vec![], &photos).unwrap().with_options(options));
    assert!(matches!(refused, Err(IndexError::ModelMismatch { .. })));
}
