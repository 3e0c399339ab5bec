//! What all handlers share: the server's state, and the parts of a request that they have in common.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use http_body_util::LengthLimitError;
use tokio::sync::Semaphore;

use crate::backend::{RequestBudget, SearchBackend};
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
    /// Permits for downloads of a release.
    pub(crate) downloads: Arc<Semaphore>,
    /// Held during a reload.
    pub(crate) reloading: tokio::sync::Mutex<()>,
    /// Set while the newest catalogue cannot be used, and an older one is served.
    pub(crate) reload_failed: AtomicBool,
    /// Set when the server has begun to shut down.
    pub(crate) leaving: AtomicBool,
}

/// The result of a handler.
pub(crate) type ApiResult = Result<Response, Refusal>;

/// What a request may take: an extension of each request that passes the guard.
pub(crate) fn budget(request: &Request) -> RequestBudget {
    request.extensions().get::<RequestBudget>().cloned().unwrap_or_else(|| RequestBudget::until(Instant::now()))
}

/// The deadline of a request.
pub(crate) fn deadline(request: &Request) -> Instant {
    budget(request).deadline
}

/// Reads a request body of at most `most` bytes, until the deadline.
pub(crate) async fn body(body: Body, most: usize, deadline: Instant) -> Result<Bytes, Refusal> {
    let read = tokio::time::timeout_at(deadline.into(), to_bytes(body, most)).await;
    read.map_err(|_| Refusal::SlowBody)?.map_err(|e| {
        let too_large = std::error::Error::source(&e).is_some_and(|e| e.is::<LengthLimitError>());
        match too_large {
            true => Refusal::TooLarge(most),
            false => Refusal::BadRequest("the body ends before its announced length".to_owned()),
        }
    })
}
