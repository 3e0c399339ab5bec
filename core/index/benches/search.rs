//! Measures the time and recall of searches. `cargo bench -p magpie-index --bench search --features build -- --vectors
//! base.npy --queries queries.npy` measures on your own vectors; without them it generates some. `--shard FILE` keeps
//! the shard, and uses the file if it exists. `--deltas` compares it with a catalogue in which four deltas replace a
//! hundredth of the photos each. `--smoke` runs everything once, as a test.
#![allow(clippy::unwrap_used, missing_docs)] // A bench may panic at the first error.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use magpie_cpu::Isa;
use magpie_index::builder::{BuildOptions, Field, Identity, ShardBuilder};
use magpie_index::catalog::Catalog;
use magpie_index::search::{Filter, SearchParams, SearchScratch, Searcher};
use magpie_index::shard::Shard;
use magpie_index::vector::CodeKernels;
use magpie_index::{Embedding, ModelId};

const MODEL: ModelId = ModelId([1; 32]);
const K: usize = 10;

/// Vectors of one length.
struct Rows {
    dim: usize,
    values: Vec<f32>,
}

impl Rows {
    fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number = |name: &str| value(name).map(|text| text.parse::<usize>().unwrap());
    let smoke = args.iter().any(|arg| arg == "--smoke");
    let (base, queries) = match (value("--vectors"), value("--queries")) {
        (Some(base), Some(queries)) => (read_npy(Path::new(base)), read_npy(Path::new(queries))),
        _ => (generated(if smoke { 6_000 } else { 100_000 }, 1), generated(if smoke { 10 } else { 500 }, 2)),
    };
    let queries: Vec<Embedding> = queries.iter().map(|row| Embedding::new(row, MODEL).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = value("--shard").map_or_else(|| folder.path().join("bench.magpie"), PathBuf::from);
    if !path.exists() {
        build(&path, &base, 0..base.values.len() / base.dim, number("--lists"));
    }
    let times: Vec<Duration> = (0..21).map(|_| timed(|| Shard::open(&path).unwrap()).1).collect();
    let shard = Shard::open(&path).unwrap();
    let photos = shard.header().photo_count;
    let metadata: u64 = shard.sections().iter().filter(|s| is_metadata(&s.name)).map(|s| s.bytes).sum();
    println!(
        "{photos} photos, {} lists, {:.1} bytes a photo, opened in {:.3} ms",
        shard.list_count(),
        (shard.header().file_len - metadata) as f64 / f64::from(photos),
        ms(median(times))
    );
    println!("{:?}", shard.budgets());

    let truth: Vec<Vec<u32>> = queries.iter().map(|query| nearest(&base, query, |_| true)).collect();
    let numbers = Numbers::of(&shard);
    if smoke || args.iter().any(|arg| arg == "--deltas") {
        deltas(
            &shard,
            &path,
            &base,
            &queries,
            &truth,
            folder.path(),
            number("--delta-lists"),
            if smoke { 1 } else { 9 },
        );
        if !smoke {
            return;
        }
    }
    println!("recall@{K} by all byte codes: {:.4}", measure(&shard, &queries, &truth, &numbers, None, &exact(), 1).0);
    if let Some(kib) = resident() {
        println!("resident: {kib} KiB");
    }
    if !args.iter().any(|arg| arg == "--filters") {
        println!("{:>8} {:>7} {:>8} {:>10} {:>10}", "probes", "rerank", "recall", "p50", "p99");
        let rounds = if smoke { 1 } else { 5 };
        let lists = |name: &str, default: &[usize]| match value(name) {
            Some(text) => text.split(',').map(|n| n.parse().unwrap()).collect(),
            None => default.to_vec(),
        };
        for probes in lists("--probes", &[8, 16, 32, 64, 128]) {
            for rerank in lists("--rerank", &[50, 100, 200]) {
                let params = SearchParams::default().with_effort(probes, rerank);
                let (recall, p50, p99) = measure(&shard, &queries, &truth, &numbers, None, &params, rounds);
                println!("{probes:>8} {rerank:>7} {recall:>8.4} {:>7.1} us {:>7.1} us", us(p50), us(p99));
            }
        }
        for target in [0.9, 0.95, 0.97, 0.98, 0.99, 0.995] {
            let params = SearchParams::default().with_recall(target);
            let (recall, p50, p99) = measure(&shard, &queries, &truth, &numbers, None, &params, rounds);
            println!("target {target:<5} -> {recall:>8.4} {:>7.1} us {:>7.1} us", us(p50), us(p99));
        }
    }
    filters(&shard, &base, &queries, &numbers, smoke);
}

/// Compares the shard with a catalogue of the same photos, of which four deltas replace a hundredth each. The rounds of
/// the two take turns.
#[allow(clippy::too_many_arguments)]
fn deltas(
    shard: &Shard,
    path: &Path,
    base: &Rows,
    queries: &[Embedding],
    truth: &[Vec<u32>],
    folder: &Path,
    lists: Option<usize>,
    rounds: usize,
) {
    let photos = base.values.len() / base.dim;
    let each = photos / 100;
    let mut parts = vec![(Shard::open(path).unwrap(), Vec::new())];
    for at in 0..4 {
        let path = folder.join(format!("delta-{at}.magpie"));
        let to = photos - at * each;
        build(&path, base, to - each..to, lists);
        parts.push((Shard::open(&path).unwrap(), Vec::new()));
    }
    let started = cpu_time();
    let catalog = Catalog::new(parts).unwrap();
    println!("opened a base and 4 deltas of {each} in {:.1} ms", ms(cpu_time() - started));
    let rows: Vec<Vec<u32>> = catalog.shards().map(|shard| shard.photo_listings().to_vec()).collect();
    // Ids are numbers, so a listing's row in a delta is its number from the delta's first on.
    let first = |part: usize| if part == 0 { 0 } else { photos - part * each };
    let isa = std::env::var("MAGPIE_ISA").ok().map_or(Isa::best(), |name| name.parse().unwrap());
    let kernels = CodeKernels::new(isa).unwrap();
    let (mut one, mut many) =
        (Searcher::new(shard).with_kernels(kernels), catalog.searcher(SearchScratch::default()).with_kernels(kernels));
    let near = Filter::parse("bucket < 50").unwrap();
    for (name, filter, params) in [
        ("recall 0.90", None, SearchParams::default().with_recall(0.9)),
        ("recall 0.95", None, SearchParams::default().with_recall(0.95)),
        ("recall 0.98", None, SearchParams::default()),
        ("k = 100", None, SearchParams::new(100)),
        ("no repeats", None, SearchParams::default().without_near_duplicates(0.97)),
        ("filter 50 %", Some(&near), SearchParams::default()),
    ] {
        let mut times = [vec![Duration::MAX; queries.len()], vec![Duration::MAX; queries.len()]];
        let (mut hits, mut possible) = ([0, 0], 0);
        for round in 0..rounds {
            for (at, query) in queries.iter().enumerate() {
                for (which, searcher) in [&mut one, &mut many].into_iter().enumerate() {
                    let started = cpu_time();
                    let found = searcher.search(query, filter, &params).unwrap();
                    times[which][at] = times[which][at].min(cpu_time() - started);
                    if round == 0 {
                        let number = |part: usize, photo: u32| first(part) as u32 + rows[part][photo as usize];
                        hits[which] += found.iter().filter(|c| truth[at].contains(&number(c.part, c.photo.0))).count();
                    }
                }
                possible += if round == 0 { truth[at].len() } else { 0 };
            }
        }
        times.iter_mut().for_each(|times| times.sort_unstable());
        let [one, many] = times.map(|times| us(times[times.len() / 2]));
        let [recall, recall_many] = hits.map(|hits| hits as f64 / possible as f64);
        println!(
            "{name:<12} one shard {one:6.1} us, {recall:.4}; with deltas {many:6.1} us, {recall_many:.4}; {:.3}",
            many / one
        );
    }
}

fn exact() -> SearchParams {
    SearchParams::default().with_recall(1.0)
}

/// Measures filters that pass random photos, photos near to one, and all others.
fn filters(shard: &Shard, base: &Rows, queries: &[Embedding], numbers: &Numbers, smoke: bool) {
    let queries = &queries[..queries.len().min(100)];
    let pivot = base.iter().next().unwrap();
    for (name, text) in [
        ("1 %", "bucket < 1"),
        ("10 %", "bucket < 10"),
        ("50 %", "bucket < 50"),
        ("near", "side = near"),
        ("far", "side = far"),
    ] {
        let filter = Filter::parse(text).unwrap();
        let passes = |row: usize| match name {
            "near" => near(pivot, base, row),
            "far" => !near(pivot, base, row),
            _ => bucket(row) < text[9..].parse().unwrap(),
        };
        let truth: Vec<Vec<u32>> = queries.iter().map(|query| nearest(base, query, passes)).collect();
        let rounds = if smoke { 1 } else { 3 };
        for target in [0.97, 0.98, 0.99] {
            let params = SearchParams::default().with_recall(target);
            let (recall, p50, p99) = measure(shard, queries, &truth, numbers, Some(&filter), &params, rounds);
            println!("filter {name:<5} target {target:<5} -> {recall:.4} {:>7.1} us {:>7.1} us", us(p50), us(p99));
        }
    }
}

fn bucket(row: usize) -> usize {
    (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20) as usize % 100
}

/// Returns whether a photo is near to the first one: about one in twenty is.
fn near(pivot: &[f32], base: &Rows, row: usize) -> bool {
    dot(pivot, &base.values[row * base.dim..][..base.dim]) > 0.35
}

fn is_metadata(name: &str) -> bool {
    ["metadata", "column", "schema"].iter().any(|prefix| name.starts_with(prefix))
}

/// The number of each photo in the base, by its row in the shard.
struct Numbers(Vec<u32>);

impl Numbers {
    fn of(shard: &Shard) -> Numbers {
        // Listing ids are numbers with leading zeros, so their rows are these numbers.
        Numbers(shard.photo_listings().to_vec())
    }
}

/// Returns the recall, and the median and 99th percentile of the queries' times (for each query the best of the
/// rounds).
fn measure(
    shard: &Shard,
    queries: &[Embedding],
    truth: &[Vec<u32>],
    numbers: &Numbers,
    filter: Option<&Filter>,
    params: &SearchParams,
    rounds: usize,
) -> (f64, Duration, Duration) {
    let isa = std::env::var("MAGPIE_ISA").ok().map_or(Isa::best(), |name| name.parse().unwrap());
    let mut searcher = Searcher::new(shard).with_kernels(CodeKernels::new(isa).unwrap());
    let mut best = vec![Duration::MAX; queries.len()];
    let (mut hits, mut possible) = (0, 0);
    for round in 0..rounds {
        for (at, query) in queries.iter().enumerate() {
            let started = cpu_time();
            let found = searcher.search(query, filter, params).unwrap();
            best[at] = best[at].min(cpu_time() - started);
            if round == 0 {
                assert!(found.len() >= truth[at].len().min(K), "fewer than could be found");
                hits += found.iter().filter(|c| truth[at].contains(&numbers.0[c.photo.0 as usize])).count();
                possible += truth[at].len();
            }
        }
    }
    best.sort_unstable();
    (hits as f64 / possible as f64, best[best.len() / 2], best[best.len() * 99 / 100])
}

fn build(path: &Path, base: &Rows, rows: std::ops::Range<usize>, lists: Option<usize>) {
    let identity = Identity { model_id: MODEL, catalog: "bench".into(), sequence: 1, writer: "bench".into() };
    let fields = ["bucket", "side"].map(|name| Field { name: name.into(), filter: true }).to_vec();
    let options = lists.map_or_else(BuildOptions::default, |lists| BuildOptions::default().with_lists(lists as u32));
    let mut builder = ShardBuilder::new(identity, base.dim, fields).with_options(options);
    let pivot = base.iter().next().unwrap();
    let started = Instant::now();
    for (row, vector) in base.iter().enumerate().skip(rows.start).take(rows.len()) {
        let side = if near(pivot, base, row) { "near" } else { "far" };
        let values = [bucket(row).to_string(), side.to_owned()];
        builder.add(&format!("{row:08}"), "", &values, &Embedding::new(vector, MODEL).unwrap()).unwrap();
    }
    builder
        .write_with(path, &|step, share| eprintln!("{:6.1} s {step:?} {share:.2}", started.elapsed().as_secs_f64()))
        .unwrap();
    println!("built in {:.1} s", started.elapsed().as_secs_f64());
}

/// Returns the nearest photos by exact products in `f32`.
fn nearest(base: &Rows, query: &Embedding, passes: impl Fn(usize) -> bool) -> Vec<u32> {
    let mut best: Vec<(f32, u32)> = Vec::new();
    for (row, vector) in base.iter().enumerate().filter(|(row, _)| passes(*row)) {
        let score = dot(query.values(), vector);
        if best.len() < K || best[K - 1].0 < score {
            let at = best.partition_point(|(other, _)| *other >= score);
            best.insert(at, (score, row as u32));
            best.truncate(K);
        }
    }
    best.into_iter().map(|(_, row)| row).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    for (a, b) in a.chunks(16).zip(b.chunks(16)) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    sums.iter().sum()
}

/// Generates vectors in clusters around 200 directions, as photos of similar things are.
fn generated(count: usize, seed: u64) -> Rows {
    let mut state = seed;
    let mut noise = || {
        let mut sum = 0.0;
        for _ in 0..4 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            sum += (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        }
        sum
    };
    let mut kinds = 77u64;
    let dim = 128;
    let centroids: Vec<f32> = (0..200 * dim)
        .map(|_| {
            kinds = kinds.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (kinds >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        })
        .collect();
    let mut values = Vec::with_capacity(count * dim);
    for row in 0..count {
        let centroid = &centroids[row % 200 * dim..][..dim];
        let start = values.len();
        values.extend(centroid.iter().map(|c| c + 0.35 * noise()));
        let length = dot(&values[start..], &values[start..]).sqrt();
        values[start..].iter_mut().for_each(|v| *v /= length);
    }
    Rows { dim, values }
}

/// Reads a NumPy file of two-dimensional `f32`.
fn read_npy(path: &Path) -> Rows {
    let bytes = std::fs::read(path).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..header]).into_owned();
    assert!(text.contains("'<f4'") && text.contains("'fortran_order': False"), "{text}");
    let shape = text.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let dim = shape.split(',').nth(1).unwrap().trim().parse().unwrap();
    let values: Vec<f32> = bytes[header..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Rows { dim, values }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Returns the CPU time of this thread, because machines are shared.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Returns the resident memory of this process in KiB.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
