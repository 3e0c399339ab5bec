//! What Swift and Kotlin call: flat records, one [`Engine`], errors by what the caller can do.
//!
//! This crate converts and delegates; what is decided is decided in `magpie-core`. The hand-written packages in
//! `android/` and `ios/` wrap what uniffi generates from here and are what apps use. Photos and frames are borrowed:
//! `&[u8]` crosses without a copy. Panics are caught and become [`MagpieError::Internal`]. Nothing here does network
//! I/O: where a server is asked, an [`Asking`] says what to send and when, and the host sends it. Files are read by
//! [`Engine::open`] and [`verify_catalog`] only, and the catalogue's pages by searches.
#![allow(
    unsafe_code,
    reason = "uniffi's macros export symbols and handle pointers; nothing written by hand here is unsafe"
)]
#![allow(clippy::needless_pass_by_value, reason = "uniffi hands owned values over")]

mod asking;
mod cancellation;
mod engine;
mod error;
mod frame;
mod live;
mod logging;
mod records;
mod server;

pub use asking::Asking;
pub use cancellation::Cancellation;
pub use engine::{Engine, verify_catalog};
pub use error::MagpieError;
pub use frame::{ColorRange, FrameLayout, PixelFormat};
pub use live::{LiveGate, LiveSettings, PowerHint, Ranked, Verdict};
pub use logging::{LogLevel, LogSink, start_logging};
pub use records::{
    Attribute, Benchmark, Column, Confidence, Crop, Embedding, EngineInfo, Field, Group, Listing, OpenOptions,
    SearchOptions, SearchResults, StageTime, StageTimes,
};
pub use server::{
    AskOptions, AskReason, AskSetting, AskStep, Asked, AskedEnd, Connectivity, HttpHeader, Server, Source, Trouble,
    max_reply_bytes,
};

uniffi::setup_scaffolding!("magpie_ffi");
