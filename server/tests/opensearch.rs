//! The server on a real OpenSearch cluster: the same listings as on the phone, and none lost when a node is.
//!
//! `cargo xtask test --engine opensearch` fetches the engine and runs these; other runs leave them out.
#![allow(missing_docs, clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

mod common;
#[path = "common/nodes.rs"]
mod nodes;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{JSON, MODEL, Running, agent, get, post, request, search, shard};
use magpie_core::Embedding;
use magpie_core::builder::{Field, Identity, ShardBuilder};
use magpie_core::image::Limits;
use magpie_core::listing::{self, Found};
use magpie_core::model::{Model, Pack};
use magpie_core::remote::{SearchReply, SearchRequest};
use magpie_core::search::{Filter, Per, SearchParams, Searcher};
use magpie_core::shard::Shard;
use magpie_server::{Cluster, LoadOptions, Loaded, load};
use nodes::Nodes;

fn options(alias: &str) -> LoadOptions {
    let patience = Duration::from_secs(60);
    LoadOptions { alias: alias.to_owned(), shards: 3, replicas: 1, merge: false, patience }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn put(nodes: &Nodes, alias: &str, paths: &[PathBuf]) -> Result<Loaded, String> {
    let cluster = Arc::new(Cluster::new(&nodes.urls())?);
    runtime().block_on(load(cluster, paths, &options(alias), |_| ()))
}

/// What the phone finds with the query as it sends it.
fn on_the_phone(shard: &Shard, body: &str) -> Vec<Found> {
    let query = serde_json::from_str::<SearchRequest>(body).unwrap().parse().unwrap();
    let candidates = Searcher::new(shard).search(&query.embedding, query.filter.as_ref(), &query.params).unwrap();
    listing::fetch(shard, &candidates).unwrap()
}

fn params(k: usize, change: impl FnOnce(&mut SearchParams)) -> SearchParams {
    let mut params = SearchParams::new(k).with_recall(1.0);
    change(&mut params);
    params
}

fn ids(found: &[Found]) -> BTreeSet<String> {
    found.iter().map(|found| found.listing.id.clone()).collect()
}

/// Both found the same, as far as rounding and a graph allow.
fn alike(there: &[Found], here: &[Found]) {
    assert_eq!(there.len(), here.len());
    for pair in there.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        assert!(a.score > b.score || (a.score == b.score && a.listing.id < b.listing.id), "{a:?} {b:?}");
    }
    let common = ids(there).intersection(&ids(here)).count();
    assert!(common + common / 10 + 1 >= here.len(), "{there:?}\n{here:?}");
    for found in there {
        if let Some(same) = here.iter().find(|other| other.listing.id == found.listing.id) {
            assert!((found.score - same.score).abs() < 0.01, "{} {}", found.score, same.score);
            let (mut found, same) = (found.listing.clone(), &same.listing);
            // Which of two photos that are equally near stands for a listing is a matter of rounding.
            found.photo.clone_from(&same.photo);
            assert_eq!(&found, same);
        }
    }
}

#[test]
#[ignore = "needs OpenSearch: cargo xtask test --engine opensearch"]
fn the_cluster_finds_what_the_phone_finds() {
    let nodes = Nodes::all();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.magpie");
    shard(&path, 0..400, 1);
    let loaded = put(&nodes, "phone", std::slice::from_ref(&path)).unwrap();
    assert_eq!((loaded.listings, loaded.photos, loaded.resumed), (400, 800, 0));
    let server = Running::on_cluster(nodes.urls(), "phone", |s| s.max_k = 400);
    let (agent, shard) = (agent(), Shard::open(&path).unwrap());
    let both = |seed: usize, filter: Option<&str>, params: &SearchParams| {
        let body = request(seed, filter, params);
        let there = search(&agent, &server, &body).listings;
        (there.into_iter().map(Found::from).collect::<Vec<_>>(), on_the_phone(&shard, &body))
    };
    for seed in 0..10 {
        let (there, here) = both(seed, None, &params(10, |_| ()));
        alike(&there, &here);
        // The photo that is far nearer than its listing's other one is the one that is named.
        let same = there.iter().zip(&here).filter(|(a, b)| a.listing == b.listing).count();
        assert!(same >= 5, "{there:?}\n{here:?}");
        for filter in ["colour=red and price<20", "colour in ('sea blue', green) or price>=39", "not colour=red"] {
            let (there, here) = both(seed, Some(filter), &params(25, |_| ()));
            alike(&there, &here);
        }
        let (there, here) = both(seed, None, &params(200, |p| p.min_score = Some(0.1)));
        assert!(there.iter().all(|found| found.score >= 0.1) && there.len().abs_diff(here.len()) <= 2);
        let per = |p: &mut SearchParams| p.per = Some(Per { column: "colour".to_owned(), most: 3 });
        let (there, here) = both(seed, None, &params(12, per));
        alike(&there, &here);
        assert_eq!(there.len(), 9);
        // Photos of one group are nearly all nearer to each other than 0.7, photos of two are not.
        let (there, here) = both(seed, None, &params(20, |p| p.near_duplicates = Some(0.7)));
        let group = |found: &Found| found.listing.id[4..].parse::<usize>().unwrap() / 8;
        let groups = |found: &[Found]| found.iter().map(group).collect::<BTreeSet<usize>>();
        assert!(there.len() == 20 && groups(&there).len() >= 17, "{there:?}");
        assert!(groups(&there).intersection(&groups(&here)).count() >= 15, "{there:?}\n{here:?}");
    }
    // All that pass, and no other: a filter has one meaning.
    for filter in [
        "price=3.5",
        "price!=3.5 and colour=red",
        "price in (3.5, 7.50, 99)",
        "not (price>=2.5 and (colour=green or not price<30))",
        "colour!='sea blue' and not not price<=1.5",
        "colour=purple",
    ] {
        let (there, here) = both(1, Some(filter), &params(400, |_| ()));
        assert_eq!(ids(&there), ids(&here), "{filter}");
        assert_eq!(filter == "colour=purple", there.is_empty());
    }
    let got = get(&server.url("/v1/listings/mug-0007"));
    let expected = r#"{"id":"mug-0007","photos":["7-0.jpg","7-1.jpg"],"fields":{"title":"Mug no. 7","colour":"green","price":"7.50"}}"#;
    assert_eq!((got.status, got.body.as_str()), (200, expected));
    assert_eq!(get(&server.url("/v1/listings/mug-9999")).status, 404);
    let ready: serde_json::Value = serde_json::from_str(&get(&server.url("/readyz")).body).unwrap();
    assert_eq!(
        (&ready["listings"], &ready["catalog"], &ready["shards"]),
        (&400.into(), &"Ann's shop".into(), &3.into())
    );
    for (filter, fault) in [("size=3", "no column 'size'"), ("price=x", "holds numbers"), ("colour<red", "holds words")]
    {
        let got = post(&agent, &server.url("/v1/search"), &[JSON], &request(1, Some(filter), &params(10, |_| ())));
        let got = got.unwrap();
        assert!(got.status == 400 && got.body.contains(fault), "{}", got.body);
    }
    let body = request(1, None, &params(10, |_| ())).replace(&MODEL.to_string(), &"09".repeat(32));
    assert_eq!(post(&agent, &server.url("/v1/search"), &[JSON], &body).unwrap().status, 409);
}

/// A shard of real photos: the project's renders, and groceries from shops where the pictures are there.
fn real(path: &Path) -> Vec<(Embedding, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let model = Model::load(&Pack::open(root.join("models/packs/default")).unwrap()).unwrap();
    let mut rows = Vec::new();
    let demo = root.join("cli/demo");
    for line in std::fs::read_to_string(demo.join("catalog.csv")).unwrap().lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        rows.push((cells[0].to_owned(), demo.join("photos").join(cells[1]), cells[3].to_owned()));
    }
    let shared = root.join("../shared/data/products");
    for line in std::fs::read_to_string(shared.join("manifest.csv")).unwrap_or_default().lines() {
        let cells: Vec<&str> = line.split(',').collect();
        if cells[1..3] == ["grocery", "gallery"] {
            rows.push((cells[6].to_owned(), shared.join(cells[0]), cells[4].to_owned()));
        }
    }
    assert!(rows.len() >= 144, "{}", rows.len());
    let identity = Identity {
        model_id: model.id(),
        catalog: "demo and groceries".to_owned(),
        sequence: 1,
        writer: "tests".to_owned(),
    };
    let category = Field { name: "category".to_owned(), filter: true };
    let mut builder = ShardBuilder::new(identity, model.manifest().embedding.dim as usize, vec![category]);
    let embed = |path: &Path| {
        let photo = std::fs::read(path).unwrap();
        magpie_core::engine::embed(&model, &photo, None, &Limits::default()).unwrap().embedding
    };
    for (id, photo, category) in &rows {
        let name = photo.file_name().unwrap().to_str().unwrap();
        builder.add(id, name, std::slice::from_ref(category), &embed(photo)).unwrap();
    }
    builder.write(path).unwrap();
    let queries = std::fs::read_to_string(demo.join("queries.csv")).unwrap();
    let queries = queries.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    queries.map(|cells| (embed(&demo.join("queries").join(cells[0])), cells[1].to_owned())).collect()
}

#[test]
#[ignore = "needs OpenSearch: cargo xtask test --engine opensearch"]
fn real_photos_find_their_listings_and_filters_hold() {
    let nodes = Nodes::all();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("real.magpie");
    let queries = real(&path);
    let loaded = put(&nodes, "real", std::slice::from_ref(&path)).unwrap();
    let server = Running::on_cluster(nodes.urls(), "real", |_| ());
    let (agent, shard) = (agent(), Shard::open(&path).unwrap());
    assert_eq!(loaded.photos, u64::from(shard.header().photo_count));
    let (mut right, mut common) = (0, 0);
    for (query, listing) in &queries {
        let body = |filter: Option<&str>| {
            let filter = filter.map(|text| Filter::parse(text).unwrap());
            serde_json::to_string(&SearchRequest::new(query, filter.as_ref(), &params(10, |_| ()))).unwrap()
        };
        let ask = |body: &str| -> Vec<Found> {
            search(&agent, &server, body).listings.into_iter().map(Found::from).collect()
        };
        let (there, here) = (ask(&body(None)), on_the_phone(&shard, &body(None)));
        alike(&there, &here);
        common += ids(&there).intersection(&ids(&here)).count();
        right += usize::from(there.iter().any(|found| found.listing.id == *listing));
        let filtered = ask(&body(Some("category=Mugs")));
        assert!(filtered.iter().all(|found| found.listing.get("category") == Some("Mugs")));
        assert_eq!(filtered.len(), on_the_phone(&shard, &body(Some("category=Mugs"))).len());
    }
    println!(
        "{right} of {} queries found their listing; {common} of {} listings are the phone's",
        queries.len(),
        10 * queries.len()
    );
    assert!(10 * right >= 9 * queries.len() && 100 * common >= 95 * 10 * queries.len(), "{right} {common}");
}

/// Asks without a pause until told to stop; every answer must be whole.
fn ask_on(server: &Running, stop: &AtomicBool, answers: &AtomicUsize, at: usize) {
    let agent = agent();
    for seed in (at..).step_by(4) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let body = request(seed, (seed % 3 == 0).then_some("price<20"), &params(10, |_| ()));
        let reply: SearchReply = search(&agent, server, &body);
        assert_eq!(reply.listings.len(), 10, "{reply:?}");
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// Does something while four ask without a pause.
fn meanwhile(server: &Running, answers: &AtomicUsize, work: impl FnOnce(&dyn Fn(usize))) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        let askers: Vec<_> = (0..4).map(|at| scope.spawn(move || ask_on(server, stop, answers, at))).collect();
        let wait = |more: usize| {
            let aim = answers.load(Ordering::Relaxed) + more;
            while answers.load(Ordering::Relaxed) < aim && !askers.iter().any(|asker| asker.is_finished()) {
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        work(&wait);
        stop.store(true, Ordering::Relaxed);
        askers.into_iter().for_each(|asker| asker.join().unwrap());
    });
}

fn metric(server: &Running, name: &str) -> u64 {
    let text = get(&server.url("/metrics")).body;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
}

#[test]
#[ignore = "needs OpenSearch: cargo xtask test --engine opensearch"]
fn a_node_that_dies_loses_no_answer() {
    let mut nodes = Nodes::all();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.magpie");
    shard(&path, 0..400, 1);
    put(&nodes, "dying", &[path]).unwrap();
    nodes.start();
    let server = Running::on_cluster(nodes.urls(), "dying", |_| ());
    let answers = AtomicUsize::new(0);
    meanwhile(&server, &answers, |wait| {
        wait(200);
        nodes.kill(2);
        wait(600);
    });
    let retries = metric(&server, "magpie_engine_retries_total");
    println!("{} answers, {retries} requests sent again", answers.load(Ordering::Relaxed));
    assert!(answers.load(Ordering::Relaxed) >= 800 && retries > 0, "{retries}");
    assert_eq!(get(&server.url("/metrics")).body.matches(r#"status="5"#).count(), 0);
    nodes.start();
}

#[test]
#[ignore = "needs OpenSearch: cargo xtask test --engine opensearch"]
fn a_load_survives_the_death_of_a_node_and_its_own_end() {
    let mut nodes = Nodes::all();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.magpie");
    shard(&path, 0..6000, 1);
    // Ends by itself once some are there: what came so far is not searched.
    let cluster = Arc::new(Cluster::new(&nodes.urls()).unwrap());
    let paths = [path];
    let some = AtomicUsize::new(0);
    let runtime = runtime();
    runtime.block_on(async {
        let options = options("loading");
        let loading =
            load(Arc::clone(&cluster), &paths, &options, |there| some.store(there as usize, Ordering::Relaxed));
        tokio::select! {
            done = loading => panic!("{done:?}"),
            () = async {
                // The index is told every few seconds how far it is.
                while nodes.get(0, "/loading-*/_mapping").is_none_or(|said| !said.to_string().contains(r#""loaded":"#)
                    || said.to_string().contains(r#""loaded":0"#)) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            } => {}
        }
    });
    let before = some.load(Ordering::Relaxed);
    assert!(before > 0 && before < 6000, "{before}");
    assert!(nodes.get(0, "/_alias/loading").unwrap().to_string().contains("missing"));
    let rest = std::thread::scope(|scope| {
        let urls = nodes.urls();
        let rest = scope.spawn(move || {
            let cluster = Arc::new(Cluster::new(&urls).unwrap());
            self::runtime().block_on(load(cluster, &paths, &options("loading"), |_| ()))
        });
        std::thread::sleep(Duration::from_millis(300));
        nodes.kill(1);
        rest.join().unwrap()
    });
    let rest = rest.unwrap();
    println!("{before} were there, the rest: {rest:?}");
    assert!(rest.resumed > 0 && rest.retries > 0, "{rest:?}");
    assert_eq!((rest.listings, rest.photos), (6000, 12_000));
    nodes.start();
    let count = nodes.get(0, "/loading/_count").unwrap();
    assert_eq!(count["count"], 6000);
}

#[test]
#[ignore = "needs OpenSearch: cargo xtask test --engine opensearch"]
fn a_newer_catalogue_takes_over_without_a_gap() {
    let nodes = Nodes::all();
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (1..=3).map(|n| folder.path().join(format!("{n}.magpie"))).collect();
    for (number, path) in (1..).zip(&paths) {
        shard(path, 0..100 * number + 100, number as u64);
    }
    let first = put(&nodes, "newer", &paths[..1]).unwrap();
    let server = Running::on_cluster(nodes.urls(), "newer", |s| s.watch = Duration::from_millis(200));
    let answers = AtomicUsize::new(0);
    let listings = || metric(&server, "magpie_catalog_listings");
    let mut indexes = vec![first.index];
    meanwhile(&server, &answers, |wait| {
        for (number, path) in (2..).zip(&paths[1..]) {
            wait(50);
            indexes.push(put(&nodes, "newer", std::slice::from_ref(path)).unwrap().index);
            while listings() != 100 * number + 100 {
                wait(1);
            }
            wait(50);
        }
    });
    let there = nodes.get(0, "/_cat/indices/newer-*?format=json").unwrap().to_string();
    // The one before stays for servers that have not looked yet.
    let kept = indexes.iter().map(|index| there.contains(index.as_str())).collect::<Vec<_>>();
    assert_eq!(kept, [false, true, true], "{there}");
    // The same shards again: nothing is sent, and nothing breaks.
    let again = put(&nodes, "newer", &paths[2..]).unwrap();
    assert_eq!((again.index, again.resumed, again.listings), (indexes[2].clone(), 400, 400));
    // Two shards of one catalogue: a listing that is in both counts once, with the later one's texts.
    let more = folder.path().join("more.magpie");
    shard(&more, 350..450, 4);
    let both = put(&nodes, "newer", &[paths[2].clone(), more]).unwrap();
    assert_eq!((both.listings, both.photos), (450, 900));
}
