//! `magpie eval`

use std::path::{Path, PathBuf};

use magpie_core::attributes::Attributes;
use magpie_core::model::{HeadSpec, Model, Pack};

use crate::calibration::{self, CalibrationReport};
use crate::commands::embed::{PhotoNotes, embed_files, run_files};
use crate::failure::{CommandFailure, Result};
use crate::npy::{self, EmbeddingRows};
use crate::scores::{self, DatasetManifest};
use crate::{assets, output};

/// Score a model pack, or embeddings, on labelled photos: G1, G2, C1
#[derive(clap::Args)]
#[command(
    after_help = "G1: shopper's photo to catalogue photo. G2: shopper's photo to other shoppers' photos. C1: clothing, \
    leave one out, excluding photos of the same sender. The data set's score.py defines them.\n\n\
    --calibration searches each shopper's photo of a split twice: with its product in the catalogue, and without it. \
    For the pack's confidence it reports the AUROC, the expected calibration error (ECE), and at several thresholds \
    how many of these searches are answered and how many answers are right. For each attribute head it reports \
    accuracy, ECE, and how often the head withholds its label.\n\n\
    Example: magpie eval --manifest ../shared/data/products/manifest.csv"
)]
pub(crate) struct Args {
    /// CSV tables of labelled photos; photo paths are relative to the folder of their table
    #[arg(long, required = true, num_args = 1..)]
    manifest: Vec<PathBuf>,
    /// Score these embeddings instead of running a model: .npy files, one row per photo
    #[arg(long, num_args = 1.., conflicts_with = "model")]
    emb: Vec<PathBuf>,
    /// Folder of the model pack [default: the built-in pack]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Lower the scores of catalogue photos that are near to many shoppers' photos of split train, as 'magpie build
    /// --shoppers' does; strength from 0 to 1
    #[arg(long, value_name = "STRENGTH")]
    local_scaling: Option<f32>,
    /// Report how far the pack's probabilities can be trusted, on the photos of this split (test if no value is given)
    #[arg(long, value_name = "SPLIT", num_args = 0..=1, default_missing_value = "test", conflicts_with = "emb")]
    calibration: Option<String>,
    /// Also write the embeddings to this .npy file
    #[arg(long)]
    save: Option<PathBuf>,
    /// Print the scores as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let manifest = DatasetManifest::open(&args.manifest)?;
    let (rows, report) = match &args.calibration {
        Some(split) => {
            let (rows, report) = calibration(args, &manifest, split)?;
            (rows, Some(report))
        }
        None => match args.emb.split_first() {
            Some((first, others)) => (read(first, others)?, None),
            None => (
                embed_files(
                    &assets::model(args.model.as_ref())?,
                    &manifest.photos,
                    args.json,
                    &mut PhotoNotes::default(),
                )?,
                None,
            ),
        },
    };
    let (found, expected) = (rows.count(), manifest.photos.len());
    if found != expected {
        return Err(CommandFailure::new(format!("there are {found} embeddings for {expected} photos")));
    }
    if let Some(path) = &args.save {
        npy::write(path, &rows)?;
    }
    let scaling = args.local_scaling.map(|strength| scores::local_scaling(&manifest, &rows, strength)).transpose()?;
    let tasks = scores::tasks(&manifest, &rows, scaling.as_ref());
    if tasks.is_empty() {
        return Err(CommandFailure::new("the manifest has no queries for any of the tasks"));
    }
    if args.json {
        let mut value = scores::json(&tasks);
        if let Some(report) = report {
            value["calibration"] = serde_json::to_value(report).map_err(|e| CommandFailure::new(e.to_string()))?;
        }
        return output::json(&value);
    }
    tasks.iter().for_each(|(task, scores, queries)| outln!("{}", scores::line(task, scores, *queries)));
    if let Some(report) = report {
        out!("\n{}", report.text());
    }
    Ok(())
}

/// Returns the embeddings of all photos and the calibration report.
fn calibration(args: &Args, manifest: &DatasetManifest, split: &str) -> Result<(EmbeddingRows, CalibrationReport)> {
    let pack = assets::pack(args.model.as_deref())?;
    let original = pack.manifest();
    // Without thresholds, the heads state every label.
    let mut stating = original.clone();
    stating.heads.iter_mut().for_each(|head: &mut HeadSpec| head.threshold = None);
    let stating = serde_json::to_vec(&stating).map_err(|e| CommandFailure::new(e.to_string()))?;
    let model = Model::load(&Pack::from_bytes(&stating, pack.network().to_vec())?)?;
    let mut rows = EmbeddingRows { width: original.embedding.dim as usize, values: Vec::new() };
    let mut attributes: Vec<Attributes> = Vec::new();
    run_files(&model, &manifest.photos, args.json, |output| {
        rows.values.extend(output.embedding.values());
        attributes.push(output.attributes);
    })?;
    let calibrated = (original.confidence.as_ref(), &original.heads[..]);
    let report = calibration::report(manifest, &rows, &attributes, calibrated, split);
    Ok((rows, report))
}

/// Reads the rows of several files, one after the other.
fn read(first: &Path, others: &[PathBuf]) -> Result<EmbeddingRows> {
    let mut all = npy::read(first)?;
    for path in others {
        let rows = npy::read(path)?;
        if rows.width != all.width {
            let message = format!("rows of {} values, but the file before has rows of {}", rows.width, all.width);
            return Err(CommandFailure::io(path, message));
        }
        all.values.extend(rows.values);
    }
    Ok(all)
}
