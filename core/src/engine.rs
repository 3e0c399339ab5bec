//! The facade: a model and a shard, a photo in, listings out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::attributes::Attributes;
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::image::{self, Limits, Region};
use crate::listing::{self, Found};
use crate::model::{Model, Output};
use crate::search::{Filter, Scratch, SearchParams, Searcher};
use crate::shard::Shard;

/// A model and a shard that was built with it. Shared by any number of threads.
#[derive(Debug)]
pub struct Engine {
    model: Model,
    shard: Shard,
    /// Memory of searches that are done, for the next ones: as many as ran at once.
    scratch: Mutex<Vec<Scratch>>,
}

/// What to search for beside the photo.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SearchOptions {
    /// How many listings, and what else they must be.
    pub search: SearchParams,
    /// The part of the photo that shows the thing; all of it by default.
    pub region: Option<Region>,
    /// Which listings count; all by default.
    pub filter: Option<Filter>,
    /// What the photo may cost.
    pub limits: Limits,
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
        Ok(Engine { model, shard, scratch: Mutex::default() })
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

    /// Finds the listings most like a listing of the shard, by its id; the listing itself is not among them.
    /// The options' region and limits do not matter.
    ///
    /// # Errors
    /// [`Error::UnknownListing`] where the shard has no such listing; else as [`Engine::search_photo`].
    pub fn more_like(&self, listing_id: &str, options: &SearchOptions) -> Result<Vec<Found>> {
        let listing = self.shard.find_listing(listing_id)?;
        let listing = listing.ok_or_else(|| Error::UnknownListing { id: listing_id.to_owned() })?;
        let candidates =
            self.with_searcher(|searcher| searcher.more_like(listing, options.filter.as_ref(), &options.search))?;
        listing::fetch(&self.shard, &candidates)
    }

    fn with_searcher<T>(&self, work: impl FnOnce(&mut Searcher<'_>) -> T) -> T {
        // A thread that panicked leaves memory that can be used all the same.
        let pool = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = pool().pop().unwrap_or_default();
        let mut searcher = Searcher::with_scratch(&self.shard, scratch);
        let result = work(&mut searcher);
        pool().push(searcher.into_scratch());
        result
    }

    fn find(&self, embedding: &Embedding, options: &SearchOptions, stages: &mut Stages) -> Result<Vec<Found>> {
        let candidates = timed(&mut stages.search, || {
            self.with_searcher(|searcher| searcher.search(embedding, options.filter.as_ref(), &options.search))
        })?;
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

/// As [`embed`], with the times of its three stages; those of the others are zero.
///
/// # Errors
/// As [`embed`].
pub fn embed_timed(model: &Model, photo: &[u8], region: Option<Region>, limits: &Limits) -> Result<(Output, Stages)> {
    let mut stages = Stages::default();
    run(model, photo, region, limits, &mut stages).map(|output| (output, stages))
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
