//! A catalogue with many inverted lists: recall, filters, order, and the same bytes however it is built.

use std::collections::HashSet;

use magpie_core::search::{Candidate, Filter, SearchParams, Searcher};
use magpie_core::shard::Shard;
use magpie_core::vector::CodeKernels;
use magpie_core::{PhotoRow, cpu::Isa};
use magpie_tests::shards::{self, Photo, build_lists, embedding, filters};
use magpie_tests::{cases, repository};
use proptest::prelude::*;

const DIM: usize = 24;

/// Pseudo-random numbers from -1 to 1, the same for the same seed.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// The embedding of an item of one of thirty kinds; items of one kind are similar.
fn vector(number: usize, seed: u64) -> Vec<f32> {
    let mut kind = noise(number as u64 % 30 + 1000);
    let mut own = noise(seed.wrapping_add(number as u64));
    (0..DIM).map(|_| kind() + 0.5 * own()).collect()
}

/// Listings of one or two photos each.
fn catalogue(photos: usize) -> Vec<Photo> {
    let photo = |i: usize| {
        let listing = i % (photos * 2 / 3);
        let (kind, price) = (format!("kind {}", listing % 30), (listing * 7 % 100).to_string());
        Photo::new(&format!("{listing:05}"), &format!("{i}.jpg"), &[&kind, &price], &vector(i, 1))
    };
    (0..photos).map(photo).collect()
}

fn shard(photos: usize, lists: u32) -> Shard {
    let bytes = build_lists(DIM, filters(&["kind", "price"]), &catalogue(photos), lists).unwrap();
    Shard::from_bytes(&bytes).unwrap()
}

fn params(k: usize, recall: f32) -> SearchParams {
    SearchParams::new(k).with_recall(recall)
}

/// The rows of the listings found.
fn listings(found: &[Candidate]) -> HashSet<u32> {
    found.iter().map(|candidate| candidate.listing.0).collect()
}

/// The recall at 10 against an exact search.
fn recall(shard: &Shard, filter: Option<&str>, target: f32) -> f64 {
    let filter = filter.map(|text| Filter::parse(text).unwrap());
    let mut searcher = Searcher::new(shard);
    let (mut hits, mut all) = (0, 0);
    for i in 0..60 {
        let query = embedding(&vector(i, 999));
        let expected = listings(&searcher.search(&query, filter.as_ref(), &params(10, 1.0)).unwrap());
        let found = searcher.search(&query, filter.as_ref(), &params(10, target)).unwrap();
        assert_eq!(found.len(), expected.len(), "fewer listings than the exact search finds");
        hits += listings(&found).intersection(&expected).count();
        all += expected.len();
    }
    hits as f64 / all as f64
}

#[test]
fn many_lists_find_nearly_all_that_an_exact_search_finds() {
    let shard = shard(9000, 96);
    shard.verify().unwrap();
    assert_eq!(shard.list_count(), 96);
    for target in [0.9, 0.98] {
        let found = recall(&shard, None, target);
        assert!(found > f64::from(target) - 0.05, "{found} for {target}");
    }
    // A random tenth, one kind, all other kinds, and a rare combination.
    for filter in ["price < 10", "kind = 'kind 3'", "kind != 'kind 3'", "price = 7 and kind in ('kind 1', 'kind 2')"] {
        let found = recall(&shard, Some(filter), 0.98);
        assert!(found > 0.93, "{found} with {filter}");
    }
}

#[test]
fn a_graph_over_thousands_of_lists_leads_to_the_same_listings() {
    let shard = shard(6000, 2100);
    shard.verify().unwrap();
    assert!(matches!(shard.graph_nodes()[..], [_, .., 2100]));
    let mut explicit = params(10, 0.9);
    (explicit.probes, explicit.rerank) = (Some(250), Some(400));
    let mut searcher = Searcher::new(&shard);
    let (mut hits, mut all) = (0, 0);
    for i in 0..60 {
        let query = embedding(&vector(i, 999));
        let expected = listings(&searcher.search(&query, None, &params(10, 1.0)).unwrap());
        hits += listings(&searcher.search(&query, None, &explicit).unwrap()).intersection(&expected).count();
        all += expected.len();
    }
    assert!(hits * 100 > all * 93, "{hits} of {all}");
}

#[test]
fn k_listings_come_back_whenever_k_pass_the_filter() {
    let shard = shard(3000, 40);
    let mut searcher = Searcher::new(&shard);
    for (filter, passing) in [("price < 1", 20), ("price < 0", 0), ("kind = 'kind 7'", 67), ("price < 50", 1000)] {
        let filter = Filter::parse(filter).unwrap();
        for k in [1, 10, 60, 500] {
            // This must hold even with the least effort.
            let params = params(k, 0.9).with_effort(1, 1);
            let found = searcher.search(&embedding(&vector(5, 999)), Some(&filter), &params).unwrap();
            assert_eq!(found.len(), k.min(passing), "{filter} with k {k}");
            let unique = listings(&found);
            assert_eq!(unique.len(), found.len());
        }
    }
}

#[test]
fn every_instruction_set_and_every_repetition_gives_the_same_answer() {
    let shard = shard(3000, 40);
    let answers = |searcher: &mut Searcher<'_>| -> Vec<Vec<Candidate>> {
        let search = |i: usize| {
            let params = params(10, if i.is_multiple_of(3) { 1.0 } else { 0.95 });
            searcher.search(&embedding(&vector(i, 999)), None, &params).unwrap()
        };
        (0..20).map(search).collect()
    };
    let expected = answers(&mut Searcher::new(&shard));
    for isa in Isa::available() {
        let mut searcher = Searcher::new(&shard).with_kernels(CodeKernels::new(isa).unwrap());
        assert!(answers(&mut searcher) == expected, "{isa}");
        assert!(answers(&mut searcher) == expected, "{isa}, the second time");
    }
}

#[test]
fn one_thread_and_five_write_the_same_bytes() {
    let photos = catalogue(3000);
    let bytes = |threads: usize| {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        threads.install(|| build_lists(DIM, filters(&["kind", "price"]), &photos, 40).unwrap())
    };
    let one = bytes(1);
    assert!(one == bytes(5) && one == bytes(2));
}

#[test]
fn a_photo_of_the_catalogue_finds_itself_with_a_score_of_one() {
    let shard = shard(5000, 64);
    let mut searcher = Searcher::new(&shard);
    for i in (0..5000).step_by(97) {
        let found = searcher.search(&embedding(&vector(i, 1)), None, &params(1, 0.9)).unwrap();
        let photo = &listing_photo(&shard, found[0]);
        assert!(found[0].score > 0.998 && found[0].score <= 1.0, "{}", found[0].score);
        assert_eq!(photo, &format!("{i}.jpg"));
    }
}

fn listing_photo(shard: &Shard, candidate: Candidate) -> String {
    magpie_core::listing::fetch(shard, &[candidate]).unwrap()[0].listing.photo.clone()
}

#[test]
fn a_shard_read_into_memory_outlives_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.magpie");
    std::fs::write(&path, shards::listed_shop_bytes()).unwrap();
    let (loaded, mapped) = (Shard::load(&path).unwrap(), Shard::open(&path).unwrap());
    let query = embedding(&[0.3, -0.2, 0.9, 0.1, 0.0, 0.4, -0.5, 0.2]);
    let answer = Searcher::new(&mapped).search(&query, None, &params(5, 0.9)).unwrap();
    drop(mapped);
    std::fs::File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    loaded.verify().unwrap();
    assert!(Searcher::new(&loaded).search(&query, None, &params(5, 0.9)).unwrap() == answer);
    assert!(Shard::load(&path).is_err() && Shard::open(&path).is_err());
}

#[test]
fn thumbnails_come_back_with_their_photos() {
    for bytes in [shards::shop_bytes(), shards::listed_shop_bytes()] {
        let shard = Shard::from_bytes(&bytes).unwrap();
        assert!(shard.has_thumbnails());
        let pictures: HashSet<Vec<u8>> = (0..90).map(|row| shard.thumbnail(PhotoRow(row)).unwrap().to_vec()).collect();
        assert_eq!(pictures.len(), 90);
        // The shop's photo 7 is the first photo of listing 7.
        let photo = shard.photos_of(magpie_core::ListingRow(7)).unwrap()[0];
        assert_eq!(shard.thumbnail(photo), Some(&b"picture 7"[..]));
        assert_eq!(shard.thumbnail(PhotoRow(90)), None);
    }
    assert!(!shard(40, 1).has_thumbnails());
}

/// Titles made of the demo catalogue's words, with a category, a price, a URL and a shop.
#[test]
fn texts_take_about_a_third_of_their_json() {
    let demo = std::fs::read_to_string(repository().join("cli/demo/catalog.csv")).unwrap();
    let titles: Vec<String> =
        csv::Reader::from_reader(demo.as_bytes()).records().map(|row| row.unwrap()[2].to_owned()).collect();
    let words: Vec<&str> = titles.iter().flat_map(|title| title.split(' ')).collect();
    let mut random = noise(3);
    let mut number = |below: usize| ((random() + 1.0) / 2.0 * below as f32) as usize % below;
    let names = ["title", "category", "price", "url", "shop"];
    let (mut photos, mut json) = (Vec::new(), 0);
    for at in 0..6000 {
        let title: Vec<&str> = (0..4 + number(5)).map(|_| words[number(words.len())]).collect();
        let title = title.join(" ");
        let id = format!("{}", 100_000_000 + at * 37_991 + number(30_000));
        let category = format!("Home > {}", words[number(40)]);
        let price = format!("{}.{:02}", 3 + number(200), number(100));
        let url = format!("https://example.com/listing/{id}/{}", title.to_lowercase().replace(' ', "-"));
        let shop = format!("{} & {}", words[number(300)], words[number(300)]);
        let values = [&title[..], &category, &price, &url, &shop];
        let record: serde_json::Map<_, _> = names.iter().zip(values).map(|(n, v)| ((*n).into(), v.into())).collect();
        json += serde_json::to_string(&record).unwrap().len() + format!(",\"listing_id\":\"{id}\"").len();
        photos.push(Photo::new(&id, "", &values, &vector(at, 1)));
    }
    let mut fields = filters(&names);
    fields.iter_mut().for_each(|field| field.filter = false);
    let shard = Shard::from_bytes(&shards::build(DIM, fields, &photos).unwrap()).unwrap();
    let metadata: u64 = shard.sections().iter().filter(|s| s.name.starts_with("metadata")).map(|s| s.bytes).sum();
    let share = metadata as f64 / json as f64;
    println!("{} bytes per listing, as JSON {}: {share:.3}", metadata / 6000, json / 6000);
    assert!(share < 0.35, "{share}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24)))]

    /// Probing all lists and rescoring every candidate must be exact, whatever the vectors are.
    #[test]
    fn probing_all_lists_misses_nothing(
        photos in prop::collection::vec(prop::collection::vec(-2i8..=2, 5), 2..200), lists in 1u32..30, k in 1usize..12,
    ) {
        let photos: Vec<Photo> = photos.iter().enumerate().map(|(i, v)| {
            let vector: Vec<f32> = v.iter().map(|&c| f32::from(c) + 0.01).collect();
            Photo::new(&format!("{i:03}"), "x", &[], &vector)
        }).collect();
        let bytes = build_lists(5, vec![], &photos, lists).unwrap();
        let shard = Shard::from_bytes(&bytes).unwrap();
        shard.verify().unwrap();
        let query = embedding(&photos[0].vector);
        let mut all = params(k, 0.9);
        (all.probes, all.rerank) = (Some(usize::MAX), Some(usize::MAX));
        let by_lists = Searcher::new(&shard).search(&query, None, &all).unwrap();
        let by_codes = Searcher::new(&shard).search(&query, None, &params(k, 1.0)).unwrap();
        prop_assert_eq!(by_lists, by_codes);
    }
}
