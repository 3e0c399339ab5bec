//! `magpie build`

use std::path::{Path, PathBuf};
use std::time::Instant;

use magpie_core::Embedding;
use magpie_core::builder::LocalScaling;
use magpie_core::model::Model;
use magpie_core::shard::MAX_COLUMNS;

use crate::catalog::{CatalogTable, list};
use crate::commands::embed::embed_files;
use crate::console::printable;
use crate::failure::{CommandFailure, Result};
use crate::shard_build::{BuildPlan, build};
use crate::{assets, output};

/// Build a catalogue shard from a table of listings and a folder of photos
#[derive(clap::Args)]
#[command(after_help = "The table has one row per photo, with the columns listing_id and photo, and usually title, \
    category, price, currency and url. Further columns are kept too. A row whose photo is missing or broken is \
    reported and skipped.\n\n\
    Example: magpie build --catalog catalog.csv --images photos/ --out catalog.magpie")]
pub(crate) struct Args {
    /// Table of listings: .csv with a header line, or .jsonl with one object per line
    #[arg(long)]
    catalog: PathBuf,
    /// Folder of the photos: the table's photo names are relative to it
    #[arg(long)]
    images: PathBuf,
    /// Folder of the model pack [default: the built-in pack]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Shard to write
    #[arg(long)]
    out: PathBuf,
    /// Name of the catalogue [default: the table's file name]
    #[arg(long)]
    name: Option<String>,
    /// Publication number of the catalogue: grows with every publication
    #[arg(long, default_value_t = 1)]
    sequence: u64,
    /// Columns that searches can filter by, at most 16 [default: all but title and url]
    #[arg(long, value_delimiter = ',')]
    filters: Option<Vec<String>>,
    /// Fail at the first unusable row instead of skipping it
    #[arg(long)]
    strict: bool,
    /// Store a thumbnail of each photo, with SIZE pixels on the longer side: about 2 kB each for 128
    #[arg(long, value_name = "SIZE", value_parser = clap::value_parser!(u32).range(16..=1024))]
    thumbnails: Option<u32>,
    /// Folder of some hundreds of shoppers' photos of such goods. Listings whose photos are near to too many of them
    /// get lower scores (local scaling), so that products known from training do not hide new ones
    #[arg(long, value_name = "FOLDER")]
    shoppers: Option<PathBuf>,
    /// Strength of the local scaling, 0 to 1
    #[arg(long, value_name = "STRENGTH", requires = "shoppers", default_value_t = LocalScaling::STRENGTH)]
    local_scaling: f32,
    /// Threads to use [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    let catalog = CatalogTable::open(&args.catalog)?;
    if !args.images.is_dir() {
        return Err(CommandFailure::new(format!("{}: no such folder", args.images.display())));
    }
    let filters = filters(args, &catalog)?;
    let no_name = || CommandFailure::usage(format!("{}: the table has no file name", args.catalog.display()));
    let file_name = args.catalog.file_stem().ok_or_else(no_name)?.to_string_lossy();
    let plan = BuildPlan {
        name: args.name.as_deref().unwrap_or(&file_name),
        sequence: args.sequence,
        filters: &filters,
        strict: args.strict,
        thumbnails: args.thumbnails,
        scaling: None,
        quiet: args.json,
    };
    let model = assets::model(args.model.as_ref())?;
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads.unwrap_or(0));
    let threads = threads.build().map_err(|e| CommandFailure::new(e.to_string()))?;
    let read = |name: &str| std::fs::read(args.images.join(name)).map_err(|e| CommandFailure::new(e.to_string()));
    let (report, skipped) = threads.install(|| {
        let scaling = args.shoppers.as_ref().map(|folder| local_scaling(&model, folder, args)).transpose()?;
        build(&model, catalog, read, &BuildPlan { scaling, ..plan }, &args.out)
    })?;

    let size = std::fs::metadata(&args.out).map_err(|e| CommandFailure::io(&args.out, e))?.len();
    let seconds = started.elapsed().as_secs_f64();
    if args.json {
        return output::json(&serde_json::json!({
            "out": output::path(&args.out), "photos": report.photos, "listings": report.listings, "bytes": size,
            "seconds": (seconds * 1e3).round() / 1e3, "filters": filters, "skipped": skipped,
            "conflicting": report.conflicting,
        }));
    }
    for row in &skipped {
        errln!("skipped line {}: {}", row.line, printable(&row.reason));
    }
    for id in &report.conflicting {
        errln!("listing '{}' has rows with different values; the first row's are kept", printable(id));
    }
    outln!(
        "{}: {} photos of {} listings, {}, in {seconds:.1} s{}",
        args.out.display(),
        report.photos,
        report.listings,
        output::bytes(size),
        if skipped.is_empty() { String::new() } else { format!("; {} rows skipped", skipped.len()) },
    );
    Ok(())
}

/// Embeds the photos of a folder and makes the local scaling of them.
fn local_scaling(model: &Model, folder: &Path, args: &Args) -> Result<LocalScaling> {
    let entries = std::fs::read_dir(folder).map_err(|e| CommandFailure::io(folder, e))?;
    let mut photos = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|e| CommandFailure::io(folder, e))?;
    photos.retain(|path| path.is_file());
    photos.sort();
    let rows = embed_files(model, &photos, args.json)?;
    let photos = rows.values.chunks_exact(rows.width).filter_map(|row| Embedding::new(row, model.id()));
    LocalScaling::new(&photos.collect::<Vec<_>>(), args.local_scaling).map_err(|e| CommandFailure::of(folder, e))
}

fn filters(args: &Args, catalog: &CatalogTable) -> Result<Vec<String>> {
    let Some(wanted) = &args.filters else {
        let filters = catalog.default_filters(MAX_COLUMNS);
        let possible = catalog.default_filters(usize::MAX);
        if filters.len() < possible.len() {
            let rest = list(possible[filters.len()..].iter().map(String::as_str));
            errln!("a shard has at most {MAX_COLUMNS} filter columns; left out: {rest}; choose with --filters");
        }
        return Ok(filters);
    };
    let wanted: Vec<String> = wanted.iter().filter(|name| !name.is_empty()).cloned().collect();
    if let Some(unknown) = wanted.iter().find(|name| !catalog.fields.contains(name)) {
        let known = list(catalog.fields.iter().map(String::as_str));
        return Err(CommandFailure::usage(format!("--filters: unknown column '{unknown}'; the columns are {known}")));
    }
    if wanted.len() > MAX_COLUMNS {
        return Err(CommandFailure::usage(format!(
            "--filters: {} columns given, at most {MAX_COLUMNS} are possible",
            wanted.len()
        )));
    }
    Ok(wanted)
}
