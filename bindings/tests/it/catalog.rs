//! Updating an installed catalogue as Kotlin and Swift do, and searching it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use magpie_core::ModelId;
use magpie_ffi::{CatalogStore, Engine, MagpieError, SearchOptions, UpdateOptions, max_manifest_bytes, model_id};
use magpie_release::KeySet;
use magpie_release::publish::{sign_keys, sign_manifest};

use crate::release::{NOW, Shop, installed, key, model_folder, options, photo, text};

const OTHER: ModelId = ModelId([9; 32]);

fn most(k: u32) -> SearchOptions {
    SearchOptions { k, filter: None, crop: None, recall: None, min_score: None, near_duplicates: None, group: None }
}

/// Id and price of the best listing.
fn best(engine: &Engine) -> (String, String) {
    let listing = engine.search_photo(&photo(), most(1), None).unwrap().listings.remove(0);
    (listing.id, listing.fields[0].value.clone())
}

fn pair(id: &str, price: &str) -> (String, String) {
    (id.to_owned(), price.to_owned())
}

fn sequence(engine: &Engine) -> Option<u64> {
    engine.installed().map(|installed| installed.sequence)
}

#[test]
fn an_open_engine_changes_to_the_new_price_and_the_delta_alone_is_fetched() {
    let mut shop = Shop::new();
    let store = shop.store();
    assert_eq!(store.current().unwrap(), None);
    let none = Engine::open_installed(store.clone(), installed(None)).err().unwrap();
    assert!(matches!(&none, MagpieError::Catalog { reason } if reason.contains("update first")), "{none}");
    assert!(matches!(store.verify(Vec::new(), 1), Err(MagpieError::Catalog { .. })));

    let (first, fetched) = shop.update(options()).unwrap();
    assert_eq!(fetched, [shop.manifest.base.path()]);
    assert_eq!((first.catalog.as_str(), first.sequence, first.deltas, first.has_pack), ("shop", 1, 0, false));
    assert_eq!((first.issued, first.expires, first.model_id), (NOW - 1000, NOW + 1000, options().model_id.unwrap()));
    let engine = Engine::open_installed(store.clone(), installed(None)).unwrap();
    assert_eq!((best(&engine), sequence(&engine), engine.info().listings), (pair("mug", "18.00"), Some(1), 2));

    shop.change_price("15.00");
    let (second, fetched) = shop.update(options()).unwrap();
    assert_eq!(fetched, [shop.delta()]);
    assert_eq!((store.current().unwrap(), second.deltas), (Some(second.clone()), 1));
    assert_eq!((best(&engine), sequence(&engine)), (pair("mug", "18.00"), Some(1)));
    assert_eq!(engine.replace_catalog(store.clone()).unwrap(), second);
    assert_eq!((best(&engine), sequence(&engine), engine.info().listings), (pair("mug", "15.00"), Some(2), 2));

    shop.remove_mug();
    shop.update(options()).unwrap();
    engine.replace_catalog(store.clone()).unwrap();
    assert_eq!((best(&engine).0.as_str(), engine.info().listings), ("bag", 1));
    let keys = options().trusted_keys;
    assert_eq!(store.verify(keys, 1).unwrap().sequence, 3);
    let again = shop.begin().manifest(&shop.signed(), NOW).unwrap();
    assert_eq!((again.is_installed, again.files, again.bytes, again.sequence), (true, 0, 0, 3));
}

#[test]
fn a_bundled_base_is_searched_until_something_is_installed_and_is_not_fetched() {
    let mut shop = Shop::new();
    let base = shop.base();
    let bundled = UpdateOptions { bundled_catalog: Some(text(&base)), ..options() };
    let open = || Engine::open_installed(shop.store(), installed(Some(&base))).unwrap();
    assert_eq!((best(&open()), sequence(&open())), (pair("mug", "18.00"), None));
    assert_eq!(shop.update(bundled.clone()).unwrap().1, [""; 0]);
    assert_eq!(sequence(&open()), Some(1));
    shop.change_price("15.00");
    assert_eq!(shop.update(bundled).unwrap().1, [shop.delta()]);
    let engine = Engine::open_installed(shop.store(), installed(Some(&base))).unwrap();
    assert_eq!(best(&engine), pair("mug", "15.00"));
    // What is installed is damaged: the bundled one is searched until it is repaired.
    let file = shop.installed_base();
    let whole = fs::read(&file).unwrap();
    let replace = |bytes: &[u8]| fs::remove_file(&file).and_then(|()| fs::write(&file, bytes)).unwrap();
    for damaged in [&whole[..9], &vec![0; whole.len()][..]] {
        replace(damaged);
        let engine = Engine::open_installed(shop.store(), installed(Some(&base))).unwrap();
        assert_eq!((best(&engine), sequence(&engine)), (pair("mug", "18.00"), None));
        let error = Engine::open_installed(shop.store(), installed(None)).err().unwrap();
        assert!(matches!(error, MagpieError::Catalog { .. }), "{error}");
    }
    replace(&whole);
    let missing = installed(Some(Path::new("missing")));
    assert!(Engine::open_installed(shop.store(), missing.clone()).is_ok(), "the installed one is searched");
    let empty = CatalogStore::at(text(&shop.release().join("empty")));
    assert!(matches!(Engine::open_installed(empty, missing), Err(MagpieError::File { .. })));
}

#[test]
fn a_catalogue_for_another_model_needs_a_new_engine_and_takes_its_own_pack() {
    let (shop, ours) = (Shop::of_model(OTHER), Shop::new());
    let engine = Engine::open(magpie_ffi::OpenOptions {
        model_folder: model_folder(),
        catalog_file: text(&ours.base()),
        threads: 1,
        in_memory: false,
    })
    .unwrap();
    assert_eq!(sequence(&engine), None);
    assert!(matches!(shop.update(options()), Err(MagpieError::NotForThisApp { .. })));
    shop.update(UpdateOptions { model_id: None, ..options() }).unwrap();
    let error = engine.replace_catalog(shop.store()).unwrap_err();
    assert!(matches!(&error, MagpieError::OtherModel { reason } if reason.contains(&OTHER.to_string())), "{error}");
    assert_eq!((best(&engine), sequence(&engine)), (pair("mug", "18.00"), None));
    let error = Engine::open_installed(shop.store(), installed(None)).err().unwrap();
    assert!(matches!(error, MagpieError::OtherModel { .. }), "{error}");
    // The app was updated: it has another model than before, and brings a catalogue for it.
    let updated = Engine::open_installed(shop.store(), installed(Some(&ours.base()))).unwrap();
    assert_eq!((best(&updated).0.as_str(), sequence(&updated)), ("mug", None));

    // An app whose own model is older gets model and catalogue at once.
    let mut ours = ours;
    ours.with_pack();
    let (now, _) = ours.update(UpdateOptions { model_id: Some(OTHER.to_string()), ..options() }).unwrap();
    assert!(now.has_pack);
    let mut without = installed(None);
    without.model_folder = "missing".to_owned();
    let engine = Engine::open_installed(ours.store(), without).unwrap();
    assert_eq!((best(&engine), engine.info().model_id), (pair("mug", "18.00"), model_id(model_folder()).unwrap()));
    // One that has the model does not fetch the pack.
    assert_eq!(ours.begin().manifest(&ours.signed(), NOW).unwrap().files, 0);
}

#[test]
fn what_does_not_open_is_never_installed() {
    let mut shop = Shop::new();
    shop.update(options()).unwrap();
    let before = shop.store().current().unwrap();
    shop.with_base(b"signed, but no shard");
    assert!(matches!(shop.update(options()), Err(MagpieError::Catalog { .. })));
    // A shard of another model than the manifest says.
    let other = fs::read(Shop::of_model(OTHER).base()).unwrap();
    shop.with_base(&other);
    assert!(matches!(shop.update(options()), Err(MagpieError::Catalog { .. })));
    // A pack of another model than the manifest says.
    let mut lies = Shop::of_model(OTHER);
    lies.with_pack();
    let error = lies.update(options()).unwrap_err();
    assert!(matches!(&error, MagpieError::Catalog { reason } if reason.contains("its pack has")), "{error}");
    assert_eq!((shop.store().current().unwrap(), lies.store().current().unwrap()), (before, None));
}

#[test]
fn errors_tell_the_app_what_to_do() {
    let shop = Shop::new();
    let manifest = shop.signed();
    let with = |change: &dyn Fn(&mut UpdateOptions)| {
        let mut options = options();
        change(&mut options);
        shop.store().update(options)?.manifest(&manifest, NOW)
    };
    assert!(with(&|_| ()).is_ok());
    let stranger = key(2).public().to_string();
    assert!(matches!(with(&|o| o.trusted_keys = vec![stranger.clone()]), Err(MagpieError::Untrusted { .. })));
    assert!(matches!(with(&|o| o.catalog = Some("other".into())), Err(MagpieError::NotForThisApp { .. })));
    assert!(matches!(with(&|o| o.model_id = Some(OTHER.to_string())), Err(MagpieError::NotForThisApp { .. })));
    for bad in [
        &(|o: &mut UpdateOptions| o.trusted_keys.clear()) as &dyn Fn(&mut UpdateOptions),
        &|o| o.trusted_keys.push("abc".into()),
        &|o| o.trusted_keys = vec![o.trusted_keys[0].to_uppercase()],
        &|o| o.threshold = 0,
        &|o| o.threshold = 2,
        &|o| (o.threshold, o.trusted_keys) = (2, [&o.trusted_keys[..], &o.trusted_keys].concat()),
        &|o| o.model_id = Some("abc".into()),
    ] {
        assert!(matches!(with(bad), Err(MagpieError::Request { .. })));
    }

    let update = shop.begin();
    assert!(matches!(update.next_fetch(), Err(MagpieError::Request { .. })), "no manifest yet");
    assert!(matches!(shop.store().update(options()), Err(MagpieError::Busy { .. })));
    assert!(matches!(update.manifest(b"<html>", NOW), Err(MagpieError::Download { .. })));
    assert!(matches!(update.manifest(&manifest, NOW + 1000), Err(MagpieError::Outdated { .. })));
    update.manifest(&manifest, NOW).unwrap();
    let mut older = shop.manifest.clone();
    (older.sequence, older.issued) = (1, NOW - 1);
    let reused = sign_manifest(&older, &[key(1)]).unwrap();
    assert!(matches!(update.manifest(&reused, NOW), Err(MagpieError::Outdated { .. })));
    assert!(matches!(update.install(), Err(MagpieError::Request { .. })), "nothing was fetched");
    assert!(matches!(update.receive(1, b"x"), Err(MagpieError::Download { .. })), "another offset");
    let fetch = update.next_fetch().unwrap().unwrap();
    let wrong = vec![0; fetch.bytes as usize];
    assert!(matches!(update.receive(0, &wrong), Err(MagpieError::Download { .. })), "another hash");
    assert!(matches!(update.receive(0, b"x"), Err(MagpieError::Request { .. })), "no file is being received");
    update.next_fetch().unwrap();
    let long = [&wrong[..], b"x"].concat();
    assert!(matches!(update.receive(0, &long), Err(MagpieError::Download { .. })), "another length");
    assert!(manifest.len() < max_manifest_bytes() as usize);
    update.end();
    update.end();
    for ended in [
        update.manifest(&manifest, NOW).map(drop),
        update.next_fetch().map(drop),
        update.receive(0, b"x").map(drop),
        update.keys_path().map(drop),
        update.add_keys(b"x"),
        update.install().map(drop),
    ] {
        assert!(matches!(&ended, Err(MagpieError::Request { reason }) if reason.contains("ended")), "{ended:?}");
    }
}

#[test]
fn an_update_that_was_released_goes_on_where_it_stopped() {
    let shop = Shop::new();
    let base = fs::read(shop.base()).unwrap();
    let half = base.len() / 2;
    let update = shop.begin();
    update.manifest(&shop.signed(), NOW).unwrap();
    let fetch = update.next_fetch().unwrap().unwrap();
    assert_eq!(fetch.path, format!("files/{}", fetch.hash));
    update.receive(0, &base[..half]).unwrap();
    drop(update);
    let update = shop.begin();
    assert_eq!(update.manifest(&shop.signed(), NOW).unwrap().bytes, (base.len() - half) as u64);
    assert_eq!(update.next_fetch().unwrap().unwrap().offset, half as u64);
    // A server that ignores the range sends all of it.
    update.receive(0, &base[..100]).unwrap();
    assert_eq!(update.next_fetch().unwrap().unwrap().offset, 100);
    assert!(update.receive(100, &base[100..]).unwrap());
    assert_eq!(update.install().unwrap().sequence, 1);
}

#[test]
fn damage_is_found_and_repaired_and_new_keys_are_followed() {
    let mut shop = Shop::new();
    let (now, _) = shop.update(options()).unwrap();
    let base = text(&shop.base()).replace("release", "phone");
    let mut bytes = fs::read(&base).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&base, &bytes).unwrap();
    assert_eq!(shop.store().current().unwrap(), Some(now.clone()), "lengths alone are looked at");
    assert!(matches!(shop.store().verify(Vec::new(), 1), Err(MagpieError::Catalog { .. })));
    let repair = UpdateOptions { repair: true, ..options() };
    assert_eq!(shop.update(repair).unwrap(), (now, vec![shop.manifest.base.path()]));

    let keys = KeySet { version: 2, sequence: 1, ..KeySet::new(vec![key(2).public()]) };
    let document = sign_keys("shop", &keys, &[key(1)]).unwrap();
    shop.manifest.sequence = 2;
    let signed = sign_manifest(&shop.manifest, &[key(2)]).unwrap();
    let update = shop.begin();
    assert!(matches!(update.manifest(&signed, NOW), Err(MagpieError::Untrusted { .. })));
    assert_eq!(update.keys_path().unwrap(), "keys-2");
    let forged = sign_keys("shop", &keys, &[key(2)]).unwrap();
    assert!(matches!(update.add_keys(&forged), Err(MagpieError::Untrusted { .. })));
    update.add_keys(&document).unwrap();
    update.manifest(&signed, NOW).unwrap();
    assert_eq!(update.install().unwrap().sequence, 2);
    assert_eq!(
        shop.store().verify(options().trusted_keys, 1).unwrap().sequence,
        2,
        "the pinned key led to the new one"
    );
    let stranger = vec![key(3).public().to_string()];
    assert!(matches!(shop.store().verify(stranger, 1), Err(MagpieError::Untrusted { .. })));
}

#[test]
fn searches_run_while_the_catalogue_is_replaced() {
    let mut shop = Shop::new();
    shop.update(options()).unwrap();
    let engine = Engine::open_installed(shop.store(), installed(None)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let similar = engine.more_like("bag".to_owned(), most(2), None);
                    assert_eq!(similar.unwrap()[0].id, "mug");
                }
            });
        }
        for price in ["1.00", "2.00", "3.00"] {
            shop.change_price(price);
            shop.update(options()).unwrap();
            engine.replace_catalog(shop.store()).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!((best(&engine), sequence(&engine)), (pair("mug", "3.00"), Some(4)));
}
