//! A process that updates is killed at random moments, and the catalogue opens each time.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use magpie_release::publish::{SecretKey, sign_manifest};
use magpie_release::{
    Delta, Digest, Error, Expected, FORMAT_WRITTEN, FileEntry, KeySet, Manifest, ModelEntry, Packed, Store, Update,
};

const FOLDER: &str = "MAGPIE_KILLED_FOLDER";
const NOW: u64 = 1_800_000_000;

fn key() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

fn expected() -> Expected {
    Expected::new(Some("shop".to_owned()), KeySet::new(vec![key().public()]), 2)
}

/// The manifest and the files of a publication: two deltas of its own, one of them packed, and a base that four share.
fn release(sequence: u64) -> (Vec<u8>, HashMap<String, Vec<u8>>) {
    let mut files = HashMap::new();
    let mut file = |seed: u64, length: usize| {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        let file = FileEntry::new(Digest::of(&bytes), length as u64);
        files.insert(file.path(), bytes);
        file
    };
    let base = file(sequence / 4, 150_000);
    let delta = |shard| Delta { base: base.hash, shard: Some(shard), removed: None };
    let deltas = vec![delta(file(1 << 40 | sequence, 20_000)), delta(packed(sequence, &mut files))];
    let manifest = Manifest {
        format: FORMAT_WRITTEN,
        catalog: "shop".to_owned(),
        sequence,
        issued: NOW,
        expires: NOW + 1000,
        model: ModelEntry { id: Digest([7; 32]), pack: Vec::new() },
        shard_format: 2,
        base,
        deltas,
    };
    (sign_manifest(&manifest, &[key()]).unwrap(), files)
}

/// A file that is fetched in its packed form.
fn packed(sequence: u64, files: &mut HashMap<String, Vec<u8>>) -> FileEntry {
    let bytes = sequence.to_le_bytes().repeat(5000);
    let frame = zstd::bulk::compress(&bytes, 1).unwrap();
    let packed = Packed { hash: Digest::of(&frame), bytes: frame.len() as u64 };
    let file = FileEntry { packed: Some(packed), ..FileEntry::new(Digest::of(&bytes), bytes.len() as u64) };
    files.insert(file.wire().path(), frame);
    file
}

/// Installs the publication after the one that was seen last.
fn install_next(store: &Store) -> u64 {
    let offer = |update: &mut Update, sequence| update.manifest(&release(sequence).0, NOW);
    let mut update = store.update(expected()).unwrap();
    let next = store.current().unwrap().map_or(1, |current| current.sequence + 1);
    let sequence = match offer(&mut update, next) {
        Ok(plan) => plan.sequence,
        Err(Error::Rollback { seen, .. }) => offer(&mut update, seen).unwrap().sequence,
        Err(other) => panic!("{other}"),
    };
    let (_, files) = release(sequence);
    while let Some(fetch) = update.next_fetch().unwrap() {
        let mut offset = fetch.offset as usize;
        for piece in files[&fetch.path][offset..].chunks(4096) {
            update.receive(offset as u64, piece).unwrap();
            offset += piece.len();
        }
    }
    update.install().unwrap();
    sequence
}

/// The child process: updates until it is killed. Without its variable, there is nothing to do.
#[test]
fn child_that_updates_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = Store::at(folder);
    println!("\nready");
    loop {
        install_next(&store);
    }
}

fn child(folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "killed::child_that_updates_until_it_is_killed", "--nocapture", "--test-threads=1"]);
    let mut child = command.env(FOLDER, folder).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"), "the child did not start");
    child
}

#[test]
fn a_process_killed_at_any_moment_leaves_a_whole_catalogue() {
    let long = std::env::var_os("MAGPIE_LONG").is_some_and(|long| long == "1");
    let kills = if long { 10_000 } else { 30 };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().join("catalog"));
    let mut last = install_next(&store);
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let mut random = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let (mut advanced, mut half) = (0, 0);
    for kill in 0..kills {
        let mut child = child(store.folder());
        let mut bytes = [0; 4];
        random.fill(&mut bytes);
        std::thread::sleep(Duration::from_micros(u64::from(u32::from_le_bytes(bytes) % 30_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        // Reads every byte, and looks at the signature.
        let manifest = store.verify(Some(&expected().keys)).unwrap_or_else(|e| panic!("kill {kill}, seed {seed}: {e}"));
        let current = store.current().unwrap().unwrap();
        assert!(current.sequence == manifest.sequence && current.sequence >= last, "kill {kill}, seed {seed}");
        advanced += usize::from(current.sequence > last);
        half += usize::from(std::fs::read_dir(store.folder().join("parts")).unwrap().next().is_some());
        last = current.sequence;
    }
    // And it goes on from whatever the last one has left.
    assert!(install_next(&store) > last);
    println!("{kills} kills: {advanced} after an installation, {half} in the middle of a file; publication {last}");
}
