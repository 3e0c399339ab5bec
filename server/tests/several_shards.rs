//! A catalogue in several shards answers as it would in one.
#![allow(missing_docs, clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{DIM, MODEL, Running, agent, on_the_phone, request, search, shard, vector, wishes};
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
        for (filter, mut params) in wishes() {
            params.recall = 1.0;
            let body = request(seed, filter, &params);
            let there = search(&agent, &server, &body).listings;
            let here = on_the_phone(&whole, &body);
            let ids = |found: &[Found]| found.iter().map(|f| f.listing.id.clone()).collect::<Vec<_>>();
            let there: Vec<Found> = there.into_iter().map(Found::from).collect();
            assert_eq!(there.len(), here.len(), "{filter:?} {params:?}");
            // Codes are residuals of each shard's own centres: scores differ a little, and so may the order of close ones.
            for (there, here) in there.iter().zip(&here) {
                assert!((there.score - here.score).abs() < 0.01, "{:?}\n{:?}", there.score, here.score);
            }
            let (there, here) = (ids(&there), ids(&here));
            let common = there.iter().filter(|id| here.contains(id)).count();
            assert!(common + common / 10 + 1 >= here.len(), "{there:?}\n{here:?}");
        }
    }
}

/// Three listings of each of a hundred designs, whose photos are nearly the same; of two designs, they are far apart.
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
fn what_nearly_repeats_a_listing_of_another_shard_is_left_out_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| folder.path().join(format!("{name}.magpie")));
    for (at, path) in paths.iter().enumerate() {
        // No two of a design in one shard: whoever looks at one shard finds no repeats.
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
    // The first are the designs' own vectors, the others near to none.
    for seed in (0..20).chain(5000..5020) {
        for (k, filter, per, min_score) in [
            (10, None, None, None),
            (100, None, None, None),
            (150, None, None, None),
            (10, Some("maker!=Bob"), None, None),
            (30, None, per(4), None),
            (50, None, None, Some(0.1)),
        ] {
            let mut params = SearchParams::new(k).with_recall(1.0).without_near_duplicates(0.97);
            (params.per, params.min_score) = (per, min_score);
            let body = request(seed, filter, &params);
            let there: Vec<Found> = search(&agent, &server, &body).listings.into_iter().map(Found::from).collect();
            let here = on_the_phone(&whole, &body);
            assert!(there.len().abs_diff(here.len()) <= usize::from(min_score.is_some()), "{params:?}");
            for (there, here) in there.iter().zip(&here) {
                assert!((there.score - here.score).abs() < 0.02, "{} {}", there.score, here.score);
            }
            let (there, here) = (designs(&there), designs(&here));
            let once: BTreeSet<usize> = there.iter().copied().collect();
            assert_eq!(once.len(), there.len(), "{there:?}");
            // The wishes alone decide how many there are: all designs where so many are asked for.
            assert!(k < 100 || there.len() == 100, "{}", there.len());
            // A repeat takes no place of its maker: there are enough others.
            assert!(params.per.is_none() || (there.len(), here.len()) == (12, 12), "{there:?} {here:?}");
            same += there.iter().zip(&here).filter(|(there, here)| there == here).count();
            listings += here.len();
        }
    }
    println!("{same} of {listings} places have the same design");
    assert!(100 * same >= 95 * listings, "{same} of {listings}");
}
