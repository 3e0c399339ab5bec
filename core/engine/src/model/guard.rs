//! Panics of tract as errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Turns a panic into an error: tract is written for trusted networks and may panic on others.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("internal failure: {}", text.unwrap_or("unknown")))
    })
}
