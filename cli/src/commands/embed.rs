//! `magpie embed`

use std::path::PathBuf;

use magpie_core::model::Model;
use rayon::prelude::*;

use crate::catalog::{is_stdin, read_photo};
use crate::console::printable;
use crate::embedding::{BATCH, EmbeddedPhoto, IncompletePhoto, Place, embed_photo};
use crate::failure::{CommandFailure, Result};
use crate::npy::{self, EmbeddingRows};
use crate::{assets, output};

/// Write the embeddings of photos to a NumPy file
#[derive(clap::Args)]
#[command(after_help = "Example: ls photos/*.jpg > files.txt && magpie embed --list files.txt --out embeddings.npy")]
pub(crate) struct Args {
    /// Text file with one photo path per line, relative to the current folder; - for standard input
    #[arg(long)]
    list: PathBuf,
    /// NumPy file to write: float32, one row per photo, in the order of the list
    #[arg(long)]
    out: PathBuf,
    /// Folder of the model pack [default: the built-in pack]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Go on after a photo that cannot be used: its row is all zeros, and the report names it
    #[arg(long)]
    skip_bad: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What is to be said of photos in the list.
#[derive(Default)]
pub(crate) struct PhotoNotes {
    pub(crate) bad: Vec<BadPhoto>,
    /// Photos that were cut short or damaged, and were used as far as they go.
    incomplete: Vec<IncompletePhoto>,
}

/// A photo that could not be embedded.
#[derive(Debug, serde::Serialize)]
pub(crate) struct BadPhoto {
    /// Row in the output, from 0.
    row: usize,
    photo: String,
    reason: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let text = match is_stdin(&args.list) {
        true => std::io::read_to_string(std::io::stdin().lock()),
        false => std::fs::read_to_string(&args.list),
    };
    let text = text.map_err(|e| CommandFailure::io(&args.list, e))?;
    // Rows and lines have the same numbers, so a blank line between two names is not skipped.
    let paths: Vec<PathBuf> = text.trim_end().lines().map(str::trim).map(PathBuf::from).collect();
    if paths.is_empty() {
        return Err(CommandFailure::new(format!("{}: the list is empty", args.list.display())));
    }
    let model = assets::model(args.model.as_ref())?;
    let mut notes = PhotoNotes::default();
    let rows = match args.skip_bad {
        true => embed_usable(&model, &paths, args.json, &mut notes)?,
        false => embed_files(&model, &paths, args.json, &mut notes)?,
    };
    let PhotoNotes { bad, incomplete } = notes;
    npy::write(&args.out, &rows)?;
    if args.json {
        return output::json(&serde_json::json!({
            "out": output::path(&args.out), "rows": paths.len(), "columns": rows.width, "bad": bad,
            "incomplete": incomplete,
        }));
    }
    for BadPhoto { row, photo, reason } in &bad {
        errln!("row {row} is zero: {}: {}", printable(photo), printable(reason));
    }
    for photo in &incomplete {
        errln!("{}", printable(&photo.note()));
    }
    outln!("{}: {} rows of {} values", args.out.display(), paths.len(), rows.width);
    Ok(())
}

/// Returns the embeddings of photo files, in order.
///
/// # Errors
/// The error of the first unusable photo in the list.
pub(crate) fn embed_files(
    model: &Model,
    paths: &[PathBuf],
    quiet: bool,
    notes: &mut PhotoNotes,
) -> Result<EmbeddingRows> {
    let width = model.manifest().embedding.dim as usize;
    let mut values = Vec::with_capacity(width * paths.len());
    run_each(model, paths, quiet, |row, embedded| {
        let EmbeddedPhoto { embedding, incomplete, .. } = embedded?;
        values.extend(embedding.values());
        notes.incomplete.extend(incomplete.then(|| incomplete_photo(row, paths)));
        Ok(())
    })?;
    Ok(EmbeddingRows { width, values })
}

/// Like [`embed_files`], but the row of an unusable photo is zero, and the photo is added to the bad ones.
///
/// # Errors
/// No photo can be used; the error is that of the first.
pub(crate) fn embed_usable(
    model: &Model,
    paths: &[PathBuf],
    quiet: bool,
    notes: &mut PhotoNotes,
) -> Result<EmbeddingRows> {
    let width = model.manifest().embedding.dim as usize;
    let mut values = Vec::with_capacity(width * paths.len());
    let mut first = None;
    run_each(model, paths, quiet, |row, embedded| {
        match embedded {
            Ok(EmbeddedPhoto { embedding, incomplete, .. }) => {
                values.extend(embedding.values());
                notes.incomplete.extend(incomplete.then(|| incomplete_photo(row, paths)));
            }
            Err(failure) => {
                values.resize(values.len() + width, 0.0);
                let (photo, reason) = (output::path(&paths[row]), failure.message.clone());
                notes.bad.push(BadPhoto { row, photo, reason });
                first.get_or_insert(failure);
            }
        }
        Ok(())
    })?;
    match first {
        Some(failure) if notes.bad.len() == paths.len() => Err(failure),
        _ => Ok(EmbeddingRows { width, values }),
    }
}

fn incomplete_photo(row: usize, paths: &[PathBuf]) -> IncompletePhoto {
    IncompletePhoto { place: Place::Row(row), photo: output::path(&paths[row]) }
}

fn run_each(
    model: &Model,
    paths: &[PathBuf],
    quiet: bool,
    mut take: impl FnMut(usize, Result<EmbeddedPhoto>) -> Result<()>,
) -> Result<()> {
    let bar = output::progress(paths.len(), "embedding", quiet);
    let embed = |path: &PathBuf| {
        let bytes = read_photo(path)?;
        embed_photo(model, &bytes, None).map_err(|e| e.in_file(path))
    };
    // Batches: an unusable photo stops the command soon, and it is the same photo on any number of cores.
    let mut row = 0;
    for batch in paths.chunks(BATCH) {
        let outputs: Vec<_> = batch.par_iter().map(embed).inspect(|_| bar.inc(1)).collect();
        for output in outputs {
            take(row, output)?;
            row += 1;
        }
    }
    bar.finish_and_clear();
    Ok(())
}
