//! What whoever runs a server counts on: no request is lost when catalogues or processes change, and too many do no harm.
#![allow(missing_docs, clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{JSON, Running, agent, embedding, get, post, read, request, search, shard};
use magpie_core::remote::QueryCode;
use magpie_core::search::SearchParams;

/// The standard's own example.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn body(seed: usize) -> String {
    request(seed, None, &SearchParams::default())
}

/// As catalogues are installed: under another name first.
fn replace(path: &Path, listings: std::ops::Range<usize>, sequence: u64) {
    let fresh = path.with_extension("new");
    shard(&fresh, listings, sequence);
    std::fs::rename(fresh, path).unwrap();
}

#[test]
fn a_new_catalogue_drops_no_request() {
    let server = Running::start(|_| ());
    let path = server.folder.path().join("a.magpie");
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (server, done, asked) = (&server, &done, &asked);
            scope.spawn(move || {
                let agent = agent();
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(search(&agent, server, &body(seed)).listings.len(), 10);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for sequence in 2..12 {
            replace(&path, 0..300 + sequence as usize, sequence);
            server.reload();
        }
        // One that cannot be used changes nothing.
        std::fs::write(path.with_extension("new"), "this is text").unwrap();
        std::fs::rename(path.with_extension("new"), &path).unwrap();
        server.reload();
        std::thread::sleep(Duration::from_millis(50));
        done.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 50, "{asked:?}");
    let text = get(&server.url("/metrics")).body;
    for line in [
        "magpie_catalog_listings 311",
        r#"magpie_reloads_total{result="done"} 10"#,
        r#"magpie_reloads_total{result="failed"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
}

#[test]
fn a_shard_that_is_replaced_is_noticed() {
    let server = Running::start(|s| s.watch = Duration::from_millis(20));
    let path = server.folder.path().join("a.magpie");
    replace(&path, 0..40, 2);
    let begun = Instant::now();
    while !get(&server.url("/readyz")).body.contains(r#""listings":40"#) {
        assert!(begun.elapsed() < Duration::from_secs(10), "it was not noticed");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_that_stops_answers_what_it_was_asked() {
    let mut server = Running::start(|s| s.linger = Duration::from_millis(400));
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (server, asked) = (&server, &asked);
            scope.spawn(move || {
                let agent = agent();
                // As whoever distributes requests: until the server says that it is leaving.
                while read(agent.get(server.url("/readyz")).call()).unwrap().status == 200 {
                    for _ in 0..5 {
                        search(&agent, server, &body(seed));
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(100));
        server.stop.stop();
    });
    let begun = Instant::now();
    server.join();
    assert!(begun.elapsed() < Duration::from_secs(5), "idle connections kept it: {:?}", begun.elapsed());
    assert!(asked.load(Ordering::Relaxed) > 20, "{asked:?}");
    assert!(read(agent().get(server.url("/healthz")).call()).is_err(), "it is still there");
}

#[test]
fn too_many_searches_are_turned_away_at_once() {
    let server = Running::start(|s| (s.threads, s.max_wait) = (1, Duration::from_micros(500)));
    let params = SearchParams::new(200).with_recall(1.0);
    let (answered, shed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for seed in 0..32 {
            let (server, answered, shed, body) = (&server, &answered, &shed, request(seed, None, &params));
            scope.spawn(move || {
                let agent = agent();
                for _ in 0..40 {
                    let got = post(&agent, &server.url("/v1/search"), &[JSON], &body).unwrap();
                    match (got.status, got.retry_after.as_deref()) {
                        (200, None) => answered.fetch_add(1, Ordering::Relaxed),
                        (503, Some("1")) => shed.fetch_add(1, Ordering::Relaxed),
                        _ => panic!("{got:?}"),
                    };
                }
            });
        }
    });
    let (answered, shed) = (answered.into_inner(), shed.into_inner());
    assert!(answered > 0 && shed > 0, "{answered} answered, {shed} turned away");
    let text = get(&server.url("/metrics")).body;
    assert!(text.contains(&format!("magpie_shed_total{{why=\"queue\"}} {shed}\n")), "{text}");
}

#[test]
fn requests_beyond_the_places_are_turned_away_but_not_who_watches() {
    let server = Running::start(|s| s.max_in_flight = 1);
    // A request whose body does not come keeps its place.
    let mut slow = std::net::TcpStream::connect(server.address).unwrap();
    let head = "POST /v1/search HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\
        magpie-deadline-ms: 1500\r\n\r\n";
    std::io::Write::write_all(&mut slow, head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let got = post(&agent(), &server.url("/v1/search"), &[JSON], &body(1)).unwrap();
    assert_eq!((got.status, got.retry_after.as_deref()), (503, Some("1")));
    assert_eq!(get(&server.url("/healthz")).status, 200);
    // It does not keep it for good.
    let mut text = String::new();
    let mut lines = BufReader::new(&mut slow);
    lines.read_line(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    search(&agent(), &server, &body(1));
}

#[test]
fn a_reply_says_which_trace_it_belongs_to() {
    let server = Running::start(|s| s.max_in_flight = 1);
    let traced = |path: &str, given: Option<&str>| {
        let mut request = agent().get(server.url(path));
        if let Some(given) = given {
            request = request.header("traceparent", given);
        }
        let response = request.call().unwrap();
        response.headers()["traceresponse"].to_str().unwrap().to_owned()
    };
    // Whatever became of the request.
    for path in ["/v1/listings/mug-0001", "/v1/listings/none", "/v1/search", "/nothing", "/healthz", "/metrics"] {
        let said = traced(path, Some(TRACE));
        assert_eq!((&said[..36], &said[52..]), (&TRACE[..36], &TRACE[52..]), "{path}");
        assert_ne!(said[36..52], TRACE[36..52], "the span is the server's own");
    }
    let fresh = [None, Some("00-4bf92f35-00f067aa-01"), Some(&TRACE[..54]), Some(&TRACE.to_uppercase())];
    let fresh: Vec<String> = fresh.iter().map(|given| traced("/healthz", *given)).collect();
    for (at, said) in fresh.iter().enumerate() {
        assert!(said.len() == 55 && said.ends_with("-02") && !said.contains(&TRACE[3..35]), "{said}");
        assert!(fresh[..at].iter().all(|before| before[3..35] != said[3..35]), "{fresh:?}");
    }
}

/// The program itself: signals, exit code, and a log that says nothing of what was searched.
#[test]
fn the_program_obeys_signals_and_keeps_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.magpie");
    shard(&path, 0..100, 1);
    let mut server = Command::new(env!("CARGO_BIN_EXE_magpie-server"));
    server.args(["--listen", "127.0.0.1:0", "--log-json", "--log", "debug", "--linger-ms", "100", "--shards"]);
    let mut server = server.arg(&path).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap());
    let mut text = String::new();
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended: {text}");
        text.push_str(&line);
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if let Some(address) = event["address"].as_str() {
            break address.to_owned();
        }
    };
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &server.id().to_string()]).status().unwrap().success());
    };
    let url = format!("http://{address}");
    let body = request(5, Some("colour='sea blue'"), &SearchParams::default());
    let headers = [JSON, ("traceparent", TRACE)];
    assert_eq!(post(&agent(), &format!("{url}/v1/search"), &headers, &body).unwrap().status, 200);
    assert_eq!(
        post(&agent(), &format!("{url}/v1/search"), &[JSON], &body.replace("sea blue'", "")).unwrap().status,
        400
    );
    replace(&path, 0..50, 2);
    signal("-HUP");
    let begun = Instant::now();
    while !get(&format!("{url}/readyz")).body.contains(r#""listings":50"#) {
        assert!(begun.elapsed() < Duration::from_secs(10), "it did not read the shard again");
        std::thread::sleep(Duration::from_millis(20));
    }
    signal("-TERM");
    log.read_to_string(&mut text).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0), "{text}");
    let sent = QueryCode::of(&embedding(5)).to_string();
    for secret in [&sent[..12], "colour", "sea blue"] {
        assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
    }
    assert!(text.contains("stopping"), "{text}");
    let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let searches: Vec<_> = events.filter(|event| event["route"] == "/v1/search").collect();
    assert_eq!([&searches[0]["status"], &searches[1]["status"]], [200, 400]);
    assert_eq!(searches[0]["span"]["trace_id"], TRACE[3..35]);
    assert_ne!(searches[1]["span"]["trace_id"], TRACE[3..35]);
    assert!(searches.iter().all(|event| event["span"]["span_id"].as_str().is_some_and(|id| id.len() == 16)), "{text}");
}

#[test]
fn settings_that_make_no_sense_end_the_program_with_a_reason() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_magpie-server")).args(args).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&[]).contains("--shards"));
    assert!(run(&["--shards", "nothing.magpie"]).contains("nothing.magpie"));
    assert!(run(&["--shards", "Cargo.toml"]).contains("not a Magpie shard"));
    assert!(run(&["--shards", "a", "--log", "loud"]).contains("loud"));
}
