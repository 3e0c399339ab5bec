//! `magpie search`

use std::path::PathBuf;
use std::time::Instant;

use magpie_core::engine::{Engine, SearchOptions, Stages};
use magpie_core::image::Region;
use magpie_core::listing::Found;
use magpie_core::remote::{Source, Sourced};
use magpie_core::search::{Filter, MAX_K, Per, SearchParams};
use magpie_core::shard::Shard;

use super::asking::Asking;
use crate::failure::{Failure, Result};
use crate::{assets, output};

/// Find the listings most like a photo
#[derive(clap::Args)]
#[command(after_help = "Filters compare columns (see 'magpie inspect') with =, !=, <, <=, >, >= and in (…), joined \
    with and, or, not and parentheses; values with spaces stand in quotes.\n\n\
    Where the model pack is calibrated, the probability that the first listing is what the photo shows is printed. Below \
    the pack's threshold there is no good match: what was found is listed with question marks.\n\n\
    Examples: magpie search --shard catalog.magpie --photo mug.jpg --where 'category=Mugs and price<50'\n\
    magpie search --shard catalog.magpie --photo mug.jpg --server https://shop.example")]
pub(crate) struct Args {
    /// The catalogue shard
    #[arg(long)]
    shard: PathBuf,
    /// The photo: JPEG, PNG or WebP
    #[arg(long, required_unless_present = "more_like")]
    photo: Option<PathBuf>,
    /// Find what is like this listing of the shard, by its id, instead of a photo
    #[arg(long, value_name = "ID", conflicts_with_all = ["photo", "crop"])]
    more_like: Option<String>,
    /// The part of the photo that shows the thing, in pixels of the upright photo
    #[arg(long, value_name = "X,Y,W,H")]
    crop: Option<Region>,
    /// Listings wanted
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=MAX_K as i64))]
    k: u32,
    /// Which listings count
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
    /// At most so many listings for each value of a column
    #[arg(long, value_name = "COLUMN=N", value_parser = per)]
    per: Option<Per>,
    /// Leave out listings that score less
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    min_score: Option<f32>,
    /// Leave out listings whose photo repeats a better one's, by a cosine of at least this
    #[arg(long, value_name = "COSINE", num_args = 0..=1, default_missing_value = "0.97")]
    near_duplicates: Option<f32>,
    /// Share of the nearest photos that the search should find; 1 looks at every photo
    #[arg(long, default_value_t = SearchParams::default().recall, value_parser = share)]
    recall: f32,
    #[command(flatten)]
    asking: Asking,
    /// Folder of the model pack [default: the pack inside this program]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn per(text: &str) -> Result<Per, String> {
    let expected = || format!("expected a column, = and a number, found '{text}'");
    let (column, most) = text.rsplit_once('=').ok_or_else(expected)?;
    Ok(Per { column: column.trim().to_owned(), most: most.trim().parse().map_err(|_| expected())? })
}

fn share(text: &str) -> Result<f32, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // The cheap checks first: loading the model takes the longest.
    let mut options = SearchOptions::default();
    options.search.k = args.k as usize;
    options.search.recall = args.recall;
    options.search.min_score = args.min_score;
    options.search.near_duplicates = args.near_duplicates;
    options.search.per.clone_from(&args.per);
    options.region = args.crop;
    options.filter = args.filter.as_deref().map(Filter::parse).transpose().map_err(magpie_core::Error::from)?;
    let server = args.asking.server()?;
    let read = |path: &PathBuf| std::fs::read(path).map_err(|e| Failure::io(path, e));
    let photo = args.photo.as_ref().map(read).transpose()?;
    let opening = Instant::now();
    let shard = Shard::open(&args.shard).map_err(|e| Failure::of(&args.shard, e))?;
    let open = opening.elapsed();
    let loading = Instant::now();
    let model = assets::model(args.model.as_ref())?;
    let load = loading.elapsed();

    let engine = Engine::new(model, shard).map_err(|e| Failure::of(&args.shard, e))?;
    let failure = |e| match (e, &args.photo) {
        (e @ magpie_core::Error::Photo(_), Some(photo)) => Failure::of(photo, e),
        (e @ magpie_core::Error::Shard(_), _) => Failure::of(&args.shard, e),
        (other, _) => other.into(),
    };
    let Some(photo) = photo else {
        let id = args.more_like.as_deref().unwrap_or_default();
        let listings = engine.more_like(id, &options).map_err(failure)?;
        if args.json {
            return output::json(&serde_json::json!({ "listings": listings }));
        }
        print!("{}", listings_table(&listings, false));
        return Ok(());
    };
    if let Some(mut server) = server {
        let asked = args.asking.search(&engine, &photo, &options, &mut server).map_err(failure)?;
        if args.json {
            return output::json(&asked);
        }
        print!("{}\n{}\n", sourced_table(&asked.answer.listings, asked.is_doubtful()), asked.summary(engine.model()));
        return Ok(());
    }
    let results = engine.search_photo(&photo, &options).map_err(failure)?;
    if args.json {
        let mut value = serde_json::to_value(&results).map_err(|e| Failure::new(e.to_string()))?;
        value["open_ms"] = (open.as_secs_f64() * 1e3).into();
        value["load_model_ms"] = (load.as_secs_f64() * 1e3).into();
        return output::json(&value);
    }
    let doubtful = results.confidence.is_some_and(|confidence| !confidence.enough);
    print!("{}", listings_table(&results.listings, doubtful));
    if let Some(confidence) = output::confidence(results.confidence, engine.model().manifest()) {
        println!("\n{confidence}");
    }
    println!("\nthe photo: {}", output::attributes(results.attributes.0.iter()));
    println!(
        "{}; shard opened in {}, model loaded in {}",
        stages_line(&results.stages),
        output::ms(open),
        output::ms(load)
    );
    Ok(())
}

/// Rank, score, id, title and price of each listing; doubtful ones have a question mark.
fn listings_table(listings: &[Found], doubtful: bool) -> String {
    let rows: Vec<Vec<String>> = listings.iter().enumerate().map(|(at, found)| row(at, found, doubtful)).collect();
    table(&["> ", ">score", "listing", "title", ">price", "photo"], &rows)
}

/// The same, and who found it; what the server found is not doubted by the shard's calibration.
fn sourced_table(listings: &[Sourced], doubtful: bool) -> String {
    let source = |source| match source {
        Source::Local => "here",
        Source::Server => "server",
        Source::Both => "both",
    };
    let row = |(at, sourced): (usize, &Sourced)| {
        let mut row = row(at, &sourced.found, doubtful && sourced.source == Source::Local);
        row.push(source(sourced.source).to_owned());
        row
    };
    let rows: Vec<Vec<String>> = listings.iter().enumerate().map(row).collect();
    table(&["> ", ">score", "listing", "title", ">price", "photo", "found"], &rows)
}

fn row(at: usize, found: &Found, doubtful: bool) -> Vec<String> {
    let listing = &found.listing;
    let title = listing.get("title").unwrap_or_default().to_owned();
    let (rank, score) = (format!("{}{}", at + 1, if doubtful { "?" } else { "" }), format!("{:.3}", found.score));
    vec![rank, score, listing.id.clone(), title, output::price(listing), listing.photo.clone()]
}

fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() { "no listing passes\n".to_owned() } else { output::table(headers, rows) }
}

fn stages_line(stages: &Stages) -> String {
    let named = stages.named().map(|(name, time)| format!("{name} {}", output::ms(time)));
    format!("{}; together {}", named.join(", "), output::ms(stages.total()))
}
