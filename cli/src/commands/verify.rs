//! `magpie verify`

use std::path::PathBuf;

use magpie_core::model::Model;
use magpie_core::shard::Shard;

use crate::failure::{CommandFailure, Result};
use crate::{assets, output};

/// Check every byte of a shard or a model pack
#[derive(clap::Args)]
#[command(after_help = "Example: magpie verify catalog.magpie")]
pub(crate) struct Args {
    /// A shard file, or the folder of a model pack
    path: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.path.is_dir() {
        let pack = assets::pack(Some(&args.path))?;
        let model = Model::load(&pack).map_err(|e| CommandFailure::of(&args.path, e))?;
        if args.json {
            return output::json(&serde_json::json!({ "model_id": model.id(), "bytes": pack.network().len() }));
        }
        outln!("{}: model {} matches its manifest and loads", args.path.display(), model.id());
        return Ok(());
    }
    let shard = Shard::open(&args.path).map_err(|e| CommandFailure::of(&args.path, e))?;
    let report = shard.verify().map_err(|e| CommandFailure::of(&args.path, e))?;
    if args.json {
        return output::json(&report);
    }
    outln!(
        "{}: {} in {} sections match their checksums; {} photos and {} listings are sound",
        args.path.display(),
        output::bytes(report.bytes),
        report.sections,
        report.photos,
        report.listings
    );
    Ok(())
}
