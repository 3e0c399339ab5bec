//! A catalogue in several shards answers like one in a single shard.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::{DIM, MODEL, Running, agent, on_the_phone, request, search, search_options, shard, vector};
use magpie_core::Embedding;
use magpie_core::builder::{Field, Identity, ShardBuilder};
use magpie_core::listing::Found;
use magpie_core::search::{Per, SearchParams};
use magpie_core::shard::Shard;

#[test]
fn several_shards_answer_like_one() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| folder.path().join(format!("{name}.magpie")));
    for (at, path) in paths.iter().enumerate() {
        // Some listings are in two shards.
        shard(path, (0..400).filter(|listing| listing % 3 == at || listing % 50 == 0), at as u64);
    }
    let whole = folder.path().join("whole.magpie");
    shard(&whole, 0..400, 1);
    let whole = Shard::open(whole).unwrap();
    let (server, agent) = (Running::serve(folder, paths.to_vec(), |_| ()), agent());
    for seed in 0..20 {
        for (filter, mut params) in search_options() {
            params.recall = 1.0;
            let body = request(seed, filter, &params);
            let served = search(&agent, &server, &body).listings;
            let local = on_the_phone(&whole, &body);
            let ids = |found: &[Found]| found.iter().map(|f| f.listing.id.clone()).collect::<Vec<_>>();
            let served: Vec<Found> = served.into_iter().map(Found::from).collect();
            assert_eq!(served.len(), local.len(), "{filter:?} {params:?}");
            // Codes are residuals to each shard's own centroids: scores differ slightly, and so may the order of close
            // ones.
            for (served, local) in served.iter().zip(&local) {
                assert!((served.score - local.score).abs() < 0.01, "{:?}\n{:?}", served.score, local.score);
            }
            let (served, local) = (ids(&served), ids(&local));
            let common = served.iter().filter(|id| local.contains(id)).count();
            assert!(common + common / 10 + 1 >= local.len(), "{served:?}\n{local:?}");
        }
    }
}

/// Three listings of each of a hundred designs. Photos of one design are nearly the same, those of two are far apart.
fn copies(path: &Path, listings: impl Iterator<Item = usize>) {
    let identity = Identity { model_id: MODEL, catalog: "copies".to_owned(), sequence: 1, writer: "tests".to_owned() };
    let fields = vec![Field { name: "maker".to_owned(), filter: true }];
    let mut builder = ShardBuilder::new(identity, DIM, fields);
    for listing in listings {
        let photo = vector(listing / 3).into_iter().zip(vector(1000 + listing));
        let photo: Vec<f32> = photo.map(|(design, own)| design + 0.05 * own).collect();
        let maker = [["Ann", "Bob", "Cem"][listing % 3].to_owned()];
        let photo = Embedding::new(&photo, MODEL).unwrap();
        builder.add(&format!("{listing:03}"), "front.jpg", &maker, &photo).unwrap();
    }
    builder.write(path).unwrap();
}

#[test]
fn near_duplicates_across_shards_are_removed_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| folder.path().join(format!("{name}.magpie")));
    for (at, path) in paths.iter().enumerate() {
        // Each shard has one listing of each design, so that no shard has duplicates of its own.
        copies(path, (0..300).filter(|listing| (listing / 3 + listing) % 3 == at));
    }
    let whole = folder.path().join("whole.magpie");
    copies(&whole, 0..300);
    let whole = Shard::open(whole).unwrap();
    let (server, agent) = (Running::serve(folder, paths.to_vec(), |_| ()), agent());
    let designs =
        |found: &[Found]| found.iter().map(|f| f.listing.id.parse::<usize>().unwrap() / 3).collect::<Vec<_>>();
    let per = |most| Some(Per { column: "maker".to_owned(), most });
    let (mut same, mut listings) = (0, 0);
    // The first seeds are the vectors of designs, the others are far from all of them.
    for seed in (0..20).chain(5000..5020) {
        for (k, filter, per, min_score) in [
            (10, None, None, None),
            (100, None, None, None),
            (150, None, None, None),
            (10, Some("maker!=Bob"), None, None),
            (30, None, per(4), None),
            (50, None, None, Some(0.1)),
        ] {
            let mut params = SearchParams::default();
            (params.k, params.recall, params.near_duplicates) = (k, 1.0, Some(0.97));
            (params.per, params.min_score) = (per, min_score);
            let body = request(seed, filter, &params);
            let served: Vec<Found> = search(&agent, &server, &body).listings.into_iter().map(Found::from).collect();
            let local = on_the_phone(&whole, &body);
            assert!(served.len().abs_diff(local.len()) <= usize::from(min_score.is_some()), "{params:?}");
            for (served, local) in served.iter().zip(&local) {
                assert!((served.score - local.score).abs() < 0.02, "{} {}", served.score, local.score);
            }
            let (served, local) = (designs(&served), designs(&local));
            let once: BTreeSet<usize> = served.iter().copied().collect();
            assert_eq!(once.len(), served.len(), "{served:?}");
            // A search for at least 100 listings returns all designs.
            assert!(k < 100 || served.len() == 100, "{}", served.len());
            // Duplicates do not count towards the limit per maker: there are enough other listings.
            assert!(params.per.is_none() || (served.len(), local.len()) == (12, 12), "{served:?} {local:?}");
            same += served.iter().zip(&local).filter(|(served, local)| served == local).count();
            listings += local.len();
        }
    }
    println!("{same} of {listings} ranks have the same design");
    assert!(100 * same >= 95 * listings, "{same} of {listings}");
}
