//! Cancelling calls from another thread.

use std::sync::Arc;

use magpie_core::engine::Cancel;

/// Ends calls that carry it between two of their stages, from any thread. Once cancelled it stays so.
#[derive(Debug, Default, uniffi::Object)]
pub struct Cancellation(Cancel);

#[uniffi::export]
impl Cancellation {
    /// One that is not cancelled.
    #[uniffi::constructor]
    pub fn new() -> Arc<Cancellation> {
        Arc::default()
    }

    /// Calls that carry it end with `MagpieError::Cancelled` when the stage that goes on is done.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Cancellation {
    pub(crate) fn flag(&self) -> Cancel {
        self.0.clone()
    }
}
