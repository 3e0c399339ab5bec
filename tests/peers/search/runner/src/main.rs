//! Magpie's worker in the search bench, with the arguments and output of `worker.py`.

mod npy;

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::time::Instant;

use magpie_index::builder::{Field, Identity, ShardBuilder};
use magpie_index::search::{Candidate, Filter, SearchParams, Searcher};
use magpie_index::shard::Shard;
use magpie_index::{Embedding, ModelId};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

type Outcome<T> = Result<T, Box<dyn Error>>;

const K: usize = 10;
const MODEL: ModelId = ModelId([7; 32]);
const SHARD: &str = "catalogue.magpie";
/// The filter column, 0 to 99. Rows are in random order, so it is independent of the vector.
const COLUMN: &str = "bucket";
/// Sections left out of `index_bytes`, as in the peers' figures: listings, thumbnails and filter columns.
const EXCLUDED_SECTIONS: [&str; 3] = ["column", "metadata", "thumbnail"];

#[derive(Serialize)]
struct Built {
    build_s: f64,
    build_threads: usize,
    index_bytes: u64,
    disk_bytes: u64,
    photos: usize,
}

#[derive(Serialize)]
struct Fresh {
    open_ms: f64,
    rss_mb: f64,
    rss_process_mb: f64,
}

/// Search settings; the core chooses those that are not given.
#[derive(Deserialize)]
struct Config {
    recall: Option<f32>,
    probes: Option<usize>,
    rerank: Option<usize>,
}

impl Config {
    fn params(&self) -> SearchParams {
        let mut params = SearchParams::default();
        params.k = K;
        params.recall = self.recall.unwrap_or(params.recall);
        params.probes = self.probes;
        params.rerank = self.rerank;
        params
    }
}

#[derive(Deserialize)]
struct Request {
    queries: String,
    count: usize,
    config: Config,
    percent: Option<u32>,
    cpu_time: bool,
}

#[derive(Serialize)]
struct Answer {
    nanoseconds: Vec<u64>,
    rows: Vec<Vec<u32>>,
    batch_nanoseconds: Option<f64>,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["build", base, folder, _, threads] => build(Path::new(base), Path::new(folder), threads.parse()?),
        ["fresh", folder, queries, config] => fresh(Path::new(folder), Path::new(queries), config),
        ["serve", folder] => serve(Path::new(folder)),
        _ => Err("expected: build BASE FOLDER SETTINGS THREADS, fresh FOLDER QUERIES CONFIG or serve FOLDER".into()),
    }
}

fn build(base: &Path, folder: &Path, build_threads: usize) -> Outcome<()> {
    let rows = npy::Rows::open(base)?;
    let started = Instant::now();
    let identity = Identity { model_id: MODEL, catalog: "bench".to_owned(), sequence: 1, writer: "bench".to_owned() };
    let fields = vec![Field { name: COLUMN.to_owned(), filter: true }];
    let mut builder = ShardBuilder::new(identity, rows.dim(), fields);
    for (row, values) in rows.enumerate() {
        // Listings are sorted by id; leading zeros make a listing's row number that of its vector.
        builder.add(&format!("{row:08}"), "", &[(row % 100).to_string()], &embedding(&values?)?)?;
    }
    let path = folder.join(SHARD);
    let photos = builder.write(&path)?.photos;
    let build_s = started.elapsed().as_secs_f64();
    let disk_bytes = fs::metadata(&path)?.len();
    let sections = Shard::open(&path)?.sections();
    let excluded = |name: &str| EXCLUDED_SECTIONS.iter().any(|part| name.contains(part));
    let index_bytes = disk_bytes - sections.iter().filter(|s| excluded(&s.name)).map(|s| s.bytes).sum::<u64>();
    let built = Built { build_s, build_threads, index_bytes, disk_bytes, photos };
    fs::write(folder.join("built.json"), serde_json::to_string(&built)?)?;
    Ok(())
}

fn fresh(folder: &Path, queries: &Path, config: &str) -> Outcome<()> {
    let params = serde_json::from_str::<Config>(config)?.params();
    let queries = load(queries, K)?;
    let before = resident_mb()?;
    let started = Instant::now();
    let shard = Shard::open(folder.join(SHARD))?;
    let open_ms = started.elapsed().as_secs_f64() * 1e3;
    let mut searcher = Searcher::new(&shard);
    for query in &queries {
        black_box(searcher.search(query, None, &params)?);
    }
    let rss_process_mb = resident_mb()?;
    println!("{}", serde_json::to_string(&Fresh { open_ms, rss_mb: rss_process_mb - before, rss_process_mb })?);
    Ok(())
}

fn serve(folder: &Path) -> Outcome<()> {
    let shard = Shard::open(folder.join(SHARD))?;
    let mut searcher = Searcher::new(&shard);
    let mut stdout = stdout().lock();
    writeln!(stdout, "ready")?;
    stdout.flush()?;
    for line in stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        let queries = load(Path::new(&request.queries), request.count)?;
        let filter = request.percent.map(|percent| Filter::parse(&format!("{COLUMN} < {percent}"))).transpose()?;
        let params = request.config.params();
        let mut answer = Answer { nanoseconds: Vec::new(), rows: Vec::new(), batch_nanoseconds: None };
        for query in &queries {
            let started = now(request.cpu_time);
            let found: Vec<Candidate> = searcher.search(query, filter.as_ref(), &params)?;
            answer.nanoseconds.push(now(request.cpu_time) - started);
            answer.rows.push(found.iter().map(|candidate| candidate.listing.0).collect());
        }
        writeln!(stdout, "{}", serde_json::to_string(&answer)?)?;
        stdout.flush()?;
    }
    Ok(())
}

/// Nanoseconds of the monotonic clock, or of CPU time.
fn now(cpu_time: bool) -> u64 {
    let now = clock_gettime(if cpu_time { ClockId::ProcessCPUTime } else { ClockId::Monotonic });
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn load(path: &Path, count: usize) -> Outcome<Vec<Embedding>> {
    npy::Rows::open(path)?.take(count).map(|values| embedding(&values?)).collect()
}

fn embedding(values: &[f32]) -> Outcome<Embedding> {
    Embedding::new(values, MODEL).ok_or_else(|| "invalid vector, expected finite values that are not all 0".into())
}

fn resident_mb() -> Outcome<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}
