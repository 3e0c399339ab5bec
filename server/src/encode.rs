//! Response compression: zstd or gzip, where the client accepts it.

use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, HeaderMap, StatusCode, Version};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

/// Smallest body to compress, in bytes: a shorter one fits into one packet anyway.
const LEAST: u64 = 1000;

/// A response extension: the body shrinks a lot though it is not text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shrinks;

/// The layer that compresses text bodies, and those that are marked with [`Shrinks`].
pub(crate) fn compression() -> CompressionLayer<impl Predicate> {
    // The fastest level: a response is compressed once and sent once.
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(LEAST).and(shrinks))
}

fn shrinks(_: StatusCode, _: Version, headers: &HeaderMap, extensions: &Extensions) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    extensions.get::<Shrinks>().is_some()
        || kind.starts_with("text/")
        || kind.contains("json")
        || kind.contains("openmetrics")
}
