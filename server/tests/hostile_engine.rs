//! What the server answers where its engine is slow, dead, overloaded or lies. The engine is a script on a socket.
#![allow(missing_docs, clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{DIM, JSON, MODEL, Running, agent, get, post, request};
use magpie_core::remote::Problem;
use magpie_core::search::SearchParams;
use magpie_server::Engine;
use serde_json::{Value, json};

/// What the script does with a search.
#[derive(Clone)]
enum Act {
    Say(u16, String),
    /// So many bytes of a reply that never ends.
    Flood,
    Hang,
    Reset,
    /// Half of what was promised.
    Half,
}

struct Script {
    url: String,
    act: Arc<Mutex<Act>>,
    searches: Arc<AtomicUsize>,
    /// The heads of the requests for a search, in small letters.
    heads: Arc<Mutex<Vec<String>>>,
}

/// What an index says that has what `hit` gives.
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

impl Script {
    fn start() -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let act = Arc::new(Mutex::new(Act::Say(200, reply(&[hit("a", 0.9)]).to_string())));
        let searches = Arc::new(AtomicUsize::new(0));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let script = Script { url, act: Arc::clone(&act), searches: Arc::clone(&searches), heads: Arc::clone(&heads) };
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

/// One request; then the connection is closed.
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
    let mut say = |status: u16, length: usize, text: &str| {
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}"
        );
        let _ = stream.write_all(format!("{head}\r\n\r\n{text}").as_bytes());
    };
    if !first.contains("/_search") {
        return say(200, described().len(), &described());
    }
    searches.fetch_add(1, Ordering::Relaxed);
    heads.lock().unwrap().push(head);
    let act = act.lock().unwrap().clone();
    match act {
        Act::Say(status, text) => say(status, text.len(), &text),
        Act::Half => say(200, 1000, r#"{"timed_out":false,"#),
        Act::Reset => {}
        Act::Hang => std::thread::sleep(Duration::from_secs(20)),
        Act::Flood => {
            say(200, usize::MAX >> 1, "{");
            while stream.write_all(&[b' '; 65_536]).is_ok() {}
        }
    }
}

#[test]
fn whatever_the_engine_does_the_asker_gets_a_reason() {
    let engine = Script::start();
    let server = Running::on_cluster(vec![engine.url.clone()], "magpie", |s| s.engine_searches = 4);
    let agent = agent();
    let params = SearchParams::default();
    let ask = |deadline: &str| {
        let headers = [JSON, ("magpie-deadline-ms", deadline)];
        post(&agent, &server.url("/v1/search"), &headers, &request(1, None, &params)).unwrap()
    };
    let good = ask("5000");
    assert_eq!((good.status, good.body.contains(r#""score":0.79"#)), (200, true), "{}", good.body);
    let say = |value: Value| Act::Say(200, value.to_string());
    let changed = |path: &str, value: Value| {
        let mut whole = reply(&[hit("a", 0.9)]);
        *whole.pointer_mut(path).unwrap() = value;
        say(whole)
    };
    let twelve: Vec<Value> = (0..12).map(|at| hit(&at.to_string(), 0.5)).collect();
    for (what, act, status) in [
        ("garbage", Act::Say(200, "no JSON".to_owned()), 502),
        ("nothing", Act::Say(200, String::new()), 502),
        ("deeply nested", Act::Say(200, "[".repeat(100_000)), 502),
        ("half a reply", Act::Half, 502),
        ("a reset", Act::Reset, 502),
        ("no end", Act::Flood, 502),
        ("a shard failed", changed("/_shards/failed", 1.into()), 502),
        ("more than asked for", say(reply(&twelve)), 502),
        ("a listing twice", say(reply(&[hit("a", 0.9), hit("a", 0.8)])), 502),
        ("a score of no cosine", say(reply(&[hit("a", 1.7)])), 502),
        ("no score", changed("/hits/hits/0/_score", Value::Null), 502),
        (
            "a photo that is not there",
            changed("/hits/hits/0/inner_hits/photos/hits/hits/0/_nested/offset", 1.into()),
            502,
        ),
        ("a value too few", changed("/hits/hits/0/_source/values", json!([])), 502),
        ("no photo", changed("/hits/hits/0/inner_hits/photos/hits/hits", json!([])), 502),
        ("the engine gave up", changed("/timed_out", true.into()), 504),
        ("a mistake of ours", Act::Say(400, r#"{"error":"x"}"#.to_owned()), 502),
        ("no index", Act::Say(404, "{}".to_owned()), 502),
        ("too much to do", Act::Say(429, "{}".to_owned()), 503),
        ("a broken engine", Act::Say(500, "{}".to_owned()), 502),
        ("a starting engine", Act::Say(503, "{}".to_owned()), 502),
    ] {
        engine.will(act);
        let got = ask("5000");
        assert_eq!((got.status, got.kind.as_str()), (status, "application/problem+json"), "{what}: {}", got.body);
        let problem: Problem = serde_json::from_str(&got.body).unwrap();
        // What the engine said is for the log.
        assert_eq!((problem.status, problem.detail), (status, None), "{what}");
        assert_eq!(got.retry_after.is_some(), status == 503, "{what}");
        let searches = engine.searches.load(Ordering::Relaxed);
        assert!((1..=4).contains(&searches), "{what}: {searches} searches");
    }
    engine.will(Act::Hang);
    let begun = Instant::now();
    let got = ask("300");
    assert_eq!(got.status, 504, "{}", got.body);
    // Far from the 20 s that the engine takes; how close it is to the deadline is not for a test.
    assert!(begun.elapsed() < Duration::from_secs(10));
    // And none of that is remembered.
    engine.will(Act::Say(200, reply(&[hit("a", 0.9)]).to_string()));
    assert_eq!(ask("5000").status, 200);
    let metrics = get(&server.url("/metrics")).body;
    assert!(metrics.contains("magpie_engine_retries_total"), "{metrics}");
}

#[test]
fn a_node_that_answers_covers_for_those_that_do_not() {
    let (hangs, resets, dead, works) =
        (Script::start(), Script::start(), TcpListener::bind("127.0.0.1:0"), Script::start());
    // Nobody listens there any longer.
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
fn the_engine_is_told_whose_trace_it_works_for() {
    let (breaks, works) = (Script::start(), Script::start());
    breaks.will(Act::Say(500, "{}".to_owned()));
    let server = Running::on_cluster(vec![breaks.url.clone(), works.url.clone()], "magpie", |_| ());
    let (trace, asker) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let parent = format!("00-{trace}-{asker}-01");
    let headers = [JSON, ("traceparent", parent.as_str()), ("tracestate", "shop=7")];
    // One of the first two requests finds the broken node first, and is sent again.
    for seed in 0..2 {
        let body = request(seed, None, &SearchParams::default());
        assert_eq!(post(&agent(), &server.url("/v1/search"), &headers, &body).unwrap().status, 200);
    }
    let heads = [breaks, works].map(|script| script.heads.lock().unwrap().clone());
    assert!(heads.iter().all(|heads| !heads.is_empty()), "{heads:?}");
    let mut spans = vec![asker.to_owned()];
    for head in heads.iter().flatten() {
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert_eq!((value("x-opaque-id:"), value("tracestate:")), (Some(trace), Some("shop=7")), "{head}");
        let span = value("traceparent:").and_then(|text| text.strip_prefix(&format!("00-{trace}-")));
        let span = span.and_then(|text| text.strip_suffix("-01")).unwrap().to_owned();
        // Each attempt is a span of its own.
        assert!(span.len() == 16 && !spans.contains(&span), "{span}");
        spans.push(span);
    }
    assert!(spans.len() > 3, "{spans:?}");
}

#[test]
fn an_index_of_someone_else_is_not_served() {
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
fn looking_for_a_newer_index_while_the_server_ends_is_no_panic() {
    let engine = Script::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cluster = magpie_server::Cluster::new(std::slice::from_ref(&engine.url)).unwrap();
    let open = magpie_server::OpenSearch::open(cluster, "magpie".to_owned(), 4, Duration::from_secs(1));
    let opened = runtime.block_on(open).unwrap();
    assert!(!opened.is_outdated());
    assert_eq!(opened.reload().unwrap().listings, 1);
    drop(runtime);
    assert!(!opened.is_outdated());
    assert_eq!(opened.reload().unwrap_err(), "the server is stopping");
}
