//! Finds the listings of a shard that are nearest to a query.
//!
//! `plan` chooses how many lists to probe and how many photos to re-rank; `coarse` ranks the inverted lists; `scan`
//! estimates products from binary codes (or scores all photos that pass a filter) and re-ranks the best by their byte
//! codes; `results` collapses photos to listings and applies the options of the search. Results are ordered by score,
//! then listing id, then photo, so the same query gives the same answer everywhere.

mod coarse;
mod filter;
mod groups;
mod params;
mod part;
mod plan;
mod predicate;
mod results;
mod scan;
mod searcher;
mod stored;
#[cfg(all(test, feature = "build"))]
mod tests;
mod top_photos;

pub use filter::{Comparison, Filter, MAX_FILTER_LEN};
pub use params::{MAX_K, Per, SearchParams};
pub(crate) use part::{Hidden, Part, PartColumn, SettledColumn, SettledValues};
pub(crate) use results::Originals;
pub use results::{Candidate, ListingPlace, Ranking};
pub use searcher::{SearchScratch, Searcher, search};
pub use stored::stored_vector;
