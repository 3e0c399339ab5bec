//! The `magpie` binary as its users run it, in one test program.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first thing that is wrong

mod commands;
mod pack;
mod server;
