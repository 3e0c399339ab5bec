//! Releases from outside: a committed one that every version has to read, and processes that are killed.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first thing that is wrong

mod example;
mod killed;
