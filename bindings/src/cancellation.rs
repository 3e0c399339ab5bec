//! Cancellation of calls from another thread.

use std::sync::Arc;

use magpie_core::engine::Cancel;

/// A flag that stops the calls it is passed to, between two of their stages, from any thread. It cannot be reset.
#[derive(Debug, Default, uniffi::Object)]
pub struct Cancellation(Cancel);

#[uniffi::export]
impl Cancellation {
    /// Creates a flag that is not set.
    #[uniffi::constructor]
    pub fn new() -> Arc<Cancellation> {
        Arc::default()
    }

    /// Stops the calls with this flag: they return `MagpieError::Cancelled` when their current stage is done.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether [`Cancellation::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Cancellation {
    pub(crate) fn flag(&self) -> Cancel {
        self.0.clone()
    }
}
