//! Benchmarks of the individual stages of a search: `cargo xtask bench`.
//!
//! The cases take turns and the median of the CPU time is printed, because machines are shared and noisy. `--smoke`
//! runs each case once, to test that it works.
#![allow(clippy::unwrap_used, missing_docs)] // A failed unwrap ends the benchmark.

use std::path::Path;
use std::time::Duration;

use jpeg_encoder::{ColorType, Encoder};
use magpie_core::builder::{Field, Identity, ShardBuilder};
use magpie_core::image::{DecodeLimits, decode, normalise};
use magpie_core::model::{Model, Pack};
use magpie_core::search::{Filter, search};
use magpie_core::shard::Shard;
use magpie_core::{Embedding, listing};

type Case<'a> = (&'a str, Box<dyn Fn() + 'a>);

fn main() {
    let smoke = std::env::args().any(|arg| arg == "--smoke");
    let (rounds, photos) = if smoke { (1, 1_000) } else { (41, 100_000) };

    let pack = Pack::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/packs/default")).unwrap();
    let model = Model::load(&pack).unwrap();
    let recipe = &model.manifest().input;
    let limits = DecodeLimits::default();
    // An input of 1024 pixels requires decoding a 12-megapixel photo at full size.
    let full = magpie_core::recipe::Recipe { width: 1024, height: 1024, ..recipe.clone() };
    let (baseline, progressive) = (photo(false), photo(true));
    let decoded = decode(&baseline, None, recipe, &limits).unwrap();
    let decoded_full = decode(&baseline, None, &full, &limits).unwrap();
    let input = normalise(&decoded.input_rgb(None, recipe).unwrap(), recipe);
    let query = model.run(&input).unwrap().embedding;

    let folder = tempfile::tempdir().unwrap();
    let shard = shard(&folder.path().join("bench.magpie"), &query, photos);
    let found = search(&shard, &query, None, 10).unwrap();
    let filter = Filter::parse("category='7'").unwrap();

    let cases: Vec<Case<'_>> = vec![
        ("decode 12 MP JPEG at full size", Box::new(|| drop(decode(&baseline, None, &full, &limits).unwrap()))),
        ("decode 12 MP JPEG for the network", Box::new(|| drop(decode(&baseline, None, recipe, &limits).unwrap()))),
        ("the same, progressive, full size", Box::new(|| drop(decode(&progressive, None, &full, &limits).unwrap()))),
        (
            "the same, progressive, for the network",
            Box::new(|| drop(decode(&progressive, None, recipe, &limits).unwrap())),
        ),
        ("resize from full size", Box::new(|| drop(decoded_full.input_rgb(None, recipe).unwrap()))),
        ("resize from what was decoded", Box::new(|| drop(decoded.input_rgb(None, recipe).unwrap()))),
        ("normalise", Box::new(|| drop(normalise(&decoded.input_rgb(None, recipe).unwrap(), recipe)))),
        ("network (default pack)", Box::new(|| drop(model.run(&input).unwrap()))),
        ("search all photos", Box::new(|| drop(search(&shard, &query, None, 10).unwrap()))),
        ("search 1 % of the photos", Box::new(|| drop(search(&shard, &query, Some(&filter), 10).unwrap()))),
        ("read 10 listings", Box::new(|| drop(listing::fetch(&shard, &found).unwrap()))),
    ];

    let mut times = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for ((_, case), times) in cases.iter().zip(&mut times) {
            let started = cpu_time();
            case();
            times.push(cpu_time() - started);
        }
    }
    println!("{}; median of {rounds}, CPU time", cpu());
    let mega = |bytes: &[u8]| bytes.len() as f64 / 1e6;
    println!(
        "JPEG of 4000 x 3000 pixels: {:.1} MB baseline, {:.1} MB progressive; {photos} photos in the shard",
        mega(&baseline),
        mega(&progressive)
    );
    for ((name, _), times) in cases.iter().zip(&mut times) {
        times.sort_unstable();
        println!("{name:<42} {:>10.3} ms", times[times.len() / 2].as_secs_f64() * 1e3);
    }
}

/// A photo of 4000 x 3000 pixels with smooth shapes, edges and sensor noise; its file is about as large as a phone's.
fn photo(progressive: bool) -> Vec<u8> {
    let (width, height) = (4000u16, 3000u16);
    let mut state = 1u32;
    let mut rgb = Vec::with_capacity(usize::from(width) * usize::from(height) * 3);
    for y in 0..u32::from(height) {
        for x in 0..u32::from(width) {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            let noise = (state >> 30) as i32 - 2;
            let shape = if (x / 400 + y / 300) % 2 == 0 { 60 } else { 0 };
            let wave = ((x as f32 / 90.0).sin() * (y as f32 / 130.0).cos() * 60.0) as i32;
            rgb.extend([120 + shape + wave, 110 + wave, 140 - shape].map(|v| (v + noise).clamp(0, 255) as u8));
        }
    }
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, 90);
    encoder.set_progressive(progressive);
    encoder.encode(&rgb, width, height, ColorType::Rgb).unwrap();
    jpeg
}

/// A shard whose listings have two photos each, scattered around the query, in 100 categories.
fn shard(path: &Path, query: &Embedding, photos: usize) -> Shard {
    let identity = Identity { model_id: query.model(), catalog: "bench".into(), sequence: 1, writer: "bench".into() };
    let fields = [("title", false), ("category", true), ("price", true)];
    let fields = fields.map(|(name, filter)| Field { name: name.into(), filter }).to_vec();
    let mut builder = ShardBuilder::new(identity, query.dim(), fields);
    let mut state = 1u64;
    for at in 0..photos {
        let mut noise = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        let values: Vec<f32> = query.values().iter().map(|v| v + 0.5 * noise()).collect();
        let listing = at / 2;
        let fields =
            [format!("Listing number {listing}"), (listing % 100).to_string(), format!("{}.99", listing % 300)];
        let embedding = Embedding::new(&values, query.model()).unwrap();
        let photo = format!("{listing:06}-{}.jpg", at % 2);
        builder.add(&format!("{listing:06}"), &photo, &fields, &embedding).unwrap();
    }
    builder.write(path).unwrap();
    Shard::open(path).unwrap()
}

/// The CPU time of this process: it includes the threads that the JPEG decoder starts, and nothing else runs here.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("unknown CPU", |(_, name)| name).to_owned()
}
