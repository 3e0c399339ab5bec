//! Nearest listings in a shard.
//!
//! `plan` decides how far to look; `coarse` finds the lists near the query; `scan` estimates products from sign codes,
//! or scores all photos that pass a filter, and scores the best again by their int8 codes; `results` lets the best
//! photo of a listing stand for it and applies what the caller asked for. The order is score, then listing id, then
//! photo, so the same query gives the same answer everywhere.

mod coarse;
mod filter;
mod params;
mod plan;
mod pool;
mod predicate;
mod results;
mod scan;
mod searcher;

pub use filter::{Comparison, Filter, MAX_FILTER_LEN};
pub use params::{MAX_K, Per, SearchParams};
pub(crate) use results::Originals;
pub use results::{Candidate, Ranking};
pub use searcher::{Scratch, Searcher, search, stored_vector};
