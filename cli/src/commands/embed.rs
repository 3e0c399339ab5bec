//! `magpie embed`

use std::path::PathBuf;

use magpie_core::engine;
use magpie_core::image::DecodeLimits;
use magpie_core::model::{Model, Output};
use rayon::prelude::*;

use crate::failure::{Failure, Result};
use crate::npy::{self, Rows};
use crate::shard_build::BATCH;
use crate::{assets, output};

/// Write the embeddings of photos to a NumPy file
#[derive(clap::Args)]
#[command(after_help = "Example: ls photos/*.jpg > files.txt && magpie embed --list files.txt --out embeddings.npy")]
pub(crate) struct Args {
    /// Text file with the path of one photo a line, relative to the current folder
    #[arg(long)]
    list: PathBuf,
    /// The file to write: float32, one row a line, in order
    #[arg(long)]
    out: PathBuf,
    /// Folder of the model pack [default: the pack inside this program]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let text = std::fs::read_to_string(&args.list).map_err(|e| Failure::io(&args.list, e))?;
    let paths: Vec<PathBuf> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).map(PathBuf::from).collect();
    if paths.is_empty() {
        return Err(Failure::new(format!("{}: there are no lines", args.list.display())));
    }
    let model = assets::model(args.model.as_ref())?;
    let rows = embed_files(&model, &paths, args.json)?;
    npy::write(&args.out, &rows)?;
    if args.json {
        return output::json(&serde_json::json!({ "out": args.out, "rows": paths.len(), "columns": rows.width }));
    }
    println!("{}: {} rows of {} values", args.out.display(), paths.len(), rows.width);
    Ok(())
}

/// The embeddings of photo files, in order; the first that cannot be used (in the order of the list) is an error.
pub(crate) fn embed_files(model: &Model, paths: &[PathBuf], quiet: bool) -> Result<Rows> {
    let width = model.manifest().embedding.dim as usize;
    let mut values = Vec::with_capacity(width * paths.len());
    run_files(model, paths, quiet, |output| values.extend(output.embedding.values()))?;
    Ok(Rows { width, values })
}

/// Takes what the network says of photo files, in order.
pub(crate) fn run_files(model: &Model, paths: &[PathBuf], quiet: bool, mut take: impl FnMut(Output)) -> Result<()> {
    let limits = DecodeLimits::default();
    let bar = output::progress(paths.len(), "embedding", quiet);
    let embed = |path: &PathBuf| {
        let bytes = std::fs::read(path).map_err(|e| Failure::io(path, e))?;
        engine::embed(model, &bytes, None, &limits).map_err(|e| Failure::of(path, e))
    };
    // A photo that cannot be used stops the command soon, and it is the same photo on any number of cores.
    for batch in paths.chunks(BATCH) {
        let outputs: Vec<_> = batch.par_iter().map(embed).inspect(|_| bar.inc(1)).collect();
        for output in outputs {
            take(output?);
        }
    }
    bar.finish_and_clear();
    Ok(())
}
