//! "No, this one": a corrected listing comes first for photos like the corrected one, and no other search changes.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use magpie_core::builder::{Identity, ShardBuilder};
use magpie_core::catalog::Catalog;
use magpie_core::corrections::{Corrections, LEAST_SIMILARITY};
use magpie_core::engine::{self, AskOptions, Begun, Engine, Matches, SearchOptions};
use magpie_core::image::DecodeLimits;
use magpie_core::remote::{Connectivity, Origin, Reason};
use magpie_core::search::{Filter, Per, SearchParams};
use magpie_core::shard::Shard;
use magpie_core::{Embedding, Error};
use magpie_tests::shards::{bytes, filters, identity};
use magpie_tests::{cases, default_model, pictures, repository};
use proptest::prelude::*;
use tempfile::TempDir;

const LISTINGS: usize = 300;
const DIM: usize = 128;

fn vector(seed: u64) -> Embedding {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    Embedding::new(&(0..DIM).map(next).collect::<Vec<_>>(), default_model().id()).unwrap()
}

/// Between two embeddings: the first one where `share` is 0.
fn between(a: &Embedding, b: &Embedding, share: f32) -> Embedding {
    let values: Vec<f32> = a.values().iter().zip(b.values()).map(|(a, b)| a + share * (b - a)).collect();
    Embedding::new(&values, a.model()).unwrap()
}

fn shard(listings: impl Iterator<Item = usize>) -> Shard {
    let identity = Identity { model_id: default_model().id(), ..identity() };
    let mut builder = ShardBuilder::new(identity, DIM, filters(&["shop"]));
    for at in listings {
        let shop = ["Ann", "Bob", "Cid"][at % 3].to_owned();
        builder.add(&name(at), "a.jpg", std::slice::from_ref(&shop), &vector(at as u64)).unwrap();
        builder.add(&name(at), "b.jpg", &[shop], &vector(1000 + at as u64)).unwrap();
    }
    Shard::from_bytes(&bytes(builder).unwrap()).unwrap()
}

fn name(at: usize) -> String {
    format!("item-{at:03}")
}

fn catalog() -> Arc<Catalog> {
    static CATALOG: OnceLock<Arc<Catalog>> = OnceLock::new();
    Arc::clone(CATALOG.get_or_init(|| Arc::new(shard(0..LISTINGS).into())))
}

fn plain() -> Engine {
    Engine::with_catalog(default_model().clone(), catalog()).unwrap()
}

/// An engine without corrections, and where they will be.
fn correcting() -> (Engine, TempDir) {
    let (engine, folder) = (plain(), tempfile::tempdir().unwrap());
    engine.open_corrections(file(&folder)).unwrap();
    (engine, folder)
}

fn file(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("corrections")
}

fn ids(matches: &Matches) -> Vec<&str> {
    matches.listings.iter().map(|found| found.listing.id.as_str()).collect()
}

fn params() -> impl Strategy<Value = SearchOptions> {
    let per = prop::option::of((0usize..4).prop_map(|most| Per { column: "shop".to_owned(), most }));
    let filter = prop::option::of(prop::sample::select(vec!["shop=Ann", "shop in (Ann, Bob)", "shop=nobody"]));
    let score = prop::option::of(-0.2f32..0.4);
    (0usize..30, per, filter, score, prop::option::of(0.5f32..1.0)).prop_map(|(k, per, filter, score, repeats)| {
        let mut params = SearchParams::new(k);
        (params.per, params.min_score, params.near_duplicates) = (per, score, repeats);
        SearchOptions::default().with_search(params).with_filter(filter.map(|text| Filter::parse(text).unwrap()))
    })
}

const CORRECTED: usize = 60;

/// An engine with 60 corrections: photo `2000 + n` shows item `n`.
fn corrected() -> &'static (Engine, TempDir) {
    static ENGINE: OnceLock<(Engine, TempDir)> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let (engine, folder) = correcting();
        (0..CORRECTED).for_each(|at| engine.remember(&vector(2000 + at as u64), &name(at)).unwrap());
        (engine, folder)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(2000)))]

    /// Bit for bit: scores are compared as numbers, and none of them is NaN.
    #[test]
    fn where_no_correction_is_near_results_are_untouched(
        seed in 5000u64..1_000_000, at in 0..CORRECTED, share in 0f32..1.0, options in params(),
    ) {
        let engine = &corrected().0;
        let query = between(&vector(2000 + at as u64), &vector(seed), share);
        let near = |at: usize| query.cosine(&vector(2000 + at as u64)).unwrap();
        let nearest = (0..CORRECTED).max_by(|a, b| near(*a).total_cmp(&near(*b))).unwrap();
        let (found, without) = (
            engine.search_embedding(&query, &options).unwrap(), plain().search_embedding(&query, &options).unwrap(),
        );
        if near(nearest) < LEAST_SIMILARITY - 0.002 {
            prop_assert!(found.listings.iter().all(|found| !found.corrected));
            prop_assert_eq!(found, without);
        } else if near(nearest) > LEAST_SIMILARITY + 0.002 && options.filter.is_none() && options.search.per.is_none() {
            prop_assert!(found.listings.len() <= options.search.k);
            if let Some(first) = found.listings.first() {
                prop_assert!(first.corrected && first.listing.id == name(nearest) && found.confidence.is_none());
                prop_assert!(found.listings[1..].iter().all(|found| !found.corrected));
                // Without near-duplicates and least score, the others are what they were, in their order.
                if options.search.near_duplicates.is_none() && options.search.min_score.is_none() {
                    let others = without.listings.iter().filter(|other| other.listing.id != first.listing.id);
                    prop_assert!(found.listings[1..].iter().eq(others.take(options.search.k - 1)));
                }
            }
        }
    }
}

#[test]
fn a_correction_holds_for_filters_groups_and_repeats() {
    let (engine, _folder) = correcting();
    let query = vector(9000);
    engine.remember(&query, &name(3)).unwrap();
    let search = |options: SearchOptions| engine.search_embedding(&query, &options).unwrap();
    assert_eq!(ids(&search(SearchOptions::new(5)))[0], name(3));
    // item-003 is Ann's.
    let filtered = |text: &str| SearchOptions::new(5).with_filter(Filter::parse(text).unwrap());
    let first = |matches: Matches| (matches.listings[0].corrected, matches.listings[0].listing.id.clone());
    assert_eq!(first(search(filtered("shop=Ann"))), (true, name(3)));
    let bobs = search(filtered("shop=Bob"));
    assert_eq!(bobs, plain().search_embedding(&query, &filtered("shop=Bob")).unwrap());
    // The next nearest correction takes the place of one that does not pass.
    let other = between(&query, &vector(9001), 0.15);
    engine.remember(&other, &name(4)).unwrap();
    assert_eq!(first(search(filtered("shop=Bob"))), (true, name(4)));
    assert_eq!(first(search(filtered("shop=Ann"))), (true, name(3)));
    let one = SearchOptions::default().with_search(SearchParams::new(3).with_at_most_per("shop", 1));
    let matches = search(one);
    let mut shops: Vec<_> = matches.listings.iter().map(|found| found.listing.get("shop").unwrap()).collect();
    assert_eq!((shops[0], matches.listings[0].corrected), ("Ann", true));
    shops.sort_unstable();
    assert_eq!(shops, ["Ann", "Bob", "Cid"]);
    // More like a listing is no search with a photo.
    assert!(engine.more_like(&name(3), &SearchOptions::new(5)).unwrap().iter().all(|found| !found.corrected));
}

#[test]
fn corrections_survive_updates_and_pass_over_listings_that_are_gone() {
    let (engine, folder) = correcting();
    let query = vector(9000);
    engine.remember(&query, &name(3)).unwrap();
    engine.remember(&between(&query, &vector(9001), 0.15), &name(4)).unwrap();
    let first = |engine: &Engine| {
        let found = engine.search_embedding(&query, &SearchOptions::new(3)).unwrap().listings.remove(0);
        (found.corrected, found.listing.id)
    };
    let known = |engine: &Engine| -> Vec<String> {
        engine.corrections().unwrap().into_iter().map(|correction| correction.listing_id).collect()
    };
    assert_eq!((first(&engine), known(&engine)), ((true, name(3)), vec![name(4), name(3)]));
    let without_3 = Catalog::new(vec![(shard(0..LISTINGS), vec![]), (shard(400..402), vec![name(3)])]).unwrap();
    engine.replace_catalog(Arc::new(without_3)).unwrap();
    assert_eq!((first(&engine), known(&engine)), ((true, name(4)), vec![name(4)]));
    let neither: Catalog = shard(10..LISTINGS).into();
    engine.replace_catalog(Arc::new(neither)).unwrap();
    assert_eq!((first(&engine).0, known(&engine).len()), (false, 0));
    // Listings that come back are found again, also after a restart.
    engine.replace_catalog(catalog()).unwrap();
    assert_eq!((first(&engine), known(&engine)), ((true, name(3)), vec![name(4), name(3)]));
    let engine = plain();
    assert!(!first(&engine).0);
    engine.open_corrections(file(&folder)).unwrap();
    assert_eq!(first(&engine), (true, name(3)));
    // One in a delta counts as any other.
    let delta = Catalog::new(vec![(shard(0..LISTINGS), vec![]), (shard(3..4), vec![])]).unwrap();
    engine.replace_catalog(Arc::new(delta)).unwrap();
    assert_eq!(first(&engine), (true, name(3)));
    // A gone listing is dropped when the file is written anew, and can be forgotten.
    engine.replace_catalog(Arc::new(shard(4..LISTINGS).into())).unwrap();
    engine.remember(&between(&query, &vector(9001), 0.15), &name(5)).unwrap();
    let left = Corrections::open(file(&folder), default_model().id(), DIM).unwrap().list();
    assert_eq!((left.len(), &left[0].listing_id), (1, &name(5)), "the photo of item 4, and no item 3");
    engine.replace_catalog(Arc::new(shard(10..LISTINGS).into())).unwrap();
    assert_eq!((known(&engine).len(), engine.forget(&name(5)).unwrap()), (0, 1));
    engine.remember(&query, &name(11)).unwrap();
    assert_eq!(first(&engine), (true, name(11)));
    engine.forget_all().unwrap();
    assert!(!first(&engine).0);
    engine.use_corrections(None);
    assert!(matches!(engine.forget_all(), Err(Error::NoCorrections)));
}

#[test]
fn what_cannot_be_remembered_is_an_error_and_leaves_no_file() {
    let engine = plain();
    assert!(matches!(engine.remember(&vector(1), &name(1)), Err(Error::NoCorrections)));
    assert!(engine.corrections().unwrap().is_empty());
    let (engine, folder) = correcting();
    assert!(matches!(engine.remember(&vector(1), "gone"), Err(Error::UnknownListing { id }) if id == "gone"));
    let foreign = Embedding::new(vector(1).values(), magpie_tests::shards::MODEL).unwrap();
    assert!(matches!(engine.remember(&foreign, &name(1)), Err(Error::ModelMismatch { .. })));
    let options = SearchOptions::default();
    assert!(matches!(engine.remember_photo(b"no photo", &name(1), &options), Err(Error::Photo(_))));
    assert!(!file(&folder).exists());
    assert!(engine.open_corrections(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).is_err());
    engine.remember(&vector(1), &name(1)).unwrap();
    assert_eq!(engine.corrections().unwrap().len(), 1, "the engine keeps the file that it had");
}

/// The default pack's embedding of a photo, among others that are nearer to it than the corrected listing.
#[test]
fn a_corrected_photo_needs_no_server_and_is_in_no_request() {
    let model = default_model();
    let photo = std::fs::read(repository().join("cli/demo/queries/mug-03.jpg")).unwrap();
    let far = pictures::png(pictures::scene(200, 150));
    let embed = |photo: &[u8]| engine::embed(model, photo, None, &DecodeLimits::default()).unwrap().embedding;
    let ask = AskOptions::on(Connectivity::Unmetered);
    let options = SearchOptions::new(400);
    let begin = |engine: &Engine, photo: &[u8]| {
        let search = engine.ask_photo(photo, &options, &ask).unwrap();
        let begun = search.begin(&Origin::new(1), Duration::ZERO);
        (search, begun)
    };
    let (engine, _folder) = correcting();
    let (before, begun) = begin(&engine, &photo);
    assert!(matches!(begun, Begun::Exchange { .. }), "too few listings");
    engine.remember_photo(&photo, &name(7), &SearchOptions::default()).unwrap();
    let (search, begun) = begin(&engine, &photo);
    let Begun::Answer(answer) = begun else { panic!("asked") };
    assert_eq!(answer.reason, Reason::GoodEnough);
    let first = &answer.listings[0].found;
    assert!(first.corrected && first.listing.id == name(7) && search.confidence_in(&answer).is_none());
    // What would travel is the photo that is searched with, and nothing of a correction.
    assert_eq!(search.body(), before.body());
    assert!(embed(&photo).cosine(&embed(&far)).unwrap() < LEAST_SIMILARITY);
    let (search, begun) = begin(&engine, &far);
    assert!(matches!(begun, Begun::Exchange { .. }));
    assert_eq!(search.body(), begin(&plain(), &far).0.body());
    assert!(!search.body().contains("corrected") && !search.body().contains(&name(7)));
    let found = engine.search_photo(&photo, &SearchOptions::new(3)).unwrap();
    assert!(found.listings[0].corrected && found.confidence.is_none());
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!((json["listings"][0]["corrected"].as_bool(), json["listings"][1].get("corrected")), (Some(true), None));
}
