//! What a search is asked for.

use super::cancel::Cancel;
use crate::image::{DecodeLimits, Region};
use crate::search::{Filter, SearchParams};

/// The options of a search.
///
/// ```
/// use magpie_core::engine::SearchOptions;
/// use magpie_core::search::{Filter, SearchParams};
///
/// # fn main() -> Result<(), magpie_core::Error> {
/// let options = SearchOptions::new(20).with_filter(Filter::parse("category=Mugs and price<50")?);
/// assert_eq!(options.search, SearchParams::new(20));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SearchOptions {
    /// How many listings to return, and other parameters of the search.
    pub search: SearchParams,
    /// The part of the photo to search with; by default all of it.
    pub region: Option<Region>,
    /// A filter on listings; by default none.
    pub filter: Option<Filter>,
    /// DecodeLimits of the photo's size.
    pub limits: DecodeLimits,
    /// The cancellation flag.
    pub cancel: Cancel,
}

impl SearchOptions {
    /// The defaults, with this many listings requested.
    pub fn new(k: usize) -> SearchOptions {
        SearchOptions::default().with_search(SearchParams::new(k))
    }

    /// Sets the parameters of the search.
    #[must_use]
    pub fn with_search(mut self, search: SearchParams) -> SearchOptions {
        self.search = search;
        self
    }

    /// Sets the part of the photo to search with; `None` is all of it.
    #[must_use]
    pub fn with_region(mut self, region: impl Into<Option<Region>>) -> SearchOptions {
        self.region = region.into();
        self
    }

    /// Sets the filter on listings.
    #[must_use]
    pub fn with_filter(mut self, filter: impl Into<Option<Filter>>) -> SearchOptions {
        self.filter = filter.into();
        self
    }

    /// Sets the limits of the photo's size.
    #[must_use]
    pub fn with_limits(mut self, limits: DecodeLimits) -> SearchOptions {
        self.limits = limits;
        self
    }

    /// Sets the cancellation flag.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> SearchOptions {
        self.cancel = cancel;
        self
    }
}
