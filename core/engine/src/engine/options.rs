//! What a search is asked for.

use super::cancel::Cancel;
use crate::image::{Limits, Region};
use crate::search::{Filter, SearchParams};

/// The options of a search.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SearchOptions {
    /// How many listings to return, and other parameters of the search.
    pub search: SearchParams,
    /// The part of the photo to search with; by default all of it.
    pub region: Option<Region>,
    /// A filter on listings; by default none.
    pub filter: Option<Filter>,
    /// Limits of the photo's size.
    pub limits: Limits,
    /// The cancellation flag.
    pub cancel: Cancel,
}
