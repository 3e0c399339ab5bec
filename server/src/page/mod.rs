//! The demo page: search the catalogue by a photo, in a browser.
//!
//! Only this page sends photos: the server embeds them with its own model and does not keep them. The page searches
//! with `/v1/search`, as apps do. All of its files are here: it loads nothing from other hosts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Response};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router, extract};
use magpie_core::attributes::Attributes;
use magpie_core::confidence::LEADING;
use magpie_core::engine::{Stages, embed_timed};
use magpie_core::image::{DecodeLimits, Region};
use magpie_core::model::{Model, Output, Pack};
use magpie_core::remote::QueryCode;
use magpie_core::{Error, ModelId};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::api::PageRoutes;
use crate::backend::ColumnInfo;
use crate::problem::Refusal;
use crate::state::{ApiResult, ServerState, body, deadline};

/// Longest photo, in bytes.
const MOST_BYTES: usize = 24 << 20;
/// Maximum number of photos in memory at a time, being uploaded or waiting.
const HELD: usize = 8;
/// Limits of decoding a photo: pixels, bytes of memory, blocks of a JPEG's scans. Stricter than those of an app for its
/// own photos.
const LIMITS: (u64, u64, u64) = (64 << 20, 256 << 20, 1 << 24);

/// Content security policy: allows only resources of this server, and the page's own blobs as pictures.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's model, and the limits on concurrent photos.
pub(crate) struct Page {
    shared: Arc<ServerState>,
    model: Arc<Model>,
    /// Permits to embed a photo, which keeps a core busy.
    embedding: Arc<Semaphore>,
    /// Permits to hold a photo in memory.
    held: Semaphore,
}

impl Page {
    /// Loads the model pack.
    ///
    /// # Errors
    /// Why the pack cannot be used, or that it is not the catalogue's model.
    pub(crate) fn load(pack: &Path, catalog: ModelId, shared: Arc<ServerState>) -> Result<Page, String> {
        let fault = |e: Error| format!("{}: {e}", pack.display());
        let model = Model::load(&Pack::open(pack).map_err(fault)?).map_err(fault)?;
        if model.id() != catalog {
            return Err(format!("{}: its model is {}, the catalogue's is {catalog}", pack.display(), model.id()));
        }
        let embedding = Arc::new(Semaphore::new(shared.settings.page_photos));
        Ok(Page { shared, model: Arc::new(model), embedding, held: Semaphore::new(HELD) })
    }

    /// The routes of the page.
    pub(crate) fn routes(self) -> PageRoutes {
        let limited = Router::new()
            .route("/page/about", get(about))
            .route("/page/embed", post(embed))
            .route("/page/confidence", get(confidence))
            .route("/page/picture", get(picture))
            .with_state(Arc::new(self));
        let files = Router::new()
            .route("/", get(|| async { file("") }))
            .route("/{file}", get(|extract::Path(name): extract::Path<String>| async move { file(&name) }));
        PageRoutes { limited, files }
    }
}

/// Returns a static file of the page; the HTML for an empty name.
fn file(name: &str) -> Response<Body> {
    let (kind, text) = match name {
        "" => ("text/html; charset=utf-8", include_str!("index.html")),
        "page.css" => ("text/css; charset=utf-8", include_str!("page.css")),
        "page.js" => ("text/javascript; charset=utf-8", include_str!("page.js")),
        _ => return Refusal::NotFound.into_response(),
    };
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[derive(Serialize)]
struct AboutReply {
    catalog: String,
    listings: u64,
    columns: Vec<ColumnInfo>,
    /// Whether the model gives confidences.
    calibrated: bool,
    max_k: u32,
}

/// Describes the catalogue to the page: title, filter columns, limits.
async fn about(State(page): State<Arc<Page>>) -> ApiResult {
    let shared = &page.shared;
    let status = shared.backend.status().ok_or(Refusal::Overloaded("no catalogue"))?;
    let calibrated = page.model.manifest().confidence.is_some();
    let (catalog, listings, columns) = (status.catalog, status.listings, status.columns);
    Ok(Json(AboutReply { catalog, listings, columns, calibrated, max_k: shared.settings.max_k }).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbedParams {
    region: Option<String>,
}

#[derive(Serialize)]
struct EmbedReply {
    model_id: ModelId,
    embedding: QueryCode,
    attributes: Attributes,
    stages: Vec<StageTime>,
}

#[derive(Serialize)]
struct StageTime {
    name: &'static str,
    ms: f64,
}

/// The parsed query string.
type QueryParams<T> = Result<Query<T>, QueryRejection>;

/// Embeds an uploaded photo. It is kept in memory until the response is ready, and not stored.
async fn embed(State(page): State<Arc<Page>>, params: QueryParams<EmbedParams>, request: Request) -> ApiResult {
    let Query(params) = params.map_err(|e| Refusal::BadRequest(e.body_text()))?;
    let region = params.region.map(|text| text.parse::<Region>()).transpose().map_err(Refusal::BadRequest)?;
    let deadline = deadline(&request);
    let _held = page.held.try_acquire().map_err(|_| Refusal::Overloaded("photos"))?;
    let photo = body(request.into_body(), MOST_BYTES, deadline).await?;
    let place = tokio::time::timeout_at(deadline.into(), Arc::clone(&page.embedding).acquire_owned()).await;
    let Ok(Ok(place)) = place else { return Err(Refusal::Overloaded("photos")) };
    let model = Arc::clone(&page.model);
    let embedded = tokio::task::spawn_blocking(move || {
        // Held until the work ends, even if the client disconnects: decoding cannot be interrupted.
        let _place = place;
        let (max_pixels, max_memory, max_blocks) = LIMITS;
        let limits = DecodeLimits { max_bytes: MOST_BYTES as u64, max_pixels, max_memory, max_blocks };
        embed_timed(&model, &photo, region, &limits)
    });
    let embedded = embedded.await.map_err(|_| Refusal::Internal)?;
    let (Output { embedding, attributes }, stages) = embedded.map_err(|error| match error {
        Error::Photo(fault) => Refusal::BadPhoto(fault.to_string()),
        other => {
            tracing::error!(fault = %other, "cannot embed a photo of the page");
            Refusal::Internal
        }
    })?;
    let (model_id, embedding) = (embedding.model(), QueryCode::of(&embedding));
    Ok(Json(EmbedReply { model_id, embedding, attributes, stages: times(&stages) }).into_response())
}

/// The times of decode, prepare and network, in milliseconds rounded to microseconds.
fn times(stages: &Stages) -> Vec<StageTime> {
    let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    stages.named().into_iter().take(3).map(|(name, time)| StageTime { name, ms: ms(time) }).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfidenceParams {
    scores: String,
}

/// Judges a search by the scores of its best listings, separated by commas, best first.
async fn confidence(State(page): State<Arc<Page>>, params: QueryParams<ConfidenceParams>) -> ApiResult {
    let Query(params) = params.map_err(|e| Refusal::BadRequest(e.body_text()))?;
    let scores: Option<Vec<f32>> =
        params.scores.split(',').map(|score| score.parse().ok().filter(|s| (-1.0..=1.0).contains(s))).collect();
    let scores = scores.filter(|scores| scores.len() <= LEADING && scores.is_sorted_by(|a, b| a >= b));
    let expected = || format!("scores: expected up to {LEADING} cosines from -1 to 1, best first");
    let scores = scores.ok_or_else(|| Refusal::BadRequest(expected()))?;
    let calibration = page.model.manifest().confidence.as_ref().ok_or(Refusal::NotFound)?;
    Ok(Json(calibration.judge(&scores)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PictureParams {
    id: String,
    photo: String,
}

/// Returns the thumbnail of a listing's photo, if the catalogue has one.
async fn picture(State(page): State<Arc<Page>>, params: QueryParams<PictureParams>, request: Request) -> ApiResult {
    let Query(params) = params.map_err(|e| Refusal::BadRequest(e.body_text()))?;
    let jpeg =
        page.shared.backend.picture(params.id, params.photo, deadline(&request)).await?.ok_or(Refusal::NotFound)?;
    let mut response = Response::new(Body::from(jpeg));
    let headers = response.headers_mut();
    for (name, value) in
        [(CONTENT_TYPE, "image/jpeg"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (CACHE_CONTROL, "private, max-age=300")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
