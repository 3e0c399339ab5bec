//! What the user has corrected: photos whose right listing they have named.

use std::sync::Arc;

use magpie_core::ModelId;
use magpie_core::corrections;

use crate::Cancellation;
use crate::engine::Engine;
use crate::error::{MagpieError, guarded};
use crate::records::{Embedding, SearchOptions};

/// A correction: a photo like a remembered one shows this listing.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Correction {
    /// The listing that the user named.
    pub listing_id: String,
    /// When, in Unix seconds by the device's clock.
    pub time: u64,
}

impl From<corrections::Correction> for Correction {
    fn from(correction: corrections::Correction) -> Correction {
        Correction { listing_id: correction.listing_id, time: correction.time }
    }
}

#[uniffi::export]
impl Engine {
    /// Uses the corrections in a file from now on. The first one creates it. It belongs to one catalogue, and never
    /// leaves the device.
    ///
    /// # Errors
    /// `File` if the file cannot be read, holds something else, or comes from a newer version.
    pub fn open_corrections(&self, file: String) -> Result<(), MagpieError> {
        guarded("open_corrections", || Ok(self.engine.open_corrections(file)?))
    }

    /// Remembers that a photo shows a listing. Searches with photos like it find that listing first. Only the embedding
    /// is kept. Of the options, only the crop matters.
    ///
    /// # Errors
    /// `Photo` if the photo or the crop is invalid, `Request` if there is no such listing or no file of corrections is
    /// open, `File` if it cannot be written, `Model` if the network fails, `Cancelled`.
    pub fn remember_photo(
        &self,
        photo: &[u8],
        listing_id: String,
        options: SearchOptions,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<(), MagpieError> {
        guarded("remember_photo", || {
            let options = options.read(cancellation.as_deref())?;
            Ok(self.engine.remember_photo(photo, &listing_id, &options)?)
        })
    }

    /// As [`Engine::remember_photo`], with the embedding of a photo or frame.
    ///
    /// # Errors
    /// `Request` also if the value is not an embedding, `Model` if it comes from another model; otherwise as for a photo.
    pub fn remember(&self, embedding: Embedding, listing_id: String) -> Result<(), MagpieError> {
        guarded("remember", || {
            let request = |reason| MagpieError::Request { reason };
            let model: ModelId = embedding.model_id.parse().map_err(request)?;
            let embedding = magpie_core::Embedding::new(&embedding.values, model);
            let embedding = embedding.ok_or_else(|| request("the embedding is empty, not finite or zero".into()))?;
            Ok(self.engine.remember(&embedding, &listing_id)?)
        })
    }

    /// Forgets the corrections to a listing, which the catalogue need not have any more; returns their number.
    ///
    /// # Errors
    /// `Request` if no file of corrections is open, `File` if it cannot be written.
    pub fn forget(&self, listing_id: String) -> Result<u32, MagpieError> {
        guarded("forget", || Ok(self.engine.forget(&listing_id)? as u32))
    }

    /// Forgets all corrections.
    ///
    /// # Errors
    /// As [`Engine::forget`].
    pub fn forget_all(&self) -> Result<(), MagpieError> {
        guarded("forget_all", || Ok(self.engine.forget_all()?))
    }

    /// Returns the corrections to listings of the catalogue, the latest first; none if no file is open.
    ///
    /// # Errors
    /// `Catalog` if the catalogue is damaged.
    pub fn corrections(&self) -> Result<Vec<Correction>, MagpieError> {
        guarded("corrections", || Ok(self.engine.corrections()?.into_iter().map(Correction::from).collect()))
    }
}
