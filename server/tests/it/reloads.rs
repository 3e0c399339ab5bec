//! What a reload accepts.

use std::path::Path;
use std::time::{Duration, Instant};

use magpie_core::ModelId;
use magpie_core::builder::Identity;
use magpie_core::remote::SearchRequest;
use magpie_core::search::SearchParams;
use magpie_server::{CatalogSource, Embedded, OpenChecks, RequestBudget, SearchBackend};

use crate::common::{CATALOG, MODEL, PATIENCE, Running, agent, embedding, get, request, search, shard, shard_of};

/// Replaces a shard as catalogues are installed.
fn replace(path: &Path, model_id: ModelId, catalog: &str, sequence: u64) {
    let fresh = path.with_extension("new");
    let identity = Identity { model_id, catalog: catalog.to_owned(), sequence, writer: "tests".to_owned() };
    shard_of(&fresh, 0..50, identity, None);
    std::fs::rename(fresh, path).unwrap();
}

#[test]
fn another_model_catalogue_or_an_older_sequence_does_not_replace_what_is_served() {
    let server = Running::start(|_| ());
    let path = server.folder.path().join("a.magpie");
    shard(&path.with_extension("new"), 0..60, 5);
    std::fs::rename(path.with_extension("new"), &path).unwrap();
    server.reload();
    for (model, catalog, sequence) in [(ModelId([9; 32]), CATALOG, 6), (MODEL, "Bob's shop", 6), (MODEL, CATALOG, 4)] {
        replace(&path, model, catalog, sequence);
        server.reload();
        let ready = get(&server.url("/readyz")).body;
        assert!(ready.contains(r#""listings":60,"#) && ready.contains(r#""reload_failed":true"#), "{ready}");
        assert_eq!(search(&agent(), &server, &request(1, None, &SearchParams::default())).listings.len(), 10);
    }
    replace(&path, MODEL, CATALOG, 5);
    server.reload();
    let ready = get(&server.url("/readyz")).body;
    assert!(ready.contains(r#""listings":50,"#) && ready.contains(r#""reload_failed":false"#), "{ready}");
}

#[test]
fn a_flag_takes_any_catalogue() {
    let server = Running::start(|s| s.reload_any = true);
    replace(&server.folder.path().join("a.magpie"), ModelId([9; 32]), "Bob's shop", 0);
    server.reload();
    assert!(get(&server.url("/readyz")).body.contains(r#""catalog":"Bob's shop""#));
}

#[test]
fn a_damaged_shard_does_not_replace_what_is_served() {
    let server = Running::start(|_| ());
    let path = server.folder.path().join("a.magpie");
    shard(&path.with_extension("good"), 0..60, 2);
    let bytes = std::fs::read(path.with_extension("good")).unwrap();
    // Somewhere in the codes and texts, which opening alone does not read.
    for at in (1..8).map(|part| bytes.len() * part / 8) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(path.with_extension("new"), damaged).unwrap();
        std::fs::rename(path.with_extension("new"), &path).unwrap();
        server.reload();
        assert!(get(&server.url("/readyz")).body.contains(r#""listings":400,"#), "byte {at}");
    }
    std::fs::rename(path.with_extension("good"), &path).unwrap();
    server.reload();
    assert!(get(&server.url("/readyz")).body.contains(r#""listings":60,"#));
}

/// Many reloads at once, while newer catalogues are installed: the sequence that is served never falls.
#[test]
fn reloads_at_once_do_not_go_backwards() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.magpie");
    shard(&path, 0..20, 1);
    let source = CatalogSource::Shards(vec![path.clone()]);
    let backend = Embedded::open(source, OpenChecks::default(), 1, PATIENCE).unwrap();
    let sequence = || backend.status().unwrap().sequence;
    std::thread::scope(|scope| {
        let reloads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 12 {
                        let _ = backend.reload();
                        let now = sequence();
                        assert!(now >= last, "from {last} to {now}");
                        last = now;
                    }
                })
            })
            .collect();
        for sequence in 2..=12 {
            replace(&path, MODEL, CATALOG, sequence);
        }
        reloads.into_iter().for_each(|reload| reload.join().unwrap());
    });
    assert_eq!(sequence(), 12);
}

/// A mapped file that is cut short would end the process.
#[test]
fn a_loaded_shard_may_be_cut_short_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.magpie");
    shard(&path, 0..200, 1);
    let checks = || {
        let mut checks = OpenChecks::default();
        checks.load = true;
        checks
    };
    let backend = Embedded::open(CatalogSource::Shards(vec![path.clone()]), checks(), 1, PATIENCE).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
    let query = SearchRequest::new(&embedding(1), None, &SearchParams::new(50)).parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let budget = RequestBudget::until(Instant::now() + Duration::from_secs(60));
    let found = runtime.block_on(backend.search(query, budget)).unwrap();
    assert_eq!((found.listings.len(), found.complete), (50, true));
    assert!(backend.reload().is_err());
    // A release is read into memory as well.
    let publisher = crate::common::publisher::Publisher::new(folder.path(), 0..50);
    let release = CatalogSource::Release(publisher.release.clone());
    let backend = Embedded::open(release, checks(), 1, PATIENCE).unwrap();
    let base = publisher.path(&publisher.manifest.base);
    std::fs::OpenOptions::new().write(true).open(base).unwrap().set_len(100).unwrap();
    let query = SearchRequest::new(&embedding(1), None, &SearchParams::new(20)).parse().unwrap();
    let budget = RequestBudget::until(Instant::now() + Duration::from_secs(60));
    assert_eq!(runtime.block_on(backend.search(query, budget)).unwrap().listings.len(), 20);
}
