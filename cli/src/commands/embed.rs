//! `magpie embed`

use std::path::PathBuf;

use magpie_core::engine;
use magpie_core::image::DecodeLimits;
use magpie_core::model::{Model, Output};
use rayon::prelude::*;

use crate::failure::{CommandFailure, Result};
use crate::npy::{self, EmbeddingRows};
use crate::shard_build::BATCH;
use crate::{assets, output};

/// Write the embeddings of photos to a NumPy file
#[derive(clap::Args)]
#[command(after_help = "Example: ls photos/*.jpg > files.txt && magpie embed --list files.txt --out embeddings.npy")]
pub(crate) struct Args {
    /// Text file with one photo path per line, relative to the current folder
    #[arg(long)]
    list: PathBuf,
    /// NumPy file to write: float32, one row per photo, in the order of the list
    #[arg(long)]
    out: PathBuf,
    /// Folder of the model pack [default: the built-in pack]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let text = std::fs::read_to_string(&args.list).map_err(|e| CommandFailure::io(&args.list, e))?;
    let paths: Vec<PathBuf> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).map(PathBuf::from).collect();
    if paths.is_empty() {
        return Err(CommandFailure::new(format!("{}: the list is empty", args.list.display())));
    }
    let model = assets::model(args.model.as_ref())?;
    let rows = embed_files(&model, &paths, args.json)?;
    npy::write(&args.out, &rows)?;
    if args.json {
        return output::json(&serde_json::json!({ "out": output::path(&args.out), "rows": paths.len(), "columns": rows.width }));
    }
    outln!("{}: {} rows of {} values", args.out.display(), paths.len(), rows.width);
    Ok(())
}

/// Returns the embeddings of photo files, in order.
///
/// # Errors
/// The error of the first unusable photo in the list.
pub(crate) fn embed_files(model: &Model, paths: &[PathBuf], quiet: bool) -> Result<EmbeddingRows> {
    let width = model.manifest().embedding.dim as usize;
    let mut values = Vec::with_capacity(width * paths.len());
    run_files(model, paths, quiet, |output| values.extend(output.embedding.values()))?;
    Ok(EmbeddingRows { width, values })
}

/// Runs the network on photo files and passes the outputs to `take`, in order.
pub(crate) fn run_files(model: &Model, paths: &[PathBuf], quiet: bool, mut take: impl FnMut(Output)) -> Result<()> {
    let limits = DecodeLimits::default();
    let bar = output::progress(paths.len(), "embedding", quiet);
    let embed = |path: &PathBuf| {
        let bytes = std::fs::read(path).map_err(|e| CommandFailure::io(path, e))?;
        engine::embed(model, &bytes, None, &limits).map_err(|e| CommandFailure::of(path, e))
    };
    // Batches: an unusable photo stops the command soon, and it is the same photo on any number of cores.
    for batch in paths.chunks(BATCH) {
        let outputs: Vec<_> = batch.par_iter().map(embed).inspect(|_| bar.inc(1)).collect();
        for output in outputs {
            take(output?);
        }
    }
    bar.finish_and_clear();
    Ok(())
}
