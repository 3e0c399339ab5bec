//! Builds a shard from a catalogue and its photos, for the commands `build`, `demo` and `bench`.

use std::path::Path;

use magpie_core::builder::{BuildOptions, BuildReport, Field, Identity, LocalScaling, ShardBuilder, Step};
use magpie_core::model::Model;
use magpie_core::shard::ColumnKind;
use rayon::prelude::*;

use crate::catalog::{CatalogRow, CatalogTable, SkippedRow};
use crate::embedding::{BATCH, EmbeddedPhoto, IncompletePhoto, Place, embed_photo};
use crate::failure::{CommandFailure, Result};
use crate::output;

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
        Some(first) if plan.strict => Err(first.strict_failure()),
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
                        incomplete.push(IncompletePhoto { place: Place::Line(row.line), photo: row.photo.clone() });
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
