//! The engine: a model and a catalogue that was built with it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::embed::{Embedded, Picture, run, timed};
use super::options::SearchOptions;
use super::results::{Matches, SearchResults};
use super::stages::Stages;
use crate::Embedding;
use crate::catalog::Catalog;
use crate::confidence::{Calibration, Confidence, LEADING};
use crate::corrections::Corrections;
use crate::error::{Error, Result};
use crate::image::Frame;
use crate::listing::Found;
use crate::model::{Model, Output};
use crate::search::{ListingPlace, Ranking, SearchScratch, Searcher};
use crate::shard::Shard;

/// A model and a catalogue that was built with it. It may be shared by any number of threads, also while the catalogue
/// is replaced.
#[derive(Debug)]
pub struct Engine {
    model: Model,
    /// Locked only to clone or to exchange the `Arc`.
    catalog: RwLock<Arc<Catalog>>,
    /// Locked as the catalogue is.
    pub(super) corrections: RwLock<Option<Arc<Corrections>>>,
    /// Memory of finished searches, for reuse: at most one for each search that ran at the same time.
    scratch: Mutex<Vec<SearchScratch>>,
}

impl Engine {
    /// Creates an engine with a catalogue of one shard.
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
        Engine::with_catalog(model, Arc::new(shard.into()))
    }

    /// Creates an engine.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] if the catalogue was built with another model.
    pub fn with_catalog(model: Model, catalog: Arc<Catalog>) -> Result<Engine> {
        fits(&model, &catalog)?;
        let (catalog, corrections) = (RwLock::new(catalog), RwLock::default());
        Ok(Engine { model, catalog, corrections, scratch: Mutex::default() })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The current catalogue. It stays usable after it is replaced.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the catalogue, and returns the one before. Searches that are under way end on that one; those that begin
    /// later use the new one. Neither waits for the other.
    ///
    /// ```no_run
    /// use magpie_core::catalog::{Catalog, PartFiles};
    /// # fn update(engine: &magpie_core::engine::Engine) -> Result<(), magpie_core::Error> {
    /// let base = PartFiles { shard: Some("base.magpie".into()), removed: Vec::new() };
    /// let delta = PartFiles { shard: Some("monday.magpie".into()), removed: vec!["mug-17".to_owned()] };
    /// engine.replace_catalog(Catalog::open(&[base, delta])?.into())?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] if the catalogue was built with another model; the engine keeps the one that it has.
    pub fn replace_catalog(&self, catalog: Arc<Catalog>) -> Result<Arc<Catalog>> {
        fits(&self.model, &catalog)?;
        let mut current = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut current, catalog))
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
        let Output { embedding, attributes } = output;
        let Matches { listings, confidence, complete } = self.find(&embedding, options, &mut stages)?;
        Ok(SearchResults { listings, confidence, attributes, stages, complete, photo_incomplete: incomplete })
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
        let catalog = self.catalog();
        let listing = find_listing(&catalog, listing_id)?;
        let candidates = self.with_searcher(&catalog, options, |searcher| {
            searcher.more_like(listing, options.filter.as_ref(), &options.search)
        })?;
        Ok(catalog.fetch(&candidates)?)
    }

    /// Returns at most `most` words of a filter column, in order; none if the column holds numbers.
    ///
    /// # Errors
    /// [`Error::Filter`] if there is no such column.
    pub fn words(&self, column: &str, most: usize) -> Result<Vec<String>> {
        Ok(self.catalog().words(column, most)?)
    }

    /// Returns the thumbnail of a listing's photo, by id and photo name: JPEG bytes. `None` if the shard does not have
    /// it.
    ///
    /// # Errors
    /// [`Error::UnknownListing`] if the shard has no such listing, [`Error::Shard`] if the shard is damaged.
    pub fn thumbnail(&self, listing_id: &str, photo: &str) -> Result<Option<Vec<u8>>> {
        let catalog = self.catalog();
        let listing = find_listing(&catalog, listing_id)?;
        Ok(catalog.thumbnail(listing, photo)?.map(<[u8]>::to_vec))
    }

    fn with_searcher<T>(
        &self,
        catalog: &Catalog,
        options: &SearchOptions,
        work: impl FnOnce(&mut Searcher<'_>) -> T,
    ) -> T {
        // Scratch memory remains usable after a panic of another thread.
        let pool = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = pool().pop().unwrap_or_default();
        let cancelled = || options.cancel.is_cancelled();
        let mut searcher = catalog.searcher(scratch).with_stop(&cancelled);
        let result = work(&mut searcher);
        pool().push(searcher.into_scratch());
        result
    }

    pub(super) fn find(&self, embedding: &Embedding, options: &SearchOptions, stages: &mut Stages) -> Result<Matches> {
        options.cancel.check()?;
        let calibration = self.model.manifest().confidence.as_ref();
        let leading = calibration.map_or(0, |_| LEADING);
        let catalog = self.catalog();
        let Ranking { candidates, leading, complete, put_first } = timed(&mut stages.search, || {
            let first = self.corrected_near(&catalog, embedding)?;
            self.with_searcher(&catalog, options, |searcher| {
                searcher.rank_with_first(embedding, options.filter.as_ref(), &options.search, leading, &first)
            })
            .map_err(Error::from)
        })?;
        options.cancel.check()?;
        let mut listings = timed(&mut stages.listings, || catalog.fetch(&candidates))?;
        if let Some(first) = listings.first_mut().filter(|_| put_first) {
            first.corrected = true;
        }
        let judge = |calibration: &Calibration| match listings.is_empty() {
            true => Confidence::NONE,
            false => calibration.judge(&leading),
        };
        // The calibration knows only scores.
        let confidence = if put_first { None } else { calibration.map(judge) };
        Ok(Matches { confidence, listings, complete })
    }
}

fn fits(model: &Model, catalog: &Catalog) -> Result<()> {
    let (model, shard) = (model.id(), catalog.model_id());
    if model == shard { Ok(()) } else { Err(Error::ModelMismatch { model, shard }) }
}

pub(super) fn find_listing(catalog: &Catalog, id: &str) -> Result<ListingPlace> {
    catalog.find_listing(id)?.ok_or_else(|| Error::UnknownListing { id: id.to_owned() })
}
