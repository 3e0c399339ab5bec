//! Builds a shard from vectors and searches it: `cargo run -p magpie-index --example shard_from_vectors --features build`.
//!
//! The vectors are made up: 20,000 photos in 300 groups of similar things, two photos for each listing.

use magpie_index::builder::{BuildReport, Field, Identity, ShardBuilder};
use magpie_index::search::{Candidate, Filter, SearchParams, Searcher};
use magpie_index::shard::Shard;
use magpie_index::{Embedding, ModelId, Result, listing};

/// The network that computed the vectors. A shard refuses queries from another one.
const MODEL: ModelId = ModelId([1; 32]);
const DIM: usize = 64;
const PHOTOS: u64 = 20_000;

fn main() -> Result<()> {
    let path = std::env::temp_dir().join("magpie-shard-from-vectors.magpie");
    let report = build(&path)?;
    println!("{} photos of {} listings in {} inverted lists", report.photos, report.listings, report.lists);

    // Opening maps the file and reads a few pages of it. `Shard::verify` reads everything: do that after a download.
    let shard = Shard::open(&path)?;
    shard.verify()?;

    // A searcher reuses its buffers: keep one for each thread.
    let mut searcher = Searcher::new(&shard);
    let query = vector(1, 1_000_003);

    let ten = SearchParams::new(10);
    let nearest = searcher.search(&query, None, &ten)?;
    print("nearest", &shard, &nearest)?;

    // How much did the approximate search miss? A recall of 1 scores every photo.
    let exhaustive = searcher.search(&query, None, &ten.clone().with_recall(1.0))?;
    let hits = nearest.iter().filter(|found| exhaustive.iter().any(|other| other.listing == found.listing)).count();
    println!("{hits} of {} are those of an exhaustive search\n", exhaustive.len());

    // A filter restricts the listings; there are still ten results wherever ten listings pass.
    let filter = Filter::parse("price < 20 and colour in (red, blue)")?;
    print("cheap, red or blue", &shard, &searcher.search(&query, Some(&filter), &ten)?)?;

    // At most two results of each colour, and none that repeats a better one.
    let varied = SearchParams::new(6).with_at_most_per("colour", 2).without_near_duplicates(0.97);
    print("two of each colour", &shard, &searcher.search(&query, None, &varied)?)?;

    // Listings like one of the shard.
    if let Some(row) = shard.find_listing("listing-00042")? {
        print("like listing-00042", &shard, &searcher.more_like(row, None, &SearchParams::new(3))?)?;
    }
    std::fs::remove_file(&path).map_err(|source| magpie_index::Error::Io { path, source })
}

/// Writes a shard of all photos to `path`.
fn build(path: &std::path::Path) -> Result<BuildReport> {
    let identity =
        Identity { model_id: MODEL, catalog: "example".to_owned(), sequence: 1, writer: "example".to_owned() };
    // Every field is metadata; those with `filter` are also columns that searches can filter and group by. A column whose
    // values are all numbers compares by size.
    let fields = [("title", false), ("price", true), ("colour", true)];
    let fields = fields.map(|(name, filter)| Field { name: name.to_owned(), filter }).to_vec();
    let mut builder = ShardBuilder::new(identity, DIM, fields);
    for photo in 0..PHOTOS {
        let number = photo / 2;
        let colour = ["red", "green", "blue", "white"][number as usize / 300 % 4];
        let values = [format!("Thing {number}"), (5 + number / 7 % 90).to_string(), colour.to_owned()];
        let name = ["front.jpg", "back.jpg"][photo as usize % 2];
        builder.add(&format!("listing-{number:05}"), name, &values, &vector(number % 300, photo))?;
    }
    builder.write(path)
}

fn print(heading: &str, shard: &Shard, found: &[Candidate]) -> Result<()> {
    println!("{heading}:");
    for found in listing::fetch(shard, found)? {
        let value = |field| found.listing.get(field).unwrap_or("-");
        println!("  {:.3} {} {:>3} {}", found.score, found.listing.id, value("price"), value("colour"));
    }
    println!();
    Ok(())
}

/// A vector near the direction of its group.
fn vector(group: u64, number: u64) -> Embedding {
    let coordinate = |stream: u64, at: usize| {
        let mixed = (stream * DIM as u64 + at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..DIM).map(|at| coordinate(group, at) + 0.5 * coordinate(1_000 + number, at)).collect();
    Embedding::new(&values, MODEL).expect("finite and not zero")
}
