//! SIGTERM under load: no request on a connection that is kept alive is lost.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use axum::http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use magpie_core::search::SearchParams;

use crate::common::{eventually, request, shard};

/// Starts the program on a free port.
fn start(shard: &Path) -> (Child, SocketAddr) {
    let mut server = Command::new(env!("CARGO_BIN_EXE_magpie-server"));
    server.args([
        "--listen",
        "127.0.0.1:0",
        "--log-json",
        "--log",
        "info",
        "--linger-ms",
        "300",
        "--max-wait-ms",
        "5000",
    ]);
    let mut server =
        server.args(["--deadline-ms", "10000", "--shards"]).arg(shard).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap());
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // The log is read to its end, so that nothing of it is dropped.
        while log.read_line(&mut line).is_ok_and(|count| count > 0) {
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = event["address"].as_str() {
                let _ = send.send(address.parse().unwrap());
            }
            line.clear();
        }
    });
    let address = receive.recv().unwrap();
    (server, address)
}

/// Sends searches over one connection until the server says that it will close it. Returns `Err` if one was lost.
fn keep_alive(address: SocketAddr, body: &str, answered: &AtomicUsize) -> Result<(), String> {
    let stream = TcpStream::connect(address).map_err(|e| e.to_string())?;
    let mut stream = BufReader::new(stream);
    let head = format!(
        "POST /v1/search HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    loop {
        stream.get_mut().write_all(head.as_bytes()).map_err(|e| format!("cannot send: {e}"))?;
        let (mut line, mut length, mut closes, mut first) = (String::new(), 0, false, true);
        loop {
            line.clear();
            if stream.read_line(&mut line).map_err(|e| format!("no answer: {e}"))? == 0 {
                return Err("no answer: the connection was closed".to_owned());
            }
            if std::mem::take(&mut first) && !line.starts_with("HTTP/1.1 200") {
                return Err(line);
            }
            let (name, value) = line.trim_end().split_once(':').unwrap_or(("", ""));
            match name {
                "content-length" => length = value.trim().parse().map_err(|_| "a length")?,
                "connection" => closes = value.trim() == "close",
                _ => {}
            }
            if line == "\r\n" {
                break;
            }
        }
        stream.read_exact(&mut vec![0; length]).map_err(|e| format!("half an answer: {e}"))?;
        answered.fetch_add(1, Ordering::Relaxed);
        if closes {
            return Ok(());
        }
    }
}

/// The same over HTTP/2, until the server refuses new connections: a GOAWAY ends the old one, without losing a request.
async fn keep_alive_2(address: SocketAddr, body: &str, answered: &AtomicUsize) -> Result<(), String> {
    let client: Client<HttpConnector, Full<axum::body::Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    loop {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{address}/v1/search"))
            .header("content-type", "application/json")
            .body(Full::from(body.to_owned()))
            .map_err(|e| e.to_string())?;
        match client.request(request).await {
            Ok(response) if response.status() == StatusCode::OK => {
                response.into_body().collect().await.map_err(|e| format!("half an answer over HTTP/2: {e}"))?;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(response) => return Err(response.status().to_string()),
            Err(error) if error.is_connect() => return Ok(()),
            Err(error) => return Err(format!("no answer over HTTP/2: {error:?}")),
        }
    }
}

#[test]
fn no_kept_alive_request_is_lost_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.magpie");
    shard(&path, 0..100, 1);
    let rounds = if std::env::var_os("MAGPIE_LONG").is_some() { 20 } else { 2 };
    let body = request(1, None, &SearchParams::new(3));
    let mut lost: Vec<String> = Vec::new();
    for _ in 0..rounds {
        let (mut server, address) = start(&path);
        let answered = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (body, answered) = (&body, &answered);
            let mut clients: Vec<_> =
                (0..6).map(|_| scope.spawn(move || keep_alive(address, body, answered))).collect();
            clients.push(scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(keep_alive_2(address, body, answered))
            }));
            assert!(eventually(|| answered.load(Ordering::Relaxed) > 50));
            assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
            lost.extend(clients.into_iter().filter_map(|client| client.join().unwrap().err()));
        });
        assert!(eventually(|| server.try_wait().unwrap().is_some()), "it does not stop");
        assert_eq!(server.wait().unwrap().code(), Some(0));
    }
    assert_eq!(lost, Vec::<String>::new(), "{rounds} rounds");
}
