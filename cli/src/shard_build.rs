//! From a catalogue and its photos to a shard: what `build`, `demo` and `bench` share.

use std::path::Path;

use magpie_core::builder::{BuildOptions, BuildReport, Field, Identity, LocalScaling, ShardBuilder, Step};
use magpie_core::engine;
use magpie_core::image::Limits;
use magpie_core::model::Model;
use rayon::prelude::*;

use crate::catalog::{Broken, Catalog, Row};
use crate::failure::{Failure, Result};
use crate::output;
use crate::thumbnail::thumbnail;

/// Photos that are embedded before their results are collected: bounds what is held in memory.
pub(crate) const BATCH: usize = 512;

/// How to build.
pub(crate) struct Plan<'a> {
    pub(crate) name: &'a str,
    pub(crate) sequence: u64,
    /// Columns to filter by.
    pub(crate) filters: &'a [String],
    /// Whether a row that cannot be used stops the build.
    pub(crate) strict: bool,
    /// Longer side of the thumbnails in pixels; none where `None`.
    pub(crate) thumbnails: Option<u32>,
    /// Makes photos that are near to every query count for less.
    pub(crate) scaling: Option<LocalScaling>,
    /// Whether to leave out the progress bar.
    pub(crate) quiet: bool,
}

/// Embeds the photos of a catalogue on all cores and writes the shard.
///
/// `photo` gives the bytes of a photo by its name. Returns the report and the rows that were left out.
pub(crate) fn build(
    model: &Model,
    catalog: Catalog,
    photo: impl Fn(&str) -> Result<Vec<u8>> + Sync,
    plan: &Plan<'_>,
    out: &Path,
) -> Result<(BuildReport, Vec<Broken>)> {
    let Catalog { fields, rows, mut broken } = catalog;
    let strict = |broken: &[Broken]| match broken.first() {
        Some(first) if plan.strict => Err(Failure {
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
    if let Some(scaling) = &plan.scaling {
        builder = builder.with_options(BuildOptions::default().with_local_scaling(scaling.clone()));
    }

    let limits = Limits::default();
    let embed = |row: &Row| {
        let made = photo(&row.photo).and_then(|bytes| {
            let embedding = engine::embed(model, &bytes, None, &limits)?.embedding;
            let recipe = &model.manifest().input;
            let small = plan.thumbnails.map(|size| thumbnail(&bytes, size, recipe, &limits)).transpose()?;
            Ok((embedding, small.unwrap_or_default()))
        });
        made.map_err(|e| format!("{}: {}", row.photo, e.message))
    };
    let bar = output::progress(rows.len(), "embedding", plan.quiet);
    let mut used = 0;
    for batch in rows.chunks(BATCH) {
        let embeddings: Vec<_> = batch.par_iter().map(embed).inspect(|_| bar.inc(1)).collect();
        for (row, embedding) in batch.iter().zip(embeddings) {
            match embedding {
                Ok((embedding, small)) => {
                    builder.add_with_thumbnail(&row.listing_id, &row.photo, &row.values, &embedding, &small)?;
                    used += 1;
                }
                Err(reason) => broken.push(Broken { line: row.line, reason }),
            }
        }
        strict(&broken)?;
    }
    bar.finish_and_clear();
    broken.sort_by_key(|broken| broken.line);
    if let (0, Some(Broken { line, reason })) = (used, broken.first()) {
        let count = broken.len();
        return Err(Failure::new(format!("none of the {count} rows can be used; line {line}: {reason}")));
    }
    let bar = output::progress(100, "indexing", plan.quiet);
    let written = builder.write_with(out, &|step, share| bar.set_position(percent(step, share)));
    bar.finish_and_clear();
    Ok((written.map_err(|e| Failure::of(out, e))?, broken))
}

/// About how far a build is, by the time that a large one takes.
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
