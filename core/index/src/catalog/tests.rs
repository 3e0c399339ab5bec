use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::builder::{BuildOptions, Field, Identity, ShardBuilder};
use crate::embedding::Embedding;
use crate::search::{Filter, SearchParams};
use crate::testing::cases;

const MODEL: ModelId = ModelId([9; 32]);
const DIM: usize = 64;
/// Directions that are at right angles to the query and to each other.
const SIDES: usize = 5;
/// More than the difference of the scores of one photo in two shards, and less than that of two photos.
const TOLERANCE: f32 = 0.004;
const FIELDS: [&str; 4] = ["shop", "price", "size", "extra"];

/// A photo has an angle to the query of its own, towards one of the sides.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shot {
    level: u8,
    side: u8,
}

impl Shot {
    /// Two degrees apart, where the cosine changes quickly.
    fn angle(self) -> f32 {
        (20.0 + 2.0 * f32::from(self.level)).to_radians()
    }

    fn vector(self, basis: &[Vec<f32>]) -> Vec<f32> {
        let (along, aside) = (self.angle().cos(), self.angle().sin());
        basis[0].iter().zip(&basis[1 + usize::from(self.side)]).map(|(q, side)| along * q + aside * side).collect()
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Item {
    values: [&'static str; 4],
    shots: Vec<Shot>,
}

/// A change of one listing in one part: another item, or none.
type Edit = (u8, Option<Item>);

/// The parts of a catalogue: for each one its listings, the ids that it removes, and whether it has the last field.
#[derive(Debug, Clone)]
struct Case {
    parts: Vec<(BTreeMap<u8, Item>, Vec<u8>)>,
    lists: Vec<u32>,
}

/// A query and directions at right angles.
fn basis() -> Vec<Vec<f32>> {
    let mut state = 5u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let mut basis: Vec<Vec<f32>> = Vec::new();
    for _ in 0..=SIDES {
        let mut vector: Vec<f32> = (0..DIM).map(|_| next()).collect();
        for other in &basis {
            let along: f32 = other.iter().zip(&vector).map(|(a, b)| a * b).sum();
            vector.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
        }
        let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|v| *v /= length);
        basis.push(vector);
    }
    basis
}

fn embedding(vector: &[f32]) -> Embedding {
    Embedding::new(vector, MODEL).expect("finite")
}

fn id(number: u8) -> String {
    format!("{number:02}")
}

fn photo(id: &str, at: usize, shot: Shot) -> String {
    format!("{id}-{at}-{}", shot.level)
}

fn build(items: &BTreeMap<u8, Item>, lists: u32, fields: usize, sequence: u64) -> Shard {
    let basis = basis();
    let identity = Identity { model_id: MODEL, catalog: "shop".into(), sequence, writer: "tests".into() };
    let fields: Vec<Field> = FIELDS[..fields].iter().map(|name| Field { name: (*name).into(), filter: true }).collect();
    let values = |item: &Item| item.values[..fields.len()].iter().map(|&v| v.to_owned()).collect::<Vec<_>>();
    let mut builder =
        ShardBuilder::new(identity, DIM, fields.clone()).with_options(BuildOptions::default().with_lists(lists));
    for (&number, item) in items {
        let id = id(number);
        for (at, &shot) in item.shots.iter().enumerate() {
            let (name, vector) = (photo(&id, at, shot), embedding(&shot.vector(&basis)));
            builder.add_with_thumbnail(&id, &name, &values(item), &vector, name.as_bytes()).expect("a photo");
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("part.magpie");
    builder.write(&path).expect("a shard");
    Shard::load(&path).expect("a shard")
}

impl Case {
    /// Divides edits into parts; a part without listings is left out, because a shard has at least one.
    fn new(base: Vec<Item>, edits: Vec<Vec<Edit>>, lists: Vec<u32>) -> Case {
        let base: BTreeMap<u8, Item> = (0..).zip(base).collect();
        let mut parts = vec![(base, Vec::new())];
        for edits in edits {
            let (mut items, mut removed) = (BTreeMap::new(), Vec::new());
            for (number, item) in edits {
                match item {
                    Some(item) => drop(items.insert(number, item)),
                    None => removed.push(number),
                }
            }
            if !items.is_empty() {
                parts.push((items, removed));
            }
        }
        Case { parts, lists }
    }

    fn listings(&self) -> BTreeMap<u8, Item> {
        let mut all = BTreeMap::new();
        for (items, removed) in &self.parts {
            removed.iter().for_each(|number| drop(all.remove(number)));
            all.extend(items.clone());
        }
        all
    }

    fn lists(&self, at: usize) -> u32 {
        self.lists[at % self.lists.len()]
    }

    fn catalog(&self) -> Catalog {
        let part = |(at, (items, removed)): (usize, &(BTreeMap<u8, Item>, Vec<u8>))| {
            let extra = items.values().any(|item| !item.values[3].is_empty());
            let shard = build(items, self.lists(at), if extra { 4 } else { 3 }, at as u64 + 1);
            (shard, removed.iter().map(|&number| id(number)).collect())
        };
        Catalog::new(self.parts.iter().enumerate().map(part).collect()).expect("parts of one catalogue")
    }
}

fn item() -> impl Strategy<Value = Item> {
    let shop = prop::sample::select(vec!["Ann", "Bob", "Cid", "Dot", ""]);
    // A price that is no number makes the column one of words, but rarely.
    let price = prop_oneof![30 => prop::sample::select(vec!["5", "12.50", "30", ""]), 1 => Just("on request")];
    let size =
        prop_oneof![8 => prop::sample::select(vec!["1", "2", "3.0", ""]), 2 => prop::sample::select(vec!["S", "L"])];
    let extra = prop_oneof![3 => Just(""), 1 => prop::sample::select(vec!["x", "y"])];
    let shots = prop::collection::vec(0..SIDES as u8, 1..3);
    (shop, price, size, extra, shots).prop_map(|(shop, price, size, extra, sides)| Item {
        values: [shop, price, size, extra],
        shots: sides.into_iter().map(|side| Shot { level: 0, side }).collect(),
    })
}

/// Catalogues in which every photo has a level of its own.
fn case() -> impl Strategy<Value = Case> {
    let edits = prop::collection::vec((0u8..24, prop::option::weighted(0.75, item())), 1..7);
    let edits = prop::collection::vec(edits, 1..5);
    let levels = Just((0..70).collect::<Vec<u8>>()).prop_shuffle();
    let lists = prop::collection::vec(1u32..5, 1..5);
    (prop::collection::vec(item(), 8..20), edits, levels, lists).prop_map(|(mut base, mut edits, levels, lists)| {
        let edited = edits.iter_mut().flatten().filter_map(|(_, item)| item.as_mut());
        let shots = base.iter_mut().chain(edited).flat_map(|item| &mut item.shots);
        // The last levels are shared where there are more photos.
        shots.zip(levels.iter().cycle()).for_each(|(shot, &level)| shot.level = level);
        let mut used = std::collections::HashSet::new();
        let unique = |item: &mut Item, used: &mut std::collections::HashSet<u8>| {
            item.shots.retain(|shot| used.insert(shot.level));
            !item.shots.is_empty()
        };
        base.retain_mut(|item| unique(item, &mut used));
        edits.iter_mut().for_each(|edits| {
            edits.retain_mut(|(_, item)| item.as_mut().is_none_or(|item| unique(item, &mut used)));
        });
        Case::new(base, edits, lists)
    })
}

fn params() -> impl Strategy<Value = SearchParams> {
    let per = prop::option::of((prop::sample::select(vec!["shop", "price", "size", "extra"]), 0usize..3));
    // The cosine of nine degrees: between those of two pairs of levels.
    let near = prop::option::of(prop_oneof![4 => Just(9f32.to_radians().cos()), 1 => Just(-1.0)]);
    (1usize..30, per, near, prop::option::of(-0.8f32..0.8), any::<bool>()).prop_map(|(k, per, near, min, scan)| {
        let mut params = SearchParams::new(k).with_recall(1.0);
        if scan {
            // Estimates all photos and re-ranks them all.
            params = params.with_recall(0.9).with_effort(100, 1000);
        }
        if let Some((column, most)) = per {
            params = params.with_at_most_per(column, most);
        }
        params.near_duplicates = near;
        // Not near the score of any level.
        params.min_score = min.map(|min| ((min.acos().to_degrees() / 2.0).floor() * 2.0 + 1.0).to_radians().cos());
        params
    })
}

fn filter() -> impl Strategy<Value = Option<Filter>> {
    let texts = vec![
        "shop = Ann",
        "shop != Bob",
        "price < 20",
        "price = 12.5",
        "price = '12.50'",
        "size in (1, 2)",
        "size = L",
        "extra = x",
        "extra != y",
        "not shop in (Ann, Cid) or price >= 12",
        "missing = 1",
    ];
    prop::option::of(prop::sample::select(texts).prop_map(|text| Filter::parse(text).expect("a filter")))
}

/// The ids and scores; the error as text.
fn shown(found: Result<Vec<Found>>) -> Result<Vec<(f32, Listing)>, String> {
    found.map(|found| found.into_iter().map(|f| (f.score, f.listing)).collect()).map_err(|e| e.to_string())
}

/// Checks that two results are the same but for the rounding of scores. Where scores of `expected` are closer than that
/// to each other, the listings may come in another order.
fn assert_same(found: &[(f32, Listing)], expected: &[(f32, Listing)]) -> Result<(), TestCaseError> {
    let ids = |all: &[(f32, Listing)]| all.iter().map(|(score, l)| format!("{} {score:.4}", l.id)).collect::<Vec<_>>();
    let context = || format!("found {:?}, expected {:?}", ids(found), ids(expected));
    prop_assert_eq!(found.len(), expected.len(), "{}", context());
    for (at, ((score, listing), (wanted, expected_listing))) in found.iter().zip(expected).enumerate() {
        prop_assert!((score - wanted).abs() < TOLERANCE, "{}", context());
        let near =
            |other: Option<&(f32, Listing)>| other.is_some_and(|(other, _)| (other - wanted).abs() < 2.0 * TOLERANCE);
        let tied = at + 1 == expected.len()
            || near(expected.get(at + 1))
            || near(at.checked_sub(1).and_then(|at| expected.get(at)));
        prop_assert!(listing == expected_listing || tied && listing.id != expected_listing.id, "{}", context());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::with_cases(cases(200)) })]

    /// Every photo has another score, so that ids must agree as well.
    #[test]
    fn a_catalogue_of_deltas_is_searched_as_one_shard_built_anew(
        case in case(), searches in prop::collection::vec((params(), filter()), 12), like in prop::collection::vec(0u8..24, 4),
    ) {
        let listings = case.listings();
        prop_assume!(!listings.is_empty());
        let whole = build(&listings, case.lists(0), if listings.values().all(|i| i.values[3].is_empty()) { 3 } else { 4 }, 9);
        let whole = Catalog::from(whole);
        let catalog = case.catalog();
        prop_assert_eq!(catalog.listing_count(), whole.listing_count());
        prop_assert_eq!(catalog.photo_count(), whole.photo_count());
        let known: Vec<String> = listings.keys().map(|&number| id(number)).collect();

        let query = embedding(&basis()[0]);
        let (mut searcher, mut single) = (catalog.searcher(SearchScratch::default()), whole.searcher(SearchScratch::default()));
        for (params, filter) in &searches {
            let names = |error: String| error.split("; this shard").next().unwrap_or_default().to_owned();
            let expected = single.rank(&query, filter.as_ref(), params, 10);
            let found = searcher.rank(&query, filter.as_ref(), params, 10);
            // A column that no listing has any more is still known to the parts.
            if params.per.as_ref().is_some_and(|per| whole.columns().iter().all(|(name, _)| *name != per.column)) { continue }
            let (found, expected) = match (found, expected) {
                (Ok(found), Ok(expected)) => (found, expected),
                (found, expected) => {
                    if matches!(&expected, Err(e) if e.to_string().contains("no column 'extra'")) { continue }
                    let error = |ranking: Result<_>| ranking.map(drop).map_err(|e| names(e.to_string()));
                    prop_assert_eq!(error(found), error(expected));
                    continue;
                }
            };
            prop_assert_eq!(found.complete, expected.complete);
            prop_assert_eq!(found.leading.len(), expected.leading.len());
            prop_assert!(found.leading.iter().zip(&expected.leading).all(|(a, b)| (a - b).abs() < TOLERANCE));
            let (found, expected) = (shown(catalog.fetch(&found.candidates)), shown(whole.fetch(&expected.candidates)));
            let (mut found, expected) = (found.expect("listings"), expected.expect("listings"));
            for (_, listing) in &mut found {
                prop_assert!(known.contains(&listing.id), "{} is gone", listing.id);
                if whole.fields().len() < catalog.fields().len() {
                    listing.fields.truncate(whole.fields().len());
                }
            }
            assert_same(&found, &expected)?;
        }
        for number in like {
            let place = catalog.find_listing(&id(number)).expect("a catalogue");
            let Some(expected) = whole.find_listing(&id(number)).expect("a catalogue") else {
                prop_assert_eq!(place, None);
                continue;
            };
            let params = SearchParams::new(5).with_recall(1.0);
            let place = place.expect("the same listings");
            let found = searcher.more_like(place, None, &params).expect("a search");
            let expected = single.more_like(expected, None, &params).expect("a search");
            prop_assert_eq!(found.len(), expected.len());
            prop_assert!(found.iter().zip(&expected).all(|(a, b)| (a.score - b.score).abs() < TOLERANCE));
            prop_assert!(found.iter().all(|found| found.place() != place));
            for (at, &shot) in listings[&number].shots.iter().enumerate() {
                let name = photo(&id(number), at, shot);
                prop_assert_eq!(catalog.thumbnail(place, &name).expect("a catalogue"), Some(name.as_bytes()));
            }
            let (listing, mut own) = (whole.listing(&id(number)), catalog.listing(&id(number)).expect("a catalogue"));
            own.iter_mut().for_each(|own| own.fields.truncate(whole.fields().len()));
            prop_assert_eq!(own, listing.expect("a catalogue"));
        }
        for (name, kind) in whole.columns() {
            prop_assert!(catalog.columns().contains(&(name, kind)), "{} is no {:?}", name, kind);
            prop_assert_eq!(catalog.words(name, 3), whole.words(name, 3));
        }
    }
}

fn one(id_and_shots: &[(u8, Shot)]) -> BTreeMap<u8, Item> {
    let item = |shot: Shot| Item { values: ["Ann", "5", "1", ""], shots: vec![shot] };
    id_and_shots.iter().map(|&(number, shot)| (number, item(shot))).collect()
}

#[test]
fn equal_scores_of_different_parts_are_in_the_order_of_ids() {
    // One photo a shard is its own centroid, so that equal photos have equal scores.
    let shot = Shot { level: 3, side: 1 };
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let parts = order.map(|number| (build(&one(&[(number, shot)]), 1, 3, 1), Vec::new()));
        let catalog = Catalog::new(parts.into()).expect("one catalogue");
        for k in 1..=3 {
            let found =
                catalog.searcher(SearchScratch::default()).search(&embedding(&basis()[0]), None, &SearchParams::new(k));
            let found = catalog.fetch(&found.expect("a search")).expect("listings");
            let ids: Vec<&str> = found.iter().map(|found| found.listing.id.as_str()).collect();
            assert_eq!(ids, &["01", "02", "03"][..k]);
        }
    }
}

#[test]
fn parts_of_different_catalogues_are_refused_with_both_values() {
    let shot = Shot { level: 3, side: 1 };
    let other = |change: fn(&mut Identity)| {
        let mut identity = Identity { model_id: MODEL, catalog: "shop".into(), sequence: 2, writer: "tests".into() };
        change(&mut identity);
        let vector = Embedding::new(&shot.vector(&basis()), identity.model_id).expect("finite");
        let mut builder = ShardBuilder::new(identity, DIM, Vec::new());
        builder.add("mug", "mug.jpg", &[], &vector).expect("a photo");
        let folder = tempfile::tempdir().expect("a folder");
        builder.write(&folder.path().join("other.magpie")).expect("a shard");
        Shard::load(folder.path().join("other.magpie")).expect("a shard")
    };
    let refused = |second: Shard| {
        let base = build(&one(&[(1, shot)]), 1, 3, 1);
        Catalog::new(vec![(base, Vec::new()), (second, Vec::new())]).map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(refused(other(|_| ())), Ok(()));
    let model = refused(other(|identity| identity.model_id = ModelId([1; 32]))).expect_err("another model");
    assert!(model.contains("part 2 has the model 0101") && model.contains("the first part has 0909"), "{model}");
    let name = refused(other(|identity| identity.catalog = "other".into())).expect_err("another name");
    assert!(name.contains("catalogue name other, the first part has shop"), "{name}");
    assert!(Catalog::new(Vec::new()).is_err());
}
