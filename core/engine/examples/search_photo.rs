//! Finds the photos most similar to a query photo: embeds all of them, builds a shard and searches it.
//!
//! `cargo run --release -p magpie-core --features build --example search_photo -- QUERY.jpg PHOTO.jpg...`

use std::error::Error;
use std::path::Path;

use magpie_core::builder::{Field, Identity, ShardBuilder};
use magpie_core::engine::{Engine, SearchOptions, embed};
use magpie_core::model::{Model, Pack};
use magpie_core::shard::Shard;

/// The model pack that comes with the project.
const PACK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/packs/default");

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args().skip(1);
    let (Some(query), photos) = (paths.next(), paths.collect::<Vec<_>>()) else {
        return Err("usage: search_photo QUERY PHOTO...".into());
    };
    let model = Model::load(&Pack::open(PACK)?)?;

    // One listing for each photo. A real catalogue has several photos per listing, and more fields.
    let options = SearchOptions::new(5);
    let dim = model.manifest().embedding.dim as usize;
    let identity =
        Identity { model_id: model.id(), catalog: "photos".into(), sequence: 1, writer: "search_photo".into() };
    let mut builder = ShardBuilder::new(identity, dim, vec![Field { name: "path".into(), filter: false }]);
    for (at, path) in photos.iter().enumerate() {
        let embedding = embed(&model, &std::fs::read(path)?, None, &options.limits)?.embedding;
        builder.add(&at.to_string(), path, std::slice::from_ref(path), &embedding)?;
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("photos.magpie");
    builder.write(&file)?;

    let engine = Engine::new(model, Shard::open(&file)?)?;
    let results = engine.search_photo(&std::fs::read(Path::new(&query))?, &options)?;
    for found in &results.listings {
        println!("{:.3} {}", found.score, found.listing.photo);
    }
    println!("in {:.1} ms", results.stages.total().as_secs_f64() * 1e3);
    Ok(())
}
