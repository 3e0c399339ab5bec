//! Response compression: zstd or gzip, where the client accepts it.

use std::io::Write;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::problem::Refusal;

/// Smallest body to compress, in bytes: a shorter one fits into one packet anyway.
const LEAST: usize = 1000;
/// Longest body to buffer, in bytes. Bodies are complete in memory already, so this only guards against bugs.
const MOST: usize = 64 << 20;
/// The fastest regular level: a response is compressed once and sent once.
const ZSTD_LEVEL: i32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Zstd,
    Gzip,
}

/// Middleware that compresses text bodies.
pub(crate) async fn compress(request: Request, next: Next) -> Response {
    let coding = accepted(request.headers());
    let mut response = next.run(request).await;
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !(kind.starts_with("text/") || kind.contains("json") || kind.contains("openmetrics")) {
        return response;
    }
    // Also on an uncompressed response: caches must not serve it to clients that get it compressed.
    response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    let Some(coding) = coding else { return response };
    let (mut head, body) = response.into_parts();
    let Ok(plain) = to_bytes(body, MOST).await else { return Refusal::Internal.into_response() };
    if plain.len() < LEAST {
        return Response::from_parts(head, Body::from(plain));
    }
    let (name, coded) = match coding {
        Coding::Zstd => ("zstd", zstd::bulk::compress(&plain, ZSTD_LEVEL)),
        Coding::Gzip => ("gzip", gzip(&plain)),
    };
    match coded {
        Ok(coded) if coded.len() < plain.len() => {
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
            head.headers.remove(CONTENT_LENGTH);
            Response::from_parts(head, Body::from(coded))
        }
        _ => Response::from_parts(head, Body::from(plain)),
    }
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// The encoding to use: zstd if the client accepts it, else gzip if it accepts that.
fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let mut best = None;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for part in value.to_str().unwrap_or_default().split(',') {
            let (name, rest) = part.split_once(';').unwrap_or((part, ""));
            let weight = rest.trim().strip_prefix("q=").map_or(Some(1.0), |text| text.trim().parse::<f32>().ok());
            let wanted = weight.is_some_and(|weight| weight > 0.0);
            match name.trim() {
                "zstd" if wanted => return Some(Coding::Zstd),
                "gzip" | "*" if wanted => best = Some(Coding::Gzip),
                _ => {}
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_follows_accept_encoding() {
        let accepts =
            |text: &'static str| accepted(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(text))]));
        assert_eq!(accepts("gzip, deflate, br, zstd"), Some(Coding::Zstd));
        assert_eq!(accepts("gzip;q=1.0, zstd;q=0"), Some(Coding::Gzip));
        assert_eq!(accepts("gzip; q=0.5"), Some(Coding::Gzip));
        for none in ["identity", "", "br", "gzip;q=0", "gzip;q=no"] {
            assert_eq!(accepts(none), None, "{none}");
        }
    }
}
