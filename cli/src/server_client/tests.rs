//! Misbehaving servers on the loopback interface: the phone's listings come in time, with the reason of the failure.
#![allow(clippy::unwrap_used)] // a test may stop at the first thing that is wrong

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use magpie_core::ModelId;
use magpie_core::listing::{Found, Listing};
use magpie_core::remote::{
    Answer, Ended, Exchange, ExchangeLimits, Failure, Question, Reason, ReplyFault, SearchReply, Source, WireListing,
};

use super::ServerClient;

const MODEL: ModelId = ModelId([7; 32]);
const DEADLINE: Duration = Duration::from_millis(600);
/// How far an answer may exceed the deadline here. It is 10 ms on an idle machine, but tests may run on a busy one. The
/// exchange's own tests show on a simulated clock that no step exceeds the deadline.
const TOLERANCE: Duration = Duration::from_millis(300);

fn found(id: &str, score: f32) -> Found {
    let photo = format!("{id}.jpg");
    Found::new(score, Listing { id: id.to_owned(), photos: vec![photo.clone()], photo, fields: Vec::new() })
}

fn good_response() -> Vec<u8> {
    let listings = vec![WireListing::from(found("z", 0.9))];
    let reply = SearchReply::new(MODEL, "shop".to_owned(), listings);
    ok(&serde_json::to_vec(&reply).unwrap())
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn empty_response(status: u16, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Status\r\n{headers}content-length: 0\r\n\r\n").into_bytes()
}

/// A server for a test, with the number of connections so far.
struct TestServer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// Starts a server that reads each request and then runs `respond` with the connection's number, from 0.
fn serve(respond: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> TestServer {
    serve_unread(move |number, stream| {
        read_request(stream);
        respond(number, stream);
    })
}

/// Like [`serve`], but leaves the request unread.
fn serve_unread(respond: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> TestServer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (count, respond) = (Arc::clone(&connections), Arc::new(respond));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), respond) = (stream, Arc::clone(&respond)) else { return };
            let number = count.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || respond(number, &mut stream));
        }
    });
    TestServer { address, connections }
}

/// Reads the head and the body of a request.
fn read_request(stream: &mut TcpStream) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let Ok(count @ 1..) = stream.read(&mut buffer) else { return };
        bytes.extend(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        if length.is_none_or(|length: usize| body.len() >= length) {
            return;
        }
    }
}

fn ask_at(url: &str) -> (Answer, Duration) {
    let mut server = ServerClient::new(url, Some("a-token".to_owned()), None).unwrap();
    ask_again(&mut server)
}

fn ask_again(server: &mut ServerClient) -> (Answer, Duration) {
    let started = Instant::now();
    let limits = {
        let mut limits = ExchangeLimits::default();
        (limits.deadline, limits.attempt) = (DEADLINE, Duration::from_millis(400));
        limits
    };
    let question = Question { model_id: MODEL, k: 3, per: None };
    let local = vec![found("b", 0.8), found("a", 0.5)];
    let exchange = Exchange::new(question, limits, local, Reason::Doubtful, server.now());
    let answer = server.drive(exchange, "{}");
    (answer, started.elapsed())
}

/// Asks a server that fails, and checks that the phone's listings come in time. Returns the failure too.
fn failure(server: &TestServer) -> (Failure, Answer, Duration) {
    failure_at(&format!("http://{}", server.address))
}

fn failure_at(url: &str) -> (Failure, Answer, Duration) {
    let (answer, took) = ask_at(url);
    let ids: Vec<&str> = answer.listings.iter().map(|sourced| sourced.found.listing.id.as_str()).collect();
    assert_eq!(ids, ["b", "a"]);
    assert!(answer.listings.iter().all(|sourced| sourced.source == Source::Local));
    assert!(took <= DEADLINE + TOLERANCE, "{took:?}");
    match answer.ended.clone() {
        Some(Ended::Failed(failure)) => (failure, answer, took),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_servers_listings_are_merged() {
    let good = serve(|_, stream| stream.write_all(&good_response()).unwrap());
    let (answer, took) = ask_at(&format!("http://{}/", good.address));
    let ids: Vec<&str> = answer.listings.iter().map(|sourced| sourced.found.listing.id.as_str()).collect();
    assert_eq!((ids, answer.ended, answer.sends), (vec!["z", "b", "a"], Some(Ended::Answered), 1));
    assert!(took < DEADLINE, "{took:?}");
}

#[test]
fn slow_servers_take_no_longer_than_the_deadline() {
    // Servers that send nothing, only a head, or a body byte by byte.
    let silent = serve(|_, _| std::thread::sleep(Duration::from_secs(5)));
    let headed = serve(|_, stream| {
        let _ = stream.write_all(&ok(&[b' '; 100])[..60]);
        std::thread::sleep(Duration::from_secs(5));
    });
    let dripping = serve(|_, stream| {
        for byte in good_response().chunks(1) {
            if stream.write_all(byte).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    for slow in [silent, headed, dripping] {
        let (failure, answer, took) = failure(&slow);
        assert_eq!((failure, answer.sends), (Failure::TimedOut, 2), "{took:?}");
        assert!(took >= DEADLINE, "{took:?}");
    }
}

#[test]
fn unreachable_servers_take_little_time() {
    // Nothing listens on this port.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (failure, answer, took) = failure_at(&format!("http://{free}"));
    assert_eq!((failure, answer.sends), (Failure::Unreachable, 3));
    assert!(took < DEADLINE, "{took:?}");
    // The server does not speak TLS, but the URL is https.
    let plain = serve_unread(|_, stream| drop(stream.write_all(&good_response())));
    let (failure, ..) = failure_at(&format!("https://{}", plain.address));
    assert_eq!(failure, Failure::Unreachable);
}

#[test]
fn broken_connections_are_retried() {
    // Broken in the middle of the body: by an end, and by a reset, which the system sends if the request was not read.
    let ending = serve(|_, stream| drop(stream.write_all(&good_response()[..90])));
    let resetting = serve_unread(|_, stream| {
        let _ = stream.peek(&mut [0]);
        let _ = stream.write_all(&good_response()[..90]);
    });
    for breaking in [ending, resetting] {
        let (failure, answer, _) = failure(&breaking);
        assert_eq!((failure, answer.sends, breaking.connections.load(Ordering::SeqCst)), (Failure::Broken, 3, 3));
    }
    let flapping = serve(|number, stream| match number {
        0 => {}
        1 => drop(stream.write_all(&empty_response(500, ""))),
        _ => drop(stream.write_all(&good_response())),
    });
    let (answer, _) = ask_at(&format!("http://{}", flapping.address));
    assert_eq!((answer.ended, answer.sends), (Some(Ended::Answered), 3));
}

#[test]
fn invalid_replies_are_rejected() {
    let first = |failure: (Failure, Answer, Duration)| (failure.0, failure.1.sends);
    let portal = serve(|_, stream| drop(stream.write_all(&ok(b"<html>Sign in to use this network</html>"))));
    let syntax = ReplyFault::Syntax { line: 1, column: 1 };
    assert_eq!(first(failure(&portal)), (Failure::BadReply(syntax), 1));
    let noise = serve(|_, stream| drop(stream.write_all(&[0xff; 2000])));
    assert!(matches!(first(failure(&noise)), (Failure::Broken | Failure::TooLarge, _)));
    // A body without an end, sent as fast as possible.
    let endless = serve(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
        while stream.write_all(&chunk).is_ok() {}
    });
    assert_eq!(first(failure(&endless)), (Failure::TooLarge, 1));
    let elsewhere =
        serve(|_, stream| drop(stream.write_all(&empty_response(307, "location: http://127.0.0.1:9/\r\n"))));
    assert_eq!(first(failure(&elsewhere)), (Failure::Refused { status: 307 }, 1));
    let other = ModelId([9; 32]);
    let reply = SearchReply::new(other, "shop".to_owned(), Vec::new());
    let reply = ok(&serde_json::to_vec(&reply).unwrap());
    let wrong = serve(move |_, stream| drop(stream.write_all(&reply)));
    assert_eq!(first(failure(&wrong)), (Failure::WrongModel { server: Some(other) }, 1));
    let conflict = serve(|_, stream| drop(stream.write_all(&empty_response(409, ""))));
    assert_eq!(first(failure(&conflict)), (Failure::WrongModel { server: None }, 1));
}

#[test]
fn a_busy_server_is_left_alone_for_as_long_as_it_asks() {
    for status in [429, 503] {
        let busy = serve(move |_, stream| drop(stream.write_all(&empty_response(status, "retry-after: 1\r\n"))));
        let mut server = ServerClient::new(&format!("http://{}", busy.address), None, None).unwrap();
        let (answer, took) = ask_again(&mut server);
        assert_eq!((answer.ended, answer.sends), (Some(Ended::Failed(Failure::Busy { status })), 1));
        assert!(took < DEADLINE, "{took:?}");
        assert!(server.origin.resting(server.now()).is_some());
        let (answer, _) = ask_again(&mut server);
        assert_eq!((answer.ended, answer.sends), (Some(Ended::Failed(Failure::Resting)), 0));
        assert_eq!(busy.connections.load(Ordering::SeqCst), 1);
    }
    // Without retry-after there are the usual retries.
    let busy = serve(|_, stream| drop(stream.write_all(&empty_response(503, ""))));
    assert_eq!(failure(&busy).1.sends, 3);
}

#[test]
fn only_urls_of_servers_are_accepted() {
    for url in ["", "shop.example", "ftp://shop.example", "/v1/search", "https://shop.example/?a=b", "http://"] {
        assert!(ServerClient::new(url, None, None).is_err(), "{url}");
    }
    for url in ["http://localhost:8080", "https://shop.example", "https://shop.example/magpie/"] {
        assert!(ServerClient::new(url, None, None).is_ok(), "{url}");
    }
}
