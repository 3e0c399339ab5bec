//! `magpie search`

use std::path::PathBuf;
use std::time::Instant;

use magpie_core::engine::{Engine, SearchOptions, SearchResults, Stages};
use magpie_core::image::Region;
use magpie_core::search::{Filter, MAX_K};
use magpie_core::shard::Shard;

use crate::failure::{Failure, Result};
use crate::{assets, output};

/// Find the listings most like a photo
#[derive(clap::Args)]
#[command(after_help = "Filters compare columns (see 'magpie inspect') with =, !=, <, <=, >, >= and in (…), joined \
    with and, or, not and parentheses; values with spaces stand in quotes.\n\n\
    Example: magpie search --shard catalog.magpie --photo mug.jpg --where 'category=Mugs and price<50'")]
pub(crate) struct Args {
    /// The catalogue shard
    #[arg(long)]
    shard: PathBuf,
    /// The photo: JPEG, PNG or WebP
    #[arg(long)]
    photo: PathBuf,
    /// The part of the photo that shows the thing, in pixels of the upright photo
    #[arg(long, value_name = "X,Y,W,H")]
    crop: Option<Region>,
    /// Listings wanted
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=MAX_K as i64))]
    k: u32,
    /// Which listings count
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
    /// Folder of the model pack [default: the pack inside this program]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // The cheap checks first: loading the model takes the longest.
    let mut options = SearchOptions::default();
    options.k = args.k as usize;
    options.region = args.crop;
    options.filter = args.filter.as_deref().map(Filter::parse).transpose().map_err(magpie_core::Error::from)?;
    let photo = std::fs::read(&args.photo).map_err(|e| Failure::io(&args.photo, e))?;
    let opening = Instant::now();
    let shard = Shard::open(&args.shard).map_err(|e| Failure::of(&args.shard, e))?;
    let open = opening.elapsed();
    let loading = Instant::now();
    let model = assets::model(args.model.as_ref())?;
    let load = loading.elapsed();

    let engine = Engine::new(model, shard).map_err(|e| Failure::of(&args.shard, e))?;
    let results = engine.search_photo(&photo, &options).map_err(|e| match e {
        magpie_core::Error::Photo(_) => Failure::of(&args.photo, e),
        magpie_core::Error::Shard(_) => Failure::of(&args.shard, e),
        other => other.into(),
    })?;
    if args.json {
        let mut value = serde_json::to_value(&results).map_err(|e| Failure::new(e.to_string()))?;
        value["open_ms"] = (open.as_secs_f64() * 1e3).into();
        value["load_model_ms"] = (load.as_secs_f64() * 1e3).into();
        return output::json(&value);
    }
    print!("{}", listings_table(&results));
    println!("\nthe photo: {}", output::attributes(results.attributes.0.iter()));
    println!(
        "{}; shard opened in {}, model loaded in {}",
        stages_line(&results.stages),
        output::ms(open),
        output::ms(load)
    );
    Ok(())
}

/// Rank, score, id, title and price of each listing.
fn listings_table(results: &SearchResults) -> String {
    if results.listings.is_empty() {
        return "no listing passes the filter\n".to_owned();
    }
    let rows: Vec<Vec<String>> = (results.listings.iter().enumerate())
        .map(|(at, found)| {
            vec![
                (at + 1).to_string(),
                format!("{:.3}", found.score),
                found.listing.id.clone(),
                found.listing.get("title").unwrap_or_default().to_owned(),
                output::price(&found.listing),
                found.listing.photo.clone(),
            ]
        })
        .collect();
    output::table(&["> ", ">score", "listing", "title", ">price", "photo"], &rows)
}

fn stages_line(stages: &Stages) -> String {
    let named = stages.named().map(|(name, time)| format!("{name} {}", output::ms(time)));
    format!("{}; together {}", named.join(", "), output::ms(stages.total()))
}
