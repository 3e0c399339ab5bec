//! The server's integration tests, in one program, so that they are linked once.
#![allow(missing_docs, clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

mod answers;
mod common;
mod hostile_engine;
mod openapi;
mod opensearch;
mod operation;
#[cfg(feature = "page")]
mod page;
mod release;
mod reloads;
mod several_shards;
mod shutdown;
mod tokens;
