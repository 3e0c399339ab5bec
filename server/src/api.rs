//! The routes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use magpie_core::ModelId;
use magpie_core::remote::{DEADLINE_HEADER, Fields, ModelProblem, Problem, SearchReply, SearchRequest, WireListing};
use magpie_core::shard::ColumnKind;
use serde::Serialize;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::encode::compress;
use crate::engine::{Engine, Status};
use crate::guard::Tokens;
use crate::metrics::Metrics;
use crate::problem::{Refusal, Shed};
use crate::settings::Settings;
use crate::trace::{TRACERESPONSE, Trace};

/// A deadline beyond this is taken as this.
const LONGEST_DEADLINE: Duration = Duration::from_secs(10);

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) tokens: Tokens,
    pub(crate) metrics: Metrics,
    pub(crate) settings: Settings,
    /// Places for requests under way.
    pub(crate) places: Semaphore,
    /// Set when the server is about to stop.
    pub(crate) leaving: std::sync::atomic::AtomicBool,
    /// What the page needs, where there is one.
    #[cfg(feature = "page")]
    pub(crate) page: Option<crate::page::Page>,
}

/// A listing by itself.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ListingReply {
    /// The catalogue's id of the listing.
    id: String,
    /// Names of its photos.
    photos: Vec<String>,
    /// Its fields in the catalogue's order, e.g. `title`, `price`.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    fields: Fields,
}

/// What a catalogue is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CatalogReply {
    /// Its name.
    catalog: String,
    /// Grows from build to build.
    sequence: u64,
    /// The model of its embeddings: 64 hexadecimal digits.
    #[schema(value_type = String)]
    model_id: ModelId,
    /// The coordinates of its embeddings.
    dim: u32,
    /// Its listings.
    listings: u64,
    /// Its photos.
    photos: u64,
    /// The columns that filters can name, each `word` or `number`.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    columns: Fields,
}

pub(crate) type Answer = Result<Response, Refusal>;

/// All routes. Only those below `/v1` are limited and need tokens: whoever watches the server must get through.
pub(crate) fn routes(shared: Arc<Shared>) -> Router {
    let v1 = Router::new()
        .route("/v1/search", post(search))
        .route("/v1/listings/{id}", get(listing))
        .route("/v1/catalogs/{catalog}", get(catalog))
        .route_layer(from_fn_with_state(Arc::clone(&shared), guard));
    let router = Router::new().merge(v1);
    #[cfg(feature = "page")]
    let router = router.merge(page_routes(&shared));
    router
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(|| async { Refusal::NotFound })
        .method_not_allowed_fallback(|| async { Refusal::WrongMethod })
        .layer(CatchPanicLayer::custom(|_| Refusal::Internal.into_response()))
        .layer(from_fn(compress))
        .layer(from_fn_with_state(Arc::clone(&shared), observe))
        .with_state(shared)
}

/// The page's files are for everyone; what it asks for is limited as what apps ask for.
#[cfg(feature = "page")]
fn page_routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    use crate::page::{about, embed, file, picture};
    if shared.page.is_none() {
        return Router::new();
    }
    Router::new()
        .route("/page/about", get(about))
        .route("/page/embed", post(embed))
        .route("/page/picture", get(picture))
        .route_layer(from_fn_with_state(Arc::clone(shared), guard))
        .route("/", get(|| async { file("") }))
        .route("/{file}", get(|Path(name): Path<String>| async move { file(&name) }))
}

/// When the asker will have left.
#[derive(Debug, Clone, Copy)]
struct Deadline(Instant);

/// The name of the token's holder, for the log.
#[derive(Debug, Clone)]
struct Caller(String);

async fn guard(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Answer {
    let now = Instant::now();
    // The cheapest check first: under load most requests get no further.
    let Ok(_place) = shared.places.try_acquire() else {
        return Err(Refusal::Overloaded("places"));
    };
    let caller = shared.tokens.admit(request.headers(), now)?;
    let time = match request.headers().get(DEADLINE_HEADER) {
        None => shared.settings.default_deadline,
        Some(value) => {
            let ms = value.to_str().ok().and_then(|text| text.trim().parse::<u32>().ok());
            let fault = || Refusal::BadRequest(format!("{DEADLINE_HEADER} must be a number of milliseconds"));
            Duration::from_millis(ms.ok_or_else(fault)?.into())
        }
    };
    request.extensions_mut().insert(Deadline(now + time.min(LONGEST_DEADLINE)));
    let mut response = next.run(request).await;
    if let Some(name) = caller {
        response.extensions_mut().insert(Caller(name));
    }
    Ok(response)
}

/// Counts and logs each request: its route, never its contents.
async fn observe(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    // The pattern, not the path: ids would make a metric for each listing.
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or("other", MatchedPath::as_str);
    let trace = Trace::of(request.headers());
    // Whatever is logged meanwhile carries the ids. An error's span is there at every level.
    let span = tracing::error_span!("request", trace_id = trace.trace_id(), span_id = trace.span_id());
    let traced = trace.header();
    shared.metrics.in_flight.inc();
    let mut response = trace.scope(next.run(request).instrument(span.clone())).await;
    shared.metrics.in_flight.dec();
    response.headers_mut().insert(TRACERESPONSE, traced);
    let (time, status) = (begun.elapsed(), response.status().as_u16());
    shared.metrics.request(route, status, time);
    if let Some(Shed(why)) = response.extensions().get() {
        shared.metrics.shed(why);
    }
    let caller = response.extensions().get::<Caller>().map(|caller| caller.0.as_str());
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::info!(route, status, micros, caller, "request"));
    response
}

/// Finds the listings most like an embedding.
#[utoipa::path(post, path = "/v1/search", tag = "search",
    request_body = SearchRequest,
    params(("magpie-deadline-ms" = Option<u32>, Header, description = "Milliseconds that the asker still waits")),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The best listings", body = SearchReply),
        (status = 400, description = "The request makes no sense", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "A valid token is needed", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The catalogue has another model", body = ModelProblem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The token asks too often; see retry-after", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The search engine gave no answer", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too much to do; see retry-after", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "The deadline has passed", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn search(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    let deadline = deadline(&request);
    if !is_json(request.headers()) {
        return Err(Refusal::WrongType);
    }
    let body = body(request.into_body(), shared.settings.max_body, deadline).await?;
    let request: SearchRequest = serde_json::from_slice(&body).map_err(|e| Refusal::BadRequest(e.to_string()))?;
    if request.k > shared.settings.max_k {
        return Err(Refusal::BadRequest(format!("k is {}, at most {} here", request.k, shared.settings.max_k)));
    }
    let query = request.parse().map_err(|e| Refusal::BadRequest(e.to_string()))?;
    let status = shared.engine.status().ok_or(Refusal::Overloaded("no catalogue"))?;
    if request.model_id != status.model_id {
        return Err(Refusal::WrongModel(status.model_id));
    }
    if query.embedding.dim() != status.dim as usize {
        let detail =
            format!("the embedding has {} coordinates, its model's have {}", query.embedding.dim(), status.dim);
        return Err(Refusal::BadRequest(detail));
    }
    let begun = Instant::now();
    let found = shared.engine.search(query, deadline).await?;
    let took = format!("search;dur={:.3}", begun.elapsed().as_secs_f64() * 1e3);
    let listings = found.into_iter().map(WireListing::from).collect();
    let reply = Json(SearchReply { model_id: status.model_id, catalog: status.catalog, listings });
    Ok(([("server-timing", took)], reply).into_response())
}

/// A listing by its id.
#[utoipa::path(get, path = "/v1/listings/{id}", tag = "search",
    params(("id" = String, Path, description = "The catalogue's id of the listing")),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The listing", body = ListingReply),
        (status = 401, description = "A valid token is needed", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such listing", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The token asks too often; see retry-after", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The search engine gave no answer", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too much to do; see retry-after", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn listing(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Answer {
    let listing = shared.engine.listing(id, deadline(&request)).await?.ok_or(Refusal::NotFound)?;
    Ok(Json(ListingReply { id: listing.id, photos: listing.photos, fields: Fields(listing.fields) }).into_response())
}

/// What the catalogue is. Changes where the catalogue does: an asker that knows the tag is told that nothing has changed.
#[utoipa::path(get, path = "/v1/catalogs/{catalog}", tag = "catalogs",
    params(
        ("catalog" = String, Path, description = "The catalogue's name"),
        ("if-none-match" = Option<String>, Header, description = "The etag that the asker knows"),
    ),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The catalogue, with an etag", body = CatalogReply),
        (status = 304, description = "It is as the asker knows it"),
        (status = 401, description = "A valid token is needed", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such catalogue", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The token asks too often; see retry-after", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too much to do; see retry-after", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn catalog(State(shared): State<Arc<Shared>>, Path(name): Path<String>, headers: HeaderMap) -> Answer {
    let status = shared.engine.status().filter(|status| status.catalog == name).ok_or(Refusal::NotFound)?;
    let Status { catalog, model_id, dim, listings, photos, sequence, shards: _, columns } = status;
    let kind = |kind| if kind == ColumnKind::Number { "number" } else { "word" };
    let columns = columns.into_iter().map(|column| (column.name, kind(column.kind).to_owned())).collect();
    let reply = CatalogReply { catalog, sequence, model_id, dim, listings, photos, columns: Fields(columns) };
    let body = serde_json::to_vec(&reply).map_err(|_| Refusal::Internal)?;
    // Weak: the same catalogue may come compressed or not.
    let tag = format!("W/\"{}\"", &blake3::hash(&body).to_hex()[..16]);
    let strong = tag.trim_start_matches("W/");
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = known
        .flat_map(|text| text.split(','))
        .any(|text| matches!(text.trim(), "*") || text.trim().trim_start_matches("W/") == strong);
    if known {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(([(ETAG, tag), (CONTENT_TYPE, "application/json".to_owned())], body).into_response())
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "It lives")))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests should be sent here: what is searched, or 503 where there is nothing, or the server is stopping.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, description = "It is ready"), (status = 503, description = "Send requests elsewhere")))]
pub(crate) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let status: Option<Status> = shared.engine.status();
    match status.filter(|_| !shared.leaving.load(std::sync::atomic::Ordering::Relaxed)) {
        Some(status) => Json(status).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Counts and times, as Prometheus reads them.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, description = "OpenMetrics text")))]
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(CONTENT_TYPE, kind)], shared.metrics.text()).into_response()
}

pub(crate) fn deadline(request: &Request) -> Instant {
    // `guard` put it there.
    request.extensions().get::<Deadline>().map_or_else(Instant::now, |deadline| deadline.0)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

pub(crate) async fn body(body: Body, most: usize, deadline: Instant) -> Result<axum::body::Bytes, Refusal> {
    let read = tokio::time::timeout_at(deadline.into(), to_bytes(body, most)).await;
    // What else goes wrong with a body is that its sender left; then nobody reads this.
    read.map_err(|_| Refusal::SlowBody)?.map_err(|_| Refusal::TooLarge(most))
}
