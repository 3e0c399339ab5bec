//! Fuzzes the loader of networks: damages the seeds of `tests/fuzz/loader/`, loads what comes of them by a manifest
//! that fits, and runs it.
//!
//! ```text
//! cargo run --example fuzz_loader -- --minutes 10 --seed 1
//! cargo run --example fuzz_loader -- --write-seeds
//! cargo run --example fuzz_loader -- --replay target/fuzz/panic-1-42.onnx
//! ```
//!
//! A finding is an input by which the process ends, a panic leaves the library or comes from its own code, loading and
//! one run take more than two seconds of CPU or more than 512 MB, or tract runs what we do not. It is written to
//! `target/fuzz`. The work is done by a child process, since a full stack is no panic.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use magpie_core::model::{LoadOptions, Model, Pack};
use magpie_core::recipe::InputTensor;
use magpie_tests::memory::{Counting, measured};
use magpie_tests::mutation::{Random, mutated};
use magpie_tests::onnx_nets::{DIM, pack};
use magpie_tests::{net_kinds, repository};
use prost::Message;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Fuzzes the loader of networks
#[derive(Parser, Clone)]
struct Options {
    /// How long, by the clock
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The first number of the sequence of inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the seeds and end
    #[arg(long)]
    write_seeds: bool,
    /// Load and run one file and end
    #[arg(long)]
    replay: Option<PathBuf>,
    /// For the program itself: go on with this input
    #[arg(long, hide = true)]
    from: Option<u64>,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

const TIME: Duration = Duration::from_secs(2);
/// The child gives up: the input hangs.
const HANG: Duration = Duration::from_secs(60);
const MEMORY: usize = 512 << 20;
/// Height and width of the inputs: those of the seeds differ, but the manifest's size counts.
const SIZE: [usize; 2] = [12, 12];

fn main() -> Outcome<()> {
    let options = Options::parse();
    if options.write_seeds {
        return write_seeds();
    }
    if let Some(file) = &options.replay {
        println!("{:?}", finding(&std::fs::read(file)?));
        return Ok(());
    }
    if let Some(from) = options.from {
        return child(&options, from);
    }
    let (started, folder) = (Instant::now(), folder()?);
    let (mut at, mut findings) = (0, 0);
    while started.elapsed().as_secs_f64() < options.minutes * 60.0 {
        let left = options.minutes - started.elapsed().as_secs_f64() / 60.0;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--minutes", &left.to_string(), "--seed", &options.seed.to_string(), "--from", &at.to_string()]);
        let status = command.status()?;
        let state = std::fs::read_to_string(folder.join(format!("state-{}", options.seed)))?;
        let mut state = state.split_whitespace().map(str::parse::<u64>);
        (at, findings) = match (state.next(), state.next()) {
            (Some(at), Some(found)) => (at?, findings + found?),
            _ => return Err("the child left no state".into()),
        };
        if !status.success() {
            let file = folder.join(format!("ended-{}-{at}.onnx", options.seed));
            std::fs::write(&file, input(&seeds()?, options.seed, at))?;
            println!("input {at}: the process ended ({status}): {}", file.display());
            findings += 1;
            at += 1;
        }
    }
    println!("{at} inputs, {findings} findings");
    if findings > 0 { Err("there are findings".into()) } else { Ok(()) }
}

fn folder() -> Outcome<PathBuf> {
    let folder = repository().join("target/fuzz");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn write_seeds() -> Outcome<()> {
    let folder = repository().join("tests/fuzz/loader");
    std::fs::create_dir_all(&folder)?;
    for case in net_kinds::all() {
        std::fs::write(folder.join(format!("{}.onnx", case.name)), case.net.proto.encode_to_vec())?;
    }
    Ok(())
}

fn seeds() -> Outcome<Vec<Vec<u8>>> {
    let folder = repository().join("tests/fuzz/loader");
    let mut files = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Outcome<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    files.iter().map(|file| Ok(std::fs::read(file)?)).collect()
}

/// Input `at` of the sequence.
fn input(seeds: &[Vec<u8>], seed: u64, at: u64) -> Vec<u8> {
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at);
    let seed = random.of(seeds).cloned().unwrap_or_default();
    mutated(&seed, &mut random)
}

/// When the current input was begun, in milliseconds of the process's CPU time.
static BEGUN: AtomicU64 = AtomicU64::new(0);

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn child(options: &Options, from: u64) -> Outcome<()> {
    let (started, folder, seeds) = (Instant::now(), folder()?, seeds()?);
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            if cpu().as_millis() as u64 > BEGUN.load(Ordering::Relaxed) + HANG.as_millis() as u64 {
                std::process::exit(3);
            }
        }
    });
    let (mut at, mut found, mut loaded) = (from, 0u64, 0u64);
    while started.elapsed().as_secs_f64() < options.minutes * 60.0 {
        // The parent makes the same input again where this one ends the process.
        std::fs::write(folder.join(format!("state-{}", options.seed)), format!("{at} {found}"))?;
        BEGUN.store(cpu().as_millis() as u64, Ordering::Relaxed);
        let bytes = input(&seeds, options.seed, at);
        match finding(&bytes) {
            Ok(runs) => loaded += u64::from(runs),
            Err((kind, text)) => {
                found += 1;
                let file = folder.join(format!("{kind}-{}-{at}.onnx", options.seed));
                std::fs::write(&file, &bytes)?;
                println!("input {at}: {text}: {}", file.display());
            }
        }
        at += 1;
        if (at - from).is_multiple_of(5000) {
            println!("{at} inputs, {loaded} of {} could be run, {found} findings", at - from);
        }
    }
    std::fs::write(folder.join(format!("state-{}", options.seed)), format!("{at} {found}"))?;
    Ok(())
}

/// Where the library itself panicked, even if it caught that.
static PANICKED: Mutex<Option<String>> = Mutex::new(None);

/// Whether the network could be run, or what is wrong about how it was treated: a word and a text.
fn finding(network: &[u8]) -> Result<bool, (&'static str, String)> {
    set_hook(Box::new(|panic| {
        let own = panic.location().filter(|place| is_ours(Path::new(place.file())));
        if let (Some(place), Ok(mut panicked)) = (own, PANICKED.lock()) {
            *panicked = Some(format!("{place}"));
        }
    }));
    let before = cpu();
    let network = pack(network.to_vec(), SIZE, DIM);
    let (own, used) = measured(|| catch_unwind(AssertUnwindSafe(|| outcome(&network, true))));
    let took = cpu() - before;
    let Ok(own) = own else { return Err(("panic", "a panic left the library".to_owned())) };
    if let Some(place) = PANICKED.lock().ok().and_then(|mut panicked| panicked.take()) {
        return Err(("caught", format!("a panic of our own at {place}")));
    }
    if took > TIME {
        return Err(("slow", format!("{took:?}")));
    }
    if used.peak > MEMORY {
        return Err(("large", format!("{} MB", used.peak >> 20)));
    }
    // A quarter also against tract.
    if network.network().len().is_multiple_of(4) {
        let tract = catch_unwind(AssertUnwindSafe(|| outcome(&network, false))).unwrap_or(Err(String::new()));
        if let (Err(own), Ok(_)) = (&own, &tract) {
            return Err(("refused", format!("tract runs it, we do not: {own}")));
        }
        if let (Ok(own), Ok(tract)) = (&own, &tract)
            && own.iter().zip(tract).any(|(a, b)| (a - b).abs() > 0.1 * b.abs().max(1.0))
        {
            return Err(("differs", format!("{own:?}, of tract {tract:?}")));
        }
    }
    Ok(own.is_ok())
}

fn is_ours(file: &Path) -> bool {
    file.starts_with("core/src") || file.ends_with("core/src")
}

fn outcome(pack: &Pack, fuse: bool) -> Result<Vec<f32>, String> {
    let mut options = LoadOptions::default();
    options.fuse = fuse;
    let model = Model::load_with(pack, &options).map_err(|e| e.to_string())?;
    let (width, height) = (pack.manifest().input.width, pack.manifest().input.height);
    let data = (0..3 * width * height).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    let mut session = model.session();
    session.run(&InputTensor { width, height, data }).map_err(|e| e.to_string())?;
    Ok(session.raw(0).to_vec())
}
