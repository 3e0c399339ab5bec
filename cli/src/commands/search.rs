//! `magpie search`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use magpie_core::catalog::Catalog;
use magpie_core::engine::{Engine, SearchOptions, Stages};
use magpie_core::image::Region;
use magpie_core::listing::Found;
use magpie_core::remote::{Source, Sourced};
use magpie_core::search::{Filter, MAX_K, Per, SearchParams};
use magpie_core::shard::Shard;

use super::release_at::open_catalog;
use super::server_args::ServerArgs;
use crate::catalog::read_photo;
use crate::failure::{CommandFailure, Result};
use crate::{assets, output};

/// Find the listings that look most like a photo
#[derive(clap::Args)]
#[command(after_help = "Filters compare columns ('magpie inspect' lists them) with =, !=, <, <=, >, >= and in (…). \
    Combine comparisons with and, or, not and parentheses; put values with spaces in quotes.\n\n\
    A calibrated model pack also gives the probability that the first listing is what the photo shows. If it is below \
    the pack's threshold, the command reports 'no good match' and marks the listings with question marks.\n\n\
    Examples: magpie search --shard catalog.magpie --photo mug.jpg --where 'category=Mugs and price<50'\n\
    magpie search --catalog catalog/ --photo mug.jpg --server https://shop.example")]
pub(crate) struct Args {
    /// Catalogue shard to search
    #[arg(long, required_unless_present = "catalog")]
    shard: Option<PathBuf>,
    /// Folder of an installed catalogue (see 'magpie update') or of a release, to search instead of a shard
    #[arg(long, value_name = "FOLDER", conflicts_with = "shard")]
    catalog: Option<PathBuf>,
    /// Photo to search with: JPEG, PNG or WebP; - for standard input
    #[arg(long, required_unless_present = "more_like")]
    photo: Option<PathBuf>,
    /// Search with the listing of this id in the shard, instead of a photo
    #[arg(long, value_name = "ID", conflicts_with_all = ["photo", "crop"])]
    more_like: Option<String>,
    /// Search with this part of the photo only, in pixels of the upright photo
    #[arg(long, value_name = "X,Y,W,H")]
    crop: Option<Region>,
    /// Number of listings to find
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=MAX_K as i64))]
    k: u32,
    /// Find only listings that pass this filter
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
    /// Find at most N listings for each value of a column, such as shop=2
    #[arg(long, value_name = "COLUMN=N", value_parser = per)]
    per: Option<Per>,
    /// Leave out listings with a lower score
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    min_score: Option<f32>,
    /// Leave out listings whose photo nearly repeats a better listing's: cosine of at least this (0.97 if no value is
    /// given)
    #[arg(long, value_name = "COSINE", num_args = 0..=1, default_missing_value = "0.97")]
    near_duplicates: Option<f32>,
    /// Share of the nearest photos that the search should find; 1 compares every photo
    #[arg(long, default_value_t = SearchParams::default().recall, value_parser = share)]
    recall: f32,
    /// Apply the corrections in this file (see 'magpie correct')
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    #[command(flatten)]
    server_args: ServerArgs,
    /// Folder of the model pack [default: the built-in pack]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn per(text: &str) -> Result<Per, String> {
    let expected = || format!("expected COLUMN=N, found '{text}'");
    let (column, most) = text.rsplit_once('=').ok_or_else(expected)?;
    Ok(Per { column: column.trim().to_owned(), most: most.trim().parse().map_err(|_| expected())? })
}

pub(super) fn share(text: &str) -> Result<f32, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // Cheap checks come first: loading the model takes the longest.
    let mut options = SearchOptions::default();
    options.search.k = args.k as usize;
    options.search.recall = args.recall;
    options.search.min_score = args.min_score;
    options.search.near_duplicates = args.near_duplicates;
    options.search.per.clone_from(&args.per);
    options.region = args.crop;
    options.filter = args.filter.as_deref().map(Filter::parse).transpose().map_err(magpie_core::Error::from)?;
    let server = args.server_args.server()?;
    let read = |path: &PathBuf| read_photo(path);
    let photo = args.photo.as_ref().map(read).transpose()?;
    let opening = Instant::now();
    let (catalog, place) = open(args.shard.as_deref(), args.catalog.as_deref())?;
    let open = opening.elapsed();
    let loading = Instant::now();
    let model = assets::model(args.model.as_ref())?;
    let load = loading.elapsed();

    let engine = Engine::with_catalog(model, Arc::new(catalog)).map_err(|e| CommandFailure::of(place, e))?;
    if let Some(file) = &args.corrections {
        engine.open_corrections(file)?;
    }
    let failure = |e| match (e, &args.photo) {
        (e @ magpie_core::Error::Photo(_), Some(photo)) => CommandFailure::of(photo, e),
        (e @ magpie_core::Error::Shard(_), _) => CommandFailure::of(place, e),
        (other, _) => other.into(),
    };
    let Some(photo) = photo else {
        let id = args.more_like.as_deref().ok_or_else(|| CommandFailure::usage("expected --photo or --more-like"))?;
        let listings = engine.more_like(id, &options).map_err(failure)?;
        if args.json {
            return output::json(&serde_json::json!({ "listings": listings }));
        }
        out!("{}", listings_table(&listings, false));
        return Ok(());
    };
    if let Some(mut server) = server {
        let asked = args.server_args.search(&engine, &photo, &options, &mut server).map_err(failure)?;
        if args.json {
            return output::json(&asked);
        }
        note_incomplete(asked.photo_incomplete);
        out!("{}\n{}\n", sourced_table(&asked.answer.listings, asked.is_doubtful()), asked.summary(engine.model()));
        return Ok(());
    }
    let results = engine.search_photo(&photo, &options).map_err(failure)?;
    if args.json {
        let mut value = serde_json::to_value(&results).map_err(|e| CommandFailure::new(e.to_string()))?;
        value["open_ms"] = output::millis(open).into();
        value["load_model_ms"] = output::millis(load).into();
        return output::json(&value);
    }
    note_incomplete(results.photo_incomplete);
    let doubtful = results.confidence.is_some_and(|confidence| !confidence.enough);
    out!("{}", listings_table(&results.listings, doubtful));
    if let Some(confidence) = output::confidence(results.confidence, engine.model().manifest()) {
        outln!("\n{confidence}");
    }
    if results.listings.first().is_some_and(|first| first.corrected) {
        outln!("\n*: first because of a correction");
    }
    outln!("\nthe photo: {}", output::attributes(results.attributes.0.iter()));
    outln!(
        "{}; catalogue opened in {}, model loaded in {}",
        stages_line(&results.stages),
        output::ms(open),
        output::ms(load)
    );
    Ok(())
}

/// Opens a shard, or what is installed in a folder; returns its path too.
pub(super) fn open<'a>(shard: Option<&'a Path>, folder: Option<&'a Path>) -> Result<(Catalog, &'a Path)> {
    match (shard, folder) {
        (_, Some(folder)) => Ok((open_catalog(folder)?, folder)),
        (Some(path), None) => Ok((Shard::open(path).map_err(|e| CommandFailure::of(path, e))?.into(), path)),
        (None, None) => Err(CommandFailure::usage("expected --shard or --catalog")),
    }
}

fn note_incomplete(incomplete: bool) {
    if incomplete {
        errln!("the photo is cut short or damaged; what is left of it is searched");
    }
}

/// Formats rank, score, id, title, price and photo of each listing. Doubtful ones get a question mark, a corrected one
/// an asterisk.
fn listings_table(listings: &[Found], doubtful: bool) -> String {
    let rows: Vec<Vec<String>> = listings.iter().enumerate().map(|(at, found)| row(at, found, doubtful)).collect();
    table(&["> ", ">score", "listing", "title", ">price", "photo"], &rows)
}

/// Like `listings_table`, with who found each listing. Doubt in the shard's results does not apply to the server's.
fn sourced_table(listings: &[Sourced], doubtful: bool) -> String {
    let source = |source| match source {
        Source::Local => "shard",
        Source::Server => "server",
        Source::Both => "both",
    };
    let row = |(at, sourced): (usize, &Sourced)| {
        let mut row = row(at, &sourced.found, doubtful && sourced.source == Source::Local);
        row.push(source(sourced.source).to_owned());
        row
    };
    let rows: Vec<Vec<String>> = listings.iter().enumerate().map(row).collect();
    table(&["> ", ">score", "listing", "title", ">price", "photo", "found by"], &rows)
}

fn row(at: usize, found: &Found, doubtful: bool) -> Vec<String> {
    let listing = &found.listing;
    let title = listing.get("title").unwrap_or_default().to_owned();
    let mark = match (found.corrected, doubtful) {
        (true, _) => "*",
        (false, true) => "?",
        (false, false) => "",
    };
    let (rank, score) = (format!("{}{mark}", at + 1), format!("{:.3}", found.score));
    vec![rank, score, listing.id.clone(), title, output::price(listing), listing.photo.clone()]
}

fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() { "no listings found\n".to_owned() } else { output::table(headers, rows) }
}

fn stages_line(stages: &Stages) -> String {
    let named = stages.named().map(|(name, time)| format!("{name} {}", output::ms(time)));
    format!("{}; total {}", named.join(", "), output::ms(stages.total()))
}
