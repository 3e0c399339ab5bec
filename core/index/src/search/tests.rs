//! What searches promise where few photos meet the conditions, and where scores are equal.

use std::cell::Cell;

use super::*;
use crate::builder::{BuildOptions, Field, Identity, ShardBuilder};
use crate::embedding::Embedding;
use crate::error::{Error, ShardError};
use crate::ids::ModelId;
use crate::shard::Shard;

const MODEL: ModelId = ModelId([3; 32]);

fn embedding(vector: &[f32]) -> Embedding {
    Embedding::new(vector, MODEL).expect("finite")
}

fn noise(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
}

/// A shard of listings with these ids, shops and vectors.
fn shard(photos: impl IntoIterator<Item = (String, &'static str, Vec<f32>)>, lists: u32) -> Shard {
    let identity = Identity { model_id: MODEL, catalog: "shop".into(), sequence: 1, writer: "tests".into() };
    let fields = vec![Field { name: "shop".into(), filter: true }];
    let options = BuildOptions::default().with_lists(lists);
    let mut builder = ShardBuilder::new(identity, 8, fields).with_options(options);
    for (id, shop, vector) in photos {
        builder.add(&id, "", &[shop.to_owned()], &embedding(&vector)).expect("a photo");
    }
    let folder = tempfile::tempdir().expect("a folder");
    builder.write(&folder.path().join("shard.magpie")).expect("a shard");
    Shard::load(folder.path().join("shard.magpie")).expect("a shard")
}

/// Listings around one direction; every fiftieth has no shop.
fn shops(count: usize, lists: u32) -> Shard {
    let mut state = 1;
    let photo = |at: usize| {
        let shop = if at % 50 == 7 { "" } else { ["Ann", "Bob", "Cid"][at % 3] };
        let vector = (0..8).map(|d| noise(&mut state) + f32::from(u8::from(d == 0))).collect();
        (format!("{at:05}"), shop, vector)
    };
    shard((0..count).map(photo).collect::<Vec<_>>(), lists)
}

/// The result of a search and how often it asked whether to stop: at least once a pass.
fn search_counted(shard: &Shard, params: &SearchParams) -> (Ranking, usize) {
    let asked = Cell::new(0);
    let count = || {
        asked.set(asked.get() + 1);
        false
    };
    let mut searcher = Searcher::new(shard).with_stop(&count);
    let ranking = searcher.rank(&embedding(&[1.0; 8]), None, params, 0).expect("a search");
    (ranking, asked.get())
}

#[test]
fn a_wish_that_cannot_be_met_takes_few_passes() {
    let shard = shops(3000, 1);
    let none = shard.column("shop").map(|column| match column {
        crate::shard::Column::Word { values, .. } => (0..3000).filter(|&row| values.get(row) == 0).count(),
        crate::shard::Column::Number { .. } => 0,
    });
    let none = none.expect("a column");
    // Two listings of each shop and those without one: the second pass has found all shops full.
    let (found, asked) = search_counted(&shard, &SearchParams::new(500).with_at_most_per("shop", 2));
    assert_eq!((found.candidates.len(), found.complete), (3 * 2 + none, true));
    assert!(asked <= 2, "{asked} passes");
    let (found, asked) = search_counted(&shard, &SearchParams::new(500).with_at_most_per("shop", 0));
    assert_eq!((found.candidates.len(), found.complete), (none, true));
    assert!(asked <= 1, "{asked} passes");
    // Every photo repeats the first one.
    let (found, asked) = search_counted(&shard, &SearchParams::new(10).without_near_duplicates(-1.0));
    assert_eq!((found.candidates.len(), found.complete), (1, true));
    assert!(asked <= 1, "{asked} passes");
}

#[test]
fn groups_that_are_full_leave_their_places_to_others() {
    // The wish can be met, by listings that are far behind those of one large shop.
    let mut state = 2;
    let photo = |at: usize| {
        let mut vector: Vec<f32> = (0..8).map(|_| 0.2 * noise(&mut state)).collect();
        vector[0] += 1.0;
        if at % 500 == 499 {
            vector[1] += 1.0 + at as f32 / 1000.0;
        }
        (format!("{at:05}"), if at % 500 == 499 { "small" } else { "large" }, vector)
    };
    let shard = shard((0..5000).map(photo).collect::<Vec<_>>(), 20);
    let query = embedding(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    for params in [SearchParams::new(10), SearchParams::new(10).with_recall(1.0)] {
        let params = params.with_at_most_per("shop", 5);
        let found = Searcher::new(&shard).rank(&query, None, &params, 0).expect("a search");
        let small: Vec<u32> = found.candidates.iter().map(|c| c.listing.0).filter(|row| row % 500 == 499).collect();
        assert_eq!((found.candidates.len(), found.complete), (10, true));
        assert_eq!(small, [499, 999, 1499, 1999, 2499]);
        assert!(found.candidates.is_sorted_by(|a, b| a.score >= b.score));
    }
}

#[test]
fn a_search_that_gives_up_says_so() {
    // The second listing comes after more photos of the first than a search collects.
    let photo =
        |at: usize| if at == 0 { ("b".to_owned(), "", vec![-1.0; 8]) } else { ("a".to_owned(), "", vec![1.0; 8]) };
    let shard = shard((0..20_000).map(photo).collect::<Vec<_>>(), 1);
    let (found, asked) = search_counted(&shard, &SearchParams::new(2));
    assert_eq!((found.candidates.len(), found.complete), (1, false));
    assert!(asked <= 4, "{asked} passes");
    assert!(search_counted(&shard, &SearchParams::new(1)).0.complete);
    assert_eq!(search_counted(&shard, &SearchParams::new(9)).0.candidates.len(), 2);
}

#[test]
fn a_search_stops_when_the_caller_asks_for_it() {
    let shard = shops(3000, 8);
    let query = embedding(&[1.0; 8]);
    for params in [SearchParams::new(10), SearchParams::new(10).with_recall(1.0)] {
        let stop = || true;
        let stopped = Searcher::new(&shard).with_stop(&stop).search(&query, None, &params);
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
        // Between two passes.
        let asked = Cell::new(0);
        let later = || asked.replace(asked.get() + 1) > 0;
        let params = params.with_at_most_per("shop", 1).with_effort(1, 50);
        let stopped = Searcher::new(&shard).with_stop(&later).search(&query, None, &SearchParams { k: 400, ..params });
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    }
}

#[test]
fn equal_scores_are_in_the_order_of_ids_and_fewer_results_are_the_first_of_more() {
    // Photos that are nearly the query have a score of 1, in whatever list they are.
    let mut state = 3;
    let photo = |at: usize| {
        let vector = (0..8).map(|d| 1e-3 * noise(&mut state) + if d == 0 { 1.0 } else { 0.1 * d as f32 }).collect();
        (format!("{:05}", at * 7919 % 10_007), "", vector)
    };
    let shard = shard((0..900).map(photo).collect::<Vec<_>>(), 30);
    let query = embedding(&(0..8).map(|d| if d == 0 { 1.0 } else { 0.1 * d as f32 }).collect::<Vec<_>>());
    for params in
        [SearchParams::default().with_recall(1.0), SearchParams::default().with_recall(0.9).with_effort(30, 900)]
    {
        let found = |k: usize| {
            let params = SearchParams { k, ..params.clone() };
            Searcher::new(&shard).search(&query, None, &params).expect("a search")
        };
        let all = found(900);
        assert_eq!(all.len(), 900);
        assert!(all.iter().filter(|found| found.score == 1.0).count() > 200, "too few ties for this test");
        assert!(all.is_sorted_by(|a, b| a.score > b.score || (a.score == b.score && a.listing < b.listing)));
        for k in [1, 10, 20, 100] {
            assert_eq!(found(k), all[..k], "the first {k}");
        }
    }
}

#[test]
fn buffers_that_became_large_are_not_kept() {
    let shard = shops(100, 1);
    let mut scratch = SearchScratch::default();
    scratch.reserve(1_000_000);
    let mut searcher = Searcher::with_scratch(&shard, scratch);
    searcher.search(&embedding(&[1.0; 8]), None, &SearchParams::new(3)).expect("a search");
    assert!(searcher.into_scratch().size() < 100_000);
}

/// The bytes of a shard, with those of a section changed.
fn forged(shard: &Shard, section: &str, change: impl FnOnce(&mut [u8])) -> Shard {
    let mut bytes = shard.bytes().to_vec();
    let place = shard.sections().into_iter().find(|found| found.name == section).expect("a section");
    change(&mut bytes[place.offset as usize..][..place.bytes as usize]);
    Shard::from_bytes(&bytes).expect("opening does not read the section")
}

#[test]
fn lists_that_share_their_photos_are_refused_instead_of_being_scanned_again_and_again() {
    let shard = shops(600, 8);
    // Every second list has all photos; the others run backwards, and are far away.
    let forged = forged(&shard, "list starts", |starts| {
        for (at, start) in starts.chunks_exact_mut(4).enumerate() {
            start.copy_from_slice(&u32::to_le_bytes(if at % 2 == 0 { 0 } else { 600 }));
        }
    });
    let forged = self::forged(&forged, "list biases", |biases| {
        for (at, bias) in biases.chunks_exact_mut(4).enumerate() {
            bias.copy_from_slice(&f32::to_le_bytes(if at % 2 == 0 { 0.0 } else { -1000.0 }));
        }
    });
    let params = SearchParams { probes: Some(4), ..SearchParams::new(10) };
    let refused =
        Searcher::new(&forged).search(&embedding(&[1.0; 8]), None, &params).expect_err("four times all photos");
    assert!(refused.to_string().contains("list starts: the lists have more than the shard's 600 photos"), "{refused}");
    // One list with all photos is possible.
    let params = SearchParams { probes: Some(1), ..SearchParams::new(10) };
    assert_eq!(Searcher::new(&forged).search(&embedding(&[1.0; 8]), None, &params).expect("a list").len(), 10);
}

#[test]
fn a_graph_whose_nodes_all_have_all_links_is_not_walked() {
    let lists = 2100;
    let shard = shops(2 * lists as usize, lists);
    let query = embedding(&[1.0; 8]);
    let params = SearchParams { probes: Some(40), rerank: Some(1 << 13), ..SearchParams::new(10) };
    let by_graph = Searcher::new(&shard).search(&query, None, &params).expect("a search");
    let forged = forged(&shard, "centroid graph", |graph| {
        let words: Vec<u32> = graph.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let layers = words[0] as usize;
        let starts = 1 + layers..1 + 2 * layers + words[1..=layers].iter().sum::<u32>() as usize;
        let end = words[starts.end - 1];
        // The last start stays, which opening checks.
        for at in starts.start..starts.end - 1 {
            let start = if (at - starts.start) % 2 == 0 { 0 } else { end };
            graph[4 * at..][..4].copy_from_slice(&start.to_le_bytes());
        }
    });
    // All centroids are compared instead, which finds what the graph found, or better.
    let found = Searcher::new(&forged).search(&query, None, &params).expect("a search");
    assert_eq!(found[0], by_graph[0]);
    assert_eq!(found.len(), 10);
}

#[test]
fn texts_of_one_call_have_a_bound() {
    let identity = Identity { model_id: MODEL, catalog: "shop".into(), sequence: 1, writer: "tests".into() };
    let fields = ["title", "story"].map(|name| Field { name: name.into(), filter: false });
    let mut builder = ShardBuilder::new(identity, 8, fields.into());
    let story = "never sold out. ".repeat(62_000);
    builder.add("mug", "a.jpg", &["A mug".to_owned(), story], &embedding(&[1.0; 8])).expect("a photo");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shard.magpie");
    builder.write(&path).expect("a shard");
    let shard = Shard::open(&path).expect("a shard");
    let found = search(&shard, &embedding(&[1.0; 8]), None, 10).expect("a search");
    let fetched = crate::listing::fetch(&shard, &found.repeat(60)).expect("60 MB");
    // The names are those of the shard, not copies.
    assert!(std::sync::Arc::ptr_eq(&fetched[0].listing.fields[1].0, &fetched[59].listing.fields[1].0));
    let refused = crate::listing::fetch(&shard, &found.repeat(70)).expect_err("70 MB");
    let limit = 64 << 20;
    assert!(
        matches!(refused, Error::Shard(ShardError::TooMuch { what: "texts", limit: l }) if l == limit),
        "{refused}"
    );
}

#[test]
fn a_listing_has_a_bounded_number_of_fields() {
    let write = |count: usize| {
        let identity = Identity { model_id: MODEL, catalog: "shop".into(), sequence: 1, writer: "tests".into() };
        let fields = (0..count).map(|at| Field { name: at.to_string(), filter: false });
        let mut builder = ShardBuilder::new(identity, 8, fields.collect());
        builder.add("mug", "a.jpg", &vec![String::new(); count], &embedding(&[1.0; 8])).expect("a photo");
        let folder = tempfile::tempdir().expect("a folder");
        builder.write(&folder.path().join("shard.magpie"))
    };
    write(crate::shard::MAX_FIELDS).expect("as many as a shard holds");
    let refused = write(crate::shard::MAX_FIELDS + 1).expect_err("one more").to_string();
    assert!(refused.contains("1025 fields, the format holds 1024"), "{refused}");
}

#[test]
fn a_file_that_is_no_shard_is_not_read_into_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("huge");
    let write = |front: &[u8], len: u64| {
        std::fs::write(&path, front).expect("a file");
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(len)).expect("a sparse file");
        Shard::load(&path).expect_err("no shard")
    };
    let refused = write(b"no shard at all", 1 << 40);
    assert!(matches!(refused, Error::Shard(ShardError::NotAShard)), "{refused}");
    // The first page of a shard, before a terabyte of zeros.
    let shard = shops(10, 1);
    let refused = write(&shard.bytes()[..4096], 1 << 40);
    assert!(matches!(refused, Error::Shard(ShardError::WrongLength { found: 0x100_0000_0000, .. })), "{refused}");
    if cfg!(unix) {
        for refused in [Shard::load("/dev/zero"), Shard::open("/dev/zero")] {
            assert!(refused.expect_err("a device").to_string().contains("not a plain file"));
        }
    }
}
/// Where a listing of [`shops`] is.
fn place(shard: &Shard, at: usize) -> ListingPlace {
    shard.find_listing(&format!("{at:05}")).expect("a whole shard").expect("a listing").into()
}

#[test]
fn a_listing_that_is_put_first_leaves_the_others_in_their_order() {
    for lists in [1, 40] {
        let shard = shops(3000, lists);
        let mut searcher = Searcher::new(&shard);
        let query = embedding(&[1.0; 8]);
        let params = SearchParams::new(10).with_recall(1.0);
        let plain = searcher.rank(&query, None, &params, 10).expect("a search");
        assert!(!plain.put_first);
        let found = |listing: ListingPlace| plain.candidates.iter().position(|other| other.place() == listing);
        let far = (0..3000).map(|at| place(&shard, at)).find(|&listing| found(listing).is_none()).expect("not found");
        for first in [far, plain.candidates[6].place(), plain.candidates[0].place()] {
            let ranking = searcher.rank_with_first(&query, None, &params, 10, &[first]).expect("a search");
            assert!(ranking.put_first && ranking.complete == plain.complete && ranking.leading == plain.leading);
            assert_eq!(ranking.candidates[0].place(), first);
            let others = plain.candidates.iter().filter(|other| other.place() != first).take(9);
            assert!(ranking.candidates[1..].iter().eq(others));
            // It has the score that any search gives it.
            if let Some(at) = found(first) {
                assert_eq!(ranking.candidates[0], plain.candidates[at]);
            }
        }
        let exact = searcher.rank(&query, None, &SearchParams::new(MAX_K).with_recall(1.0), 0).expect("a search");
        let ranking = searcher.rank_with_first(&query, None, &params, 0, &[far]).expect("a search");
        assert_eq!(exact.candidates.iter().find(|other| other.place() == far), ranking.candidates.first());
    }
}

#[test]
fn the_conditions_hold_for_a_listing_that_is_put_first() {
    let shard = shops(3000, 40);
    let mut searcher = Searcher::new(&shard);
    let query = embedding(&[1.0; 8]);
    let params = SearchParams::new(10).with_recall(1.0);
    let (ann, bob) = (place(&shard, 0), place(&shard, 1));
    let filter = Filter::parse("shop=Bob").expect("a filter");
    let mut rank = |filter: Option<&Filter>, params: &SearchParams, first: &[ListingPlace]| {
        searcher.rank_with_first(&query, filter, params, 0, first).expect("a search")
    };
    // A listing that does not pass the filter is passed over.
    let ranking = rank(Some(&filter), &params, &[ann, bob]);
    assert_eq!((ranking.put_first, ranking.candidates[0].place(), ranking.candidates.len()), (true, bob, 10));
    assert_eq!(rank(Some(&filter), &params, &[ann]), rank(Some(&filter), &params, &[]));
    // It takes a place of its group, and none is left for others of its shop.
    let per = params.clone().with_at_most_per("shop", 1);
    let ranking = rank(None, &per, &[bob]);
    let is_bob = |candidate: &Candidate| shard.records(&[candidate.listing]).expect("whole")[0].values[0] == "Bob";
    assert_eq!(ranking.candidates.iter().filter(|candidate| is_bob(candidate)).count(), 1);
    assert_eq!(ranking.candidates[0].place(), bob);
    assert!(!rank(None, &params.clone().with_at_most_per("shop", 0), &[bob]).put_first);
    // Near-duplicates of it are omitted; the least score is for the others.
    let single = rank(None, &params.clone().without_near_duplicates(-1.0), &[bob]);
    assert_eq!((single.candidates.len(), single.candidates[0].place()), (1, bob));
    let strict = rank(None, &params.clone().with_min_score(2.0), &[bob]);
    assert_eq!((strict.candidates.len(), strict.put_first), (1, true));
    let none = rank(None, &SearchParams { k: 0, ..params.clone() }, &[bob]);
    assert_eq!((none.candidates.len(), none.put_first), (0, false));
    let unknown = ListingPlace { part: 1, ..bob };
    assert!(matches!(searcher.rank_with_first(&query, None, &params, 0, &[unknown]), Err(Error::Shard(_))));
}
