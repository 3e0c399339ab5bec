//! Bounds on the memory and time that network files may take. These tests count the allocations of each thread.
#![allow(missing_docs, clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use magpie_tests::memory::Counting;

mod bad_networks;
mod compiled_networks;
mod frugal_network;
mod hostile_networks;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
