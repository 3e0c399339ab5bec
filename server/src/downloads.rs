//! The routes from which phones fetch a release: the manifest, keys documents, and files by their hashes. A phone checks
//! all of it by itself, so these routes need no token: a web server or a CDN would serve the same bytes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use magpie_release::{Digest, MAX_ENVELOPE_BYTES};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::encode::Shrinks;
use crate::problem::Refusal;
use crate::state::{ApiResult, ServerState};

/// Downloads at a time; each has an open file and two pieces in memory.
pub(crate) const MOST_DOWNLOADS: usize = 256;
/// Bytes that are read at a time.
const PIECE: u64 = 64 << 10;
/// A client that takes no bytes for so long is gone, or wants to keep the download open.
const STALLED: Duration = Duration::from_secs(30);
/// Longest file that is compressed. A delta of a few listings is mostly the same bytes again and again; a base is not, and
/// takes long.
const SHRINKS: u64 = 1 << 20;
/// How long caches keep what is replaced by the next publication.
const SHORT: &str = "public, max-age=15";
/// How long caches keep what never changes.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// The routes.
pub(crate) fn routes() -> Router<Arc<ServerState>> {
    Router::new()
        .route("/release/manifest", get(manifest))
        .route("/release/{keys}", get(keys))
        .route("/release/files/{hash}", get(file))
}

/// Returns the signed manifest of the publication that this server searches.
#[utoipa::path(get, path = "/release/manifest", tag = "release",
    params(("if-none-match" = Option<String>, Header, description = "The etag that the client has")),
    responses(
        (status = 200, description = "The manifest in its envelope, with an etag", content_type = "application/octet-stream"),
        (status = 304, description = "The manifest has not changed"),
        (status = 404, description = "This server does not search a release"),
    ))]
pub(crate) async fn manifest(State(shared): State<Arc<ServerState>>, headers: HeaderMap) -> ApiResult {
    let release = shared.backend.release().ok_or(Refusal::NotFound)?;
    Ok(small(&headers, &release.tag, release.signed.clone()))
}

/// Returns a keys document, `keys-2` and later.
#[utoipa::path(get, path = "/release/{keys}", tag = "release",
    params(("keys" = String, Path, description = "`keys-` and the version of the keys")),
    responses(
        (status = 200, description = "The keys document in its envelope", content_type = "application/octet-stream"),
        (status = 304, description = "The document has not changed"),
        (status = 404, description = "There is no such document"),
    ))]
pub(crate) async fn keys(
    State(shared): State<Arc<ServerState>>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> ApiResult {
    let release = shared.backend.release().ok_or(Refusal::NotFound)?;
    let name = name.map_err(|_| Refusal::NotFound)?.0;
    let version = name.strip_prefix("keys-").and_then(|digits| digits.parse::<u64>().ok());
    // The one form that a version has: no sign, no zeros before it.
    let version = version.filter(|version| *version >= 2 && name == format!("keys-{version}"));
    let path = release.folder.join(format!("keys-{}", version.ok_or(Refusal::NotFound)?));
    let Ok(_place) = shared.downloads.try_acquire() else { return Err(Refusal::Overloaded("downloads")) };
    let read = move || {
        let mut bytes = Vec::new();
        open(path)?.0.take(MAX_ENVELOPE_BYTES as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = blocking(read).await?;
    let tag = format!("\"{}\"", blake3::hash(&bytes).to_hex());
    Ok(small(&headers, &tag, bytes.into()))
}

/// Returns a file of the release. Its bytes never change.
#[utoipa::path(get, path = "/release/files/{hash}", tag = "release",
    params(
        ("hash" = String, Path, description = "The hash of the file: 64 hexadecimal digits in lower case"),
        ("range" = Option<String>, Header, description = "One range of bytes, to go on after an interruption"),
        ("if-range" = Option<String>, Header, description = "The etag of the file that the range is of"),
        ("if-none-match" = Option<String>, Header, description = "The etag that the client has"),
    ),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream"),
        (status = 206, description = "The range of the file", content_type = "application/octet-stream"),
        (status = 304, description = "The client has the file"),
        (status = 404, description = "There is no such file"),
        (status = 416, description = "The range begins after the end of the file"),
        (status = 503, description = "Too many downloads; see retry-after"),
    ))]
pub(crate) async fn file(
    State(shared): State<Arc<ServerState>>,
    hash: Result<Path<String>, PathRejection>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult {
    let release = shared.backend.release().ok_or(Refusal::NotFound)?;
    // Nothing but 64 digits becomes part of a path.
    let hash: Digest = hash.map_err(|_| Refusal::NotFound)?.0.parse().map_err(|_| Refusal::NotFound)?;
    let tag = format!("\"{hash}\"");
    let Ok(place) = Arc::clone(&shared.downloads).try_acquire_owned() else {
        return Err(Refusal::Overloaded("downloads"));
    };
    let path = release.folder.join("files").join(hash.to_string());
    let (mut file, length) = blocking(move || open(path)).await?;
    if is_known(&headers, &tag) {
        return Ok(not_modified(&tag, FOREVER));
    }
    let range = if method == Method::GET { wanted(&headers, &tag, length) } else { Wanted::All };
    let (status, start, count) = match range {
        Wanted::All => (StatusCode::OK, 0, length),
        Wanted::Some { start, count } => (StatusCode::PARTIAL_CONTENT, start, count),
        Wanted::Nothing => {
            let all = format!("bytes */{length}");
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, all)]).into_response());
        }
    };
    let body = if method == Method::GET {
        if start > 0 {
            file.seek(SeekFrom::Start(start)).map_err(|e| unreadable(&e))?;
        }
        let (sender, body) = Channel::new(1);
        tokio::spawn(pour(file, count, sender, place, Arc::clone(&shared)));
        // Fused: the channel must not be polled again after its end, and compressing it does that.
        Body::new(body.fuse())
    } else {
        Body::empty()
    };
    // A tag of a form that may be compressed is weak: it does not stand for exact bytes.
    let small = status == StatusCode::OK && length <= SHRINKS;
    let sent_tag = if small { format!("W/{tag}") } else { tag };
    let mut response = headed(Response::new(body), &sent_tag, FOREVER);
    *response.status_mut() = status;
    if small {
        response.extensions_mut().insert(Shrinks);
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, count.into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{length}", start + count - 1);
        headers.insert(CONTENT_RANGE, HeaderValue::try_from(range).map_err(|_| Refusal::Internal)?);
    }
    Ok(response)
}

fn open(path: PathBuf) -> io::Result<(File, u64)> {
    // Before opening it, which waits if it is a pipe.
    if !std::fs::metadata(&path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// Sends bytes of a file as fast as the client takes them.
async fn pour(
    mut file: File,
    mut left: u64,
    mut to: Sender<Bytes, io::Error>,
    place: OwnedSemaphorePermit,
    shared: Arc<ServerState>,
) {
    while left > 0 {
        let read = spawn_blocking(move || {
            let mut piece = vec![0; left.min(PIECE) as usize];
            let count = file.read(&mut piece)?;
            piece.truncate(count);
            Ok::<_, io::Error>((file, piece))
        });
        let piece = match read.await.unwrap_or_else(|e| Err(io::Error::other(e))) {
            // Somebody has cut the file short. The client notices that bytes are missing.
            Ok((_, piece)) if piece.is_empty() => return to.abort(io::ErrorKind::UnexpectedEof.into()),
            Ok((opened, piece)) => {
                file = opened;
                piece
            }
            Err(error) => {
                tracing::error!(%error, "a file of the release cannot be read");
                return to.abort(error);
            }
        };
        let count = piece.len() as u64;
        match timeout(STALLED, to.send_data(piece.into())).await {
            Ok(Ok(())) => left = left.saturating_sub(count),
            // The client has left.
            Ok(Err(_)) => return,
            Err(_) => return to.abort(io::ErrorKind::TimedOut.into()),
        }
        shared.metrics.downloaded(count);
    }
    drop(place);
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Refusal> {
    match spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) if e.kind() == io::ErrorKind::NotFound => Err(Refusal::NotFound),
        Ok(Err(e)) => Err(unreadable(&e)),
        Err(_) => Err(Refusal::Internal),
    }
}

fn unreadable(error: &io::Error) -> Refusal {
    tracing::error!(%error, "a file of the release cannot be read");
    Refusal::Internal
}

/// Whether a client has what this tag stands for (`if-none-match`), weakly compared.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let strong = tag.trim_start_matches("W/");
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|text| text.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.trim_start_matches("W/") == strong)
}

fn headed(mut response: Response<Body>, tag: &str, cache: &'static str) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    response
}

fn not_modified(tag: &str, cache: &'static str) -> Response<Body> {
    let mut response = headed(Response::new(Body::empty()), tag, cache);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// A document of at most 256 KiB, which the next publication may replace.
fn small(headers: &HeaderMap, tag: &str, bytes: Bytes) -> Response<Body> {
    match is_known(headers, tag) {
        true => not_modified(tag, SHORT),
        false => headed(Response::new(Body::from(bytes)), tag, SHORT),
    }
}

/// What a request wants of a file.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// `count` bytes, at least one.
    Some {
        start: u64,
        count: u64,
    },
    /// Bytes after the end.
    Nothing,
}

/// Reads the range of a request (RFC 9110, section 14). Several ranges, other units and what cannot be read are answered
/// with the whole file, as the standard allows.
fn wanted(headers: &HeaderMap, tag: &str, length: u64) -> Wanted {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let Some(range) = text(RANGE) else { return Wanted::All };
    if text(IF_RANGE).is_some_and(|known| known != tag) {
        return Wanted::All;
    }
    parse(range, length).unwrap_or(Wanted::All)
}

fn parse(range: &str, length: u64) -> Option<Wanted> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Not `parse` alone, which takes a sign.
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let (start, end) = match (first, last) {
        ("", last) => (length.saturating_sub(number(last)?), length),
        (first, "") => (number(first)?, length),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(length))
        }
    };
    Some(if start < end { Wanted::Some { start, count: end - start } } else { Wanted::Nothing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let some = |start, count| Some(Wanted::Some { start, count });
        for (range, expected) in [
            ("bytes=0-99", some(0, 100)),
            ("bytes=10-", some(10, 90)),
            ("bytes=99-", some(99, 1)),
            ("bytes=5-5", some(5, 1)),
            ("Bytes=5-999", some(5, 95)),
            ("bytes=-1", some(99, 1)),
            ("bytes=-999", some(0, 100)),
            ("bytes=0-18446744073709551615", some(0, 100)),
            ("bytes=100-", Some(Wanted::Nothing)),
            ("bytes=100-200", Some(Wanted::Nothing)),
            ("bytes=-0", Some(Wanted::Nothing)),
            ("bytes=18446744073709551615-", Some(Wanted::Nothing)),
            ("bytes=5-4", None),
            ("bytes=0-1,5-6", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=18446744073709551616-", None),
            ("bytes", None),
            ("lines=0-1", None),
            ("", None),
        ] {
            assert_eq!(parse(range, 100), expected, "{range}");
        }
        assert_eq!(parse("bytes=0-", 0), Some(Wanted::Nothing));
        let headers = |values: &[(axum::http::HeaderName, &'static str)]| {
            values.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect::<HeaderMap>()
        };
        let range = (RANGE, "bytes=1-2");
        assert_eq!(wanted(&headers(&[]), "\"x\"", 9), Wanted::All);
        assert_eq!(
            wanted(&headers(&[range.clone(), (IF_RANGE, "\"x\"")]), "\"x\"", 9),
            Wanted::Some { start: 1, count: 2 }
        );
        assert_eq!(wanted(&headers(&[range, (IF_RANGE, "\"y\"")]), "\"x\"", 9), Wanted::All);
    }
}
