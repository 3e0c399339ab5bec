//! On real photos, the engine finds what exact embeddings find. Skipped if `../shared/data` does not exist.

use std::path::Path;

use magpie_core::builder::{Identity, ShardBuilder};
use magpie_core::engine::{self, Engine, SearchOptions};
use magpie_core::image::DecodeLimits;
use magpie_core::shard::Shard;
use magpie_core::{Embedding, PhotoRow};
use magpie_tests::{default_model, repository};

/// One in this many of the shoppers' test photos is searched, because all of them take too long for a test.
const STEP: usize = 12;

struct Row {
    class: String,
    photo: Vec<u8>,
}

/// Every `step`-th row of the manifest with this split and domain.
fn rows(data: &Path, split: &str, domain: &str, step: usize) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(data.join("manifest.csv")).unwrap();
    let header = reader.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let (path, class, split_at, domain_at) = (at("path"), at("class_id"), at("split"), at("domain"));
    let records = reader.records().map(Result::unwrap);
    let chosen = records.filter(|r| &r[split_at] == split && &r[domain_at] == domain).step_by(step);
    chosen.map(|r| Row { class: r[class].to_owned(), photo: std::fs::read(data.join(&r[path])).unwrap() }).collect()
}

fn embed(photo: &[u8]) -> Embedding {
    engine::embed(default_model(), photo, None, &DecodeLimits::default()).unwrap().embedding
}

#[test]
fn shoppers_photos_find_the_listing_that_exact_embeddings_find() {
    let data = repository().join("../shared/data/products");
    if !data.join("manifest.csv").exists() {
        eprintln!("skipped: needs ../shared/data/products");
        return;
    }
    let gallery = rows(&data, "gallery", "product", 1);
    let queries = rows(&data, "test", "user", STEP);
    assert!(gallery.len() > 50 && queries.len() > 50);

    let exact: Vec<Embedding> = gallery.iter().map(|row| embed(&row.photo)).collect();
    let model = default_model();
    let identity =
        Identity { model_id: model.id(), catalog: "groceries".into(), sequence: 1, writer: "magpie-tests".into() };
    let mut builder = ShardBuilder::new(identity, model.manifest().embedding.dim as usize, Vec::new());
    for (row, embedding) in gallery.iter().zip(&exact) {
        builder.add(&row.class, "catalogue photo", &[], embedding).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("groceries.magpie");
    builder.write(&path).unwrap();
    let engine = Engine::new(model.clone(), Shard::open(&path).unwrap()).unwrap();
    assert!(engine.catalog().shards().all(|shard| shard.listing_of(PhotoRow(0)).is_ok()));

    let (mut agree, mut right) = (0, 0);
    for query in &queries {
        let found = engine.search_photo(&query.photo, &SearchOptions::default()).unwrap().listings;
        let embedding = embed(&query.photo);
        let best = (0..gallery.len())
            .max_by(|&a, &b| embedding.cosine(&exact[a]).unwrap().total_cmp(&embedding.cosine(&exact[b]).unwrap()));
        agree += usize::from(found[0].listing.id == gallery[best.unwrap()].class);
        right += usize::from(found[0].listing.id == query.class);
    }
    // int8 codes may swap two listings with nearly equal scores.
    assert!(agree * 100 >= queries.len() * 98, "{agree} of {} agree with exact embeddings", queries.len());
    // An off-the-shelf MobileNetV2 gets 36 % right.
    assert!(right * 100 >= queries.len() * 50, "{right} of {} are right", queries.len());
}
