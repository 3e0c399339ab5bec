//! Reads and validates a server's response, which is not trusted.

use std::collections::HashSet;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::wire::{ModelProblem, SearchReply};
use crate::ModelId;

/// Longest response body, in bytes. Hosts stop reading there and report [`Trouble::TooLarge`].
pub const MAX_REPLY_BYTES: usize = 4 << 20;

/// Largest magnitude of a score: a cosine, plus the error of quantised vectors.
const HIGHEST_SCORE: f32 = 1.01;

/// An HTTP response as the host received it.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// The HTTP status code.
    pub status: u16,
    /// The header `retry-after`, parsed by [`retry_after`].
    pub retry_after: Option<Duration>,
    /// The whole body.
    pub body: &'a [u8],
}

/// Why an attempt got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No connection, e.g. because of DNS, routing, a refused connection or a failed TLS handshake.
    Unreachable,
    /// The server's certificate is not trusted, not valid now, or issued for another name.
    Untrusted,
    /// The connection closed before the response was complete.
    Broken,
    /// The attempt timed out.
    TimedOut,
    /// The body is longer than [`MAX_REPLY_BYTES`].
    TooLarge,
}

/// Why a reply is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyFault {
    /// The body is not the JSON of a search reply.
    #[error("it is not a search reply: line {line}, column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// More listings than requested.
    #[error("it has {found} listings, expected at most {asked}")]
    TooMany {
        /// The number of listings in the reply.
        found: usize,
        /// The number of listings requested.
        asked: usize,
    },
    /// A listing without an id.
    #[error("listing {at} has no id")]
    NoId {
        /// The index of the listing.
        at: usize,
    },
    /// Two listings with the same id.
    #[error("listing {at} has the id of an earlier one")]
    Twice {
        /// The index of the second listing.
        at: usize,
    },
    /// A listing with two fields of the same name.
    #[error("listing {at} has two fields of the same name")]
    FieldTwice {
        /// The index of the listing.
        at: usize,
    },
    /// A score that is not a cosine.
    #[error("the score of listing {at} is not a cosine")]
    Score {
        /// The index of the listing.
        at: usize,
    },
}

/// Why there is no answer from a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No connection could be made.
    #[error("the server could not be reached")]
    Unreachable,
    /// The server's certificate is not trusted, not valid now, or issued for another name.
    #[error("the server's certificate is not trusted")]
    Untrusted,
    /// The connection closed before the response was complete.
    #[error("the connection broke")]
    Broken,
    /// The deadline passed.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The server is overloaded or limits the rate of requests (429, 503).
    #[error("the server is busy (status {status})")]
    Busy {
        /// The HTTP status.
        status: u16,
    },
    /// The server failed (408, 425 and the other 5xx).
    #[error("the server failed (status {status})")]
    ServerError {
        /// The HTTP status.
        status: u16,
    },
    /// The server rejects this request permanently, e.g. because of a wrong token or a filter on an unknown column.
    #[error("the server refused the request (status {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The server's catalogue was built with another model: update the app or its model.
    #[error("the server has another model")]
    WrongModel {
        /// The server's model, if it reports one.
        server: Option<ModelId>,
    },
    /// The body is longer than [`MAX_REPLY_BYTES`].
    #[error("the reply is too large")]
    TooLarge,
    /// The reply is invalid.
    #[error("the reply cannot be used: {0}")]
    BadReply(ReplyFault),
    /// The circuit breaker is open, because the server failed repeatedly or sent `retry-after`.
    #[error("the server failed recently and is not asked for a while")]
    Resting,
    /// The caller cancelled the search.
    #[error("cancelled")]
    Cancelled,
}

impl Failure {
    /// A stable name for metrics and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Failure::Unreachable => "unreachable",
            Failure::Untrusted => "untrusted",
            Failure::Broken => "broken",
            Failure::TimedOut => "timed_out",
            Failure::Busy { .. } => "busy",
            Failure::ServerError { .. } => "server_error",
            Failure::Refused { .. } => "refused",
            Failure::WrongModel { .. } => "wrong_model",
            Failure::TooLarge => "too_large",
            Failure::BadReply(_) => "bad_reply",
            Failure::Resting => "resting",
            Failure::Cancelled => "cancelled",
        }
    }

    /// Whether the same request may succeed when retried.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Failure::Unreachable | Failure::Broken | Failure::TimedOut | Failure::Busy { .. } => true,
            Failure::ServerError { status } => matches!(status, 408 | 425 | 500 | 502 | 504),
            _ => false,
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unreachable => Failure::Unreachable,
            Trouble::Untrusted => Failure::Untrusted,
            Trouble::Broken => Failure::Broken,
            Trouble::TimedOut => Failure::TimedOut,
            Trouble::TooLarge => Failure::TooLarge,
        }
    }
}

/// How an exchange with a server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With an answer.
    Answered,
    /// Without one.
    Failed(Failure),
}

impl Serialize for Ended {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (name, detail) = match self {
            Ended::Answered => ("answered", None),
            Ended::Failed(failure) => (failure.name(), Some(failure.to_string())),
        };
        let mut fields = to.serialize_struct("Ended", 2)?;
        fields.serialize_field("name", name)?;
        fields.serialize_field("detail", &detail)?;
        fields.end()
    }
}

/// Parses the header `retry-after`, in seconds. A date is ignored: it would require synchronised clocks.
pub fn retry_after(header: &str) -> Option<Duration> {
    header.trim().parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()))
}

/// Parses and validates the reply to a request with this model and `k`.
///
/// # Errors
/// A [`Failure`] by the status code, or because of an invalid body.
pub fn read_reply(reply: &Reply<'_>, model_id: ModelId, k: usize) -> Result<SearchReply, Failure> {
    match reply.status {
        200 => {}
        409 => {
            let body = &reply.body[..reply.body.len().min(MAX_REPLY_BYTES)];
            let problem = serde_json::from_slice::<ModelProblem>(body).ok();
            return Err(Failure::WrongModel { server: problem.map(|problem| problem.model_id) });
        }
        status @ (429 | 503) => return Err(Failure::Busy { status }),
        status @ (408 | 425 | 500..=599) => return Err(Failure::ServerError { status }),
        status => return Err(Failure::Refused { status }),
    }
    if reply.body.len() > MAX_REPLY_BYTES {
        return Err(Failure::TooLarge);
    }
    // Not the error's own text, which may quote any part of the body.
    let syntax = |e: serde_json::Error| ReplyFault::Syntax { line: e.line(), column: e.column() };
    let parsed: SearchReply = serde_json::from_slice(reply.body).map_err(|e| Failure::BadReply(syntax(e)))?;
    if parsed.model_id != model_id {
        return Err(Failure::WrongModel { server: Some(parsed.model_id) });
    }
    check(&parsed, k).map_err(Failure::BadReply)?;
    Ok(parsed)
}

fn check(reply: &SearchReply, k: usize) -> Result<(), ReplyFault> {
    if reply.listings.len() > k {
        return Err(ReplyFault::TooMany { found: reply.listings.len(), asked: k });
    }
    let mut ids = HashSet::new();
    let mut names = HashSet::new();
    for (at, listing) in reply.listings.iter().enumerate() {
        if listing.id.is_empty() {
            return Err(ReplyFault::NoId { at });
        }
        if !ids.insert(listing.id.as_str()) {
            return Err(ReplyFault::Twice { at });
        }
        names.clear();
        if !listing.fields.0.iter().all(|(name, _)| names.insert(&**name)) {
            return Err(ReplyFault::FieldTwice { at });
        }
        // Written as "not contained", so that NaN is rejected too.
        if !(-HIGHEST_SCORE..=HIGHEST_SCORE).contains(&listing.score) {
            return Err(ReplyFault::Score { at });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const MODEL: ModelId = ModelId([7; 32]);

    fn body() -> Value {
        let listing = |id: &str, score: f64| {
            json!({ "score": score, "id": id, "photo": "a.jpg", "photos": ["a.jpg"],
                "fields": { "title": "Mug", "price": "5" } })
        };
        json!({ "model_id": MODEL, "catalog": "Ann's shop", "listings": [listing("a", 0.9), listing("b", 0.5)] })
    }

    fn read(body: &str) -> Result<SearchReply, Failure> {
        read_reply(&Reply { status: 200, retry_after: None, body: body.as_bytes() }, MODEL, 2)
    }

    fn changed(change: impl FnOnce(&mut Value)) -> Failure {
        let mut body = body();
        change(&mut body);
        read(&body.to_string()).expect_err("an invalid reply")
    }

    #[test]
    fn a_valid_reply_keeps_its_order() {
        let reply = read(&body().to_string()).expect("valid");
        assert_eq!(reply.listings.iter().map(|l| l.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let more = body().to_string().replacen('{', r#"{"added_later": [1, 2], "#, 1);
        assert_eq!(read(&more), Ok(reply));
    }

    #[test]
    fn invalid_replies_are_rejected() {
        use ReplyFault::{FieldTwice, NoId, Score, Syntax, TooMany, Twice};
        let bad = |fault| Failure::BadReply(fault);
        assert_eq!(changed(|b| b["listings"][1]["id"] = "a".into()), bad(Twice { at: 1 }));
        assert_eq!(changed(|b| b["listings"][1]["id"] = "".into()), bad(NoId { at: 1 }));
        for score in [1.5, -1.2, 1e300] {
            assert_eq!(changed(|b| b["listings"][0]["score"] = score.into()), bad(Score { at: 0 }), "{score}");
        }
        let third = changed(|b| {
            let listing = b["listings"][0].clone();
            b["listings"].as_array_mut().expect("an array").push(listing);
        });
        assert_eq!(third, bad(TooMany { found: 3, asked: 2 }));
        let twice = body().to_string().replacen(r#""price":"#, r#""title":"#, 1);
        assert!(twice.matches("\"title\"").count() > 2, "{twice}");
        assert_eq!(read(&twice), Err(bad(FieldTwice { at: 0 })));
        let other = ModelId([8; 32]);
        assert_eq!(changed(|b| b["model_id"] = other.to_string().into()), Failure::WrongModel { server: Some(other) });
        let scores = ["NaN", "1e999", "null", "\"0.5\"", "Infinity"].map(|s| body().to_string().replacen("0.9", s, 1));
        for text in ["", "{", "[]", "<html>sign in</html>", "{}"].map(str::to_owned).iter().chain(&scores) {
            assert!(matches!(read(text), Err(Failure::BadReply(Syntax { .. }))), "{text}");
        }
        assert_eq!(read(&" ".repeat(MAX_REPLY_BYTES + 1)), Err(Failure::TooLarge));
        assert!(matches!(read(&"[".repeat(MAX_REPLY_BYTES)), Err(Failure::BadReply(Syntax { .. }))));
    }

    #[test]
    fn the_status_decides_whether_to_retry() {
        let failure = |status, body: &[u8]| {
            read_reply(&Reply { status, retry_after: None, body }, MODEL, 2).expect_err("not a successful status")
        };
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(failure(status, b"").is_transient(), "{status}");
        }
        for status in [0, 100, 201, 204, 302, 307, 400, 401, 403, 404, 409, 413, 422, 501, 505, 600] {
            assert!(!failure(status, b"").is_transient(), "{status}");
        }
        let body = json!({ "type": "t", "title": "t", "status": 409, "model_id": ModelId([9; 32]) }).to_string();
        assert_eq!(failure(409, body.as_bytes()), Failure::WrongModel { server: Some(ModelId([9; 32])) });
        assert_eq!(failure(409, b"<html>"), Failure::WrongModel { server: None });
        let headers = ["3", " 3 ", "-1", "1e9", "99999999999", "Wed, 21 Oct 2026 07:28:00 GMT"].map(retry_after);
        assert_eq!(headers.map(|time| time.map(|t| t.as_secs())), [Some(3), Some(3), None, None, None, None]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(256)))]

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), status in 0u16..700) {
            let _ = read_reply(&Reply { status, retry_after: None, body: &bytes }, MODEL, 2);
        }

        #[test]
        fn a_damaged_reply_is_rejected_or_still_valid(at in 0usize..400, byte in any::<u8>()) {
            let mut bytes = body().to_string().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(reply) = read_reply(&Reply { status: 200, retry_after: None, body: &bytes }, MODEL, 2) {
                prop_assert_eq!(check(&reply, 2), Ok(()));
            }
        }
    }
}
