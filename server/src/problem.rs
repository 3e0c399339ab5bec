//! Answers that are no answer: `application/problem+json`.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use magpie_core::ModelId;
use magpie_core::remote::{ModelProblem, Problem};

use crate::engine::EngineError;

/// Longest text that says what is wrong with a request: it may quote the request.
const LONGEST_DETAIL: usize = 300;

/// Why a request was not served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// The request makes no sense here.
    BadRequest(String),
    /// No token, or one that is not known.
    Unauthorized,
    /// No such listing or route.
    NotFound,
    /// The route takes another method.
    WrongMethod,
    /// The body did not come in time.
    SlowBody,
    /// The catalogue's model is another one.
    WrongModel(ModelId),
    /// The body is longer than this.
    TooLarge(usize),
    /// The body is no JSON by its header.
    WrongType,
    /// The token asked too often; seconds until it may again.
    TooOften(u64),
    /// The photo is of no use; why.
    #[cfg(feature = "page")]
    BadPhoto(String),
    /// A mistake of the server's own.
    Internal,
    /// The engine could not be reached, or made no sense.
    Upstream,
    /// Too much to do; why, for the metrics.
    Overloaded(&'static str),
    /// The deadline has passed.
    Late,
}

impl Refusal {
    fn parts(&self) -> (StatusCode, &'static str, &'static str, Option<String>) {
        use StatusCode as S;
        match self {
            Refusal::BadRequest(detail) => {
                (S::BAD_REQUEST, "bad-request", "The request makes no sense", Some(detail.clone()))
            }
            Refusal::Unauthorized => (S::UNAUTHORIZED, "unauthorized", "A valid bearer token is needed", None),
            Refusal::NotFound => (S::NOT_FOUND, "not-found", "There is nothing here", None),
            Refusal::WrongMethod => (S::METHOD_NOT_ALLOWED, "wrong-method", "This takes another method", None),
            Refusal::SlowBody => (S::REQUEST_TIMEOUT, "slow-body", "The body did not come in time", None),
            Refusal::WrongModel(_) => (S::CONFLICT, "wrong-model", "The catalogue has another model", None),
            Refusal::TooLarge(most) => {
                (S::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", Some(format!("at most {most} bytes")))
            }
            Refusal::WrongType => (S::UNSUPPORTED_MEDIA_TYPE, "wrong-type", "The body must be application/json", None),
            #[cfg(feature = "page")]
            Refusal::BadPhoto(detail) => {
                (S::UNPROCESSABLE_ENTITY, "bad-photo", "The photo is of no use", Some(detail.clone()))
            }
            Refusal::TooOften(_) => (S::TOO_MANY_REQUESTS, "too-often", "The token asks too often", None),
            Refusal::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "The server failed", None),
            Refusal::Upstream => (S::BAD_GATEWAY, "engine-failed", "The search engine gave no answer", None),
            Refusal::Overloaded(_) => (S::SERVICE_UNAVAILABLE, "overloaded", "There is too much to do", None),
            Refusal::Late => (S::GATEWAY_TIMEOUT, "late", "The deadline has passed", None),
        }
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::WrongModel { catalog } => Refusal::WrongModel(catalog),
            EngineError::Unfit(detail) => Refusal::BadRequest(detail),
            EngineError::Overloaded => Refusal::Overloaded("queue"),
            EngineError::Late => Refusal::Late,
            EngineError::Upstream(detail) => {
                tracing::error!(detail, "the engine gave no answer");
                Refusal::Upstream
            }
            EngineError::Broken(detail) => {
                tracing::error!(detail, "the engine failed");
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
        // Texts and numbers always become JSON.
        let mut response = Response::new(Body::from(body.unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Refusal::TooOften(seconds) => drop(headers.insert(RETRY_AFTER, seconds.into())),
            Refusal::Overloaded(_) => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("1"))),
            Refusal::Unauthorized => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            _ => {}
        }
        // For the metrics; it does not travel.
        if let Refusal::Overloaded(why) = self {
            response.extensions_mut().insert(Shed(why));
        }
        response
    }
}

/// Why a request was turned away for lack of time or room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shed(pub(crate) &'static str);
