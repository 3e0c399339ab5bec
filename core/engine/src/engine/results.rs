//! What a search returns.

use serde::Serialize;

use super::stages::Stages;
use crate::attributes::Attributes;
use crate::confidence::Confidence;
use crate::listing::Found;

/// The results of a search.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SearchResults {
    /// Best first; ties in the order of listing ids. A corrected listing comes before them: [`Found::corrected`].
    pub listings: Vec<Found>,
    /// See [`Matches::confidence`].
    pub confidence: Option<Confidence>,
    /// The predicted attributes of the photo.
    pub attributes: Attributes,
    /// The time of each stage.
    pub stages: Stages,
    /// See [`Matches::complete`].
    pub complete: bool,
    /// Whether a part of the photo's file was missing or invalid, so that the results may be worse than those of the
    /// whole photo: see [`Photo::is_incomplete`](crate::image::Photo::is_incomplete).
    pub photo_incomplete: bool,
}

/// The results of a search with an embedding.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Matches {
    /// Best first; ties in the order of listing ids. A corrected listing comes before them: [`Found::corrected`].
    pub listings: Vec<Found>,
    /// How likely the first listing is what the photo shows; `None` if the model's pack has no calibration, or if the
    /// first listing is corrected ([`Found::corrected`]): then the user has said so, and there is nothing to doubt.
    ///
    /// It depends on the best listings that pass the filter, regardless of the requested number, least score or limit
    /// per value: [`Searcher::rank`](crate::search::Searcher::rank). If no listing is returned, it is 0.
    pub confidence: Option<Confidence>,
    /// `false` if fewer listings than requested were found because the search gave up: far too few of the photos nearest
    /// to the query met the conditions, and more listings may.
    pub complete: bool,
}

impl SearchResults {
    /// Results of a whole photo without times of the stages, e.g. for a test of code that uses them.
    pub fn new(listings: Vec<Found>, confidence: Option<Confidence>, attributes: Attributes) -> SearchResults {
        let stages = Stages::default();
        SearchResults { listings, confidence, attributes, stages, complete: true, photo_incomplete: false }
    }
}

impl Matches {
    /// Results of a search with an embedding.
    pub fn new(listings: Vec<Found>, confidence: Option<Confidence>) -> Matches {
        Matches { listings, confidence, complete: true }
    }
}
