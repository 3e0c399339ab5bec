//! A search returns how likely its first listing is right, and a head returns no label where it is not sure.

use std::sync::OnceLock;

use magpie_core::builder::{Field, ShardBuilder};
use magpie_core::confidence::{Confidence, LEADING};
use magpie_core::engine::{self, Engine, SearchOptions};
use magpie_core::image::DecodeLimits;
use magpie_core::model::{Form, Model, Pack};
use magpie_core::search::{Filter, Per, SearchParams, Searcher};
use magpie_core::shard::Shard;
use magpie_core::{Error, ModelError};
use magpie_tests::cases;
use magpie_tests::shards::{self, Photo, build_lists, embedding, filters};
use magpie_tests::{default_pack, folders, pictures, repository};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A calibration close to that of the shipped network.
fn calibration() -> Value {
    json!({
        "kind": "logistic-1", "weights": {"score": 6.6, "margin": 3.4, "contrast": 7.3}, "bias": -7.1,
        "background": 0.12, "threshold": 0.5, "data": "numbers for tests",
    })
}

fn manifest(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut manifest = serde_json::to_value(default_pack().manifest()).unwrap();
    change(&mut manifest);
    serde_json::to_vec(&manifest).unwrap()
}

/// The shipped network with a changed manifest.
fn pack(change: impl FnOnce(&mut Value)) -> Result<Pack, ModelError> {
    Pack::from_bytes(&manifest(change), default_pack().network().to_vec()).map_err(|error| match error {
        Error::Model(error) => error,
        other => panic!("not a model error: {other}"),
    })
}

fn golden(case: &str) -> Vec<u8> {
    std::fs::read(repository().join("models/packs/default/golden").join(case).join("photo.png")).unwrap()
}

/// A calibrated engine over the golden PNGs, each a listing of twenty equal photos, and one generated scene.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let model = Model::load(&pack(|manifest| manifest["confidence"] = calibration()).unwrap()).unwrap();
        let identity = magpie_core::builder::Identity { model_id: model.id(), ..shards::identity() };
        let fields = vec![Field { name: "kind".to_owned(), filter: true }];
        let mut builder = ShardBuilder::new(identity, model.manifest().embedding.dim as usize, fields);
        for folder in folders(&repository().join("models/packs/default/golden")) {
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            let Ok(photo) = std::fs::read(folder.join("photo.png")) else { continue };
            let output = engine::embed(&model, &photo, None, &DecodeLimits::default()).unwrap();
            for copy in 0..20 {
                builder.add(&name, &copy.to_string(), &["golden".to_owned()], &output.embedding).unwrap();
            }
        }
        let scene =
            engine::embed(&model, &pictures::png(pictures::scene(300, 200)), None, &DecodeLimits::default()).unwrap();
        builder.add("scene", "0", &["scene".to_owned()], &scene.embedding).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("golden.magpie");
        builder.write(&path).unwrap();
        Engine::new(model, Shard::open(&path).unwrap()).unwrap()
    })
}

fn search(photo: &[u8], change: impl FnOnce(&mut SearchOptions)) -> (usize, Confidence) {
    let mut options = SearchOptions::default();
    change(&mut options);
    let results = engine().search_photo(photo, &options).unwrap();
    let found = engine().embed_photo(photo, &options).unwrap();
    let again = engine().search_embedding(&found.embedding, &options).unwrap();
    assert_eq!((&again.listings, again.confidence), (&results.listings, results.confidence));
    (results.listings.len(), results.confidence.unwrap())
}

#[test]
fn a_photo_in_the_catalogue_is_a_good_match_and_another_is_not() {
    let (_, inside) = search(&golden("plain-wide"), |_| ());
    assert!(inside.enough && inside.probability > 0.7, "{inside:?}");
    // The same photo with a filter that excludes its listing.
    let (listings, outside) =
        search(&golden("plain-wide"), |options| options.filter = Some(Filter::parse("kind=scene").unwrap()));
    assert!(listings == 1 && !outside.enough && outside.probability < 0.5, "{outside:?}");
    let (listings, nothing) =
        search(&golden("plain-wide"), |options| options.filter = Some(Filter::parse("kind=none").unwrap()));
    assert_eq!((listings, nothing), (0, Confidence::NONE));
}

#[test]
fn search_parameters_do_not_change_the_confidence() {
    let photo = golden("smaller-than-input");
    let (all, confidence) = search(&photo, |_| ());
    // Each listing has twenty photos, so the nearest photos are not the nearest listings.
    assert!(all > 4);
    for k in [1, 2, 5, 10, 1000] {
        assert_eq!(search(&photo, |options| options.search.k = k), (k.min(all), confidence), "{k}");
    }
    let per = Some(Per { column: "kind".to_owned(), most: 1 });
    assert_eq!(search(&photo, |options| options.search.per = per), (2, confidence));
    assert_eq!(search(&photo, |options| options.search.min_score = Some(0.99)), (1, confidence));
    // Without results the confidence is zero.
    assert_eq!(search(&photo, |options| options.search.min_score = Some(1.1)), (0, Confidence::NONE));
    assert_eq!(search(&photo, |options| options.search.k = 0), (0, Confidence::NONE));
}

#[test]
fn a_copy_of_the_right_listing_does_not_lower_the_margin_when_near_duplicates_are_left_out() {
    let shard = |copies: usize| {
        let copy = (0..copies).map(|i| (format!("copy-{i:02}"), [1.0, 0.0, 0.0, 0.0]));
        let others = (0..20).map(|i| (format!("other-{i:02}"), [0.2, 1.0, i as f32 / 10.0, 0.0]));
        let photos: Vec<Photo> = copy.chain(others).map(|(id, vector)| Photo::new(&id, "x", &[], &vector)).collect();
        Shard::from_bytes(&build_lists(4, vec![], &photos, 1).unwrap()).unwrap()
    };
    let leading = |copies: usize, near_duplicates| {
        let mut params = SearchParams::default();
        params.near_duplicates = near_duplicates;
        let query = embedding(&[1.0, 0.1, 0.0, 0.0]);
        Searcher::new(&shard(copies)).rank(&query, None, &params, LEADING).unwrap().leading
    };
    let near = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.01);
    let (one, repeated) = (leading(1, Some(0.999)), leading(8, Some(0.999)));
    assert!(near(&one[..2], &repeated[..2]), "{one:?} {repeated:?}");
    assert!(leading(8, None)[1] > 0.9);
}

#[test]
fn without_a_calibration_there_is_no_confidence() {
    let later = json!({"kind": "forest-9", "trees": [1, 2, 3]});
    for confidence in [Value::Null, later] {
        let pack = pack(|manifest| manifest["confidence"] = confidence).unwrap();
        assert_eq!(pack.manifest().confidence, None);
        assert_eq!(pack.manifest().model_id, default_pack().manifest().model_id);
    }
    let old = pack(|manifest| drop(manifest.as_object_mut().unwrap().remove("confidence"))).unwrap();
    assert_eq!(old.manifest().confidence, None);
    let model = Model::load(&old).unwrap();
    let identity = magpie_core::builder::Identity { model_id: model.id(), ..shards::identity() };
    let photo = golden("plain-mug");
    let output = engine::embed(&model, &photo, None, &DecodeLimits::default()).unwrap();
    let mut builder = ShardBuilder::new(identity, output.embedding.dim(), vec![]);
    builder.add("mug", "0", &[], &output.embedding).unwrap();
    let engine = Engine::new(model, Shard::from_bytes(&shards::bytes(builder).unwrap()).unwrap()).unwrap();
    let results = engine.search_photo(&photo, &SearchOptions::default()).unwrap();
    assert_eq!((results.listings.len(), results.confidence), (1, None));
}

#[test]
fn fields_of_later_versions_are_ignored_and_wrong_numbers_are_named() {
    let mut more = calibration();
    more["more"] = json!({"of": "it"});
    more["weights"]["more"] = json!(1);
    let read = pack(|manifest| {
        manifest["confidence"] = more;
        manifest["heads"][0]["more"] = json!([]);
    });
    assert_eq!(read.unwrap().manifest().confidence.as_ref().unwrap().threshold, 0.5);
    for (at, value, expected) in [
        ("/weights/score", json!(-1), "confidence.weights.score is -1"),
        ("/weights/margin", json!(1e39), "confidence.weights.margin is inf"),
        ("/weights/contrast", json!("much"), "confidence: invalid type: string"),
        ("/weights", json!(null), "confidence: invalid type: null"),
        ("/bias", json!(-1e9), "confidence.bias"),
        ("/bias", json!(null), "confidence: invalid type: null"),
        ("/background", json!(1.5), "confidence.background is 1.5, expected -1 to 1"),
        ("/threshold", json!(1.01), "confidence.threshold is 1.01, expected 0 to 1"),
        ("/kind", json!(7), "confidence: "),
        ("", json!(0.5), "confidence: "),
        ("", json!([]), "confidence: "),
        ("", json!({}), "confidence: missing field `kind`"),
    ] {
        let mut wrong = calibration();
        *wrong.pointer_mut(at).unwrap() = value;
        let error = pack(|manifest| manifest["confidence"] = wrong).unwrap_err();
        assert!(matches!(error, ModelError::Manifest(_)) && error.to_string().contains(expected), "{at}: {error}");
    }
    for (field, value, expected) in [
        ("temperature", json!(0), "temperature of head 'colour' is 0, expected 0.01 to 100"),
        ("temperature", json!(1e39), "temperature of head 'colour'"),
        ("temperature", json!("hot"), "invalid type"),
        ("threshold", json!(-0.5), "threshold of head 'colour' is -0.5, expected 0 to 1"),
    ] {
        let error = pack(|manifest| manifest["heads"][1][field] = value).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_compiled_pack_is_calibrated_too() {
    let change = |manifest: &mut Value| {
        manifest["confidence"] = calibration();
        manifest["heads"][0]["temperature"] = json!(0.5);
    };
    let onnx = pack(change).unwrap();
    let compiled = Pack::from_bytes(&manifest(change), onnx.compiled().unwrap()).unwrap();
    assert_eq!(compiled.form(), Form::Compiled);
    assert_eq!(compiled.manifest(), onnx.manifest());
    let photo = golden("plain-mug");
    let run = |pack: &Pack| engine::embed(&Model::load(pack).unwrap(), &photo, None, &DecodeLimits::default()).unwrap();
    assert_eq!(run(&compiled), run(&onnx));
}

#[test]
fn a_head_that_is_not_sure_returns_no_label() {
    let photo = golden("plain-mug");
    let category = |temperature: Option<f64>, threshold: Option<f64>| {
        let calibrated = |manifest: &mut Value| {
            manifest["heads"][0]["temperature"] = json!(temperature);
            manifest["heads"][0]["threshold"] = json!(threshold);
        };
        let model = Model::load(&pack(calibrated).unwrap()).unwrap();
        let output = engine::embed(&model, &photo, None, &DecodeLimits::default()).unwrap();
        output.attributes.get("category").unwrap().clone()
    };
    let plain = category(None, None);
    let label = plain.label.clone().unwrap();
    assert_eq!(category(Some(1.0), Some(0.0)), plain);
    let (cold, hot) = (category(Some(0.3), None), category(Some(5.0), None));
    assert!(cold.probability > plain.probability && plain.probability > hot.probability);
    assert_eq!((cold.label, hot.label), (Some(label.clone()), Some(label)));
    // At this temperature no photo reaches the threshold.
    let unsure = category(Some(5.0), Some(0.9));
    assert_eq!((unsure.label, unsure.probability), (None, hot.probability));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(40)))]

    /// With inverted lists and several photos per listing, the leading scores are those of the best listings overall,
    /// whatever the search parameters are.
    #[test]
    fn leading_scores_are_those_of_the_best_listings(
        vectors in prop::collection::vec(prop::collection::vec(-1f32..1.0, 6), 60..200),
        query in prop::collection::vec(-1f32..1.0, 6),
        k in 1usize..=LEADING, most in 1usize..4, min_score in -1f32..1.0, bought in any::<bool>(),
    ) {
        prop_assume!(query.iter().any(|v| v.abs() > 0.1) && vectors.iter().all(|v| v.iter().any(|v| v.abs() > 0.1)));
        let photo = |(i, vector): (usize, &Vec<f32>)| {
            Photo::new(&format!("{:03}", i / 3), &i.to_string(), &[["a", "b", "c"][i / 3 % 3]], vector)
        };
        let photos: Vec<Photo> = vectors.iter().enumerate().map(photo).collect();
        let shard = Shard::from_bytes(&build_lists(6, filters(&["shop"]), &photos, 4).unwrap()).unwrap();
        let mut searcher = Searcher::new(&shard);
        let plain = SearchParams::default().with_recall(1.0);
        let filter = bought.then(|| Filter::parse("shop in (a, b)").unwrap());
        let expected = {
            let best = searcher.search(&embedding(&query), filter.as_ref(), &plain).unwrap();
            best.iter().map(|candidate| candidate.score).collect::<Vec<f32>>()
        };
        let mut params = plain.clone();
        (params.k, params.min_score) = (k, Some(min_score));
        params.per = Some(Per { column: "shop".to_owned(), most });
        let found = searcher.rank(&embedding(&query), filter.as_ref(), &params, LEADING).unwrap();
        prop_assert_eq!(&found.leading, &expected);
        prop_assert!(found.candidates.len() <= k);
        // A search that does not ask for leading scores finds the same listings.
        prop_assert_eq!(searcher.search(&embedding(&query), filter.as_ref(), &params).unwrap(), found.candidates);
    }
}
