//! Tests of the API as Kotlin and Swift call it.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first failure")]

mod catalog;
mod corrections;
mod release;
mod server_search;
