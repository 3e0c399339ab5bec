//! `magpie demo`: builds the catalogue embedded in the binary and searches it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use magpie_core::bench::StageTimes;
use magpie_core::engine::{Engine, SearchOptions};
use magpie_core::model::Model;
use magpie_core::shard::{MAX_COLUMNS, Shard};

use super::demo_page::{self, DemoAnswer, DemoQuery, Summary};
use crate::catalog::{CatalogTable, ColumnNames};
use crate::failure::{CommandFailure, Result};
use crate::shard_build::{BuildPlan, build};
use crate::{assets, output};

/// Build the demo catalogue, search it with shoppers' photos, and write a page with the results
#[derive(clap::Args)]
#[command(after_help = "Example: magpie demo --out magpie-demo && xdg-open magpie-demo/index.html")]
pub(crate) struct Args {
    /// Folder to write the shard and the page to
    #[arg(long, default_value = "magpie-demo")]
    out: PathBuf,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let model = assets::model(None)?;
    let started = Instant::now();
    let path = shard(&model, &args.out, args.json)?;
    let build = started.elapsed();
    let shard_bytes = std::fs::metadata(&path).map_err(|e| CommandFailure::io(&path, e))?.len();
    let name = model.manifest().name.clone();
    let engine = Engine::new(model, Shard::open(&path).map_err(|e| CommandFailure::of(&path, e))?)?;
    let options = SearchOptions::new(5);
    let mut answers = Vec::new();
    for query in queries()? {
        let results = engine.search_photo(query.bytes, &options)?;
        let place = results.listings.iter().position(|found| found.listing.id == query.listing_id);
        answers.push(DemoAnswer { query, results, place: place.map(|at| at + 1) });
    }
    let hits = |within: usize| answers.iter().filter(|a| a.place.is_some_and(|place| place <= within)).count();
    let stages: Vec<_> = answers.iter().map(|answer| answer.results.stages).collect();
    let catalog = engine.catalog();
    let count = answers.len().max(1) as f64;
    let summary = Summary {
        listings: catalog.listing_count(),
        photos: catalog.photo_count(),
        shard_bytes,
        model: name,
        build,
        hit_1: hits(1) as f64 / count,
        hit_5: hits(5) as f64 / count,
        stages: StageTimes::of_searches(&stages).into_iter().map(|times| (times.stage, times.p50)).collect(),
    };
    let page = args.out.join("index.html");
    std::fs::write(&page, demo_page::html(&summary, &answers)?).map_err(|e| CommandFailure::io(&page, e))?;
    if args.json {
        return output::json(&as_json(&summary, &answers, &page));
    }
    print(&summary, &answers);
    outln!("\npage with all pictures: {}", page.display());
    outln!("to search with your own photo: magpie search --shard {} --photo PHOTO", path.display());
    Ok(())
}

/// Builds the demo's shard in `folder` and returns its path.
pub(crate) fn shard(model: &Model, folder: &Path, quiet: bool) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).map_err(|e| CommandFailure::io(folder, e))?;
    let path = folder.join("demo.magpie");
    let catalog = CatalogTable::from_csv(assets::DEMO_CATALOG, &ColumnNames::default()).map_err(CommandFailure::new)?;
    let filters = catalog.default_filters(MAX_COLUMNS).chosen;
    let plan = BuildPlan {
        name: "demo",
        sequence: 1,
        filters: &filters,
        strict: true,
        thumbnails: None,
        scaling: None,
        kinds: Vec::new(),
        quiet,
    };
    let photo = |name: &str| assets::demo_picture(&format!("photos/{name}")).map(<[u8]>::to_vec);
    build(model, catalog, photo, &plan, &path)?;
    Ok(path)
}

/// Returns the shoppers' photos of the demo.
pub(crate) fn queries() -> Result<Vec<DemoQuery>> {
    let invalid = |e: csv::Error| CommandFailure::new(format!("queries.csv: {e}"));
    let mut queries = Vec::new();
    for record in csv::Reader::from_reader(assets::DEMO_QUERIES.as_bytes()).into_deserialize() {
        let (photo, listing_id): (String, String) = record.map_err(invalid)?;
        let bytes = assets::demo_picture(&format!("queries/{photo}"))?;
        queries.push(DemoQuery { photo, listing_id, bytes });
    }
    Ok(queries)
}

/// Prints one query per category, then the measurements over all queries.
fn print(summary: &Summary, answers: &[DemoAnswer]) {
    let mut seen = std::collections::HashSet::new();
    let mut rows = Vec::new();
    for answer in answers {
        // Listing ids have the form CATEGORY-NUMBER.
        let category = answer.query.listing_id.split_once('-').map_or("", |(category, _)| category);
        let Some(best) = answer.results.listings.first() else { continue };
        if seen.insert(category) {
            rows.push(vec![
                answer.query.photo.clone(),
                best.listing.get("title").unwrap_or_default().to_owned(),
                output::price(&best.listing),
                format!("{:.3}", best.score),
                answer.place.map_or("not in the first 5".to_owned(), |place| format!("{place}")),
            ]);
        }
    }
    outln!("one query per category:\n");
    out!("{}", output::table(&["shopper's photo", "best match", ">price", ">score", "rank of the right one"], &rows));
    outln!(
        "\n{} photos of {} listings in {}, built in {:.1} s with {}",
        summary.photos,
        summary.listings,
        output::bytes(summary.shard_bytes),
        summary.build.as_secs_f64(),
        summary.model,
    );
    outln!(
        "{} shoppers' photos: the right listing is first for {:.0} %, among the first five for {:.0} %",
        answers.len(),
        100.0 * summary.hit_1,
        100.0 * summary.hit_5
    );
    let stages: Vec<String> =
        summary.stages.iter().map(|(name, time)| format!("{name} {}", output::ms(*time))).collect();
    outln!("median times: {}", stages.join(", "));
}

fn as_json(summary: &Summary, answers: &[DemoAnswer], page: &Path) -> serde_json::Value {
    let stages: serde_json::Map<_, _> =
        summary.stages.iter().map(|(name, time)| (format!("{name}_ms"), output::millis(*time).into())).collect();
    serde_json::json!({
        "listings": summary.listings, "photos": summary.photos, "shard_bytes": summary.shard_bytes,
        "model": summary.model, "build_s": summary.build.as_secs_f64(), "queries": answers.len(),
        "hit_at_1": summary.hit_1, "hit_at_5": summary.hit_5, "median_ms": stages, "page": output::path(page),
        "answers": answers.iter().map(|answer| serde_json::json!({
            "photo": answer.query.photo, "listing_id": answer.query.listing_id, "place": answer.place,
            "results": answer.results,
        })).collect::<Vec<_>>(),
    })
}
