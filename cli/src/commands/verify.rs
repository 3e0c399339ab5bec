//! `magpie verify`

use std::path::PathBuf;

use magpie_core::model::Model;
use magpie_core::shard::Shard;

use super::release_at::ReleaseAt;
use crate::failure::{CommandFailure, Result};
use crate::{assets, output};

/// Check every byte of a shard, a model pack, a release, or a folder with an installed release
#[derive(clap::Args)]
#[command(after_help = "Example: magpie verify catalog.magpie")]
pub(crate) struct Args {
    /// A shard file, or the folder of a model pack, of a release, or with an installed release
    path: PathBuf,
    /// For a release: public keys that must have signed it: .pub files, or their 64 digits
    #[arg(long, value_delimiter = ',')]
    trust: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(release) = ReleaseAt::find(&args.path)? {
        return release.verify(&args.trust, args.json);
    }
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
