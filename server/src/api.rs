//! The routes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::extract::rejection::PathRejection;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use magpie_core::ModelId;
use magpie_core::remote::{DEADLINE_HEADER, Fields, ModelProblem, Problem, SearchReply, SearchRequest, WireListing};
use magpie_core::shard::ColumnKind;
use serde::Serialize;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::backend::{RequestBudget, SearchAnswer, Status};
use crate::downloads::{self, is_known};
use crate::encode::compression;
use crate::guard::{Denied, Scope};
use crate::problem::{Refusal, Shed};
use crate::serve::{Peer, reload_catalog};
use crate::state::{ApiResult, ServerState, body, budget, deadline};
use crate::trace::{TRACERESPONSE, Trace};

/// Longest deadline that a client can ask for; longer ones are cut to this.
const LONGEST_DEADLINE: Duration = Duration::from_secs(10);
/// Why an answer has fewer listings than requested although others may meet the conditions.
const GAVE_UP: &str = "too few of the photos near the query meet the conditions; others were not looked at";

/// One listing.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ListingReply {
    /// The catalogue's id of the listing.
    id: String,
    /// The names of its photos.
    photos: Vec<String>,
    /// Its fields in the catalogue's order, e.g. `title`, `price`.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    fields: Fields,
}

/// A description of a catalogue.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CatalogReply {
    /// Its name.
    catalog: String,
    /// Its sequence number, which grows from build to build.
    sequence: u64,
    /// The model that made its embeddings: 64 hexadecimal digits.
    #[schema(value_type = String)]
    model_id: ModelId,
    /// The dimension of its embeddings.
    dim: u32,
    /// The number of listings.
    listings: u64,
    /// The number of photos.
    photos: u64,
    /// The columns that filters can use, each `word` or `number`.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    columns: Fields,
}

impl From<Status> for CatalogReply {
    fn from(status: Status) -> Self {
        let Status { catalog, model_id, dim, listings, photos, sequence, shards: _, columns } = status;
        let kind = |kind| if kind == ColumnKind::Number { "number" } else { "word" };
        let columns = columns.into_iter().map(|column| (column.name.into(), kind(column.kind).to_owned())).collect();
        CatalogReply { catalog, sequence, model_id, dim, listings, photos, columns: Fields(columns) }
    }
}

/// The readiness of a server.
#[derive(Debug, Serialize)]
struct ReadyReply {
    #[serde(flatten)]
    status: Status,
    /// Whether the newest catalogue cannot be used, and an older one is served: the log says why.
    reload_failed: bool,
}

/// The routes of the demo page, none if it is disabled.
#[derive(Default)]
pub(crate) struct PageRoutes {
    /// Routes that do work, with the same limits as the API.
    pub(crate) limited: Router<Arc<ServerState>>,
    /// Static files, for everyone.
    pub(crate) files: Router<Arc<ServerState>>,
}

/// All routes. Only those below `/v1` and the page's requests are limited and need tokens: health checks and metrics
/// must get through under load.
pub(crate) fn routes(shared: Arc<ServerState>, page: PageRoutes) -> Router {
    let limited = Router::new()
        .route("/v1/search", post(search))
        .route("/v1/listings/{id}", get(listing))
        .route("/v1/catalogs/{catalog}", get(catalog))
        .merge(page.limited)
        .route_layer(from_fn_with_state(Arc::clone(&shared), guard));
    let admin = Router::new()
        .route("/v1/reload", post(reload))
        .route_layer(from_fn_with_state(Arc::clone(&shared), admin_guard));
    finished(operation().merge(limited).merge(admin).merge(downloads::routes()).merge(page.files), shared)
}

/// The routes of monitoring alone, for a listener that clients cannot reach.
pub(crate) fn admin_routes(shared: Arc<ServerState>) -> Router {
    finished(operation(), shared)
}

fn operation() -> Router<Arc<ServerState>> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).route("/metrics", get(metrics))
}

fn finished(routes: Router<Arc<ServerState>>, shared: Arc<ServerState>) -> Router {
    routes
        .fallback(|| async { Refusal::NotFound })
        .method_not_allowed_fallback(|| async { Refusal::WrongMethod })
        .layer(CatchPanicLayer::custom(|_| Refusal::Internal.into_response()))
        .layer(compression())
        .layer(from_fn_with_state(Arc::clone(&shared), observe))
        .with_state(shared)
}

/// The name of the token's holder, added to the response for the log.
#[derive(Debug, Clone)]
struct CallerName(String);

/// Middleware: limits concurrency, checks the token and its rate limit, and sets the deadline.
async fn guard(State(shared): State<Arc<ServerState>>, request: Request, next: Next) -> ApiResult {
    admit(&shared, Scope::Search, request, next).await
}

/// Middleware: the same for what only administrators may do.
async fn admin_guard(State(shared): State<Arc<ServerState>>, request: Request, next: Next) -> ApiResult {
    admit(&shared, Scope::Admin, request, next).await
}

async fn admit(shared: &ServerState, scope: Scope, mut request: Request, next: Next) -> ApiResult {
    let now = Instant::now();
    // The cheapest check first: under overload most requests get no further.
    let Ok(_place) = shared.places.try_acquire() else {
        return Err(Refusal::Overloaded("places"));
    };
    let caller = match shared.tokens.admit(request.headers(), scope, now) {
        Ok(caller) => caller,
        Err(Denied { refusal, name }) => {
            let mut response = refusal.into_response();
            if let Some(name) = name {
                shared.metrics.token(&name, false);
                response.extensions_mut().insert(CallerName(name));
            }
            return Ok(response);
        }
    };
    let (name, meter) = caller.map(|caller| (caller.name, caller.meter)).unzip();
    if let Some(name) = &name {
        shared.metrics.token(name, true);
    }
    let time = match request.headers().get(DEADLINE_HEADER) {
        None => shared.settings.default_deadline,
        Some(value) => {
            let ms = value.to_str().ok().and_then(|text| text.trim().parse::<u32>().ok());
            let fault = || Refusal::BadRequest(format!("{DEADLINE_HEADER} must be a number of milliseconds"));
            Duration::from_millis(ms.ok_or_else(fault)?.into())
        }
    };
    request.extensions_mut().insert(RequestBudget::metered(now + time.min(LONGEST_DEADLINE), meter));
    let mut response = next.run(request).await;
    if let Some(name) = name {
        response.extensions_mut().insert(CallerName(name));
    }
    Ok(response)
}

/// Counts a request as in flight until it is dropped. If the client leaves before the response, axum drops the request
/// where it stands, and no other code runs for it.
struct InFlight<'a> {
    shared: &'a ServerState,
    route: &'a str,
    begun: Instant,
    span: &'a tracing::Span,
    answered: bool,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.shared.metrics.in_flight.dec();
        if !self.answered {
            let time = self.begun.elapsed();
            self.shared.metrics.request(self.route, CLIENT_LEFT, time);
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            self.span.in_scope(|| tracing::info!(route = self.route, status = CLIENT_LEFT, micros, "request"));
        }
    }
}

/// The status of a request whose client left before the response, in metrics and log. It is never sent.
const CLIENT_LEFT: u16 = 499;

/// Middleware: counts, logs and traces each request. Logs its route, never its contents.
async fn observe(State(shared): State<Arc<ServerState>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    // The route's pattern, not the path: listing ids would make a time series for each listing.
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or("other", MatchedPath::as_str);
    let trace = Trace::of(request.headers());
    // Log lines of this request carry the ids. An error-level span is enabled at every log level.
    let span = tracing::error_span!("request", trace_id = trace.trace_id(), span_id = trace.span_id());
    let traced = trace.header();
    let older = request.version() <= Version::HTTP_11;
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let mut in_flight = InFlight { shared: &shared, route, begun, span: &span, answered: false };
    shared.metrics.in_flight.inc();
    let mut response = trace.scope(next.run(request).instrument(span.clone())).await;
    in_flight.answered = true;
    drop(in_flight);
    response.headers_mut().insert(TRACERESPONSE, traced);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !response.headers().contains_key(CACHE_CONTROL) {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if older && shared.leaving.load(Ordering::Relaxed) {
        // Otherwise the client would send its next request on a connection that is about to be closed.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let (time, status) = (begun.elapsed(), response.status().as_u16());
    shared.metrics.request(route, status, time);
    if let Some(Shed(why)) = response.extensions().get() {
        shared.metrics.shed(why);
    }
    let caller = response.extensions().get::<CallerName>().map(|caller| caller.0.as_str());
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    // Who guesses tokens, or sends too much. Addresses of others are not logged.
    let client = peer.filter(|_| matches!(status, 401 | 403 | 429)).map(|peer| peer.to_string());
    span.in_scope(|| tracing::info!(route, status, micros, caller, client, "request"));
    response
}

/// Finds the listings most similar to an embedding.
#[utoipa::path(post, path = "/v1/search", tag = "search",
    request_body = SearchRequest,
    params(("magpie-deadline-ms" = Option<u32>, Header, description = "How long the client still waits, in milliseconds")),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The best listings", body = SearchReply),
        (status = 400, description = "The request is invalid", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "A valid token is required", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The catalogue was built with another model", body = ModelProblem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The token's rate limit is exceeded; see retry-after", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The search engine did not answer", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The server is overloaded; see retry-after", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "The deadline has passed", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn search(State(shared): State<Arc<ServerState>>, request: Request) -> ApiResult {
    let budget = budget(&request);
    if !is_json(request.headers()) {
        return Err(Refusal::WrongType);
    }
    let body = body(request.into_body(), shared.settings.max_body, budget.deadline).await?;
    // An array of the fields' values would be taken as well.
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Refusal::BadRequest("the body must be a JSON object".to_owned()));
    }
    let request: SearchRequest = serde_json::from_slice(&body).map_err(|e| Refusal::BadRequest(e.to_string()))?;
    if request.k > shared.settings.max_k {
        return Err(Refusal::BadRequest(format!(
            "k is {}, this server allows at most {}",
            request.k, shared.settings.max_k
        )));
    }
    let query = request.parse().map_err(|e| Refusal::BadRequest(e.to_string()))?;
    let status = shared.backend.status().ok_or(Refusal::Overloaded("no catalogue"))?;
    if request.model_id != status.model_id {
        return Err(Refusal::WrongModel(status.model_id));
    }
    if query.embedding.dim() != status.dim as usize {
        let detail =
            format!("the embedding has {} coordinates, expected the model's {}", query.embedding.dim(), status.dim);
        return Err(Refusal::BadRequest(detail));
    }
    let begun = Instant::now();
    let SearchAnswer { listings, complete } = shared.backend.search(query, budget).await?;
    let took = begun.elapsed();
    shared.metrics.searched(took);
    let took = format!("search;dur={:.3}", took.as_secs_f64() * 1e3);
    let listings = listings.into_iter().map(WireListing::from).collect();
    let mut reply = SearchReply::new(status.model_id, status.catalog, listings);
    reply.complete = complete;
    reply.why = (!complete).then(|| GAVE_UP.to_owned());
    Ok(([("server-timing", took)], Json(reply)).into_response())
}

/// Returns a listing by its id.
#[utoipa::path(get, path = "/v1/listings/{id}", tag = "search",
    params(("id" = String, Path, description = "The catalogue's id of the listing")),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The listing", body = ListingReply),
        (status = 401, description = "A valid token is required", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The listing does not exist", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The token's rate limit is exceeded; see retry-after", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The search engine did not answer", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The server is overloaded; see retry-after", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn listing(
    State(shared): State<Arc<ServerState>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> ApiResult {
    let Path(id) = id.map_err(|e| Refusal::BadRequest(e.body_text()))?;
    let listing = shared.backend.listing(id, deadline(&request)).await?.ok_or(Refusal::NotFound)?;
    Ok(Json(ListingReply { id: listing.id, photos: listing.photos, fields: Fields(listing.fields) }).into_response())
}

/// Describes the catalogue. The etag changes with the catalogue, so a client can ask whether there is a new one.
#[utoipa::path(get, path = "/v1/catalogs/{catalog}", tag = "catalogs",
    params(
        ("catalog" = String, Path, description = "The catalogue's name"),
        ("if-none-match" = Option<String>, Header, description = "The etag that the client has"),
    ),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The catalogue, with an etag", body = CatalogReply),
        (status = 304, description = "The catalogue has not changed"),
        (status = 401, description = "A valid token is required", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The catalogue does not exist", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The token's rate limit is exceeded; see retry-after", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The server is overloaded; see retry-after", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn catalog(
    State(shared): State<Arc<ServerState>>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> ApiResult {
    let Path(name) = name.map_err(|e| Refusal::BadRequest(e.body_text()))?;
    let status = shared.backend.status().filter(|status| status.catalog == name).ok_or(Refusal::NotFound)?;
    let body = serde_json::to_vec(&CatalogReply::from(status)).map_err(|_| Refusal::Internal)?;
    // Weak: the same description may be sent compressed or not.
    let tag = format!("W/\"{}\"", &blake3::hash(&body).to_hex()[..16]);
    if is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(([(ETAG, tag), (CONTENT_TYPE, "application/json".to_owned())], body).into_response())
}

/// Loads the newest catalogue and the tokens, as SIGHUP does, and waits for it.
#[utoipa::path(post, path = "/v1/reload", tag = "operation",
    security(("token" = [])),
    responses(
        (status = 200, description = "The catalogue that is served now", body = CatalogReply),
        (status = 401, description = "A valid token is required", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token has not the scope `admin`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The new catalogue is not used; the old one stays", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The token's rate limit is exceeded; see retry-after", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The server is overloaded; see retry-after", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn reload(State(shared): State<Arc<ServerState>>) -> ApiResult {
    // A task of its own: a client that leaves must not end it half way.
    let reloaded = tokio::spawn(async move { reload_catalog(&shared).await }).await.map_err(|_| Refusal::Internal)?;
    Ok(Json(CatalogReply::from(reloaded.map_err(Refusal::NotReloaded)?)).into_response())
}

/// Liveness check.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "The process is alive")))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Readiness check: describes the catalogue; 503 if there is not any, or the server is shutting down.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, description = "The server is ready"), (status = 503, description = "Send requests elsewhere")))]
pub(crate) async fn readyz(State(shared): State<Arc<ServerState>>) -> Response {
    let status: Option<Status> = shared.backend.status();
    match status.filter(|_| !shared.leaving.load(Ordering::Relaxed)) {
        Some(status) => {
            let reload_failed = shared.reload_failed.load(Ordering::Relaxed);
            Json(ReadyReply { status, reload_failed }).into_response()
        }
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, description = "OpenMetrics text")))]
pub(crate) async fn metrics(State(shared): State<Arc<ServerState>>) -> Response {
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(CONTENT_TYPE, kind)], shared.metrics.text(shared.backend.queue())).into_response()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
