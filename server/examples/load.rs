//! An open-model load generator: requests are sent on schedule, whether or not earlier ones were answered, and latency
//! is measured from the scheduled time. So the figures include the queueing of a server that falls behind.
//!
//! `cargo run --profile dist -p magpie-server --example load -- --shard FILE --address 127.0.0.1:8080 --rates 500,1000`
#![allow(clippy::unwrap_used, missing_docs)] // a benchmark may panic at the first error

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use magpie_core::Embedding;
use magpie_core::remote::{SEARCH_PATH, SearchRequest};
use magpie_core::search::{Filter, SearchParams};
use magpie_core::shard::Shard;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

/// Sends requests at fixed rates to a running server
#[derive(Parser)]
struct Args {
    /// A shard that the server serves, to read the model id and the dimension from
    #[arg(long)]
    shard: PathBuf,
    /// The server's address
    #[arg(long, default_value = "127.0.0.1:8080")]
    address: String,
    /// Requests per second of each step
    #[arg(long, value_delimiter = ',', default_value = "500,1000,2000")]
    rates: Vec<u32>,
    /// Duration of each step in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections to keep open; with too few, requests queue in the generator
    #[arg(long, default_value_t = 240)]
    connections: usize,
    /// Listings per search
    #[arg(long, default_value_t = 10)]
    k: usize,
    /// Filter of all searches
    #[arg(long = "where")]
    filter: Option<String>,
}

/// The outcomes of the requests of one step.
#[derive(Default)]
struct StepOutcomes {
    answered: Vec<Duration>,
    shed: Vec<Duration>,
    other: usize,
    broken: usize,
}

fn main() {
    let args = Args::parse();
    let shard = Shard::open(&args.shard).unwrap();
    let bodies = Arc::new(bodies(&shard, &args));
    // One thread, to leave as much CPU time as possible to the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{} photos, {} connections, {} s a step", shard.header().photo_count, args.connections, args.seconds);
    println!(" offered    sent answered     shed  other broken   p50 ms   p99 ms p99.9 ms shed p99 ms");
    for &rate in &args.rates {
        let (step, sent) = runtime.block_on(run(&args, rate, Arc::clone(&bodies)));
        print(rate, &args, step, sent);
    }
}

/// Builds 1000 requests with random query vectors, which probe all lists equally.
fn bodies(shard: &Shard, args: &Args) -> Vec<Vec<u8>> {
    let header = shard.header();
    let filter = args.filter.as_deref().map(|text| Filter::parse(text).unwrap());
    let mut params = SearchParams::default();
    params.k = args.k;
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let body = |_| {
        let values: Vec<f32> = (0..header.dim).map(|_| next()).collect();
        let embedding = Embedding::new(&values, header.model_id).unwrap();
        let json = serde_json::to_string(&SearchRequest::new(&embedding, filter.as_ref(), &params)).unwrap();
        let (host, length) = (&args.address, json.len());
        let head = "content-type: application/json\r\nmagpie-deadline-ms: 1000\r\n";
        format!("POST {SEARCH_PATH} HTTP/1.1\r\nhost: {host}\r\n{head}content-length: {length}\r\n\r\n{json}")
            .into_bytes()
    };
    (0..1000).map(body).collect()
}

async fn run(args: &Args, rate: u32, bodies: Arc<Vec<Vec<u8>>>) -> (StepOutcomes, usize) {
    let (schedule, due) = mpsc::unbounded_channel::<Instant>();
    let (due, next) = (Arc::new(Mutex::new(due)), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> = (0..args.connections)
        .map(|_| tokio::spawn(work(args.address.clone(), Arc::clone(&due), Arc::clone(&bodies), Arc::clone(&next))))
        .collect();
    let begun = Instant::now();
    let total = u64::from(rate) * args.seconds;
    let mut sent = 0;
    while sent < total {
        let target = (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        while sent < target.min(total) {
            schedule.send(begun + Duration::from_secs_f64(sent as f64 / f64::from(rate))).unwrap();
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(schedule);
    let mut step = StepOutcomes::default();
    for worker in workers {
        let part = worker.await.unwrap();
        step.answered.extend(part.answered);
        step.shed.extend(part.shed);
        step.other += part.other;
        step.broken += part.broken;
    }
    (step, sent as usize)
}

async fn work(
    address: String,
    schedule: Arc<Mutex<mpsc::UnboundedReceiver<Instant>>>,
    bodies: Arc<Vec<Vec<u8>>>,
    next: Arc<AtomicUsize>,
) -> StepOutcomes {
    let mut step = StepOutcomes::default();
    let mut stream: Option<TcpStream> = None;
    let mut buffer = Vec::new();
    loop {
        let Some(due) = schedule.lock().await.recv().await else { return step };
        let body = &bodies[next.fetch_add(1, Ordering::Relaxed) % bodies.len()];
        match exchange(&address, &mut stream, body, &mut buffer).await {
            Ok(200) => step.answered.push(due.elapsed()),
            Ok(503) => step.shed.push(due.elapsed()),
            Ok(_) => step.other += 1,
            Err(_) => {
                stream = None;
                step.broken += 1;
            }
        }
    }
}

/// Sends one request, reads the whole response and returns its status.
async fn exchange(address: &str, stream: &mut Option<TcpStream>, body: &[u8], buffer: &mut Vec<u8>) -> io::Result<u16> {
    let stream = match stream {
        Some(stream) => stream,
        none => {
            let fresh = TcpStream::connect(address).await?;
            fresh.set_nodelay(true)?;
            none.insert(fresh)
        }
    };
    stream.write_all(body).await?;
    buffer.clear();
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end]).map_err(|_| broken())?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if buffer.len() >= end + 4 + length.ok_or_else(broken)? {
            return head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(broken);
        }
    }
}

fn print(rate: u32, args: &Args, mut step: StepOutcomes, sent: usize) {
    let percentile = |times: &mut Vec<Duration>, share: f64| {
        times.sort_unstable();
        let rank = ((share * times.len() as f64).ceil() as usize).saturating_sub(1);
        times.get(rank).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| percentile(&mut step.answered, share));
    let shed = percentile(&mut step.shed, 0.99);
    let a_second = |count: usize| count as f64 / args.seconds as f64;
    println!(
        "{rate:8} {:7.0} {:8.0} {:8.0} {:6} {:6} {p50:8.2} {p99:8.2} {p999:8.2} {shed:11.2}",
        a_second(sent),
        a_second(step.answered.len()),
        a_second(step.shed.len()),
        step.other,
        step.broken
    );
}
