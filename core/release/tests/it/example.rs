//! The releases in `tests/example` and `tests/example-packed`, of format 1: later versions read them too.
//!
//! `MAGPIE_WRITE_EXAMPLE=1 cargo test -p magpie-release --features publish --test it` writes them. Their files are no shards;
//! their keys are known to everybody.

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

/// Name of an example, and whether its deltas are packed.
const EXAMPLES: [(&str, bool); 2] = [("example", false), ("example-packed", true)];

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// A delta, long enough to be packed in the example where it is.
fn delta(packed: bool) -> Vec<u8> {
    b"a delta".repeat(if packed { 100 } else { 1 })
}

fn write(to: &Path, packed: bool) {
    let folder = ReleaseFolder::open(to).unwrap();
    let add = |bytes: &[u8]| folder.add_bytes(bytes).unwrap();
    let (base, pack) = (add(b"the base"), add(b"{}"));
    let removed = folder.add_removed(&BTreeSet::from(["bag-1".to_owned(), "täsch\n2".to_owned()])).unwrap();
    let deltas = vec![
        Delta { base: base.hash, shard: Some(folder.add_packed(add(&delta(packed))).unwrap()), removed: None },
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

/// Path and bytes of each file, and the manifest. Of packed files, only what is read from them: another version of zstd
/// makes other frames, which have other hashes in the manifest.
fn content(folder: &Path) -> (Vec<(String, Vec<u8>)>, Manifest) {
    let mut manifest = verify_release(folder, None).unwrap();
    let mut found = files(folder);
    for shard in manifest.deltas.iter_mut().filter_map(|delta| delta.shard.as_mut()) {
        if shard.packed.is_some() {
            let frame = shard.wire().path();
            found.retain(|(path, _)| *path != frame && path != "manifest");
            shard.packed = None;
        }
    }
    (found, manifest)
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
fn the_committed_release_is_read_and_written_in_the_same_way() {
    for (name, packed) in EXAMPLES {
        let committed = example(name);
        if std::env::var_os("MAGPIE_WRITE_EXAMPLE").is_some() {
            let _ = fs::remove_dir_all(&committed);
            write(&committed, packed);
        }
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), packed);
        assert_eq!(content(folder.path()), content(&committed), "{name}");
        let is_packed = |folder: &Path| verify_release(folder, None).unwrap().deltas[0].shard.unwrap().packed.is_some();
        assert_eq!((is_packed(folder.path()), is_packed(&committed)), (packed, packed));
        assert_eq!(verify_release(&committed, Some(&pinned())).unwrap().sequence, 7);
        assert!(verify_release(&committed, Some(&KeySet::new(vec![key(4).public()]))).is_err());
    }
}

#[test]
fn a_packed_form_that_holds_something_else_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), true);
    let manifest = verify_release(folder.path(), None).unwrap();
    let wire = manifest.deltas[0].shard.unwrap().wire();
    fs::write(folder.path().join(wire.path()), vec![0; wire.bytes as usize]).unwrap();
    assert!(matches!(verify_release(folder.path(), None), Err(Error::Damaged { .. })));
}

#[test]
fn the_committed_release_is_installed() {
    for (name, packed) in EXAMPLES {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let mut update = store.update(Expected::new(Some("the example".to_owned()), pinned(), 2)).unwrap();
        let read = |path: &str| fs::read(example(name).join(path)).unwrap();
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
        assert_eq!(fs::read(current.parts[1].shard.as_ref().unwrap()).unwrap(), delta(packed));
        let removed = fs::read(current.parts[2].removed.as_ref().unwrap()).unwrap();
        assert_eq!(magpie_release::read_removed(&removed).unwrap(), ["bag-1", "täsch\n2"]);
    }
}
