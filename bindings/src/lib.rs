//! What Swift and Kotlin will call. The uniffi interface is not there yet; the package exists so that its place in the
//! workspace, and what it may depend on, are settled.

pub use magpie_core::engine::Engine;
