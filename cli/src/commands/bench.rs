//! `magpie bench`

use std::path::{Path, PathBuf};
use std::time::Instant;

use magpie_core::bench::{self, StageTimes};
use magpie_core::cpu::Isa;
use magpie_core::engine::{Engine, SearchOptions};
use magpie_core::model::{LoadOptions, Model};
use magpie_core::search::Filter;
use magpie_core::shard::Shard;

use super::demo;
use crate::catalog::read_photo;
use crate::failure::{CommandFailure, Result};
use crate::{assets, output};

/// Measure the stages of a search, opening a shard, and peak memory
#[derive(clap::Args)]
#[command(after_help = "Without --shard and --photo, the demo catalogue is searched with its shoppers' photos.\n\n\
    Example: magpie bench --shard catalog.magpie --photo a.jpg b.jpg --runs 200")]
pub(crate) struct Args {
    /// Catalogue shard to search [default: the demo's]
    #[arg(long, requires = "photo")]
    shard: Option<PathBuf>,
    /// Photos to search with, in turn [default: the demo's]
    #[arg(long, num_args = 1.., requires = "shard")]
    photo: Vec<PathBuf>,
    /// Find only listings that pass this filter
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
    /// Number of listings to find
    #[arg(long, default_value_t = 10)]
    k: usize,
    /// Number of searches to measure
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Folder of the model pack [default: the built-in pack]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Instruction set for the network: scalar, avx2, avx-vnni, avx512-vnni, neon, neon-dot, neon-i8mm [default: the
    /// CPU's best]
    #[arg(long)]
    isa: Option<Isa>,
    /// Threads per run of the network
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let filter = args.filter.as_deref().map(Filter::parse).transpose().map_err(magpie_core::Error::from)?;
    let options = SearchOptions::new(args.k).with_filter(filter);

    let pack = assets::pack(args.model.as_deref())?;
    let loading = Instant::now();
    let load = LoadOptions::default().with_isa(args.isa.unwrap_or_else(Isa::best)).with_threads(args.threads);
    let model = Model::load_with(&pack, &load)?;
    let load = loading.elapsed();
    let folder = tempfile::tempdir().map_err(|e| CommandFailure::io(&std::env::temp_dir(), e))?;
    let (path, photos) = inputs(args, &model, folder.path())?;
    let mut opens = Vec::new();
    for _ in 0..20 {
        let opening = Instant::now();
        Shard::open(&path).map_err(|e| CommandFailure::of(&path, e))?;
        opens.push(opening.elapsed());
    }
    let shard = Shard::open(&path).map_err(|e| CommandFailure::of(&path, e))?;
    let engine = Engine::new(model, shard).map_err(|e| CommandFailure::of(&path, e))?;

    let photos: Vec<&[u8]> = photos.iter().map(Vec::as_slice).collect();
    let mut rows = bench::searches(&engine, &photos, args.runs, &options)?;
    rows.push(StageTimes::of("open shard", opens));

    let (listings, photos) = (engine.catalog().listing_count(), engine.catalog().photo_count());
    let peak = peak_memory();
    if args.json {
        let load_ms = (output::millis(load) * 1e3).round() / 1e3;
        return output::json(&serde_json::json!({
            "photos": photos, "listings": listings, "runs": args.runs, "stages": rows,
            "load_model_ms": load_ms, "isa": engine.model().report().isa.name(), "peak_memory_bytes": peak,
        }));
    }
    outln!("{photos} photos of {listings} listings, {} searches\n", args.runs);
    let cells = rows.iter().map(|r| vec![r.stage.to_owned(), output::ms(r.p50), output::ms(r.p90), output::ms(r.p99)]);
    out!("{}", output::table(&["stage", ">p50", ">p90", ">p99"], &cells.collect::<Vec<_>>()));
    outln!("\nload model {}, instruction set {}", output::ms(load), engine.model().report().isa);
    match peak {
        Some(peak) => outln!("peak memory {}", output::bytes(peak)),
        None => outln!("peak memory unknown on this system"),
    }
    Ok(())
}

/// Returns the shard and the photos of the command line, or else the demo's, whose shard is built in `folder`.
fn inputs(args: &Args, model: &Model, folder: &Path) -> Result<(PathBuf, Vec<Vec<u8>>)> {
    let Some(shard) = &args.shard else {
        let queries = demo::queries()?.into_iter().map(|query| query.bytes.to_vec());
        return Ok((demo::shard(model, folder, args.json)?, queries.collect()));
    };
    let read = |path: &PathBuf| read_photo(path);
    Ok((shard.clone(), args.photo.iter().map(read).collect::<Result<_>>()?))
}

/// Returns the peak resident memory of this process in bytes; `None` if the system does not report it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}
