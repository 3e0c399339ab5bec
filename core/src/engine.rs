//! The facade: a model and a shard, a photo in, listings out.

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::attributes::Attributes;
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::image::{self, Limits, Region};
use crate::listing::{self, Found};
use crate::model::{Model, Output};
use crate::search::{self, Filter};
use crate::shard::Shard;

/// A model and a shard that was built with it. Shared by any number of threads.
#[derive(Debug)]
pub struct Engine {
    model: Model,
    shard: Shard,
}

/// What to search for beside the photo.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SearchOptions {
    /// Listings wanted, at most [`MAX_K`](search::MAX_K).
    pub k: usize,
    /// The part of the photo that shows the thing; all of it by default.
    pub region: Option<Region>,
    /// Which listings count; all by default.
    pub filter: Option<Filter>,
    /// What the photo may cost.
    pub limits: Limits,
}

impl Default for SearchOptions {
    fn default() -> Self {
        SearchOptions { k: 10, region: None, filter: None, limits: Limits::default() }
    }
}

/// Wall-clock time of each stage of a search.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stages {
    /// Bytes to pixels.
    #[serde(rename = "decode_ms", serialize_with = "as_ms")]
    pub decode: Duration,
    /// Region, resize, turn, normalise.
    #[serde(rename = "prepare_ms", serialize_with = "as_ms")]
    pub prepare: Duration,
    /// The network.
    #[serde(rename = "network_ms", serialize_with = "as_ms")]
    pub network: Duration,
    /// Nearest listings.
    #[serde(rename = "search_ms", serialize_with = "as_ms")]
    pub search: Duration,
    /// Metadata of the listings found.
    #[serde(rename = "listings_ms", serialize_with = "as_ms")]
    pub listings: Duration,
}

fn as_ms<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e3)
}

impl Stages {
    /// The stages with their names, in order.
    pub fn named(&self) -> [(&'static str, Duration); 5] {
        [
            ("decode", self.decode),
            ("prepare", self.prepare),
            ("network", self.network),
            ("search", self.search),
            ("listings", self.listings),
        ]
    }

    /// All stages together.
    pub fn total(&self) -> Duration {
        self.named().into_iter().map(|(_, time)| time).sum()
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SearchResults {
    /// Best first; ties in the order of listing ids.
    pub listings: Vec<Found>,
    /// What the network says of the photo.
    pub attributes: Attributes,
    /// How long each stage took.
    pub stages: Stages,
}

impl Engine {
    /// Puts a model and a shard together.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] where the shard was built with another model.
    pub fn new(model: Model, shard: Shard) -> Result<Engine> {
        if model.id() != shard.header().model_id {
            return Err(Error::ModelMismatch { model: model.id(), shard: shard.header().model_id });
        }
        Ok(Engine { model, shard })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The shard.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Finds the listings most like a photo (JPEG, PNG or WebP bytes).
    ///
    /// # Errors
    /// [`Error::Photo`] where the photo or region is of no use, [`Error::Filter`] where the filter does not fit the
    /// shard, [`Error::Shard`] where the shard is damaged, [`Error::Model`] where the network fails.
    pub fn search_photo(&self, photo: &[u8], options: &SearchOptions) -> Result<SearchResults> {
        let mut stages = Stages::default();
        let Output { embedding, attributes } = run(&self.model, photo, options.region, &options.limits, &mut stages)?;
        let listings = self.find(&embedding, options, &mut stages)?;
        Ok(SearchResults { listings, attributes, stages })
    }

    /// Finds the listings most like an embedding; the options' region and limits do not matter.
    ///
    /// # Errors
    /// As [`Engine::search_photo`], and [`Error::ModelMismatch`] where the embedding is of another model.
    pub fn search_embedding(&self, embedding: &Embedding, options: &SearchOptions) -> Result<Vec<Found>> {
        self.find(embedding, options, &mut Stages::default())
    }

    fn find(&self, embedding: &Embedding, options: &SearchOptions, stages: &mut Stages) -> Result<Vec<Found>> {
        let candidates =
            timed(&mut stages.search, || search::search(&self.shard, embedding, options.filter.as_ref(), options.k))?;
        timed(&mut stages.listings, || listing::fetch(&self.shard, &candidates))
    }
}

/// Embeds a photo: stages 1 to 3, for builders and for everyone who has no shard.
///
/// # Errors
/// [`Error::Photo`] where the photo or region is of no use, [`Error::Model`] where the network fails.
pub fn embed(model: &Model, photo: &[u8], region: Option<Region>, limits: &Limits) -> Result<Output> {
    run(model, photo, region, limits, &mut Stages::default())
}

fn run(model: &Model, photo: &[u8], region: Option<Region>, limits: &Limits, stages: &mut Stages) -> Result<Output> {
    let recipe = &model.manifest().input;
    let decoded = timed(&mut stages.decode, || image::decode(photo, region, recipe, limits))?;
    let input =
        timed(&mut stages.prepare, || decoded.input_rgb(region, recipe).map(|rgb| image::normalise(&rgb, recipe)))?;
    timed(&mut stages.network, || model.run(&input))
}

fn timed<T>(stage: &mut Duration, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    *stage = started.elapsed();
    result
}
