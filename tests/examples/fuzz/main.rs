//! Fuzzes the parsers of untrusted bytes: damages the seeds of a target and uses the results as an app would.
//!
//! ```text
//! cargo run --example fuzz -- loader --minutes 10 --seed 1
//! cargo run --example fuzz -- shard --minutes 10
//! cargo run --example fuzz -- shard --write-seeds
//! cargo run --example fuzz -- loader --replay target/fuzz/panic-1-42.onnx
//! ```
//!
//! A finding is an input that ends the process, causes a panic that leaves the library or comes from its own code, or
//! takes more than two seconds of CPU time or too much memory. A target may have more rules. Findings are written to
//! `target/fuzz`. The work is done in a child process, since a stack overflow ends the process instead of panicking.

mod loader;
mod shard;

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use magpie_tests::memory::{Counting, measured};
use magpie_tests::mutation::Random;
use magpie_tests::repository;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Fuzzes the parsers of untrusted bytes
#[derive(Parser, Clone)]
struct Options {
    /// What to fuzz
    target: Name,
    /// How long to run, in minutes of wall time
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The seed of the sequence of inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the seeds and exit
    #[arg(long)]
    write_seeds: bool,
    /// Use one file and exit
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Internal: run as the child process and start at this input
    #[arg(long, hide = true)]
    from: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Network files: loading and one run
    Loader,
    /// Catalogue shards: opening, verifying, searching, reading listings
    Shard,
}

/// What went wrong with an input: a short kind, used in file names, and a description.
type Finding = (&'static str, String);

/// A kind of input to fuzz.
struct Target {
    name: &'static str,
    extension: &'static str,
    /// The most memory in bytes that one use may take.
    memory: usize,
    /// The seeds that are written to the repository, each with its name.
    make_seeds: fn() -> Vec<(String, Vec<u8>)>,
    /// Seeds too large for the repository.
    large_seeds: fn() -> Vec<Vec<u8>>,
    damage: fn(&[u8], &mut Random) -> Vec<u8>,
    /// Uses the input; returns whether it was accepted.
    treat: fn(&[u8]) -> bool,
    /// Further rules, checked if all others hold.
    compare: fn(&[u8]) -> Result<(), Finding>,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The most CPU time that one use may take.
const TIME: Duration = Duration::from_secs(2);
/// CPU time after which the child counts the input as hung and exits.
const HANG: Duration = Duration::from_secs(60);

fn main() -> Outcome<()> {
    let options = Options::parse();
    let target = match options.target {
        Name::Loader => loader::TARGET,
        Name::Shard => shard::TARGET,
    };
    if options.write_seeds {
        let folder = target.seed_folder();
        std::fs::create_dir_all(&folder)?;
        for (name, bytes) in (target.make_seeds)() {
            std::fs::write(folder.join(format!("{name}.{}", target.extension)), bytes)?;
        }
        return Ok(());
    }
    if let Some(file) = &options.replay {
        println!("{:?}", target.finding(&std::fs::read(file)?));
        return Ok(());
    }
    match options.from {
        Some(from) => child(&target, &options, from),
        None => parent(&target, &options),
    }
}

/// Starts child processes until the time is over.
fn parent(target: &Target, options: &Options) -> Outcome<()> {
    let started = Instant::now();
    let (mut at, mut findings) = (0, 0);
    while started.elapsed().as_secs_f64() < options.minutes * 60.0 {
        let left = options.minutes - started.elapsed().as_secs_f64() / 60.0;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([target.name, "--minutes", &left.to_string(), "--seed", &options.seed.to_string()]);
        let status = command.args(["--from", &at.to_string()]).status()?;
        let state = std::fs::read_to_string(target.state(options.seed)?)?;
        let mut state = state.split_whitespace().map(str::parse::<u64>);
        (at, findings) = match (state.next(), state.next()) {
            (Some(at), Some(found)) => (at?, findings + found?),
            _ => return Err("the child left no state".into()),
        };
        if !status.success() {
            let file = target.keep("ended", options.seed, at, &target.input(&target.seeds()?, options.seed, at))?;
            println!("input {at}: the process ended ({status}): {}", file.display());
            findings += 1;
            at += 1;
        }
    }
    println!("{at} inputs, {findings} findings");
    if findings > 0 { Err("there are findings".into()) } else { Ok(()) }
}

/// When the current input was started, in milliseconds of the process's CPU time.
static BEGUN: AtomicU64 = AtomicU64::new(0);

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn child(target: &Target, options: &Options, from: u64) -> Outcome<()> {
    let (started, state, seeds) = (Instant::now(), target.state(options.seed)?, target.seeds()?);
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            if cpu().as_millis() as u64 > BEGUN.load(Ordering::Relaxed) + HANG.as_millis() as u64 {
                std::process::exit(3);
            }
        }
    });
    let (mut at, mut found, mut accepted) = (from, 0u64, 0u64);
    while started.elapsed().as_secs_f64() < options.minutes * 60.0 {
        // If this input ends the process, the parent reads its number here to make the input again.
        std::fs::write(&state, format!("{at} {found}"))?;
        BEGUN.store(cpu().as_millis() as u64, Ordering::Relaxed);
        let bytes = target.input(&seeds, options.seed, at);
        match target.finding(&bytes) {
            Ok(runs) => accepted += u64::from(runs),
            Err((kind, text)) => {
                found += 1;
                let file = target.keep(kind, options.seed, at, &bytes)?;
                println!("input {at}: {text}: {}", file.display());
            }
        }
        at += 1;
        if (at - from).is_multiple_of(5000) {
            println!("{at} inputs, {accepted} of {} were accepted, {found} findings, {:?}", at - from, cpu());
        }
    }
    println!("{at} inputs, {accepted} of {} were accepted, {found} findings, {:?}", at - from, cpu());
    std::fs::write(state, format!("{at} {found}"))?;
    Ok(())
}

/// Where the library's own code panicked, even if the panic was caught.
static PANICKED: Mutex<Option<String>> = Mutex::new(None);

impl Target {
    fn seed_folder(&self) -> PathBuf {
        repository().join("tests/fuzz").join(self.name)
    }

    fn seeds(&self) -> Outcome<Vec<Vec<u8>>> {
        let mut files =
            std::fs::read_dir(self.seed_folder())?.map(|entry| Ok(entry?.path())).collect::<Outcome<Vec<_>>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == self.extension));
        files.sort();
        let written = files.iter().map(|file| Ok(std::fs::read(file)?));
        written.chain((self.large_seeds)().into_iter().map(Ok)).collect()
    }

    fn folder() -> Outcome<PathBuf> {
        let folder = repository().join("target/fuzz");
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The file with the number of the child's current input and the count of its findings.
    fn state(&self, seed: u64) -> Outcome<PathBuf> {
        Ok(Self::folder()?.join(format!("state-{}-{seed}", self.name)))
    }

    /// Writes a finding to a file and returns its path.
    fn keep(&self, kind: &str, seed: u64, at: u64, bytes: &[u8]) -> Outcome<PathBuf> {
        let file = Self::folder()?.join(format!("{kind}-{seed}-{at}.{}", self.extension));
        std::fs::write(&file, bytes)?;
        Ok(file)
    }

    /// Input `at` of the sequence.
    fn input(&self, seeds: &[Vec<u8>], seed: u64, at: u64) -> Vec<u8> {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at);
        let seed = random.of(seeds).cloned().unwrap_or_default();
        (self.damage)(&seed, &mut random)
    }

    /// Uses the input and returns whether it was accepted, or the finding.
    fn finding(&self, bytes: &[u8]) -> Result<bool, Finding> {
        set_hook(Box::new(|panic| {
            let own = panic.location().filter(|place| Path::new(place.file()).starts_with("core"));
            if let (Some(place), Ok(mut panicked)) = (own, PANICKED.lock()) {
                *panicked = Some(format!("{place}"));
            }
        }));
        let before = cpu();
        let (accepted, used) = measured(|| catch_unwind(AssertUnwindSafe(|| (self.treat)(bytes))));
        let took = cpu() - before;
        if let Some(place) = PANICKED.lock().ok().and_then(|mut panicked| panicked.take()) {
            return Err(("panic", format!("the library panicked at {place}")));
        }
        let Ok(accepted) = accepted else { return Err(("panic", "a panic left the library".to_owned())) };
        if took > TIME {
            return Err(("slow", format!("{took:?}")));
        }
        if used.peak > self.memory {
            return Err(("large", format!("{} MB", used.peak >> 20)));
        }
        (self.compare)(bytes).map(|()| accepted)
    }
}
