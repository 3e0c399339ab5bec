//! `magpie correct`

use std::path::PathBuf;
use std::sync::Arc;

use magpie_core::Error;
use magpie_core::engine::{Engine, SearchOptions};
use magpie_core::image::Region;
use serde_json::json;

use super::search::open;
use crate::catalog::read_photo;
use crate::failure::{CommandFailure, Result};
use crate::{assets, output};

/// Say which listing a photo shows, so that searches with photos like it find that one first
#[derive(clap::Args)]
#[command(
    after_help = "Prints the corrections afterwards, the latest first. The file has embeddings, no photos, and at most \
    1,000 of them.\n\n\
    Example: magpie correct --shard catalog.magpie --corrections mine.corrections --photo mug.jpg --listing mug-03\n\
    magpie search --shard catalog.magpie --corrections mine.corrections --photo mug.jpg"
)]
pub(crate) struct Args {
    /// Catalogue shard
    #[arg(long, required_unless_present = "catalog")]
    shard: Option<PathBuf>,
    /// Folder of an installed catalogue or of a release, instead of a shard
    #[arg(long, value_name = "FOLDER", conflicts_with = "shard")]
    catalog: Option<PathBuf>,
    /// File of the corrections; the first one creates it
    #[arg(long, value_name = "FILE")]
    corrections: PathBuf,
    /// Photo that shows the listing: JPEG, PNG or WebP
    #[arg(long, requires = "listing")]
    photo: Option<PathBuf>,
    /// Id of the listing that the photo shows
    #[arg(long, value_name = "ID", requires = "photo")]
    listing: Option<String>,
    /// The part of the photo that shows it, in pixels of the upright photo
    #[arg(long, value_name = "X,Y,W,H", requires = "photo")]
    crop: Option<Region>,
    /// Forget the corrections to the listing of this id
    #[arg(long, value_name = "ID")]
    forget: Option<String>,
    /// Forget all corrections
    #[arg(long, conflicts_with_all = ["photo", "forget"])]
    forget_all: bool,
    /// Folder of the model pack [default: the built-in pack]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let photo = args.photo.as_ref().map(|path| Ok::<_, CommandFailure>((path, read_photo(path)?))).transpose()?;
    let (catalog, place) = open(args.shard.as_deref(), args.catalog.as_deref())?;
    let model = assets::model(args.model.as_ref())?;
    let engine = Engine::with_catalog(model, Arc::new(catalog)).map_err(|e| CommandFailure::of(place, e))?;
    engine.open_corrections(&args.corrections)?;
    if args.forget_all {
        engine.forget_all()?;
    }
    let forgotten = args.forget.as_deref().map(|id| engine.forget(id)).transpose()?;
    if let (Some((path, bytes)), Some(listing)) = (photo, &args.listing) {
        let options = SearchOptions::default().with_region(args.crop);
        engine.remember_photo(&bytes, listing, &options).map_err(|error| match error {
            error @ Error::Photo(_) => CommandFailure::of(path, error),
            other => other.into(),
        })?;
    }
    let corrections = engine.corrections()?;
    if args.json {
        let each = corrections.iter().map(|correction| json!({ "id": correction.listing_id, "time": correction.time }));
        return output::json(&json!({ "corrections": each.collect::<Vec<_>>(), "forgotten": forgotten }));
    }
    if let Some(count) = forgotten {
        outln!("forgotten: {count}");
    }
    let rows: Vec<Vec<String>> = (corrections.iter())
        .map(|correction| vec![correction.listing_id.clone(), correction.time.to_string()])
        .collect();
    if rows.is_empty() {
        outln!("no corrections");
    } else {
        out!("{}", output::table(&["listing", ">Unix time"], &rows));
    }
    Ok(())
}
