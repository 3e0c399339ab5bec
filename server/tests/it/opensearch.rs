//! The server on a real OpenSearch cluster: finds the same listings as the phone, and survives the loss of nodes.
//!
//! `cargo xtask test --engine opensearch` downloads OpenSearch and runs these tests; other runs ignore them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::nodes::Nodes;
use crate::common::{JSON, MODEL, Running, agent, get, on_the_phone, post, request, search, shard};
use magpie_core::Embedding;
use magpie_core::builder::{Field, Identity, ShardBuilder};
use magpie_core::image::DecodeLimits;
use magpie_core::listing::Found;
use magpie_core::model::{Model, Pack};
use magpie_core::remote::{SearchReply, SearchRequest};
use magpie_core::search::{Filter, Per, SearchParams};
use magpie_core::shard::Shard;
use magpie_server::{Cluster, LoadOptions, Loaded, load};

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

fn params(k: usize, change: impl FnOnce(&mut SearchParams)) -> SearchParams {
    let mut params = SearchParams::default();
    (params.k, params.recall) = (k, 1.0);
    change(&mut params);
    params
}

fn ids(found: &[Found]) -> BTreeSet<String> {
    found.iter().map(|found| found.listing.id.clone()).collect()
}

/// Checks that both found the same, except for rounding and the approximate graph search.
fn assert_similar(served: &[Found], local: &[Found]) {
    assert_eq!(served.len(), local.len());
    for pair in served.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        assert!(a.score > b.score || (a.score == b.score && a.listing.id < b.listing.id), "{a:?} {b:?}");
    }
    let common = ids(served).intersection(&ids(local)).count();
    assert!(common + common / 10 + 1 >= local.len(), "{served:?}\n{local:?}");
    for found in served {
        if let Some(same) = local.iter().find(|other| other.listing.id == found.listing.id) {
            assert!((found.score - same.score).abs() < 0.01, "{} {}", found.score, same.score);
            let (mut found, same) = (found.listing.clone(), &same.listing);
            // Which of two equally near photos represents a listing depends on rounding.
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
        let served = search(&agent, &server, &body).listings;
        (served.into_iter().map(Found::from).collect::<Vec<_>>(), on_the_phone(&shard, &body))
    };
    for seed in 0..10 {
        let (served, local) = both(seed, None, &params(10, |_| ()));
        assert_similar(&served, &local);
        // Where one photo of a listing is much nearer than the other, both name that one.
        let same = served.iter().zip(&local).filter(|(a, b)| a.listing == b.listing).count();
        assert!(same >= 5, "{served:?}\n{local:?}");
        for filter in ["colour=red and price<20", "colour in ('sea blue', green) or price>=39", "not colour=red"] {
            let (served, local) = both(seed, Some(filter), &params(25, |_| ()));
            assert_similar(&served, &local);
        }
        let (served, local) = both(seed, None, &params(200, |p| p.min_score = Some(0.1)));
        assert!(served.iter().all(|found| found.score >= 0.1) && served.len().abs_diff(local.len()) <= 2);
        let per = |p: &mut SearchParams| p.per = Some(Per { column: "colour".to_owned(), most: 3 });
        let (served, local) = both(seed, None, &params(12, per));
        assert_similar(&served, &local);
        assert_eq!(served.len(), 9);
        // Cosines within a group are nearly all above 0.7, between groups below.
        let (served, local) = both(seed, None, &params(20, |p| p.near_duplicates = Some(0.7)));
        let group = |found: &Found| found.listing.id[4..].parse::<usize>().unwrap() / 8;
        let groups = |found: &[Found]| found.iter().map(group).collect::<BTreeSet<usize>>();
        assert!(served.len() == 20 && groups(&served).len() >= 17, "{served:?}");
        assert!(groups(&served).intersection(&groups(&local)).count() >= 15, "{served:?}\n{local:?}");
    }
    // The filters match exactly the same listings.
    for filter in [
        "price=3.5",
        "price!=3.5 and colour=red",
        "price in (3.5, 7.50, 99)",
        "not (price>=2.5 and (colour=green or not price<30))",
        "colour!='sea blue' and not not price<=1.5",
        "colour=purple",
    ] {
        let (served, local) = both(1, Some(filter), &params(400, |_| ()));
        assert_eq!(ids(&served), ids(&local), "{filter}");
        assert_eq!(filter == "colour=purple", served.is_empty());
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

/// Builds a shard of real photos: the project's renders, and photos of groceries if they are available. Returns the
/// queries: an embedding and the id of the listing that it shows.
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
        magpie_core::engine::embed(&model, &photo, None, &DecodeLimits::default()).unwrap().embedding
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
        let (served, local) = (ask(&body(None)), on_the_phone(&shard, &body(None)));
        assert_similar(&served, &local);
        common += ids(&served).intersection(&ids(&local)).count();
        right += usize::from(served.iter().any(|found| found.listing.id == *listing));
        let filtered = ask(&body(Some("category=Mugs")));
        assert!(filtered.iter().all(|found| found.listing.get("category") == Some("Mugs")));
        assert_eq!(filtered.len(), on_the_phone(&shard, &body(Some("category=Mugs"))).len());
    }
    println!(
        "{right} of {} queries found their listing; {common} of {} listings are the same as on the phone",
        queries.len(),
        10 * queries.len()
    );
    assert!(10 * right >= 9 * queries.len() && 100 * common >= 95 * 10 * queries.len(), "{right} {common}");
}

/// Sends searches in a loop until `stop` is set; every response must be complete.
fn keep_searching(server: &Running, stop: &AtomicBool, answers: &AtomicUsize, at: usize) {
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

/// Runs `work` while four threads send searches. `work` can wait for a number of further answers.
fn while_searching(server: &Running, answers: &AtomicUsize, work: impl FnOnce(&dyn Fn(usize))) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        let clients: Vec<_> = (0..4).map(|at| scope.spawn(move || keep_searching(server, stop, answers, at))).collect();
        let wait = |more: usize| {
            let aim = answers.load(Ordering::Relaxed) + more;
            while answers.load(Ordering::Relaxed) < aim && !clients.iter().any(|client| client.is_finished()) {
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        work(&wait);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

fn metric(server: &Running, name: &str) -> u64 {
    let text = get(&server.url("/metrics")).body;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
}

#[test]
#[ignore = "needs OpenSearch: cargo xtask test --engine opensearch"]
fn no_answer_is_lost_when_a_node_dies() {
    let mut nodes = Nodes::all();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.magpie");
    shard(&path, 0..400, 1);
    put(&nodes, "dying", &[path]).unwrap();
    nodes.start();
    let server = Running::on_cluster(nodes.urls(), "dying", |_| ());
    let answers = AtomicUsize::new(0);
    while_searching(&server, &answers, |wait| {
        wait(200);
        nodes.kill(2);
        wait(600);
    });
    let retries = metric(&server, "magpie_engine_retries_total");
    println!("{} answers, {retries} retries", answers.load(Ordering::Relaxed));
    assert!(answers.load(Ordering::Relaxed) >= 800 && retries > 0, "{retries}");
    assert_eq!(get(&server.url("/metrics")).body.matches(r#"status="5"#).count(), 0);
    nodes.start();
}

#[test]
#[ignore = "needs OpenSearch: cargo xtask test --engine opensearch"]
fn a_load_survives_the_death_of_a_node_and_an_interruption() {
    let mut nodes = Nodes::all();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.magpie");
    shard(&path, 0..6000, 1);
    // Interrupt the load when it has saved some progress: its index is not searched yet.
    let cluster = Arc::new(Cluster::new(&nodes.urls()).unwrap());
    let paths = [path];
    let some = AtomicUsize::new(0);
    let runtime = runtime();
    runtime.block_on(async {
        let options = options("loading");
        let loading =
            load(Arc::clone(&cluster), &paths, &options, |loaded| some.store(loaded as usize, Ordering::Relaxed));
        tokio::select! {
            done = loading => panic!("{done:?}"),
            () = async {
                // The progress is saved every few seconds.
                while nodes.get(0, "/loading-*/_mapping").is_none_or(|reply| !reply.to_string().contains(r#""loaded":"#)
                    || reply.to_string().contains(r#""loaded":0"#)) {
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
    println!("{before} before the interruption, then: {rest:?}");
    assert!(rest.resumed > 0 && rest.retries > 0, "{rest:?}");
    assert_eq!((rest.listings, rest.photos), (6000, 12_000));
    nodes.start();
    let count = nodes.get(0, "/loading/_count").unwrap();
    assert_eq!(count["count"], 6000);
}

#[test]
#[ignore = "needs OpenSearch: cargo xtask test --engine opensearch"]
fn a_newer_catalogue_takes_over_without_interruption() {
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
    while_searching(&server, &answers, |wait| {
        for (number, path) in (2..).zip(&paths[1..]) {
            wait(50);
            indexes.push(put(&nodes, "newer", std::slice::from_ref(path)).unwrap().index);
            while listings() != 100 * number + 100 {
                wait(1);
            }
            wait(50);
        }
    });
    let listed = nodes.get(0, "/_cat/indices/newer-*?format=json").unwrap().to_string();
    // The previous index is kept, for servers that have not noticed the newer one yet.
    let kept = indexes.iter().map(|index| listed.contains(index.as_str())).collect::<Vec<_>>();
    assert_eq!(kept, [false, true, true], "{listed}");
    // Loading the same shards again sends nothing.
    let again = put(&nodes, "newer", &paths[2..]).unwrap();
    assert_eq!((again.index, again.resumed, again.listings), (indexes[2].clone(), 400, 400));
    // Two shards of one catalogue: a listing in both counts once, with the fields of the later one.
    let more = folder.path().join("more.magpie");
    shard(&more, 350..450, 4);
    let both = put(&nodes, "newer", &[paths[2].clone(), more]).unwrap();
    assert_eq!((both.listings, both.photos), (450, 900));
}
