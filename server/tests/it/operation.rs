//! Operating a server: reloads and shutdowns lose no request, overload is handled, the log keeps secrets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::blocking::NEVER;
use crate::common::{JSON, Running, agent, embedding, eventually, get, post, read, request, search, shard};
use magpie_core::remote::QueryCode;
use magpie_core::search::SearchParams;

/// The standard's own example.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn body(seed: usize) -> String {
    request(seed, None, &SearchParams::default())
}

/// Replaces a shard as catalogues are installed: written under another name, then renamed.
fn replace(path: &Path, listings: std::ops::Range<usize>, sequence: u64) {
    let fresh = path.with_extension("new");
    shard(&fresh, listings, sequence);
    std::fs::rename(fresh, path).unwrap();
}

#[test]
fn a_new_catalogue_drops_no_request() {
    let server = Running::start(|_| ());
    let path = server.folder.path().join("a.magpie");
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let progress = std::thread::scope(|scope| {
        for seed in 0..3 {
            let (server, done, answered) = (&server, &done, &answered);
            scope.spawn(move || {
                let agent = agent();
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(search(&agent, server, &body(seed)).listings.len(), 10);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let five_more = || {
            let before = answered.load(Ordering::Relaxed);
            eventually(|| answered.load(Ordering::Relaxed) >= before + 5)
        };
        let mut progress = (2..12).all(|sequence| {
            replace(&path, 0..300 + sequence as usize, sequence);
            server.reload();
            five_more()
        });
        // A shard that cannot be used changes nothing.
        std::fs::write(path.with_extension("new"), "this is text").unwrap();
        std::fs::rename(path.with_extension("new"), &path).unwrap();
        server.reload();
        progress = progress && five_more();
        done.store(true, Ordering::Relaxed);
        progress
    });
    assert!(progress && answered.load(Ordering::Relaxed) > 50, "{answered:?}");
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
fn a_replaced_shard_is_noticed() {
    let server = Running::start(|s| s.watch = Duration::from_millis(20));
    let path = server.folder.path().join("a.magpie");
    replace(&path, 0..40, 2);
    let noticed = || get(&server.url("/readyz")).body.contains(r#""listings":40"#);
    assert!(eventually(noticed), "the new shard was not noticed");
}

#[test]
fn a_server_that_shuts_down_answers_until_its_clients_have_left() {
    let server = Running::start(|s| s.linger = NEVER);
    let answered = AtomicUsize::new(0);
    let progress = std::thread::scope(|scope| {
        for seed in 0..4 {
            let (server, answered) = (&server, &answered);
            scope.spawn(move || {
                let agent = agent();
                // Like a load balancer: until the server is no longer ready.
                while read(agent.get(server.url("/readyz")).call()).unwrap().status == 200 {
                    for _ in 0..5 {
                        search(&agent, server, &body(seed));
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let progress = eventually(|| answered.load(Ordering::Relaxed) > 20);
        server.stop.stop();
        progress
    });
    assert!(progress, "{answered:?}");
    assert_eq!(get(&server.url("/readyz")).status, 503);
}

#[test]
fn a_shutdown_waits_for_requests_in_flight_but_not_for_idle_connections() {
    // Without an end to draining, an idle connection that is waited for would keep the server running.
    let (mut server, gate) = Running::gated(4, |s| s.drain = NEVER);
    let idle = agent();
    assert_eq!(read(idle.get(server.url("/healthz")).call()).unwrap().status, 200);
    std::thread::scope(|scope| {
        let ask = |seed| search(&agent(), &server, &body(seed)).listings.len();
        let asked: Vec<_> = (0..4).map(|seed| scope.spawn(move || ask(seed))).collect();
        gate.wait_for(4);
        server.stop.stop();
        let closed = eventually(|| TcpStream::connect(server.address).is_err());
        gate.open();
        assert!(closed, "it still accepts connections");
        assert!(asked.into_iter().all(|asked| asked.join().unwrap() == 10));
    });
    server.join();
    assert!(read(agent().get(server.url("/healthz")).call()).is_err(), "it still answers");
}

#[test]
fn excess_searches_are_rejected_at_once() {
    let (server, gate) = Running::gated(1, |_| ());
    let ask = |seed| {
        let got = post(&agent(), &server.url("/v1/search"), &[JSON], &body(seed)).unwrap();
        (got.status, got.retry_after)
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| ask(0));
        gate.wait_for(1);
        let excess: Vec<_> = (1..33).map(|seed| scope.spawn(move || ask(seed))).collect();
        let excess: Vec<_> = excess.into_iter().map(|excess| excess.join().unwrap()).collect();
        gate.open();
        assert_eq!(excess, vec![(503, Some("1".to_owned())); 32]);
        assert_eq!(first.join().unwrap(), (200, None));
    });
    assert_eq!(ask(1), (200, None));
    let text = get(&server.url("/metrics")).body;
    assert!(text.contains("magpie_shed_total{why=\"queue\"} 32\n"), "{text}");
}

#[test]
fn excess_requests_are_rejected_but_not_monitoring() {
    let server = Running::start(|s| s.max_in_flight = 1);
    // Sends a search without its body, which has nine bytes.
    let slow = |deadline: u32| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let head = format!(
            "POST /v1/search HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\
            magpie-deadline-ms: {deadline}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        BufReader::new(stream)
    };
    let status = |stream: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line[9..12].to_owned()
    };
    // It keeps its permit while the body does not arrive. Ten seconds are the longest deadline.
    let mut held = None;
    let rejected = eventually(|| {
        let unfinished = slow(10_000);
        let arrived = eventually(|| get(&server.url("/metrics")).body.contains("magpie_in_flight 2\n"));
        let got = post(&agent(), &server.url("/v1/search"), &[JSON], &body(1)).unwrap();
        let rejected = arrived && got.status != 200;
        held = Some((unfinished, got));
        rejected
    });
    let (mut unfinished, got) = held.unwrap();
    assert!(rejected, "{got:?}");
    assert_eq!((got.status, got.retry_after.as_deref()), (503, Some("1")));
    assert_eq!(get(&server.url("/healthz")).status, 200);
    unfinished.get_mut().write_all(b"not JSON!").unwrap();
    assert_eq!(status(&mut unfinished), "400");
    search(&agent(), &server, &body(1));
    // The permit is released at the deadline.
    assert_eq!(status(&mut slow(100)), "408");
    search(&agent(), &server, &body(1));
}

#[test]
fn a_client_that_leaves_is_no_longer_in_flight() {
    let (server, gate) = Running::gated(1, |_| ());
    let body = body(1);
    let head = format!(
        "POST /v1/search HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).unwrap();
    gate.wait_for(1);
    // The request for the metrics is in flight too.
    let metrics = || get(&server.url("/metrics")).body;
    assert!(metrics().contains("magpie_in_flight 2\n"));
    drop(stream);
    let left = eventually(|| metrics().contains("magpie_in_flight 1\n"));
    gate.open();
    let text = metrics();
    assert!(left, "{text}");
    assert!(text.contains("magpie_requests_total{route=\"/v1/search\",status=\"499\"} 1\n"), "{text}");
}

#[test]
fn a_server_that_shuts_down_closes_the_connections_that_it_answers() {
    let server = Running::start(|s| s.linger = NEVER);
    let mut stream = BufReader::new(TcpStream::connect(server.address).unwrap());
    let mut ask = || {
        stream.get_mut().write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
        }
        stream.read_exact(&mut [0; 3]).unwrap();
        head
    };
    assert!(!ask().contains("connection: close"));
    server.stop.stop();
    assert!(eventually(|| get(&server.url("/readyz")).status == 503));
    assert!(ask().contains("connection: close"));
    // The client finds out before it sends another request.
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn silent_connections_neither_stay_nor_stop_monitoring() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Running::start(|s| (s.max_connections, s.admin_listen) = (2, Some(address)));
    let mut silent: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let admin = |path: &str| get(&format!("http://{address}{path}"));
    assert!(eventually(|| admin("/metrics").body.contains("magpie_connections 2\n")));
    assert_eq!((admin("/healthz").status, admin("/readyz").status), (200, 200));
    // Nothing else is served there.
    assert_eq!((admin("/v1/listings/mug-0001").status, admin("/").status), (404, 404));
    // The server closes them after a while, and then has room for others.
    silent[0].set_read_timeout(Some(crate::common::PATIENCE)).unwrap();
    assert_eq!(silent[0].read(&mut [0]).unwrap(), 0);
    assert_eq!(get(&server.url("/healthz")).status, 200);
}

#[test]
fn a_response_carries_its_trace() {
    let server = Running::start(|s| s.max_in_flight = 1);
    let traced = |path: &str, given: Option<&str>| {
        let mut request = agent().get(server.url(path));
        if let Some(given) = given {
            request = request.header("traceparent", given);
        }
        let response = request.call().unwrap();
        response.headers()["traceresponse"].to_str().unwrap().to_owned()
    };
    // For successes and failures alike.
    for path in ["/v1/listings/mug-0001", "/v1/listings/none", "/v1/search", "/nothing", "/healthz", "/metrics"] {
        let trace = traced(path, Some(TRACE));
        assert_eq!((&trace[..36], &trace[52..]), (&TRACE[..36], &TRACE[52..]), "{path}");
        assert_ne!(trace[36..52], TRACE[36..52], "the span is the server's own");
    }
    let fresh = [None, Some("00-4bf92f35-00f067aa-01"), Some(&TRACE[..54]), Some(&TRACE.to_uppercase())];
    let fresh: Vec<String> = fresh.iter().map(|given| traced("/healthz", *given)).collect();
    for (at, trace) in fresh.iter().enumerate() {
        assert!(trace.len() == 55 && trace.ends_with("-02") && !trace.contains(&TRACE[3..35]), "{trace}");
        assert!(fresh[..at].iter().all(|before| before[3..35] != trace[3..35]), "{fresh:?}");
    }
}

/// The program itself: signals, exit code, and a log without the contents of searches.
#[test]
fn the_program_obeys_signals_and_keeps_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.magpie");
    shard(&path, 0..100, 1);
    let mut server = Command::new(env!("CARGO_BIN_EXE_magpie-server"));
    server.args(["--listen", "127.0.0.1:0", "--log-json", "--log", "debug", "--linger-ms", "100"]);
    // Other tests use the cores.
    server.args(["--max-wait-ms", "5000", "--shards"]);
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
    let reloaded = || get(&format!("{url}/readyz")).body.contains(r#""listings":50"#);
    assert!(eventually(reloaded), "it did not reload the shard");
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

/// Nobody reads the log: its pipe is full after some hundred lines.
#[test]
fn a_log_that_nobody_reads_stops_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.magpie");
    shard(&path, 0..100, 1);
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_magpie-server"));
    server.args(["--listen", &address.to_string(), "--log", "info", "--linger-ms", "0", "--shards"]).arg(&path);
    let mut server = server.stderr(Stdio::piped()).spawn().unwrap();
    let agent = agent();
    let healthy = || read(agent.get(format!("http://{address}/healthz")).call()).is_ok_and(|got| got.status == 200);
    assert!(eventually(healthy), "it does not start");
    // A pipe holds 64 KiB, and a line has more than 100 bytes.
    assert!((0..1500).all(|_| healthy()), "it stopped answering");
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    assert!(eventually(|| server.try_wait().unwrap().is_some()), "it does not stop");
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn a_configuration_can_be_checked_without_serving_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, tokens) = (folder.path().join("a.magpie"), folder.path().join("tokens"));
    shard(&path, 0..30, 7);
    std::fs::write(&tokens, "ann correct-horse-battery").unwrap();
    // The address is in use, as by the server that is running.
    let running = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let check = |more: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_magpie-server"));
        program.args(["--check-config", "--listen", &running.local_addr().unwrap().to_string(), "--shards"]);
        let output = program.arg(&path).arg("--tokens").arg(&tokens).args(more).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text)
    };
    let (works, text) = check(&[]);
    assert!(works && text.contains("publication 7") && text.contains("30 listings"), "{text}");
    let (works, text) = check(&["--max-k", "0"]);
    assert!(!works && text.contains("--max-k is 0, expected 1 to 10000"), "{text}");
    std::fs::write(&tokens, "ann").unwrap();
    let (works, text) = check(&[]);
    assert!(!works && text.contains("line 1"), "{text}");
    std::fs::write(&tokens, "ann correct-horse-battery").unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (works, text) = check(&[]);
    assert!(!works && text.contains("a.magpie"), "{text}");
}

#[test]
fn invalid_settings_fail_with_a_message() {
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

#[test]
fn alerts_dashboard_and_runbook_name_metrics_that_exist() {
    let server = Running::start(|_| ());
    // A metric with labels is there after its first request.
    get(&server.url("/healthz"));
    let text = get(&server.url("/metrics")).body;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("operations");
    // A server of shards without tokens has none of these.
    let elsewhere = ["magpie_engine_retries", "magpie_token_requests"];
    let mut count = 0;
    for name in ["alerts.yaml", "alerts_test.yaml", "dashboard.json", "RUNBOOK.md"] {
        let file = std::fs::read_to_string(folder.join(name)).unwrap();
        let words = file.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for metric in words.filter(|word| word.starts_with("magpie_")) {
            let ending = ["_total", "_bucket"].iter().find_map(|ending| metric.strip_suffix(ending));
            let metric = ending.unwrap_or(metric);
            let known = text.contains(&format!("# HELP {metric} ")) || elsewhere.contains(&metric);
            assert!(known, "{name} names {metric}, which the server does not have");
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}
