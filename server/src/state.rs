//! What all handlers share: the server's state, and the parts of a request that they have in common.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use tokio::sync::Semaphore;

use crate::backend::SearchBackend;
use crate::guard::Tokens;
use crate::metrics::Metrics;
use crate::problem::Refusal;
use crate::settings::Settings;

/// The state that all requests share.
pub(crate) struct ServerState {
    pub(crate) backend: Arc<dyn SearchBackend>,
    pub(crate) tokens: Tokens,
    pub(crate) metrics: Metrics,
    pub(crate) settings: Settings,
    /// Permits for concurrent requests.
    pub(crate) places: Semaphore,
    /// Set when the server has begun to shut down.
    pub(crate) leaving: AtomicBool,
}

/// The result of a handler.
pub(crate) type ApiResult = Result<Response, Refusal>;

/// When the client will have stopped waiting: an extension of each request that passes the guard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Instant);

/// The deadline of a request.
pub(crate) fn deadline(request: &Request) -> Instant {
    request.extensions().get::<Deadline>().map_or_else(Instant::now, |deadline| deadline.0)
}

/// Reads a request body of at most `most` bytes, until the deadline.
pub(crate) async fn body(body: Body, most: usize, deadline: Instant) -> Result<Bytes, Refusal> {
    let read = tokio::time::timeout_at(deadline.into(), to_bytes(body, most)).await;
    // The only other error is that the client has disconnected: nobody reads that response.
    read.map_err(|_| Refusal::SlowBody)?.map_err(|_| Refusal::TooLarge(most))
}
