//! `magpie model`

use std::path::PathBuf;

use magpie_core::model::{Model, Pack};

use crate::failure::{CommandFailure, Result};
use crate::{assets, output};

/// Prepare model packs for apps
#[derive(clap::Subcommand)]
#[command(after_help = "Example: magpie model compile models/packs/default --out app/assets/pack")]
pub(crate) enum ModelCommand {
    Compile(Args),
}

/// Compile a pack's network, so that it loads faster and without the ONNX importer
#[derive(clap::Args)]
#[command(
    after_help = "Without --out, the compiled network is written into the pack, next to the ONNX file; Magpie then \
    loads it instead. With --out, a new folder gets all that an app needs: the manifest and the compiled network.\n\n\
    Example: magpie model compile models/packs/default --out app/assets/pack"
)]
pub(crate) struct Args {
    /// Folder of the model pack [default with --out: the built-in pack]
    #[arg(required_unless_present = "out")]
    pack: Option<PathBuf>,
    /// Folder to write the manifest and the compiled network to [default: the pack]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(task: &ModelCommand) -> Result<()> {
    let ModelCommand::Compile(args) = task;
    let pack = assets::pack(args.pack.as_deref())?;
    let compiled = pack.compiled()?;
    let manifest = assets::manifest(args.pack.as_deref())?;
    // Only a network that loads is written.
    let model = Model::load(&Pack::from_bytes(&manifest, compiled.clone())?)?;
    let write = |path: PathBuf, bytes: &[u8]| std::fs::write(&path, bytes).map_err(|e| CommandFailure::io(&path, e));
    let folder =
        args.out.as_ref().or(args.pack.as_ref()).ok_or_else(|| CommandFailure::new("no folder to write to"))?;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).map_err(|e| CommandFailure::io(out, e))?;
        write(out.join("manifest.json"), &manifest)?;
    }
    let path = folder.join(Pack::COMPILED_FILE);
    write(path.clone(), &compiled)?;
    let bytes = compiled.len() as u64;
    if args.json {
        return output::json(
            &serde_json::json!({ "out": output::path(&path), "bytes": bytes, "model_id": model.id() }),
        );
    }
    outln!("{}: {} layers, {}", path.display(), model.report().fused.len(), output::bytes(bytes));
    Ok(())
}
