//! The engine: a model and a shard that was built with it.

use std::sync::{Mutex, PoisonError};

use super::embed::{Embedded, Picture, run, timed};
use super::options::SearchOptions;
use super::results::{Matches, SearchResults};
use super::stages::Stages;
use crate::Embedding;
use crate::ListingRow;
use crate::confidence::{Calibration, Confidence, LEADING};
use crate::error::{Error, FilterError, Result};
use crate::image::Frame;
use crate::listing::{self, Found};
use crate::model::{Model, Output};
use crate::search::{Ranking, SearchScratch, Searcher};
use crate::shard::{Column, Shard};

/// A model and a shard that was built with it. It may be shared by any number of threads.
#[derive(Debug)]
pub struct Engine {
    model: Model,
    shard: Shard,
    /// Memory of finished searches, for reuse: at most one for each search that ran at the same time.
    scratch: Mutex<Vec<SearchScratch>>,
}

impl Engine {
    /// Creates an engine.
    ///
    /// ```no_run
    /// use magpie_core::engine::Engine;
    /// use magpie_core::model::{Model, Pack};
    /// use magpie_core::shard::Shard;
    ///
    /// # fn main() -> Result<(), magpie_core::Error> {
    /// let model = Model::load(&Pack::open("models/packs/default")?)?;
    /// let engine = Engine::new(model, Shard::open("catalogue.magpie")?)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] if the shard was built with another model.
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

    /// Finds the listings most similar to a photo (JPEG, PNG or WebP bytes).
    ///
    /// ```no_run
    /// # use magpie_core::engine::{Engine, SearchOptions};
    /// # use magpie_core::model::{Model, Pack};
    /// # use magpie_core::shard::Shard;
    /// # fn main() -> Result<(), magpie_core::Error> {
    /// # let model = Model::load(&Pack::open("models/packs/default")?)?;
    /// # let engine = Engine::new(model, Shard::open("catalogue.magpie")?)?;
    /// let photo = std::fs::read("mug.jpg").expect("a readable file");
    /// let results = engine.search_photo(&photo, &SearchOptions::new(5))?;
    /// for found in &results.listings {
    ///     println!("{:.3} {}", found.score, found.listing.id);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Photo`] if the photo or region is unusable, [`Error::Filter`] if the filter does not fit the shard,
    /// [`Error::Shard`] if the shard is damaged, [`Error::Model`] if the network fails, [`Error::Cancelled`] if the
    /// options' cancellation flag was set.
    pub fn search_photo(&self, photo: &[u8], options: &SearchOptions) -> Result<SearchResults> {
        self.search(Picture::Photo(photo), options)
    }

    /// Finds the listings most similar to a camera frame. The options' limits are ignored.
    ///
    /// ```no_run
    /// use magpie_core::image::{Frame, Pixels, Plane};
    /// # use magpie_core::engine::{Engine, SearchOptions};
    /// # use magpie_core::model::{Model, Pack};
    /// # use magpie_core::shard::Shard;
    /// # fn main() -> Result<(), magpie_core::Error> {
    /// # let model = Model::load(&Pack::open("models/packs/default")?)?;
    /// # let engine = Engine::new(model, Shard::open("catalogue.magpie")?)?;
    /// let (width, height) = (640, 480);
    /// let bytes = vec![0; 4 * 640 * 480];
    /// let plane = Plane { bytes: &bytes, row_stride: 4 * 640, pixel_stride: 4 };
    /// let rotation = Default::default(); // The sensor is upright.
    /// let frame = Frame { pixels: Pixels::Rgba(plane), width, height, rotation, mirrored: false };
    /// let results = engine.search_frame(&frame, &SearchOptions::default())?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Engine::search_photo`].
    pub fn search_frame(&self, frame: &Frame<'_>, options: &SearchOptions) -> Result<SearchResults> {
        self.search(Picture::Frame(frame), options)
    }

    fn search(&self, picture: Picture<'_>, options: &SearchOptions) -> Result<SearchResults> {
        let mut stages = Stages::default();
        let Embedded { output, incomplete } = run(&self.model, picture, options, &mut stages)?;
        let Matches { listings, confidence } = self.find(&output.embedding, options, &mut stages)?;
        Ok(SearchResults { listings, confidence, attributes: output.attributes, stages, photo_incomplete: incomplete })
    }

    /// Embeds a photo as a search does. Only the options' region, limits and cancellation flag apply.
    ///
    /// # Errors
    /// As [`Engine::search_photo`].
    pub fn embed_photo(&self, photo: &[u8], options: &SearchOptions) -> Result<Output> {
        run(&self.model, Picture::Photo(photo), options, &mut Stages::default()).map(|embedded| embedded.output)
    }

    /// Embeds a camera frame as a search does. Only the options' region and cancellation flag apply.
    ///
    /// # Errors
    /// As [`Engine::search_photo`].
    pub fn embed_frame(&self, frame: &Frame<'_>, options: &SearchOptions) -> Result<Output> {
        run(&self.model, Picture::Frame(frame), options, &mut Stages::default()).map(|embedded| embedded.output)
    }

    /// Finds the listings most similar to an embedding. The options' region and limits are ignored.
    ///
    /// ```no_run
    /// # use magpie_core::engine::{Engine, SearchOptions};
    /// # use magpie_core::model::{Model, Pack};
    /// # use magpie_core::shard::Shard;
    /// # fn main() -> Result<(), magpie_core::Error> {
    /// # let model = Model::load(&Pack::open("models/packs/default")?)?;
    /// # let engine = Engine::new(model, Shard::open("catalogue.magpie")?)?;
    /// # let photo = Vec::new();
    /// // Embed once, search twice.
    /// let embedding = engine.embed_photo(&photo, &SearchOptions::default())?.embedding;
    /// let all = engine.search_embedding(&embedding, &SearchOptions::default())?;
    /// let cheap = SearchOptions::default().with_filter(magpie_core::search::Filter::parse("price<20")?);
    /// let cheap = engine.search_embedding(&embedding, &cheap)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Engine::search_photo`], and [`Error::ModelMismatch`] if the embedding comes from another model.
    pub fn search_embedding(&self, embedding: &Embedding, options: &SearchOptions) -> Result<Matches> {
        self.find(embedding, options, &mut Stages::default())
    }

    /// Finds the listings most similar to a listing of the shard, which is not in the results. The options' region and
    /// limits are ignored. There is no confidence, since none of the results is the right one.
    ///
    /// ```no_run
    /// # use magpie_core::engine::{Engine, SearchOptions};
    /// # use magpie_core::model::{Model, Pack};
    /// # use magpie_core::shard::Shard;
    /// # fn main() -> Result<(), magpie_core::Error> {
    /// # let model = Model::load(&Pack::open("models/packs/default")?)?;
    /// # let engine = Engine::new(model, Shard::open("catalogue.magpie")?)?;
    /// for found in engine.more_like("mug-01", &SearchOptions::new(6))? {
    ///     println!("{:.3} {}", found.score, found.listing.id);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownListing`] if the shard has no such listing; otherwise as [`Engine::search_photo`].
    pub fn more_like(&self, listing_id: &str, options: &SearchOptions) -> Result<Vec<Found>> {
        options.cancel.check()?;
        let listing = self.listing(listing_id)?;
        let candidates =
            self.with_searcher(|searcher| searcher.more_like(listing, options.filter.as_ref(), &options.search))?;
        Ok(listing::fetch(&self.shard, &candidates)?)
    }

    /// Returns at most `most` words of a filter column, in order; none if the column holds numbers.
    ///
    /// # Errors
    /// [`Error::Filter`] if there is no such column.
    pub fn words(&self, column: &str, most: usize) -> Result<Vec<String>> {
        let unknown = || FilterError::unknown_column(column, self.shard.columns().map(|(name, _)| name));
        match self.shard.column(column).ok_or_else(unknown)? {
            Column::Word { words, .. } => {
                Ok((0..words.len().min(most)).filter_map(|at| words.get(at)).map(str::to_owned).collect())
            }
            Column::Number { .. } => Ok(Vec::new()),
        }
    }

    /// Returns the thumbnail of a listing's photo, by id and photo name: JPEG bytes. `None` if the shard does not have
    /// it.
    ///
    /// # Errors
    /// [`Error::UnknownListing`] if the shard has no such listing, [`Error::Shard`] if the shard is damaged.
    pub fn thumbnail(&self, listing_id: &str, photo: &str) -> Result<Option<&[u8]>> {
        let listing = self.listing(listing_id)?;
        let names = self.shard.records(&[listing])?;
        let at = names.first().and_then(|record| record.photos.iter().position(|name| name == photo));
        let Some(at) = at else { return Ok(None) };
        let photos = self.shard.photos_of(listing)?;
        let found = photos.into_iter().find(|&photo| usize::from(self.shard.ordinal_of(photo)) == at);
        Ok(found.and_then(|photo| self.shard.thumbnail(photo)))
    }

    fn listing(&self, id: &str) -> Result<ListingRow> {
        self.shard.find_listing(id)?.ok_or_else(|| Error::UnknownListing { id: id.to_owned() })
    }

    fn with_searcher<T>(&self, work: impl FnOnce(&mut Searcher<'_>) -> T) -> T {
        // Scratch memory remains usable after a panic of another thread.
        let pool = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = pool().pop().unwrap_or_default();
        let mut searcher = Searcher::with_scratch(&self.shard, scratch);
        let result = work(&mut searcher);
        pool().push(searcher.into_scratch());
        result
    }

    pub(super) fn find(&self, embedding: &Embedding, options: &SearchOptions, stages: &mut Stages) -> Result<Matches> {
        options.cancel.check()?;
        let calibration = self.model.manifest().confidence.as_ref();
        let leading = calibration.map_or(0, |_| LEADING);
        let Ranking { candidates, leading } = timed(&mut stages.search, || {
            self.with_searcher(|searcher| searcher.rank(embedding, options.filter.as_ref(), &options.search, leading))
        })?;
        options.cancel.check()?;
        let listings = timed(&mut stages.listings, || listing::fetch(&self.shard, &candidates))?;
        let judge = |calibration: &Calibration| match listings.is_empty() {
            true => Confidence::NONE,
            false => calibration.judge(&leading),
        };
        Ok(Matches { confidence: calibration.map(judge), listings })
    }
}
