//! A page to look at: a photo goes in by the browser, and the catalogue's listings come out.
//!
//! Only this page sends photos: the server embeds them with a model of its own and keeps nothing. Its search is
//! `/v1/search`, as an app's. Everything the page needs is here: it loads nothing from other hosts.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Response};
use axum::response::IntoResponse;
use magpie_core::attributes::Attributes;
use magpie_core::engine::{Stages, embed_timed};
use magpie_core::image::{DecodeLimits, Region};
use magpie_core::model::{Model, Output, Pack};
use magpie_core::remote::{QueryCode, Thresholds};
use magpie_core::{Error, ModelId};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::api::{Answer, Shared, body, deadline};
use crate::engine::ColumnInfo;
use crate::problem::Refusal;

/// Bytes of a photo.
const MOST_BYTES: usize = 24 << 20;
/// Photos whose bytes are held at once, being sent or waiting.
const HELD: usize = 8;
/// What a photo may cost: far less than on the phone of the one who took it.
const LIMITS: (u64, u64, Duration) = (64 << 20, 256 << 20, Duration::from_secs(3));

/// Only what this server sends, and pictures that the page itself holds.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The model of the page, and the places for photos.
pub(crate) struct Page {
    model: Arc<Model>,
    /// Photos that are being embedded: each takes a core.
    embedding: Arc<Semaphore>,
    held: Semaphore,
}

impl Page {
    /// Loads the model that embeds the page's photos, at most `photos` at once.
    ///
    /// # Errors
    /// What is wrong with the pack, or that it is not the catalogue's model.
    pub(crate) fn load(pack: &Path, catalog: ModelId, photos: usize) -> Result<Page, String> {
        let fault = |e: Error| format!("{}: {e}", pack.display());
        let model = Model::load(&Pack::open(pack).map_err(fault)?).map_err(fault)?;
        if model.id() != catalog {
            return Err(format!("{}: its model is {}, the catalogue's is {catalog}", pack.display(), model.id()));
        }
        let embedding = Arc::new(Semaphore::new(photos));
        Ok(Page { model: Arc::new(model), embedding, held: Semaphore::new(HELD) })
    }
}

/// A file of the page by its name; the page itself without one.
pub(crate) fn file(name: &str) -> Response<Body> {
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
struct About {
    catalog: String,
    listings: u64,
    columns: Vec<ColumnInfo>,
    /// Who finds listings.
    engine: &'static str,
    /// The score from which an app believes its own answer.
    sure: f32,
    max_k: u32,
}

/// What the page says of the catalogue, and makes chips of.
pub(crate) async fn about(State(shared): State<Arc<Shared>>) -> Answer {
    let status = shared.engine.status().ok_or(Refusal::Overloaded("no catalogue"))?;
    let (engine, sure) = (shared.engine.name(), Thresholds::default().score);
    let (catalog, listings, columns) = (status.catalog, status.listings, status.columns);
    Ok(Json(About { catalog, listings, columns, engine, sure, max_k: shared.settings.max_k }).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    region: Option<String>,
}

#[derive(Serialize)]
struct Embedded {
    model_id: ModelId,
    embedding: QueryCode,
    attributes: Attributes,
    stages: Vec<Stage>,
}

#[derive(Serialize)]
struct Stage {
    name: &'static str,
    ms: f64,
}

/// What stands behind the '?', if it makes sense.
type Asked<T> = Result<Query<T>, QueryRejection>;

/// Embeds a photo of the page. It is held until the answer is made, and nowhere else.
pub(crate) async fn embed(State(shared): State<Arc<Shared>>, part: Asked<Part>, request: Request) -> Answer {
    let Query(part) = part.map_err(|e| Refusal::BadRequest(e.body_text()))?;
    let page = shared.page.as_ref().ok_or(Refusal::NotFound)?;
    let region = part.region.map(|text| text.parse::<Region>()).transpose().map_err(Refusal::BadRequest)?;
    let deadline = deadline(&request);
    let _held = page.held.try_acquire().map_err(|_| Refusal::Overloaded("photos"))?;
    let photo = body(request.into_body(), MOST_BYTES, deadline).await?;
    let place = tokio::time::timeout_at(deadline.into(), Arc::clone(&page.embedding).acquire_owned()).await;
    let Ok(Ok(place)) = place else { return Err(Refusal::Overloaded("photos")) };
    let model = Arc::clone(&page.model);
    let embedded = tokio::task::spawn_blocking(move || {
        // Until it is done, whatever becomes of its asker: a decoder cannot be interrupted.
        let _place = place;
        let (max_pixels, max_memory, longest) = LIMITS;
        let max_time = longest.min(deadline.saturating_duration_since(Instant::now()));
        let limits = DecodeLimits { max_bytes: MOST_BYTES as u64, max_pixels, max_memory, max_time };
        embed_timed(&model, &photo, region, &limits)
    });
    let embedded = embedded.await.map_err(|_| Refusal::Internal)?;
    let (Output { embedding, attributes }, stages) = embedded.map_err(|error| match error {
        Error::Photo(fault) => Refusal::BadPhoto(fault.to_string()),
        other => {
            tracing::error!(fault = %other, "the page's model failed");
            Refusal::Internal
        }
    })?;
    let (model_id, embedding) = (embedding.model(), QueryCode::of(&embedding));
    Ok(Json(Embedded { model_id, embedding, attributes, stages: times(&stages) }).into_response())
}

fn times(stages: &Stages) -> Vec<Stage> {
    let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    stages.named().into_iter().take(3).map(|(name, time)| Stage { name, ms: ms(time) }).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    id: String,
    photo: String,
}

/// The small picture of a listing's photo, where the catalogue has one.
pub(crate) async fn picture(State(shared): State<Arc<Shared>>, wanted: Asked<Wanted>, request: Request) -> Answer {
    let Query(wanted) = wanted.map_err(|e| Refusal::BadRequest(e.body_text()))?;
    let jpeg = shared.engine.picture(wanted.id, wanted.photo, deadline(&request)).await?.ok_or(Refusal::NotFound)?;
    let mut response = Response::new(Body::from(jpeg));
    let headers = response.headers_mut();
    for (name, value) in
        [(CONTENT_TYPE, "image/jpeg"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (CACHE_CONTROL, "private, max-age=300")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
