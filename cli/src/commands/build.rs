//! `magpie build`

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::table_args::{Table, TableArgs};
use crate::catalog::list;
use crate::console::printable;
use crate::failure::{CommandFailure, Result};
use crate::shard_build::{BuildPlan, Built, build};
use crate::{assets, output};

/// Build a catalogue shard from a table of listings and a folder of photos
#[derive(clap::Args)]
#[command(after_help = "The table has one row per photo, or one per listing with several photos in a cell, with the \
    columns listing_id and photo, and usually title, category, price, currency and url. Further columns are kept too. \
    Feeds of Shopify, WooCommerce, Etsy, Google Merchant, Facebook, Magento and Amazon are recognised by their headers. \
    A value of a listing comes from its first row that has it. A row whose photo is missing or broken is reported and \
    skipped.\n\n\
    Example: magpie build --catalog catalog.csv --images photos/ --out catalog.magpie")]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Shard to write
    #[arg(long)]
    out: PathBuf,
    /// Name of the catalogue [default: the table's file name]
    #[arg(long)]
    name: Option<String>,
    /// Publication number of the catalogue: grows with every publication
    #[arg(long, default_value_t = 1)]
    sequence: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    writable(&args.out)?;
    let Table { catalog, photos, conflicting, filters } = args.table.read(None)?;
    let notes = catalog.notes.clone();
    let file_name = args.table.file_name()?;
    let plan = BuildPlan {
        name: args.name.as_deref().unwrap_or(&file_name),
        sequence: args.sequence,
        filters: &filters,
        strict: args.table.strict,
        thumbnails: args.table.thumbnails,
        scaling: None,
        kinds: Vec::new(),
        quiet: args.json,
    };
    let model = assets::model(args.table.model.as_ref())?;
    let read = |name: &str| photos.read(name);
    let Built { report, skipped, incomplete } = args.table.threads()?.install(|| {
        let scaling = args.table.local_scaling(&model, args.json)?;
        build(&model, catalog, read, &BuildPlan { scaling, ..plan }, &args.out)
    })?;

    let size = std::fs::metadata(&args.out).map_err(|e| CommandFailure::io(&args.out, e))?.len();
    let seconds = started.elapsed().as_secs_f64();
    if args.json {
        return output::json(&serde_json::json!({
            "out": output::path(&args.out), "photos": report.photos, "listings": report.listings, "bytes": size,
            "seconds": (seconds * 1e3).round() / 1e3, "filters": filters, "skipped": skipped,
            "incomplete": incomplete, "conflicting": conflicting, "notes": notes,
        }));
    }
    for row in &skipped {
        errln!("skipped line {}: {}", row.line, printable(&row.reason));
    }
    for row in &incomplete {
        errln!("{}", printable(&row.note()));
    }
    for id in &conflicting {
        errln!("listing '{}' has rows with different values; the first are kept", printable(id));
    }
    for note in &notes {
        errln!("{}", printable(note));
    }
    outln!(
        "{}: {} photos of {} listings, {}, in {seconds:.1} s{}\nfilters: {}",
        args.out.display(),
        report.photos,
        report.listings,
        output::bytes(size),
        if skipped.is_empty() { String::new() } else { format!("; {} rows skipped", skipped.len()) },
        if filters.is_empty() { "none".to_owned() } else { list(filters.iter().map(String::as_str)) },
    );
    Ok(())
}

/// Checks before the work that the shard can be written after it.
fn writable(out: &Path) -> Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(CommandFailure::new(format!("{}: no such folder for the shard", folder.display())));
    }
    if out.exists() && !out.is_file() {
        return Err(CommandFailure::io(out, "it exists and is not a file"));
    }
    // A file that is made and removed at once: permissions alone do not tell.
    tempfile::tempfile_in(folder).map_err(|e| CommandFailure::io(folder, format!("cannot write there: {e}")))?;
    Ok(())
}
