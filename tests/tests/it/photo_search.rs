//! From a photo to its listing with the shipped network, through everything that an app does.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use magpie_core::bench;
use magpie_core::builder::{Field, Identity, ShardBuilder};
use magpie_core::catalog::Catalog;
use magpie_core::engine::{self, AskOptions, Begun, Cancel, Engine, SearchOptions};
use magpie_core::image::{DecodeLimits, Frame, Pixels, Plane, QuarterTurn, Region};
use magpie_core::remote::{Connectivity, Origin, QueryCode, Reason, SearchRequest, Setting};
use magpie_core::search::Filter;
use magpie_core::shard::Shard;
use magpie_core::{CatalogId, Embedding, Error, ModelId, PhotoError};
use magpie_tests::{default_model, folders, pictures, repository, shards};

/// The golden photos with the names of their cases.
fn photos() -> Vec<(String, Vec<u8>)> {
    let photo = |folder: &PathBuf| {
        let found = ["photo.png", "photo.jpg"].into_iter().find_map(|name| std::fs::read(folder.join(name)).ok());
        (folder.file_name().unwrap().to_str().unwrap().to_owned(), found.unwrap())
    };
    folders(&repository().join("models/packs/default/golden")).iter().map(photo).collect()
}

/// An engine whose catalogue has a listing for each golden photo, with its mirror image as a second photo.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let model = default_model();
        let identity = Identity { model_id: model.id(), ..shards::identity() };
        let fields = vec![Field { name: "kind".to_owned(), filter: true }];
        let mut builder = ShardBuilder::new(identity, model.manifest().embedding.dim as usize, fields);
        for (name, photo) in photos() {
            let kind = [name.split('-').next().unwrap().to_owned()];
            let mirrored = pictures::png(image_of(&photo).fliph());
            for (file, photo) in [("front", photo), ("mirrored", mirrored)] {
                let output = engine::embed(model, &photo, None, &DecodeLimits::default()).unwrap();
                builder.add(&name, file, &kind, &output.embedding).unwrap();
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("golden.magpie");
        builder.write(&path).unwrap();
        // The mapped file stays readable after it is deleted.
        Engine::new(model.clone(), Shard::open(&path).unwrap()).unwrap()
    })
}

/// The upright picture, decoded by the core at full size.
fn image_of(photo: &[u8]) -> image::DynamicImage {
    let mut recipe = default_model().manifest().input.clone();
    let decoded = magpie_core::image::decode(photo, None, &recipe, &DecodeLimits::default()).unwrap();
    (recipe.width, recipe.height) = decoded.size();
    let upright = decoded.input_rgb(None, &recipe).unwrap();
    image::RgbImage::from_raw(upright.width, upright.height, upright.rgb).unwrap().into()
}

#[test]
fn a_photo_in_the_catalogue_finds_its_listing_first() {
    for (name, photo) in photos() {
        let results = engine().search_photo(&photo, &SearchOptions::default()).unwrap();
        let best = &results.listings[0];
        assert_eq!((best.listing.id.as_str(), best.listing.photo.as_str()), (name.as_str(), "front"));
        assert!(best.score > 0.99, "{name}: {}", best.score);
        assert_eq!(results.listings.len(), photos().len().min(10));
        assert_eq!(results.attributes.0.len(), engine().model().manifest().heads.len());
        assert!(results.stages.total() >= results.stages.network && !results.stages.network.is_zero());
    }
}

#[test]
fn a_filter_holds_for_every_listing_that_is_found() {
    let options = SearchOptions::default().with_filter(Filter::parse("kind=jpeg").unwrap());
    let jpegs = photos().iter().filter(|(name, _)| name.starts_with("jpeg")).count();
    for (_, photo) in photos() {
        let found = engine().search_photo(&photo, &options).unwrap().listings;
        assert_eq!(found.len(), jpegs);
        assert!(found.iter().all(|found| found.listing.get("kind") == Some("jpeg")));
    }
    let options = options.with_filter(Filter::parse("weight>3").unwrap());
    assert!(matches!(engine().search_photo(&photos()[0].1, &options), Err(Error::Filter(_))));
}

#[test]
fn only_the_crop_is_searched_for() {
    let (name, photo) = photos().swap_remove(0);
    let picture = image_of(&photo).into_rgb8();
    // The photo in the middle of a larger, busy one.
    let mut busy = pictures::scene(picture.width() * 3, picture.height() * 2);
    let (x, y) = (picture.width(), picture.height() / 2);
    image::imageops::replace(&mut busy, &picture, i64::from(x), i64::from(y));
    let region = Region { x, y, width: picture.width(), height: picture.height() };
    let options = SearchOptions::default().with_region(region);
    let found = engine().search_photo(&pictures::png(busy), &options).unwrap().listings;
    assert!(found[0].listing.id == name && found[0].score > 0.99, "{:?}", found[0]);

    let error = engine().search_photo(&photo, &options).unwrap_err();
    assert!(matches!(error, Error::Photo(PhotoError::BadRegion { .. })), "{error}");
}

#[test]
fn threads_that_search_at_once_get_the_same_answers() {
    let photos = photos();
    let answers = || -> Vec<_> {
        let find = |photo: &Vec<u8>| engine().search_photo(photo, &SearchOptions::default()).unwrap().listings;
        photos.iter().take(3).map(|(_, photo)| find(photo)).collect()
    };
    let alone = answers();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(answers)).collect();
        threads.into_iter().for_each(|thread| assert!(thread.join().unwrap() == alone));
    });
}

#[test]
fn a_shard_of_another_model_is_refused_with_both_ids() {
    let shard = Shard::from_bytes(&shards::shop_bytes()).unwrap();
    assert_eq!(shard.header().catalog_id, CatalogId::of("Ann's shop"));
    match Engine::new(default_model().clone(), shard).unwrap_err() {
        Error::ModelMismatch { model, shard } => assert_eq!((model, shard), (default_model().id(), shards::MODEL)),
        error => panic!("{error}"),
    }
}

#[test]
fn a_camera_frame_finds_the_listing_of_its_photo() {
    for (name, photo) in photos() {
        let picture = image_of(&photo).to_rgba8();
        // As from a phone held upright, whose sensor is mounted sideways.
        let stored = image::imageops::rotate270(&picture);
        let row_stride = 4 * stored.width() as usize;
        let plane = Plane { bytes: stored.as_raw(), row_stride, pixel_stride: 4 };
        let (width, height) = stored.dimensions();
        let frame =
            Frame { pixels: Pixels::Rgba(plane), width, height, rotation: QuarterTurn::Quarter, mirrored: false };
        assert_eq!(frame.upright_size(), picture.dimensions());
        let options = SearchOptions::default();
        let found = engine().search_frame(&frame, &options).unwrap();
        assert_eq!(found.listings[0].listing.id, name);
        assert!(found.stages.decode.is_zero());
        let [of_frame, of_photo] = [
            engine().embed_frame(&frame, &options).unwrap(),
            engine().embed_photo(&pictures::png(picture), &options).unwrap(),
        ];
        let cosine = of_frame.embedding.cosine(&of_photo.embedding).unwrap();
        // Some pixels differ by a level, and the network is quantised.
        assert!(cosine > 0.995, "{name}: {cosine}");

        let cut = Frame { pixels: Pixels::Rgba(Plane { bytes: &stored.as_raw()[1..], ..plane }), ..frame };
        let refused = engine().search_frame(&cut, &options);
        assert!(matches!(refused, Err(Error::Photo(PhotoError::BadFrame { .. }))), "{refused:?}");
    }
}

#[test]
fn a_cancelled_search_ends_with_an_error_of_its_own() {
    let (_, photo) = &photos()[0];
    let cancel = Cancel::new();
    let options = SearchOptions::default().with_cancel(cancel.clone());
    assert!(engine().search_photo(photo, &options).is_ok());
    cancel.cancel();
    assert!(matches!(engine().search_photo(photo, &options), Err(Error::Cancelled)));
    assert!(matches!(engine().more_like("plain-mug", &options), Err(Error::Cancelled)));
    assert!(engine().search_photo(photo, &SearchOptions::default()).is_ok());
}

#[test]
fn a_benchmark_times_every_stage() {
    let photos = photos();
    let bytes: Vec<&[u8]> = photos.iter().map(|(_, photo)| photo.as_slice()).collect();
    let times = bench::searches(engine(), &bytes, 20, &SearchOptions::default()).unwrap();
    let names: Vec<&str> = times.iter().map(|times| times.stage).collect();
    assert_eq!(names, ["decode", "prepare", "network", "search", "listings", "together"]);
    assert!(times.iter().all(|times| !times.p50.is_zero() && times.p50 <= times.p90 && times.p90 <= times.p99));
}

/// A catalogue of `count` listings whose ids begin with `prefix`.
fn made_catalog(prefix: &str, count: usize, model_id: ModelId) -> Arc<Catalog> {
    let dim = default_model().manifest().embedding.dim as usize;
    let mut builder = ShardBuilder::new(Identity { model_id, ..shards::identity() }, dim, Vec::new());
    for at in 0..count {
        let vector: Vec<f32> = (0..dim).map(|d| ((at * 37 + d * 11) as f32 * 0.7).sin()).collect();
        builder.add(&format!("{prefix}-{at}"), "x", &[], &Embedding::new(&vector, model_id).unwrap()).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    builder.write(&folder.path().join("made.magpie")).unwrap();
    Arc::new(Shard::load(folder.path().join("made.magpie")).unwrap().into())
}

#[test]
fn the_catalogue_is_replaced_while_searches_run_and_each_search_sees_one() {
    let model = default_model();
    let (old, new) = (made_catalog("old", 30, model.id()), made_catalog("new", 20, model.id()));
    let engine = Engine::with_catalog(model.clone(), Arc::clone(&old)).unwrap();
    let vector: Vec<f32> = (0..old.dim()).map(|d| (d as f32).cos()).collect();
    let query = Embedding::new(&vector, model.id()).unwrap();
    std::thread::scope(|threads| {
        let search = || {
            for _ in 0..300 {
                let found = engine.search_embedding(&query, &SearchOptions::new(50)).unwrap().listings;
                let olds = found.iter().filter(|found| found.listing.id.starts_with("old")).count();
                assert!([(30, 30), (20, 0)].contains(&(found.len(), olds)), "{olds} old of {}", found.len());
            }
        };
        let searching = [threads.spawn(search), threads.spawn(search)];
        for at in 0.. {
            let catalog = if at % 2 == 0 { &new } else { &old };
            let before = engine.replace_catalog(Arc::clone(catalog)).unwrap();
            assert!(!Arc::ptr_eq(&before, catalog));
            if searching.iter().all(|thread| thread.is_finished()) && at % 2 == 0 {
                break;
            }
        }
    });
    assert_eq!(engine.catalog().listing_count(), 20);
    let other = made_catalog("other", 1, ModelId([1; 32]));
    assert!(matches!(engine.replace_catalog(Arc::clone(&other)), Err(Error::ModelMismatch { .. })));
    assert!(matches!(Engine::with_catalog(model.clone(), other), Err(Error::ModelMismatch { .. })));
    assert_eq!(engine.catalog().listing_count(), 20, "the catalogue in use is kept");
    drop((old, new));
    assert_eq!(engine.search_embedding(&query, &SearchOptions::new(3)).unwrap().listings.len(), 3);
}

#[test]
fn words_and_thumbnails_can_be_read() {
    assert_eq!(engine().words("kind", 2).unwrap(), ["crop", "jpeg"]);
    assert!(matches!(engine().words("colour", 2), Err(Error::Filter(_))));
    // This catalogue has no thumbnails.
    assert_eq!(engine().thumbnail("plain-mug", "front").unwrap(), None);
    assert!(matches!(engine().thumbnail("teapot", "front"), Err(Error::UnknownListing { .. })));
}

#[test]
fn a_search_that_may_ask_a_server_uses_the_same_query_locally() {
    let (_, photo) = &photos()[0];
    let ask = AskOptions::on(Connectivity::Unmetered);
    let asking = engine().ask_photo(photo, &SearchOptions::default(), &ask).unwrap();
    let embedded = engine().embed_photo(photo, &SearchOptions::default()).unwrap();
    let sent: SearchRequest = serde_json::from_str(&asking.body()).unwrap();
    assert_eq!((sent.model_id, &sent.embedding), (default_model().id(), &QueryCode::of(&embedded.embedding)));
    let query = sent.parse().unwrap().embedding;
    let found = engine().search_embedding(&query, &SearchOptions::default()).unwrap();
    assert_eq!((&asking.local.listings, asking.local.confidence), (&found.listings, found.confidence));
    assert_eq!(asking.local.attributes, embedded.attributes);
    assert!(asking.local.stages.total() >= asking.local.stages.network && !asking.local.stages.network.is_zero());

    let picture = image_of(photo).to_rgba8();
    let (width, height) = picture.dimensions();
    let plane = Plane { bytes: picture.as_raw(), row_stride: 4 * width as usize, pixel_stride: 4 };
    let frame = Frame { pixels: Pixels::Rgba(plane), width, height, rotation: QuarterTurn::None, mirrored: false };
    let framed = engine().ask_frame(&frame, &SearchOptions::default(), &ask).unwrap();
    let ids = |listings: &[magpie_core::listing::Found]| -> Vec<String> {
        listings.iter().map(|found| found.listing.id.clone()).collect()
    };
    assert_eq!(ids(&framed.local.listings)[..1], ids(&asking.local.listings)[..1]);
}

#[test]
fn a_filter_on_an_unknown_column_asks_the_server_if_allowed() {
    let (_, photo) = &photos()[0];
    let options = SearchOptions::default().with_filter(Filter::parse("weight>3").unwrap());
    let ask = |setting, connectivity| {
        let ask = AskOptions::on(connectivity).with_setting(setting);
        engine().ask_photo(photo, &options, &ask)
    };
    let asking = ask(Setting::WhenUseful, Connectivity::Metered).unwrap();
    assert!(asking.local.listings.is_empty() && asking.local.confidence.is_none());
    let Begun::Exchange { exchange, show_local } = asking.begin(&Origin::new(1), Duration::ZERO) else {
        panic!("not asked");
    };
    assert_eq!((exchange.reason(), show_local), (Reason::FilterUnknown, false));
    let forbidden = [
        (Setting::WhenUseful, Connectivity::Offline),
        (Setting::UnmeteredOnly, Connectivity::Metered),
        (Setting::Never, Connectivity::Unmetered),
    ];
    for (setting, connectivity) in forbidden {
        assert!(matches!(ask(setting, connectivity), Err(Error::Filter(_))), "{setting:?} {connectivity:?}");
    }
}
