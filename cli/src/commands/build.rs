//! `magpie build`

use std::path::{Path, PathBuf};
use std::time::Instant;

use magpie_core::Embedding;
use magpie_core::builder::LocalScaling;
use magpie_core::model::Model;
use magpie_core::shard::MAX_COLUMNS;

use crate::catalog::{CatalogTable, ColumnNames, PhotoFolder, list};
use crate::commands::embed::{PhotoNotes, embed_usable};
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
    /// Table of listings: CSV with a header line (comma, semicolon, tab or bar), or JSON Lines; may be compressed by gzip
    /// or Zstandard
    #[arg(long)]
    catalog: PathBuf,
    /// Column of the listing's id [default: listing_id, or the usual name of a feed]
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
    /// Column of the photo's name [default: photo, or the usual name of a feed]
    #[arg(long, value_name = "COLUMN")]
    photo_column: Option<String>,
    /// Give a column of the table another name in the catalogue; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = pair)]
    map: Vec<(String, String)>,
    /// Insist that a column holds numbers: a value that is not a number is left out; may be repeated
    #[arg(long, value_name = "COLUMN=number", value_parser = number_column)]
    column: Vec<String>,
    /// Folder of the photos: the table's photo names are relative to it
    #[arg(long)]
    images: PathBuf,
    /// Look for photos whose address starts so in a folder, relative to --images; may be repeated
    #[arg(long, value_name = "ADDRESS=FOLDER", value_parser = pair)]
    url_prefix: Vec<(String, String)>,
    /// Allow photos outside the folder of the photos
    #[arg(long)]
    allow_outside: bool,
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
    /// Columns that searches can filter by, at most 16 [default: numbers, and words with few different values]
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
    let prefixes: Vec<(String, PathBuf)> =
        args.url_prefix.iter().map(|(prefix, folder)| (prefix.clone(), PathBuf::from(folder))).collect();
    let photos = PhotoFolder::open(&args.images, &prefixes, args.allow_outside)?;
    writable(&args.out)?;
    let (id, photo) = (args.id_column.clone(), args.photo_column.clone());
    let mut catalog = CatalogTable::open(&args.catalog, &ColumnNames { id, photo, renamed: args.map.clone() })?;
    if let Some(unknown) = args.column.iter().find(|name| !catalog.fields.contains(name)) {
        let known = list(catalog.fields.iter().map(String::as_str));
        return Err(CommandFailure::usage(format!("--column: unknown column '{unknown}'; the columns are {known}")));
    }
    catalog.split_photos();
    let conflicting = catalog.share_values();
    catalog.read_amounts(&args.column);
    catalog.note_odd_numbers();
    let filters = filters(args, &mut catalog)?;
    let notes = catalog.notes.clone();
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
    let read = |name: &str| photos.read(name);
    let Built { report, skipped, incomplete } = threads.install(|| {
        let scaling = args.shoppers.as_ref().map(|folder| local_scaling(&model, folder, args)).transpose()?;
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
        errln!("line {}: {} is cut short or damaged; what is left of it is used", row.line, printable(&row.photo));
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

/// Embeds the photos of a folder and makes the local scaling of them.
fn local_scaling(model: &Model, folder: &Path, args: &Args) -> Result<LocalScaling> {
    let entries = std::fs::read_dir(folder).map_err(|e| CommandFailure::io(folder, e))?;
    let mut photos = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|e| CommandFailure::io(folder, e))?;
    // Hidden files are those of file managers.
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    photos.retain(|path| path.is_file() && !hidden(path));
    photos.sort();
    let mut notes = PhotoNotes::default();
    let rows = embed_usable(model, &photos, args.json, &mut notes)?;
    let bad = notes.bad;
    if !bad.is_empty() && !args.json {
        errln!("{} of the {} files in {} are not photos that can be used", bad.len(), photos.len(), folder.display());
    }
    // The row of an unusable photo is zero, which is not an embedding.
    let photos = rows.values.chunks_exact(rows.width).filter_map(|row| Embedding::new(row, model.id()));
    LocalScaling::new(&photos.collect::<Vec<_>>(), args.local_scaling).map_err(|e| CommandFailure::of(folder, e))
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    // The last sign: an address may contain others.
    let parts = text.rsplit_once('=').filter(|(from, to)| !from.is_empty() && !to.is_empty());
    parts
        .map(|(from, to)| (from.to_owned(), to.to_owned()))
        .ok_or_else(|| "expected two names with = between".to_owned())
}

fn number_column(text: &str) -> Result<String, String> {
    let name = text.strip_suffix("=number").filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or_else(|| "expected COLUMN=number, such as price=number".to_owned())
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

fn filters(args: &Args, catalog: &mut CatalogTable) -> Result<Vec<String>> {
    let Some(wanted) = &args.filters else {
        let choice = catalog.default_filters(MAX_COLUMNS);
        catalog.notes.extend(choice.note());
        return Ok(choice.chosen);
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
