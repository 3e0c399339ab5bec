//! Builds a shard from a catalogue and its photos, for the commands `build`, `demo` and `bench`.

use std::path::Path;

use magpie_core::Embedding;
use magpie_core::builder::{BuildOptions, BuildReport, Field, Identity, LocalScaling, ShardBuilder, Step};
use magpie_core::engine;
use magpie_core::image::{DecodeLimits, decode};
use magpie_core::model::Model;
use magpie_core::shard::ColumnKind;
use rayon::prelude::*;

use crate::catalog::{CatalogRow, CatalogTable, SkippedRow};
use crate::failure::{CommandFailure, Result};
use crate::output;
use crate::thumbnail::thumbnail;

/// Number of photos whose embeddings are held until they are collected: bounds the memory.
pub(crate) const BATCH: usize = 512;

/// The options of a build.
pub(crate) struct BuildPlan<'a> {
    pub(crate) name: &'a str,
    pub(crate) sequence: u64,
    /// Columns that searches can filter by.
    pub(crate) filters: &'a [String],
    /// Whether an unusable row stops the build.
    pub(crate) strict: bool,
    /// Longer side of the thumbnails in pixels; `None` for no thumbnails.
    pub(crate) thumbnails: Option<u32>,
    /// Lowers the scores of photos that are near to every query.
    pub(crate) scaling: Option<LocalScaling>,
    /// What filter columns hold, where the values alone should not decide.
    pub(crate) kinds: Vec<(String, ColumnKind)>,
    /// Whether to hide the progress bar.
    pub(crate) quiet: bool,
}

/// What a build has to say.
pub(crate) struct Built {
    pub(crate) report: BuildReport,
    pub(crate) skipped: Vec<SkippedRow>,
    /// Rows whose photos were cut short or damaged, and were used as far as they go.
    pub(crate) incomplete: Vec<IncompletePhoto>,
}

/// A row whose photo was used although a part of its file was missing.
#[derive(Debug, serde::Serialize)]
pub(crate) struct IncompletePhoto {
    pub(crate) line: u64,
    pub(crate) photo: String,
}

impl IncompletePhoto {
    /// What to tell the user.
    pub(crate) fn note(&self) -> String {
        format!("line {}: {} is cut short or damaged; what is left of it is used", self.line, self.photo)
    }
}

/// An embedded photo.
pub(crate) struct EmbeddedPhoto {
    pub(crate) embedding: Embedding,
    /// Empty if it is to have none.
    pub(crate) thumbnail: Vec<u8>,
    /// Whether a part of its file was missing.
    pub(crate) incomplete: bool,
}

/// Embeds a photo, and makes its thumbnail if it is to have one. It is decoded once for both.
pub(crate) fn embed_photo(model: &Model, bytes: &[u8], thumbnails: Option<u32>) -> Result<EmbeddedPhoto> {
    let (limits, recipe) = (DecodeLimits::default(), &model.manifest().input);
    let decoded = decode(bytes, None, recipe, &limits).map_err(magpie_core::Error::from)?;
    let embedding = engine::embed_decoded(model, &decoded, None)?.embedding;
    let small = thumbnails.map(|size| thumbnail(&decoded, bytes, size, recipe, &limits)).transpose()?;
    Ok(EmbeddedPhoto { embedding, thumbnail: small.unwrap_or_default(), incomplete: decoded.is_incomplete() })
}

/// Embeds the photos of a catalogue on all cores and writes the shard to `out`.
///
/// `photo` returns the bytes of a photo by its name.
pub(crate) fn build(
    model: &Model,
    catalog: CatalogTable,
    photo: impl Fn(&str) -> Result<Vec<u8>> + Sync,
    plan: &BuildPlan<'_>,
    out: &Path,
) -> Result<Built> {
    let embed = |row: &CatalogRow| photo(&row.photo).and_then(|bytes| embed_photo(model, &bytes, plan.thumbnails));
    build_with(model, catalog, embed, plan, out)
}

/// As [`build`], with the embedded photo of each row.
pub(crate) fn build_with(
    model: &Model,
    catalog: CatalogTable,
    photo: impl Fn(&CatalogRow) -> Result<EmbeddedPhoto> + Sync,
    plan: &BuildPlan<'_>,
    out: &Path,
) -> Result<Built> {
    let CatalogTable { fields, rows, mut broken, .. } = catalog;
    let strict = |broken: &[SkippedRow]| match broken.first() {
        Some(first) if plan.strict => Err(CommandFailure {
            message: format!("line {}: {}", first.line, first.reason),
            hint: Some("--strict stops at the first row that cannot be used"),
            code: 1,
        }),
        _ => Ok(()),
    };
    strict(&broken)?;
    let fields: Vec<Field> =
        fields.into_iter().map(|name| Field { filter: plan.filters.contains(&name), name }).collect();
    let identity = Identity {
        model_id: model.id(),
        catalog: plan.name.to_owned(),
        sequence: plan.sequence,
        writer: concat!("magpie ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let mut builder = ShardBuilder::new(identity, model.manifest().embedding.dim as usize, fields);
    let mut options = BuildOptions::default().with_kinds(plan.kinds.clone());
    if let Some(scaling) = &plan.scaling {
        options = options.with_local_scaling(scaling.clone());
    }
    builder = builder.with_options(options);

    let embed = |row: &CatalogRow| photo(row).map_err(|e| format!("{}: {}", row.photo, e.message));
    let bar = output::progress(rows.len(), "embedding", plan.quiet);
    let mut used = 0;
    let mut incomplete = Vec::new();
    for batch in rows.chunks(BATCH) {
        let embeddings: Vec<_> = batch.par_iter().map(embed).inspect(|_| bar.inc(1)).collect();
        for (row, embedding) in batch.iter().zip(embeddings) {
            match embedding {
                Ok(EmbeddedPhoto { embedding, thumbnail, incomplete: lacking }) => {
                    builder.add_with_thumbnail(&row.listing_id, &row.photo, &row.values, &embedding, &thumbnail)?;
                    used += 1;
                    if lacking {
                        incomplete.push(IncompletePhoto { line: row.line, photo: row.photo.clone() });
                    }
                }
                Err(reason) => broken.push(SkippedRow { line: row.line, reason }),
            }
        }
        strict(&broken)?;
    }
    bar.finish_and_clear();
    broken.sort_by_key(|broken| broken.line);
    if let (0, Some(SkippedRow { line, reason })) = (used, broken.first()) {
        let count = broken.len();
        return Err(CommandFailure::new(format!("none of the {count} rows can be used; line {line}: {reason}")));
    }
    let bar = output::progress(100, "indexing", plan.quiet);
    let written = builder.write_with(out, &|step, share| bar.set_position(percent(step, share)));
    bar.finish_and_clear();
    let report = written.map_err(|e| CommandFailure::of(out, e))?;
    Ok(Built { report, skipped: broken, incomplete })
}

/// Estimates the progress of a build in percent, from the time that each step takes in a large build.
fn percent(step: Step, share: f32) -> u64 {
    let (from, to) = match step {
        Step::Clustering => (0.0, 40.0),
        Step::Assigning => (40.0, 80.0),
        Step::Coding => (80.0, 85.0),
        Step::Writing => (85.0, 95.0),
        _ => (95.0, 100.0),
    };
    (from + (to - from) * share) as u64
}
