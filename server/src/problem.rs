//! Error responses: `application/problem+json`.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use magpie_core::ModelId;
use magpie_core::remote::{ModelProblem, Problem};

use crate::backend::BackendError;

/// Longest `detail` of a problem, in characters: it may quote the request, which may be long.
const LONGEST_DETAIL: usize = 300;

/// Why a request was not served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// The request is invalid; why.
    BadRequest(String),
    /// The token is missing or unknown.
    Unauthorized,
    /// The token was valid until a day that is over.
    Expired,
    /// The token is valid, but does not allow this; why.
    Forbidden(&'static str),
    /// The new catalogue is not used; why. For administrators: it names files.
    NotReloaded(String),
    /// The listing or route does not exist.
    NotFound,
    /// The route does not allow this method.
    WrongMethod,
    /// The body did not arrive before the deadline.
    SlowBody,
    /// The request's model differs from the catalogue's, which is this one.
    WrongModel(ModelId),
    /// The body is longer than this many bytes.
    TooLarge(usize),
    /// The content type is not JSON.
    WrongType,
    /// The token's rate limit is exceeded; seconds until it may be used again.
    TooOften(u64),
    /// The photo cannot be used; why.
    #[cfg(feature = "page")]
    BadPhoto(String),
    /// The server has a bug, or its catalogue is damaged.
    Internal,
    /// The search engine could not be reached, or sent an invalid response.
    Upstream,
    /// The server is overloaded; the reason, for the metrics.
    Overloaded(&'static str),
    /// The deadline has passed.
    Late,
}

impl Refusal {
    fn parts(&self) -> (StatusCode, &'static str, &'static str, Option<String>) {
        use StatusCode as S;
        match self {
            Refusal::BadRequest(detail) => {
                (S::BAD_REQUEST, "bad-request", "The request is invalid", Some(detail.clone()))
            }
            Refusal::Unauthorized => (S::UNAUTHORIZED, "unauthorized", "A valid bearer token is required", None),
            Refusal::Expired => {
                (S::UNAUTHORIZED, "unauthorized", "The bearer token has expired", Some("ask for a new one".to_owned()))
            }
            Refusal::Forbidden(why) => (S::FORBIDDEN, "forbidden", "Not allowed", Some((*why).to_owned())),
            Refusal::NotReloaded(why) => {
                (S::CONFLICT, "not-reloaded", "The new catalogue is not used; the old one stays", Some(why.clone()))
            }
            Refusal::NotFound => (S::NOT_FOUND, "not-found", "Not found", None),
            Refusal::WrongMethod => (S::METHOD_NOT_ALLOWED, "wrong-method", "The method is not allowed", None),
            Refusal::SlowBody => (S::REQUEST_TIMEOUT, "slow-body", "The body did not arrive in time", None),
            Refusal::WrongModel(_) => (S::CONFLICT, "wrong-model", "The catalogue was built with another model", None),
            Refusal::TooLarge(most) => {
                (S::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", Some(format!("at most {most} bytes")))
            }
            Refusal::WrongType => (S::UNSUPPORTED_MEDIA_TYPE, "wrong-type", "The body must be application/json", None),
            #[cfg(feature = "page")]
            Refusal::BadPhoto(detail) => {
                (S::UNPROCESSABLE_ENTITY, "bad-photo", "The photo cannot be used", Some(detail.clone()))
            }
            Refusal::TooOften(_) => (S::TOO_MANY_REQUESTS, "too-often", "The token's rate limit is exceeded", None),
            Refusal::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Internal server error", None),
            Refusal::Upstream => (S::BAD_GATEWAY, "engine-failed", "The search engine did not answer", None),
            Refusal::Overloaded(_) => (S::SERVICE_UNAVAILABLE, "overloaded", "The server is overloaded", None),
            Refusal::Late => (S::GATEWAY_TIMEOUT, "late", "The deadline has passed", None),
        }
    }
}

impl From<BackendError> for Refusal {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::WrongModel { catalog } => Refusal::WrongModel(catalog),
            BackendError::Unfit(detail) => Refusal::BadRequest(detail),
            BackendError::Overloaded => Refusal::Overloaded("queue"),
            BackendError::Late => Refusal::Late,
            BackendError::Upstream(detail) => {
                tracing::error!(detail, "the search engine did not answer");
                Refusal::Upstream
            }
            BackendError::Broken(detail) => {
                tracing::error!(detail, "the search failed");
                Refusal::Internal
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> axum::response::Response {
        let (status, kind, title, detail) = self.parts();
        let detail = detail.map(|text| match text.char_indices().nth(LONGEST_DETAIL) {
            Some((end, _)) => format!("{} …", &text[..end]),
            None => text,
        });
        let kind = format!("/problems/{kind}");
        let problem = Problem { kind, title: title.to_owned(), status: status.as_u16(), detail };
        let body = match self {
            Refusal::WrongModel(model_id) => serde_json::to_vec(&ModelProblem { problem, model_id }),
            _ => serde_json::to_vec(&problem),
        };
        // Serialising strings and numbers cannot fail.
        let mut response = Response::new(Body::from(body.unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Refusal::TooOften(seconds) => drop(headers.insert(RETRY_AFTER, seconds.into())),
            Refusal::Overloaded(_) => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("1"))),
            Refusal::Unauthorized | Refusal::Expired => {
                drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            _ => {}
        }
        // For the metrics; extensions are not sent.
        if let Refusal::Overloaded(why) = self {
            response.extensions_mut().insert(Shed(why));
        }
        response
    }
}

/// A response extension: why a request was shed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shed(pub(crate) &'static str);
