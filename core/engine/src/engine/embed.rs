//! From a picture to its embedding, with the time of each stage.

use std::time::{Duration, Instant};

use super::options::SearchOptions;
use super::stages::Stages;
use crate::error::Result;
use crate::image::{self, DecodeLimits, Frame, Photo, Region};
use crate::model::{Model, Output};

/// Embeds a photo without a shard: decoding, preparation and network.
///
/// # Errors
/// [`Error::Photo`](crate::Error::Photo) if the photo or region is unusable, [`Error::Model`](crate::Error::Model) if the
/// network fails.
pub fn embed(model: &Model, photo: &[u8], region: Option<Region>, limits: &DecodeLimits) -> Result<Output> {
    embed_timed(model, photo, region, limits).map(|(output, _)| output)
}

/// As [`embed`], with the times of the three stages; those of the others are zero.
///
/// # Errors
/// As [`embed`].
pub fn embed_timed(
    model: &Model,
    photo: &[u8],
    region: Option<Region>,
    limits: &DecodeLimits,
) -> Result<(Output, Stages)> {
    let options = SearchOptions::default().with_region(region).with_limits(limits.clone());
    let mut stages = Stages::default();
    run(model, Picture::Photo(photo), &options, &mut stages).map(|embedded| (embedded.output, stages))
}

/// As [`embed`], with a photo that [`decode`](image::decode) has decoded for this region and the model's recipe.
///
/// Besides the embedding, a host may want a thumbnail of the same pixels, or ask [`Photo::is_incomplete`].
///
/// # Errors
/// As [`embed`].
pub fn embed_decoded(model: &Model, photo: &Photo, region: Option<Region>) -> Result<Output> {
    let recipe = &model.manifest().input;
    model.run(&image::normalise(&photo.input_rgb(region, recipe)?, recipe))
}

/// What the network says of a picture.
pub(super) struct Embedded {
    pub(super) output: Output,
    /// Whether a part of the photo's file was missing.
    pub(super) incomplete: bool,
}

/// The picture to search with.
pub(super) enum Picture<'a> {
    Photo(&'a [u8]),
    Frame(&'a Frame<'a>),
}

pub(super) fn run(
    model: &Model,
    picture: Picture<'_>,
    options: &SearchOptions,
    stages: &mut Stages,
) -> Result<Embedded> {
    let (recipe, region) = (&model.manifest().input, options.region);
    options.cancel.check()?;
    let mut incomplete = false;
    let rgb = match picture {
        Picture::Photo(bytes) => {
            let photo = timed(&mut stages.decode, || image::decode(bytes, region, recipe, &options.limits))?;
            options.cancel.check()?;
            incomplete = photo.is_incomplete();
            timed(&mut stages.prepare, || photo.input_rgb(region, recipe))?
        }
        Picture::Frame(frame) => timed(&mut stages.prepare, || frame.input_rgb(region, recipe))?,
    };
    let input = timed(&mut stages.prepare, || image::normalise(&rgb, recipe));
    options.cancel.check()?;
    let output = timed(&mut stages.network, || model.run(&input))?;
    Ok(Embedded { output, incomplete })
}

/// Runs `work` and adds its time to a stage.
pub(super) fn timed<T>(stage: &mut Duration, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    *stage += started.elapsed();
    result
}
