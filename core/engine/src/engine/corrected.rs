//! What the user has corrected, as the engine remembers and applies it.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::facade::{Engine, find_listing};
use super::options::SearchOptions;
use crate::Embedding;
use crate::catalog::Catalog;
use crate::corrections::{Correction, Corrections};
use crate::error::{Error, Result};
use crate::search::ListingPlace;

impl Engine {
    /// Uses the corrections in a file from now on: searches with a photo near a remembered one find its listing first. See
    /// [`Corrections::open`]; a file belongs to one catalogue.
    ///
    /// ```no_run
    /// # use magpie_core::engine::{Engine, SearchOptions};
    /// # use magpie_core::model::{Model, Pack};
    /// # use magpie_core::shard::Shard;
    /// # fn main() -> Result<(), magpie_core::Error> {
    /// # let model = Model::load(&Pack::open("models/packs/default")?)?;
    /// # let engine = Engine::new(model, Shard::open("catalogue.magpie")?)?;
    /// # let photo = Vec::new();
    /// engine.open_corrections("corrections.magpie")?;
    /// // The shopper says: "no, this one".
    /// engine.remember_photo(&photo, "mug-17", &SearchOptions::default())?;
    /// let results = engine.search_photo(&photo, &SearchOptions::default())?;
    /// assert!(results.listings[0].listing.id == "mug-17" && results.listings[0].corrected);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Corrections::open`]; the engine keeps the corrections that it has.
    pub fn open_corrections(&self, path: impl Into<PathBuf>) -> Result<()> {
        let (model, dim) = (self.model().id(), self.model().manifest().embedding.dim as usize);
        self.use_corrections(Some(Corrections::open(path, model, dim)?));
        Ok(())
    }

    /// As [`Engine::open_corrections`], with a file that is open; `None` to use none. Searches that are under way end with
    /// those before.
    pub fn use_corrections(&self, corrections: Option<Corrections>) {
        *self.corrections.write().unwrap_or_else(PoisonError::into_inner) = corrections.map(Arc::new);
    }

    /// Remembers that a photo shows a listing. The options' region is the part of the photo that shows it. The photo is
    /// not kept, only its embedding.
    ///
    /// # Errors
    /// [`Error::NoCorrections`], [`Error::UnknownListing`] if the catalogue has no such listing, [`Error::Io`] if the file
    /// cannot be written; otherwise as [`Engine::search_photo`].
    pub fn remember_photo(&self, photo: &[u8], listing_id: &str, options: &SearchOptions) -> Result<()> {
        self.open()?;
        find_listing(&self.catalog(), listing_id)?;
        self.remember(&self.embed_photo(photo, options)?.embedding, listing_id)
    }

    /// As [`Engine::remember_photo`], with the embedding of a photo or camera frame.
    ///
    /// # Errors
    /// As [`Engine::remember_photo`], and [`Error::ModelMismatch`] if the embedding comes from another model.
    pub fn remember(&self, embedding: &Embedding, listing_id: &str) -> Result<()> {
        let (corrections, catalog) = (self.open()?, self.catalog());
        find_listing(&catalog, listing_id)?;
        // Where a shard is damaged, nothing is said to be gone.
        corrections.remember(embedding, listing_id, |id| !matches!(catalog.find_listing(id), Ok(None)))
    }

    /// Forgets the corrections to a listing, which the catalogue need not have any more; returns their number.
    ///
    /// # Errors
    /// [`Error::NoCorrections`], [`Error::Io`] if the file cannot be written.
    pub fn forget(&self, listing_id: &str) -> Result<usize> {
        self.open()?.forget(listing_id)
    }

    /// Forgets all corrections.
    ///
    /// # Errors
    /// As [`Engine::forget`].
    pub fn forget_all(&self) -> Result<()> {
        self.open()?.forget_all()
    }

    /// Returns the corrections to listings of the catalogue, the latest first; none where no file is open. Those of other
    /// listings may come back with an update.
    ///
    /// # Errors
    /// [`Error::Shard`] if a shard is damaged.
    pub fn corrections(&self) -> Result<Vec<Correction>> {
        let Ok(corrections) = self.open() else { return Ok(Vec::new()) };
        let catalog = self.catalog();
        let mut known = corrections.list();
        let mut failure = None;
        known.retain(|correction| match catalog.find_listing(&correction.listing_id) {
            Ok(place) => place.is_some(),
            Err(error) => {
                failure = Some(error);
                false
            }
        });
        failure.map_or(Ok(known), |error| Err(error.into()))
    }

    fn open(&self) -> Result<Arc<Corrections>> {
        let corrections = self.corrections.read().unwrap_or_else(PoisonError::into_inner);
        corrections.clone().ok_or(Error::NoCorrections)
    }

    /// Returns the listings of the catalogue that were corrected for photos near this one, the nearest first.
    pub(super) fn corrected_near(&self, catalog: &Catalog, embedding: &Embedding) -> Result<Vec<ListingPlace>> {
        let Ok(corrections) = self.open() else { return Ok(Vec::new()) };
        let mut places = Vec::new();
        for listing in corrections.near(embedding) {
            places.extend(catalog.find_listing(&listing)?);
        }
        Ok(places)
    }
}
