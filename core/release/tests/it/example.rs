//! The release in `tests/example`, of format 1: later versions read it too.
//!
//! `MAGPIE_WRITE_EXAMPLE=1 cargo test -p magpie-release --features publish --test it` writes it. Its files are no shards; its
//! keys are known to everybody.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use magpie_release::publish::{Publication, ReleaseFolder, SecretKey, sign_keys, sign_manifest, verify_release};
use magpie_release::{Delta, Digest, Error, Expected, FORMAT_WRITTEN, KeySet, Manifest, ModelEntry, PackFile, Store};

const NOW: u64 = 1_800_000_000;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn pinned() -> KeySet {
    KeySet::new(vec![key(1).public(), key(2).public()])
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/example")
}

fn write(to: &Path) {
    let folder = ReleaseFolder::open(to).unwrap();
    let add = |bytes: &[u8]| folder.add_bytes(bytes).unwrap();
    let (base, pack) = (add(b"the base"), add(b"{}"));
    let removed = folder.add_removed(&BTreeSet::from(["bag-1".to_owned(), "täsch\n2".to_owned()])).unwrap();
    let deltas = vec![
        Delta { base: base.hash, shard: Some(add(b"a delta")), removed: None },
        Delta { base: base.hash, shard: None, removed: Some(removed) },
    ];
    let pack = vec![PackFile { name: "manifest.json".to_owned(), hash: pack.hash, bytes: pack.bytes }];
    let manifest = Manifest {
        format: FORMAT_WRITTEN,
        catalog: "the example".to_owned(),
        sequence: 7,
        issued: NOW,
        expires: NOW + 86_400,
        model: ModelEntry { id: Digest([9; 32]), pack },
        shard_format: 2,
        base,
        deltas,
    };
    let keys = KeySet { version: 2, sequence: 7, ..KeySet::new(vec![key(3).public()]) };
    folder.add_keys(2, &sign_keys("the example", &keys, &[key(1), key(2)]).unwrap()).unwrap();
    folder.publish(&sign_manifest(&manifest, &[key(3)]).unwrap(), &Publication::default(), 1).unwrap();
    fs::remove_dir_all(folder.work()).unwrap();
}

/// Path and bytes of each file.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for (folder, prefix) in [(folder.to_owned(), ""), (folder.join("files"), "files/")] {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            found.push((name, fs::read(entry.path()).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn the_committed_release_is_read_and_written_byte_for_byte() {
    if std::env::var_os("MAGPIE_WRITE_EXAMPLE").is_some() {
        let _ = fs::remove_dir_all(example());
        write(&example());
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    assert_eq!(files(folder.path()), files(&example()));
    assert_eq!(verify_release(&example(), Some(&pinned())).unwrap().sequence, 7);
    assert!(verify_release(&example(), Some(&KeySet::new(vec![key(4).public()]))).is_err());
}

#[test]
fn the_committed_release_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let mut update = store.update(Expected::new(Some("the example".to_owned()), pinned(), 2)).unwrap();
    let read = |path: &str| fs::read(example().join(path)).unwrap();
    assert!(matches!(update.manifest(&read("manifest"), NOW), Err(Error::Untrusted { .. })));
    let keys = read(&update.keys_path());
    update.add_keys(&keys).unwrap();
    assert_eq!(update.manifest(&read("manifest"), NOW).unwrap().files, 4);
    while let Some(fetch) = update.next_fetch().unwrap() {
        update.receive(0, &read(&fetch.path)).unwrap();
    }
    update.install().unwrap();
    let current = store.current().unwrap().unwrap();
    assert_eq!((current.sequence, current.pack.len(), current.parts.len()), (7, 1, 3));
    let removed = fs::read(current.parts[2].removed.as_ref().unwrap()).unwrap();
    assert_eq!(magpie_release::read_removed(&removed).unwrap(), ["bag-1", "täsch\n2"]);
}
