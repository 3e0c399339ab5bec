//! Metrics for Prometheus.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::backend::{SearchBackend, Status};

/// Upper bounds of the latency histogram's buckets, in seconds.
const TIMES: [f64; 14] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    token: String,
    result: &'static str,
}

/// Why requests are shed: the counters exist before the first.
const SHED: [&str; 5] = ["places", "queue", "no catalogue", "photos", "downloads"];

/// The metrics of one server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabel, Histogram, fn() -> Histogram>,
    shed: Family<ReasonLabel, Counter>,
    reloads: Family<ResultLabel, Counter>,
    tokens: Family<TokenLabels, Counter>,
    search_seconds: Histogram,
    release_bytes: Counter,
    /// Requests in flight.
    pub(crate) in_flight: Gauge,
    /// Open connections.
    pub(crate) connections: Gauge,
    /// Most open connections.
    pub(crate) connections_limit: Gauge,
    listings: Gauge<u64, AtomicU64>,
    sequence: Gauge<u64, AtomicU64>,
    /// When the catalogue was loaded, in Unix seconds.
    loaded: Gauge<f64, AtomicU64>,
    /// 1 while the newest catalogue cannot be used.
    reload_failed: Gauge,
    /// Searches that wait, and the estimated wait; set when the metrics are read.
    queue_length: Gauge<u64, AtomicU64>,
    queue_wait: Gauge<f64, AtomicU64>,
    /// Log lines that were dropped; set when the metrics are read.
    log_dropped: Gauge<u64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new(backend: &dyn SearchBackend) -> Metrics {
        let mut registry = Registry::with_prefix("magpie");
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("requests", "Requests by route and status", requests.clone());
        let seconds: Family<RouteLabel, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(TIMES));
        registry.register("request_seconds", "Time from a request's head to its response", seconds.clone());
        let shed = Family::<ReasonLabel, Counter>::default();
        registry.register("shed", "Requests rejected because of overload", shed.clone());
        let reloads = Family::<ResultLabel, Counter>::default();
        registry.register("reloads", "Reloads of the catalogue, done or failed", reloads.clone());
        SHED.iter().for_each(|why| drop(shed.get_or_create(&ReasonLabel { why })));
        ["done", "failed"].iter().for_each(|result| drop(reloads.get_or_create(&ResultLabel { result })));
        let tokens = Family::<TokenLabels, Counter>::default();
        registry.register("token_requests", "Requests with a valid token, by its name", tokens.clone());
        let search_seconds = Histogram::new(TIMES);
        registry.register("search_seconds", "Time of a search, its wait included", search_seconds.clone());
        let release_bytes = Counter::default();
        registry.register("release_bytes", "Bytes of a release's files that were sent", release_bytes.clone());
        let (loaded, reload_failed) = (Gauge::default(), Gauge::default());
        registry.register("catalog_loaded_seconds", "Unix time of the last good load", loaded.clone());
        let help = "1 while the newest catalogue cannot be used, and an older one is served";
        registry.register("reload_failed", help, reload_failed.clone());
        let (queue_length, queue_wait) = (Gauge::default(), Gauge::default());
        registry.register("queue_length", "Searches that wait for a thread", queue_length.clone());
        registry.register("queue_wait_seconds", "Estimated wait of a search that comes now", queue_wait.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program", build);
        let (in_flight, connections) = (Gauge::default(), Gauge::default());
        registry.register("in_flight", "Requests in flight", in_flight.clone());
        registry.register("connections", "Open connections", connections.clone());
        let connections_limit = Gauge::default();
        registry.register("connections_limit", "Most open connections", connections_limit.clone());
        let (listings, sequence) = (Gauge::default(), Gauge::default());
        registry.register("catalog_listings", "Listings in the catalogue", listings.clone());
        registry.register("catalog_sequence", "Sequence number of the catalogue", sequence.clone());
        let log_dropped = Gauge::default();
        registry.register("log_lines_dropped", "Log lines that nobody could read in time", log_dropped.clone());
        backend.register(&mut registry);
        Metrics {
            registry,
            requests,
            seconds,
            shed,
            reloads,
            tokens,
            search_seconds,
            release_bytes,
            in_flight,
            connections,
            connections_limit,
            listings,
            sequence,
            loaded,
            reload_failed,
            queue_length,
            queue_wait,
            log_dropped,
        }
    }

    pub(crate) fn request(&self, route: &str, status: u16, time: Duration) {
        let route = route.to_owned();
        self.seconds.get_or_create(&RouteLabel { route: route.clone() }).observe(time.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
    }

    pub(crate) fn shed(&self, why: &'static str) {
        self.shed.get_or_create(&ReasonLabel { why }).inc();
    }

    /// Counts a request with a valid token. The names are those of the token file, so there are few.
    pub(crate) fn token(&self, name: &str, admitted: bool) {
        let result = if admitted { "admitted" } else { "refused" };
        self.tokens.get_or_create(&TokenLabels { token: name.to_owned(), result }).inc();
    }

    pub(crate) fn searched(&self, time: Duration) {
        self.search_seconds.observe(time.as_secs_f64());
    }

    pub(crate) fn downloaded(&self, bytes: u64) {
        self.release_bytes.inc_by(bytes);
    }

    pub(crate) fn reload(&self, done: bool) {
        self.reload_failed.set(i64::from(!done));
        self.reloads.get_or_create(&ResultLabel { result: if done { "done" } else { "failed" } }).inc();
    }

    pub(crate) fn catalog(&self, status: &Status) {
        self.listings.set(status.listings);
        // Reading the same publication again, or new tokens, makes it no newer.
        let before = self.sequence.set(status.sequence);
        if before == status.sequence && self.loaded.get() > 0.0 {
            return;
        }
        self.loaded.set(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()));
    }

    /// Renders all metrics as OpenMetrics text.
    pub(crate) fn text(&self, (waiting, wait): (usize, Duration)) -> String {
        self.queue_length.set(waiting as u64);
        self.queue_wait.set(wait.as_secs_f64());
        self.log_dropped.set(crate::log::dropped());
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
