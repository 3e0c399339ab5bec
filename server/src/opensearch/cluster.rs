//! Requests to the nodes of a cluster: each within its deadline, again at another node where one fails.
//!
//! Whatever is asked here may be asked twice: searches change nothing, and documents are written under ids of their own.

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

use crate::trace::pass_on;

/// How long a connection may take: nodes are near.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a node that failed is asked after the others.
const REST: Duration = Duration::from_secs(5);
/// Pause after all nodes failed; doubles each round.
const PAUSE: Duration = Duration::from_millis(20);
/// Times that all nodes are asked for one answer.
const ROUNDS: usize = 3;
/// Bytes of a reply, where a call does not say its own bound.
const MOST: usize = 4 << 20;
/// Longest part of an error that is passed on.
const LONGEST_DETAIL: usize = 300;

/// The nodes of a cluster, asked in turns.
pub struct Cluster {
    client: Client<HttpConnector, Body>,
    nodes: Vec<Node>,
    next: AtomicUsize,
    retries: Counter,
    started: Instant,
}

struct Node {
    /// `host:port`.
    authority: String,
    /// When it failed last, in milliseconds after the start; 0 for never.
    failed: AtomicU64,
}

/// A request to whichever node answers.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: &'static str,
    path: String,
    kind: &'static str,
    body: Bytes,
    most: usize,
    /// Whether a node may take all the time that there is: what it does is long, not stuck.
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

    /// Bounds the reply.
    pub(super) fn most(self, most: usize) -> Call {
        Call { most, ..self }
    }

    pub(super) fn patient(self) -> Call {
        Call { patient: true, ..self }
    }
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    /// The deadline passed.
    #[error("the engine did not answer in time")]
    Late,
    /// There is no such index.
    #[error("there is no such index")]
    NotFound,
    /// The engine has too much to do.
    #[error("the engine has too much to do")]
    Busy,
    /// No node answered.
    #[error("no node of the engine answered: {0}")]
    Unreachable(String),
    /// A node answered that it will not, or something that makes no sense.
    #[error("the engine refused: {0}")]
    Refused(String),
}

impl Cluster {
    /// The nodes of one cluster, e.g. `http://10.0.0.7:9200`.
    ///
    /// # Errors
    /// The address that is none.
    pub fn new(nodes: &[String]) -> Result<Cluster, String> {
        let node = |text: &String| {
            let uri: Uri = text.parse().map_err(|e| format!("'{text}' is no address: {e}"))?;
            let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
            match uri.authority().filter(|authority| plain && !authority.as_str().contains('@')) {
                Some(authority) => Ok(Node { authority: authority.to_string(), failed: AtomicU64::new(0) }),
                None => Err(format!("'{text}' is no address of a node: expected http://HOST:PORT")),
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

    /// Requests that were sent again.
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

    /// The reply with a status of 2xx. A node that fails is followed by the next, until the deadline.
    pub(super) async fn call(&self, call: &Call, deadline: Instant) -> Result<Bytes, Fault> {
        let (mut last, mut tries) = (Fault::Late, 0);
        let mut pause = PAUSE;
        // A mistake that every node makes again must not be made until the deadline.
        let rounds = if call.patient { usize::MAX } else { ROUNDS };
        for _ in 0..rounds {
            for node in self.order() {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    // What a node said is more than that time is over; that all hung is not.
                    return Err(last);
                }
                if tries > 0 {
                    self.retries.inc();
                }
                tries += 1;
                // A node that hangs leaves time for another one.
                let share = if call.patient || self.nodes.len() == 1 { left } else { left / 2 };
                match timeout(share, self.attempt(node, call)).await {
                    Ok(Ok(reply)) => {
                        node.failed.store(0, Ordering::Relaxed);
                        return Ok(reply);
                    }
                    Ok(Err(fault @ Fault::Unreachable(_))) => (last, _) = (fault, self.rest(node)),
                    Ok(Err(fault)) => return Err(fault),
                    Err(_) => (last, _) = (Fault::Late, self.rest(node)),
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        Err(last)
    }

    fn rest(&self, node: &Node) {
        node.failed.store((self.started.elapsed().as_millis() as u64).max(1), Ordering::Relaxed);
    }

    /// The nodes in turns, those that failed a moment ago last.
    fn order(&self) -> Vec<&Node> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len();
        let (back, front) = self.nodes.split_at(first);
        let mut order: Vec<&Node> = front.iter().chain(back).collect();
        let now = self.started.elapsed().as_millis() as u64;
        let rests = |node: &Node| match node.failed.load(Ordering::Relaxed) {
            0 => false,
            failed => now.saturating_sub(failed) < REST.as_millis() as u64,
        };
        order.sort_by_key(|node| rests(node));
        order
    }

    async fn attempt(&self, node: &Node, call: &Call) -> Result<Bytes, Fault> {
        let mut request = Request::builder().method(call.method).uri(format!("http://{}{}", node.authority, call.path));
        if !call.kind.is_empty() {
            request = request.header(CONTENT_TYPE, call.kind);
        }
        let mut request = request.body(Body::from(call.body.clone())).map_err(|e| Fault::Refused(e.to_string()))?;
        pass_on(request.headers_mut());
        let unreachable = |e: &dyn std::error::Error| {
            let cause = e.source().map(|source| format!(": {source}")).unwrap_or_default();
            Fault::Unreachable(format!("{}: {e}{cause}", node.authority))
        };
        let response = self.client.request(request).await.map_err(|e| unreachable(&e))?;
        let status = response.status().as_u16();
        let body = to_bytes(Body::new(response.into_body()), call.most).await;
        match (status, body) {
            (200..=299, Ok(body)) => Ok(body),
            // Too long, or the connection broke: another node would send as much, so only the latter is tried again.
            (200..=299, Err(error)) if is_too_long(&error) => {
                Err(Fault::Refused(format!("{}: a reply of more than {} bytes", node.authority, call.most)))
            }
            (200..=299, Err(error)) => Err(unreachable(&error)),
            (404, _) => Err(Fault::NotFound),
            (429, _) => Err(Fault::Busy),
            (500..=599, body) => Err(Fault::Unreachable(self.said(node, status, &body.unwrap_or_default()))),
            (_, body) => Err(Fault::Refused(self.said(node, status, &body.unwrap_or_default()))),
        }
    }

    /// What a node said, as far as it can be printed.
    fn said(&self, node: &Node, status: u16, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body.get(..body.len().min(LONGEST_DETAIL)).unwrap_or_default());
        format!("{}: status {status}: {}", node.authority, text.escape_debug())
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}
