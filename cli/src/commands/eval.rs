//! `magpie eval`

use std::path::PathBuf;

use magpie_core::engine::{Engine, SearchOptions};
use magpie_core::search::Filter;
use magpie_core::shard::Shard;

use crate::catalog::{ColumnNames, PhotoFolder, list};
use crate::commands::search::share;
use crate::commands::table_args::{pair, pool};
use crate::console::printable;
use crate::evaluation::figures::{Figures, Wishes};
use crate::evaluation::{self, DEPTH, Outcome, QueryTable, page};
use crate::failure::{CommandFailure, Result};
use crate::{assets, output};

/// Columns that are compared by default, where the catalogue has them.
const SAME: [&str; 4] = ["category", "colour", "material", "shape"];

/// Measure how well a catalogue is found: search it with shoppers' photos whose listings are known
#[derive(clap::Args)]
#[command(
    after_help = "The table of shoppers' photos has one row per photo with the columns listing_id and photo, such \
    as the photos of reviews. Photos that the model was trained on make the figures too good.\n\n\
    The output says how often the right listing is first, in the first five and in the first ten; how alike the other \
    listings are to it; whether the attributes that the model names agree with the catalogue's columns of the same \
    names; and how far the confidence can be trusted: each photo counts with and without its listing in the \
    catalogue. The area under the ROC curve (AUROC) is 1 for a perfect confidence and 0.5 for one that says nothing; \
    the expected calibration error (ECE) is 0 for probabilities that hold.\n\n\
    Example: magpie eval --shard catalog.magpie --queries reviews.csv --images review-photos --page eval.html"
)]
pub(crate) struct Args {
    /// Catalogue shard to search
    #[arg(long)]
    shard: PathBuf,
    /// Table of shoppers' photos: CSV with a header line, or JSON Lines
    #[arg(long)]
    queries: PathBuf,
    /// Folder of the shoppers' photos
    #[arg(long)]
    images: PathBuf,
    /// Column of the listing's id [default: listing_id, or the usual name of a feed]
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
    /// Column of the photo's name [default: photo, or the usual name of a feed]
    #[arg(long, value_name = "COLUMN")]
    photo_column: Option<String>,
    /// Use only the rows of the table that have this value, such as split=test; may be repeated
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = pair)]
    only: Vec<(String, String)>,
    /// Also give the hits for each value of this column, of the table or of the catalogue
    #[arg(long, value_name = "COLUMN")]
    by: Option<String>,
    /// Columns in which the other listings are compared with the right one [default: category, colour, material and
    /// shape, where the catalogue has them]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    same: Option<Vec<String>>,
    /// Find only listings that pass this filter
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
    /// Share of the nearest photos that each search should find; 1 compares every photo
    #[arg(long, default_value_t = SearchOptions::default().search.recall, value_parser = share)]
    recall: f32,
    /// Folder of the model pack [default: the built-in pack]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Threads to use [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Write an HTML page with the photos and what was found. It contains the shoppers' photos
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Print the figures, and the rank of each photo, as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut options = SearchOptions::new(DEPTH);
    options.search.recall = args.recall;
    options.filter = args.filter.as_deref().map(Filter::parse).transpose().map_err(magpie_core::Error::from)?;
    let photos = PhotoFolder::open(&args.images, &[], false)?;
    let names = ColumnNames { id: args.id_column.clone(), photo: args.photo_column.clone(), renamed: Vec::new() };
    let mut table = QueryTable::open(&args.queries, &names, &args.only)?;
    let shard = Shard::open(&args.shard).map_err(|e| CommandFailure::of(&args.shard, e))?;
    let fields = shard.fields().to_vec();
    let known = |name: &str| fields.iter().any(|field| field == name);
    let unknown = |flag: &str, name: &str| {
        let fields = list(fields.iter().map(String::as_str));
        CommandFailure::usage(format!("{flag}: no column '{name}'; the catalogue has {fields}"))
    };
    if let Some(missing) = args.same.iter().flatten().find(|name| !known(name)) {
        return Err(unknown("--same", missing));
    }
    let by_table = args.by.as_ref().and_then(|by| table.columns.iter().position(|name| name == by));
    if let Some(by) = args.by.as_ref().filter(|by| by_table.is_none() && !known(by)) {
        return Err(unknown("--by", by));
    }
    let engine =
        Engine::new(assets::model(args.model.as_ref())?, shard).map_err(|e| CommandFailure::of(&args.shard, e))?;
    let outcomes =
        pool(args.threads)?.install(|| evaluation::run(&engine, &mut table, &photos, &options, args.json))?;

    let default_same = || SAME.iter().filter(|name| known(name)).map(|&name| name.to_owned()).collect();
    let same: Vec<String> = args.same.clone().unwrap_or_else(default_same);
    let group = |outcome: &Outcome| {
        let of_table = by_table.and_then(|at| outcome.query.values.get(at)).map(String::as_str);
        let of_catalogue = || outcome.right.as_ref()?.get(args.by.as_deref()?);
        of_table.or_else(of_catalogue).unwrap_or_default().to_owned()
    };
    let wishes = Wishes { same: &same, group: args.by.as_ref().map(|_| &group as _) };
    let figures = Figures::of(&outcomes, engine.model().manifest(), &wishes);
    if let Some(path) = &args.page {
        let category = same.first().map(String::as_str);
        let html = page::html(&engine, &photos, &outcomes, &figures, category);
        std::fs::write(path, html).map_err(|e| CommandFailure::io(path, e))?;
    }
    if args.json {
        let mut value = serde_json::to_value(&figures).map_err(|e| CommandFailure::new(e.to_string()))?;
        value["skipped"] = serde_json::json!(table.skipped);
        value["results"] = outcomes.iter().map(result).collect();
        return output::json(&value);
    }
    for row in &table.skipped {
        errln!("skipped line {}: {}", row.line, printable(&row.reason));
    }
    table.notes.iter().for_each(|note| errln!("{}", printable(note)));
    outln!(
        "{} shoppers' photos, searched in {} ({} listings) with {}",
        figures.photos,
        printable(engine.catalog().name()),
        engine.catalog().listing_count(),
        engine.model().manifest().name
    );
    out!("{}", figures.text(args.by.as_deref()));
    if let Some(path) = &args.page {
        outln!("\npage with the photos: {}", path.display());
    }
    Ok(())
}

/// What became of one photo, in JSON.
fn result(outcome: &Outcome) -> serde_json::Value {
    let first = outcome.found.first();
    serde_json::json!({
        "photo": outcome.query.photo, "listing_id": outcome.query.listing_id, "in_catalogue": outcome.right.is_some(),
        "rank": outcome.rank, "first": first.map(|found| &found.listing.id), "score": first.map(|found| found.score),
    })
}
