//! CPU time of a phone's update: the base is installed, and one delta comes. The bytes of the delta are in memory already.
//!
//! `cargo run --release -p magpie-release --features publish --example update_cost`

use std::error::Error;
use std::fs;
use std::path::Path;

use magpie_release::publish::{Publication, ReleaseFolder, SecretKey, sign_manifest};
use magpie_release::{
    Delta, Digest, Expected, FORMAT_WRITTEN, FileEntry, KeySet, MANIFEST_FILE, Manifest, ModelEntry, Store,
};
use rustix::time::{ClockId, clock_gettime};

const NOW: u64 = 1_800_000_000;
/// As of 100,000 listings.
const BASE_BYTES: usize = 20_000_000;
/// A delta of 1,000 listings, of which a quarter shrinks to nothing.
const DELTA_BYTES: usize = 235_000;
const RUNS: u64 = 41;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (served, phone) = (folder.path().join("release"), folder.path().join("phone"));
    let (release, store) = (ReleaseFolder::open(&served)?, Store::at(&phone));
    let base = release.add_bytes(&bytes(0, BASE_BYTES))?;
    publish(&release, 1, base, None)?;
    update(&store, &served)?;
    for (name, is_packed) in [("as it is", false), ("packed", true)] {
        let mut times = Vec::new();
        let mut fetched = 0;
        for run in 1..=RUNS {
            let sequence = run + if is_packed { 1 + RUNS } else { 1 };
            let mut shard = bytes(sequence, DELTA_BYTES);
            shard[DELTA_BYTES * 3 / 4..].fill(0);
            let delta = release.add_bytes(&shard)?;
            let delta = if is_packed { release.add_packed(delta)? } else { delta };
            publish(&release, sequence, base, Some(delta))?;
            let (cpu, bytes) = update(&store, &served)?;
            times.push(cpu);
            fetched = bytes;
        }
        times.sort_by(f64::total_cmp);
        println!(
            "delta {name}: {fetched} bytes fetched, median of {RUNS} updates {:.2} ms of CPU time, worst {:.2} ms",
            times[times.len() / 2],
            times[times.len() - 1]
        );
    }
    Ok(())
}

fn key() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

/// Bytes that do not shrink.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn publish(
    release: &ReleaseFolder,
    sequence: u64,
    base: FileEntry,
    delta: Option<FileEntry>,
) -> Result<(), Box<dyn Error>> {
    let manifest = Manifest {
        format: FORMAT_WRITTEN,
        catalog: "shop".to_owned(),
        sequence,
        issued: NOW,
        expires: NOW + 1000,
        model: ModelEntry { id: Digest([7; 32]), pack: Vec::new() },
        shard_format: 2,
        base,
        deltas: delta.iter().map(|shard| Delta { base: base.hash, shard: Some(*shard), removed: None }).collect(),
    };
    Ok(release.publish(&sign_manifest(&manifest, &[key()])?, &Publication::default(), 10)?)
}

/// Updates as a phone does; returns the CPU time in milliseconds, without that of reading the release, and the bytes fetched.
fn update(store: &Store, from: &Path) -> Result<(f64, usize), Box<dyn Error>> {
    let manifest = fs::read(from.join(MANIFEST_FILE))?;
    let start = cpu_ms();
    let mut update = store.update(Expected::new(None, KeySet::new(vec![key().public()]), 2))?;
    update.manifest(&manifest, NOW)?;
    let (mut reading, mut fetched) = (0.0, 0);
    while let Some(fetch) = update.next_fetch()? {
        let begin = cpu_ms();
        let bytes = fs::read(from.join(&fetch.path))?;
        reading += cpu_ms() - begin;
        let mut offset = 0;
        // As a socket hands them over.
        for piece in bytes.chunks(16 << 10) {
            update.receive(offset, piece)?;
            offset += piece.len() as u64;
        }
        fetched += bytes.len();
    }
    update.install()?;
    // The next search opens what is installed.
    store.current()?;
    Ok((cpu_ms() - start - reading, fetched))
}

fn cpu_ms() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}
