//! A search engine that is slow, dead, overloaded or lying, played by a scripted HTTP server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::{DIM, JSON, MODEL, Running, agent, get, post, request};
use magpie_core::remote::Problem;
use magpie_core::search::SearchParams;
use magpie_server::SearchBackend;
use serde_json::{Value, json};

/// How the script responds to a search.
#[derive(Clone)]
enum Act {
    /// A complete response with this status and body.
    Respond(u16, String),
    /// A body that never ends.
    Flood,
    Hang,
    Reset,
    /// A body that is shorter than its content length.
    Truncate,
}

struct ScriptedEngine {
    url: String,
    act: Arc<Mutex<Act>>,
    searches: Arc<AtomicUsize>,
    /// The headers of the search requests, in lower case.
    heads: Arc<Mutex<Vec<String>>>,
}

/// The description of an index that contains `hit`.
fn described() -> String {
    let meta = json!({
        "format": 1, "catalog": "Ann's shop", "model_id": MODEL.to_string(), "dim": DIM, "sequence": 1,
        "rotation": "0000000000000000", "listings": 1, "photos": 1, "fields": ["title"],
        "columns": [{ "name": "title", "kind": "word" }], "loaded": 1,
    });
    let settings = json!({ "index": { "number_of_shards": "1" } });
    json!({ "magpie-1-s1-00000000": { "mappings": { "_meta": meta }, "settings": settings } }).to_string()
}

fn reply(hits: &[Value]) -> Value {
    json!({ "timed_out": false, "_shards": { "failed": 0 }, "hits": { "hits": hits } })
}

fn hit(id: &str, score: f32) -> Value {
    let inner = json!({ "photos": { "hits": { "hits": [{ "_nested": { "offset": 0 } }] } } });
    json!({ "_score": score, "_source": { "id": id, "names": ["a.jpg"], "values": ["A"] }, "inner_hits": inner })
}

impl ScriptedEngine {
    fn start() -> ScriptedEngine {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let act = Arc::new(Mutex::new(Act::Respond(200, reply(&[hit("a", 0.9)]).to_string())));
        let searches = Arc::new(AtomicUsize::new(0));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let script =
            ScriptedEngine { url, act: Arc::clone(&act), searches: Arc::clone(&searches), heads: Arc::clone(&heads) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (act, searches, heads) = (Arc::clone(&act), Arc::clone(&searches), Arc::clone(&heads));
                std::thread::spawn(move || serve(stream.unwrap(), &act, &searches, &heads));
            }
        });
        script
    }

    fn will(&self, act: Act) {
        *self.act.lock().unwrap() = act;
        self.searches.store(0, Ordering::Relaxed);
    }
}

/// Serves one request, then closes the connection.
fn serve(mut stream: TcpStream, act: &Mutex<Act>, searches: &AtomicUsize, heads: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first).is_err() {
        return;
    }
    let (mut line, mut head) = (String::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&lower);
        line.clear();
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let mut respond = |status: u16, length: usize, text: &str| {
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}"
        );
        let _ = stream.write_all(format!("{head}\r\n\r\n{text}").as_bytes());
    };
    if !first.contains("/_search") {
        return respond(200, described().len(), &described());
    }
    searches.fetch_add(1, Ordering::Relaxed);
    heads.lock().unwrap().push(head);
    let act = act.lock().unwrap().clone();
    match act {
        Act::Respond(status, text) => respond(status, text.len(), &text),
        Act::Truncate => respond(200, 1000, r#"{"timed_out":false,"#),
        Act::Reset => {}
        Act::Hang => std::thread::sleep(Duration::from_secs(20)),
        Act::Flood => {
            respond(200, usize::MAX >> 1, "{");
            while stream.write_all(&[b' '; 65_536]).is_ok() {}
        }
    }
}

#[test]
fn whatever_the_engine_does_the_client_gets_a_problem() {
    let engine = ScriptedEngine::start();
    let server = Running::on_cluster(vec![engine.url.clone()], "magpie", |s| s.engine_searches = 4);
    let agent = agent();
    let params = SearchParams::default();
    let ask = |deadline: &str| {
        let headers = [JSON, ("magpie-deadline-ms", deadline)];
        post(&agent, &server.url("/v1/search"), &headers, &request(1, None, &params)).unwrap()
    };
    let good = ask("5000");
    assert_eq!((good.status, good.body.contains(r#""score":0.79"#)), (200, true), "{}", good.body);
    let respond = |value: Value| Act::Respond(200, value.to_string());
    let changed = |path: &str, value: Value| {
        let mut whole = reply(&[hit("a", 0.9)]);
        *whole.pointer_mut(path).unwrap() = value;
        respond(whole)
    };
    let twelve: Vec<Value> = (0..12).map(|at| hit(&at.to_string(), 0.5)).collect();
    for (what, act, status) in [
        ("garbage", Act::Respond(200, "not JSON".to_owned()), 502),
        ("an empty body", Act::Respond(200, String::new()), 502),
        ("deeply nested", Act::Respond(200, "[".repeat(100_000)), 502),
        ("a truncated body", Act::Truncate, 502),
        ("a reset", Act::Reset, 502),
        ("an endless body", Act::Flood, 502),
        ("a failed shard", changed("/_shards/failed", 1.into()), 502),
        ("more listings than requested", respond(reply(&twelve)), 502),
        ("a duplicate listing", respond(reply(&[hit("a", 0.9), hit("a", 0.8)])), 502),
        ("a score out of range", respond(reply(&[hit("a", 1.7)])), 502),
        ("a missing score", changed("/hits/hits/0/_score", Value::Null), 502),
        (
            "a photo that does not exist",
            changed("/hits/hits/0/inner_hits/photos/hits/hits/0/_nested/offset", 1.into()),
            502,
        ),
        ("a missing value", changed("/hits/hits/0/_source/values", json!([])), 502),
        ("a missing photo", changed("/hits/hits/0/inner_hits/photos/hits/hits", json!([])), 502),
        ("a timeout in the engine", changed("/timed_out", true.into()), 504),
        ("an invalid query", Act::Respond(400, r#"{"error":"x"}"#.to_owned()), 502),
        ("a missing index", Act::Respond(404, "{}".to_owned()), 502),
        ("an overloaded engine", Act::Respond(429, "{}".to_owned()), 503),
        ("a broken engine", Act::Respond(500, "{}".to_owned()), 502),
        ("a starting engine", Act::Respond(503, "{}".to_owned()), 502),
    ] {
        engine.will(act);
        let got = ask("5000");
        assert_eq!((got.status, got.kind.as_str()), (status, "application/problem+json"), "{what}: {}", got.body);
        let problem: Problem = serde_json::from_str(&got.body).unwrap();
        // The engine's error goes to the log, not to the client.
        assert_eq!((problem.status, problem.detail), (status, None), "{what}");
        assert_eq!(got.retry_after.is_some(), status == 503, "{what}");
        let searches = engine.searches.load(Ordering::Relaxed);
        assert!((1..=4).contains(&searches), "{what}: {searches} searches");
    }
    engine.will(Act::Hang);
    let begun = Instant::now();
    let got = ask("300");
    assert_eq!(got.status, 504, "{}", got.body);
    // Well below the 20 s that the engine takes. The bound is loose, so that slow machines pass.
    assert!(begun.elapsed() < Duration::from_secs(10));
    // The failures have no lasting effect.
    engine.will(Act::Respond(200, reply(&[hit("a", 0.9)]).to_string()));
    assert_eq!(ask("5000").status, 200);
    let metrics = get(&server.url("/metrics")).body;
    assert!(metrics.contains("magpie_engine_retries_total"), "{metrics}");
}

#[test]
fn one_working_node_is_enough() {
    let (hangs, resets, dead, works) =
        (ScriptedEngine::start(), ScriptedEngine::start(), TcpListener::bind("127.0.0.1:0"), ScriptedEngine::start());
    // The listener is closed: connections to it are refused.
    let dead = format!("http://{}", dead.unwrap().local_addr().unwrap());
    hangs.will(Act::Hang);
    resets.will(Act::Reset);
    let nodes = vec![hangs.url.clone(), resets.url.clone(), dead, works.url.clone()];
    let server = Running::on_cluster(nodes, "magpie", |_| ());
    let agent = agent();
    for seed in 0..12 {
        let headers = [JSON, ("magpie-deadline-ms", "8000")];
        let body = request(seed, None, &SearchParams::default());
        let got = post(&agent, &server.url("/v1/search"), &headers, &body).unwrap();
        assert_eq!(got.status, 200, "{}", got.body);
    }
    assert_eq!(works.searches.load(Ordering::Relaxed), 12);
}

#[test]
fn requests_to_the_engine_carry_the_trace() {
    let (breaks, works) = (ScriptedEngine::start(), ScriptedEngine::start());
    breaks.will(Act::Respond(500, "{}".to_owned()));
    let server = Running::on_cluster(vec![breaks.url.clone(), works.url.clone()], "magpie", |_| ());
    let (trace, client) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let parent = format!("00-{trace}-{client}-01");
    let headers = [JSON, ("traceparent", parent.as_str()), ("tracestate", "shop=7")];
    // One of the first two requests goes to the broken node first, and is retried.
    for seed in 0..2 {
        let body = request(seed, None, &SearchParams::default());
        assert_eq!(post(&agent(), &server.url("/v1/search"), &headers, &body).unwrap().status, 200);
    }
    let heads = [breaks, works].map(|script| script.heads.lock().unwrap().clone());
    assert!(heads.iter().all(|heads| !heads.is_empty()), "{heads:?}");
    let mut spans = vec![client.to_owned()];
    for head in heads.iter().flatten() {
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert_eq!((value("x-opaque-id:"), value("tracestate:")), (Some(trace), Some("shop=7")), "{head}");
        let span = value("traceparent:").and_then(|text| text.strip_prefix(&format!("00-{trace}-")));
        let span = span.and_then(|text| text.strip_suffix("-01")).unwrap().to_owned();
        // Each attempt has its own span.
        assert!(span.len() == 16 && !spans.contains(&span), "{span}");
        spans.push(span);
    }
    assert!(spans.len() > 3, "{spans:?}");
}

#[test]
fn a_foreign_index_is_not_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let replies =
        ["{}", "[]", r#"{"a":{"mappings":{},"settings":{"index":{"number_of_shards":"1"}}}}"#].map(str::to_owned);
    let twice = described().replacen('{', r#"{"other":{},"#, 1);
    let newer = described().replace(r#""format":1"#, r#""format":2"#);
    let path = described().replace("magpie-1-s1-00000000", "../_all");
    let replies: Vec<String> = replies.into_iter().chain([twice, newer, path]).collect();
    let count = replies.len();
    std::thread::spawn(move || {
        for (stream, text) in listener.incoming().zip(replies) {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", text.len());
            let _ = stream.write_all(format!("{head}{text}").as_bytes());
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..count {
            let cluster = magpie_server::Cluster::new(std::slice::from_ref(&url)).unwrap();
            let opened = magpie_server::OpenSearch::open(cluster, "magpie".to_owned(), 4, Duration::from_secs(1)).await;
            assert!(opened.is_err());
        }
        for address in ["", "127.0.0.1:9200", "https://example.com", "http://user:word@host:9200", "http://host/path"] {
            assert!(magpie_server::Cluster::new(&[address.to_owned()]).is_err(), "{address}");
        }
    });
}

#[test]
fn checking_for_a_newer_index_during_shutdown_does_not_panic() {
    let engine = ScriptedEngine::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cluster = magpie_server::Cluster::new(std::slice::from_ref(&engine.url)).unwrap();
    let open = magpie_server::OpenSearch::open(cluster, "magpie".to_owned(), 4, Duration::from_secs(1));
    let opened = runtime.block_on(open).unwrap();
    assert!(!opened.is_outdated());
    assert_eq!(opened.reload().unwrap().listings, 1);
    drop(runtime);
    assert!(!opened.is_outdated());
    assert_eq!(opened.reload().unwrap_err(), "the server is shutting down");
}
