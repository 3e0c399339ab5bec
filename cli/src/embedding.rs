//! From the bytes of a photo to its embedding and its thumbnail, for every command that embeds photos.

use std::fmt;

use magpie_core::Embedding;
use magpie_core::engine;
use magpie_core::image::{DecodeLimits, decode};
use magpie_core::model::Model;

use crate::failure::Result;
use crate::thumbnail::thumbnail;

/// Number of photos whose embeddings are held until they are collected: bounds the memory.
pub(crate) const BATCH: usize = 512;

/// An embedded photo.
pub(crate) struct EmbeddedPhoto {
    pub(crate) embedding: Embedding,
    /// Empty if it is to have none.
    pub(crate) thumbnail: Vec<u8>,
    /// Whether a part of its file was missing.
    pub(crate) incomplete: bool,
}

/// Embeds a photo, and makes its thumbnail if it is to have one, with so many pixels on the longer side. It is decoded
/// once for both.
pub(crate) fn embed_photo(model: &Model, bytes: &[u8], thumbnails: Option<u32>) -> Result<EmbeddedPhoto> {
    let (limits, recipe) = (DecodeLimits::default(), &model.manifest().input);
    let decoded = decode(bytes, None, recipe, &limits).map_err(magpie_core::Error::from)?;
    let embedding = engine::embed_decoded(model, &decoded, None)?.embedding;
    let small = thumbnails.map(|size| thumbnail(&decoded, bytes, size, recipe, &limits)).transpose()?;
    Ok(EmbeddedPhoto { embedding, thumbnail: small.unwrap_or_default(), incomplete: decoded.is_incomplete() })
}

/// A photo that was used although a part of its file was missing.
#[derive(Debug, serde::Serialize)]
pub(crate) struct IncompletePhoto {
    #[serde(flatten)]
    pub(crate) place: Place,
    pub(crate) photo: String,
}

/// Where the user finds a photo.
#[derive(Debug, Clone, Copy, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    /// Line of the table, from 1.
    Line(u64),
    /// Row of the output, from 0.
    Row(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(line) => write!(f, "line {line}"),
            Place::Row(row) => write!(f, "row {row}"),
        }
    }
}

impl IncompletePhoto {
    /// What to tell the user.
    pub(crate) fn note(&self) -> String {
        format!("{}: {} is cut short or damaged; what is left of it is used", self.place, self.photo)
    }
}
