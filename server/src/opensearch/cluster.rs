//! Requests to the nodes of a cluster, with deadlines. If a node fails, the request is retried at another one.
//!
//! All requests are idempotent, so they can be retried: searches change nothing, and documents have fixed ids.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, Uri};
use http_body_util::LengthLimitError;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{sleep, timeout};

use crate::trace::propagate;

/// Timeout to connect: nodes are expected to be in the same network.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a node that failed is tried after the others.
const REST: Duration = Duration::from_secs(5);
/// Initial pause after all nodes failed; doubles with each round.
const PAUSE: Duration = Duration::from_millis(20);
/// How often a request is tried at all nodes.
const ROUNDS: usize = 3;
/// Longest response in bytes, unless the call sets its own limit.
const MOST: usize = 4 << 20;
/// Longest part of an error response to report, in bytes.
const LONGEST_DETAIL: usize = 300;

/// A client of the nodes of a cluster; requests are distributed round-robin.
pub struct Cluster {
    client: Client<HttpConnector, Body>,
    nodes: Vec<ClusterNode>,
    next: AtomicUsize,
    retries: Counter,
    started: Instant,
}

struct ClusterNode {
    /// `host:port`.
    authority: String,
    /// When it failed last, in milliseconds since the client was created; 0 for never.
    failed: AtomicU64,
}

/// A request that any node can answer.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: &'static str,
    path: String,
    kind: &'static str,
    body: Bytes,
    most: usize,
    /// Whether one node may use all the time until the deadline, because the request is expected to take long.
    patient: bool,
}

impl Call {
    pub(super) fn get(path: String) -> Call {
        Call { method: "GET", path, kind: "", body: Bytes::new(), most: MOST, patient: false }
    }

    pub(super) fn json(method: &'static str, path: String, body: String) -> Call {
        Call { method, path, kind: "application/json", body: body.into(), most: MOST, patient: false }
    }

    /// Lines of JSON, for bulk requests.
    pub(super) fn lines(path: String, body: Vec<u8>) -> Call {
        Call { kind: "application/x-ndjson", body: body.into(), ..Call::json("POST", path, String::new()) }.patient()
    }

    /// Limits the response to `most` bytes.
    pub(super) fn most(self, most: usize) -> Call {
        Call { most, ..self }
    }

    pub(super) fn patient(self) -> Call {
        Call { patient: true, ..self }
    }
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum ClusterError {
    /// The deadline passed.
    #[error("OpenSearch did not answer in time")]
    Late,
    /// The index does not exist.
    #[error("the index does not exist")]
    NotFound,
    /// The cluster is overloaded.
    #[error("OpenSearch is overloaded")]
    Busy,
    /// No node answered.
    #[error("no OpenSearch node answered: {0}")]
    Unreachable(String),
    /// A node rejected the request, or sent an invalid response.
    #[error("OpenSearch rejected the request: {0}")]
    Refused(String),
}

impl Cluster {
    /// Creates a client for the nodes of one cluster, e.g. `http://10.0.0.7:9200`.
    ///
    /// # Errors
    /// The address that is not valid.
    pub fn new(nodes: &[String]) -> Result<Cluster, String> {
        let node = |text: &String| {
            let uri: Uri = text.parse().map_err(|e| format!("'{text}' is not a valid address: {e}"))?;
            let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
            match uri.authority().filter(|authority| plain && !authority.as_str().contains('@')) {
                Some(authority) => Ok(ClusterNode { authority: authority.to_string(), failed: AtomicU64::new(0) }),
                None => Err(format!("'{text}' is not the address of a node: expected http://HOST:PORT")),
            }
        };
        let nodes = nodes.iter().map(node).collect::<Result<Vec<_>, String>>()?;
        if nodes.is_empty() {
            return Err("no node of the cluster is given".to_owned());
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let (next, retries) = (AtomicUsize::new(0), Counter::default());
        Ok(Cluster { client, nodes, next, retries, started: Instant::now() })
    }

    /// The number of retries.
    pub(super) fn retries(&self) -> u64 {
        self.retries.get()
    }

    pub(super) fn counter(&self) -> Counter {
        self.retries.clone()
    }

    /// The number of nodes.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Sends a request and returns the body of the 2xx response. If a node fails, tries the next one, until the
    /// deadline.
    pub(super) async fn call(&self, call: &Call, deadline: Instant) -> Result<Bytes, ClusterError> {
        let (mut last, mut tries) = (ClusterError::Late, 0);
        let mut pause = PAUSE;
        // An error that every node repeats must not be retried until the deadline.
        let rounds = if call.patient { usize::MAX } else { ROUNDS };
        for _ in 0..rounds {
            for node in self.order() {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    // A node's error says more than the deadline. If all nodes hung, this is the timeout anyway.
                    return Err(last);
                }
                if tries > 0 {
                    self.retries.inc();
                }
                tries += 1;
                // A node that hangs must leave time for another one.
                let share = if call.patient || self.nodes.len() == 1 { left } else { left / 2 };
                match timeout(share, self.attempt(node, call)).await {
                    Ok(Ok(reply)) => {
                        node.failed.store(0, Ordering::Relaxed);
                        return Ok(reply);
                    }
                    Ok(Err(fault @ ClusterError::Unreachable(_))) => (last, _) = (fault, self.rest(node)),
                    Ok(Err(fault)) => return Err(fault),
                    Err(_) => (last, _) = (ClusterError::Late, self.rest(node)),
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        Err(last)
    }

    fn rest(&self, node: &ClusterNode) {
        node.failed.store((self.started.elapsed().as_millis() as u64).max(1), Ordering::Relaxed);
    }

    /// The nodes in round-robin order, with those that failed recently at the end.
    fn order(&self) -> Vec<&ClusterNode> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len();
        let (back, front) = self.nodes.split_at(first);
        let mut order: Vec<&ClusterNode> = front.iter().chain(back).collect();
        let now = self.started.elapsed().as_millis() as u64;
        let rests = |node: &ClusterNode| match node.failed.load(Ordering::Relaxed) {
            0 => false,
            failed => now.saturating_sub(failed) < REST.as_millis() as u64,
        };
        order.sort_by_key(|node| rests(node));
        order
    }

    async fn attempt(&self, node: &ClusterNode, call: &Call) -> Result<Bytes, ClusterError> {
        let mut request = Request::builder().method(call.method).uri(format!("http://{}{}", node.authority, call.path));
        if !call.kind.is_empty() {
            request = request.header(CONTENT_TYPE, call.kind);
        }
        let mut request =
            request.body(Body::from(call.body.clone())).map_err(|e| ClusterError::Refused(e.to_string()))?;
        propagate(request.headers_mut());
        let unreachable = |e: &dyn std::error::Error| {
            let cause = e.source().map(|source| format!(": {source}")).unwrap_or_default();
            ClusterError::Unreachable(format!("{}: {e}{cause}", node.authority))
        };
        let response = self.client.request(request).await.map_err(|e| unreachable(&e))?;
        let status = response.status().as_u16();
        let body = to_bytes(Body::new(response.into_body()), call.most).await;
        match (status, body) {
            (200..=299, Ok(body)) => Ok(body),
            // Too long: another node would send the same, so this is not retried. A broken connection is.
            (200..=299, Err(error)) if is_too_long(&error) => Err(ClusterError::Refused(format!(
                "{}: the response is longer than {} bytes",
                node.authority, call.most
            ))),
            (200..=299, Err(error)) => Err(unreachable(&error)),
            (404, _) => Err(ClusterError::NotFound),
            (429, _) => Err(ClusterError::Busy),
            (500..=599, body) => Err(ClusterError::Unreachable(self.detail(node, status, &body.unwrap_or_default()))),
            (_, body) => Err(ClusterError::Refused(self.detail(node, status, &body.unwrap_or_default()))),
        }
    }

    /// Describes an error response: node, status and the escaped start of the body.
    fn detail(&self, node: &ClusterNode, status: u16, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body.get(..body.len().min(LONGEST_DETAIL)).unwrap_or_default());
        format!("{}: status {status}: {}", node.authority, text.escape_debug())
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}
