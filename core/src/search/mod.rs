//! Nearest listings in a shard.
//!
//! Every photo's int8 code is scored against the query's; the best photo of a listing stands for it. The order is score,
//! then listing id, so the same query gives the same answer everywhere.

mod filter;
mod predicate;
mod scan;

pub use filter::{Comparison, Filter, MAX_FILTER_LEN};
pub use scan::{Candidate, MAX_K, search};
