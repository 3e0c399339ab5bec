//! The API for Swift and Kotlin: flat records, one [`Engine`], and errors grouped by what the caller can do.
//!
//! This crate converts types and delegates; all decisions are taken in `magpie-core`. Apps use the hand-written
//! packages in `android/` and `ios/`, which wrap the code that uniffi generates from here. Photos and frames are
//! borrowed: `&[u8]` crosses without a copy. Panics are caught and become [`MagpieError::Internal`]. Nothing here does
//! network I/O: if a server is asked, a [`ServerSearch`] tells the host what to send and when, and a [`CatalogUpdate`]
//! what to download. Searches read pages of the mapped catalogue; files are read where catalogues are opened, verified
//! and updated, and for corrections.
#![allow(
    unsafe_code,
    reason = "uniffi's macros export symbols and handle pointers; nothing written by hand here is unsafe"
)]
#![allow(clippy::needless_pass_by_value, reason = "uniffi passes owned values")]

mod cancellation;
mod catalog_store;
mod catalog_update;
mod corrections;
mod engine;
mod error;
mod frame;
mod live;
mod logging;
mod opening;
mod records;
mod server;
mod server_search;

pub use cancellation::Cancellation;
pub use catalog_store::{CatalogStore, InstalledCatalog, UpdateOptions};
pub use catalog_update::{CatalogUpdate, UpdateFetch, UpdatePlan, max_manifest_bytes};
pub use corrections::Correction;
pub use engine::{Engine, verify_catalog};
pub use error::MagpieError;
pub use frame::{ColorRange, FrameLayout, PixelFormat};
pub use live::{LiveGate, LiveSettings, PowerHint, Ranked, Verdict};
pub use logging::{LogLevel, LogSink, start_logging};
pub use opening::{InstalledOptions, model_id};
pub use records::{
    Attribute, Benchmark, Column, Confidence, Crop, Embedding, EngineInfo, Field, Group, Listing, OpenOptions,
    SearchOptions, SearchResults, StageTime, StageTimes,
};
pub use server::{
    AskOptions, AskReason, AskSetting, AskStep, Asked, AskedEnd, Connectivity, HttpHeader, ServerState, Source,
    Trouble, max_reply_bytes,
};
pub use server_search::ServerSearch;

uniffi::setup_scaffolding!("magpie_ffi");
