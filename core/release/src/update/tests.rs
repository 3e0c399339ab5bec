//! Updates as hosts perform them, on the real file system.

use std::fs;

use super::*;
use crate::testing::{NOW, Release, expected, model};

fn folder() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().join("catalog"));
    (folder, store)
}

fn names(store: &Store, folder: &str) -> usize {
    fs::read_dir(store.folder().join(folder)).unwrap().count()
}

#[test]
fn a_release_is_installed_and_its_parts_come_in_order() {
    let (_folder, store) = folder();
    assert_eq!(store.current().unwrap(), None);
    let release = Release::new(3, b"base").with_delta(Some(b"new"), Some(b"gone")).with_delta(None, Some(b"more"));
    let mut update = store.update(expected()).unwrap();
    let plan = update.manifest(&release.signed(), NOW).unwrap();
    assert_eq!((plan.files, plan.bytes, plan.is_installed), (4, 4 + 3 + 4 + 4, false));
    assert!(matches!(store.update(expected()), Err(Error::Busy { .. })));
    release.feed(&mut update, 2).unwrap();
    assert_eq!(store.current().unwrap(), None);
    update.install().unwrap();

    let current = store.current().unwrap().unwrap();
    assert_eq!((current.sequence, current.model, current.pack.len()), (3, model(), 0));
    let bytes = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| fs::read(path).unwrap());
    let parts: Vec<_> = current.parts.iter().map(|part| (bytes(&part.shard), bytes(&part.removed))).collect();
    let some = |bytes: &[u8]| Some(bytes.to_vec());
    assert_eq!(parts, [(some(b"base"), None), (some(b"new"), some(b"gone")), (None, some(b"more"))]);
    let mut again = store.update(expected()).unwrap();
    assert!(again.manifest(&release.signed(), NOW).unwrap().is_installed);
    assert_eq!(again.next_fetch().unwrap(), None);
    again.install().unwrap();
    assert!(release.is_in(&store));
}

#[test]
fn an_update_fetches_only_what_is_new_and_old_files_go_one_release_later() {
    let (_folder, store) = folder();
    let [a, b] = [Release::new(1, b"base"), Release::new(2, b"base").with_delta(Some(b"delta"), None)];
    a.install(&store, 9).unwrap();
    let mut update = store.update(expected()).unwrap();
    let plan = update.manifest(&b.signed(), NOW).unwrap();
    assert_eq!((plan.files, plan.bytes), (1, 5));
    b.feed(&mut update, 9).unwrap();
    update.install().unwrap();
    // A search that opened the release before may open its files again.
    let c = Release::new(3, b"new base");
    c.install(&store, 9).unwrap();
    assert_eq!(names(&store, FILES), 3);
    c.install(&store, 9).unwrap();
    assert_eq!((names(&store, FILES), names(&store, PARTS)), (1, 0));
}

#[test]
fn a_packed_file_is_fetched_in_its_shorter_form() {
    let (_folder, store) = folder();
    let delta = [b'd'; 5000];
    let packed = zstd::bulk::compress(&delta, 1).unwrap();
    let release = Release::new(2, b"base").with_packed_delta(&delta, &packed);
    let mut update = store.update(expected()).unwrap();
    let plan = update.manifest(&release.signed(), NOW).unwrap();
    let wire = 4 + packed.len() as u64;
    assert_eq!((plan.files, plan.bytes, plan.space), (2, wire, wire + 5000));
    update.next_fetch().unwrap();
    update.receive(0, b"base").unwrap();
    let fetch = update.next_fetch().unwrap().unwrap();
    assert_eq!((fetch.offset, fetch.bytes), (0, packed.len() as u64));
    update.receive(0, &packed[..7]).unwrap();
    drop(update);
    // It goes on after an interruption like any other.
    let mut update = store.update(expected()).unwrap();
    assert_eq!(update.manifest(&release.signed(), NOW).unwrap().bytes, packed.len() as u64 - 7);
    release.feed(&mut update, 4).unwrap();
    update.install().unwrap();
    assert!(release.is_in(&store));
    // The packed form stays, so that the folder can be served on, until the file goes.
    assert_eq!((names(&store, FILES), names(&store, PARTS)), (3, 0));
    let wire = release.manifest.deltas[0].shard.unwrap().wire();
    assert_eq!(fs::read(store.file(&wire)).unwrap(), packed);
    let shard = store.current().unwrap().unwrap().parts[1].shard.clone().unwrap();
    assert_eq!(fs::read(shard).unwrap(), delta);
    for left in [3, 1] {
        Release::new(3, b"base").install(&store, 9).unwrap();
        assert_eq!(names(&store, FILES), left);
    }
}

#[test]
fn an_interrupted_update_goes_on_where_it_stopped() {
    let (_folder, store) = folder();
    let base: Vec<u8> = (0..10_000).map(|i| (i * i) as u8).collect();
    let release = Release::new(1, &base);
    for stop in [1, 5000, 9999] {
        let mut update = store.update(expected()).unwrap();
        let plan = update.manifest(&release.signed(), NOW).unwrap();
        let fetch = update.next_fetch().unwrap().unwrap();
        assert_eq!(plan.bytes, fetch.bytes - fetch.offset);
        update.receive(fetch.offset, &base[fetch.offset as usize..stop]).unwrap();
        assert_eq!(update.next_fetch().unwrap().unwrap().offset, stop as u64);
        let wrong = update.receive(3, b"x").unwrap_err();
        assert!(matches!(wrong, Error::WrongOffset { found: 3, .. }));
        assert_eq!(update.next_fetch().unwrap().unwrap().offset, stop as u64);
    }
    release.install(&store, 100).unwrap();
    assert!(release.is_in(&store));
}

#[test]
fn a_server_that_sends_the_whole_file_again_is_understood() {
    let (_folder, store) = folder();
    let release = Release::new(1, b"the whole file");
    let mut update = store.update(expected()).unwrap();
    update.manifest(&release.signed(), NOW).unwrap();
    update.next_fetch().unwrap();
    assert!(!update.receive(0, b"the wh").unwrap());
    assert!(!update.receive(0, b"the whole").unwrap());
    assert!(update.receive(9, b" file").unwrap());
    update.install().unwrap();
    assert!(release.is_in(&store));
}

#[test]
fn an_older_partial_file_takes_no_space_once_it_is_not_needed() {
    let (_folder, store) = folder();
    let mut update = store.update(expected()).unwrap();
    update.manifest(&Release::new(1, b"old base").signed(), NOW).unwrap();
    update.next_fetch().unwrap();
    update.receive(0, b"old").unwrap();
    drop(update);
    assert_eq!(names(&store, PARTS), 1);
    store.update(expected()).unwrap().manifest(&Release::new(2, b"new base").signed(), NOW).unwrap();
    assert_eq!(names(&store, PARTS), 0);
}

#[test]
fn a_new_model_comes_with_its_pack_or_not_at_all() {
    let (_folder, store) = folder();
    let release =
        Release::new(1, b"base").with_pack(Digest([8; 32]), &[("manifest.json", b"{}"), ("model.bin", b"net")]);
    release.install(&store, 9).unwrap();
    let pack = store.current().unwrap().unwrap().pack;
    let found: Vec<_> = pack.iter().map(|(name, path)| (name.as_str(), fs::read(path).unwrap())).collect();
    assert_eq!(found, [("manifest.json", b"{}".to_vec()), ("model.bin", b"net".to_vec())]);
    // An app that has this model fetches no pack.
    let mut update = store.update(expected().with_model(Digest([8; 32]))).unwrap();
    update.manifest(&release.signed(), NOW).unwrap();
    update.install().unwrap();
    assert_eq!(store.current().unwrap().unwrap().pack, []);
}

#[test]
fn damaged_files_are_found_and_fetched_again() {
    let (_folder, store) = folder();
    let release = Release::new(1, b"base").with_delta(Some(b"delta"), None);
    release.install(&store, 9).unwrap();
    let path = store.file(&release.manifest.base);
    fs::write(&path, b"bask").unwrap();
    assert!(matches!(store.verify(None), Err(Error::Damaged { path: found, .. }) if found == path));
    let mut update = store.update(expected()).unwrap();
    update.discard_damaged().unwrap();
    assert_eq!(update.manifest(&release.signed(), NOW).unwrap().files, 1);
    release.feed(&mut update, 9).unwrap();
    update.install().unwrap();
    assert!(release.is_in(&store));

    fs::write(&path, b"bas").unwrap();
    assert!(matches!(store.current(), Err(Error::Damaged { .. })));
    fs::write(store.folder().join("current"), b"MAGPIE").unwrap();
    assert!(matches!(store.current(), Err(Error::Damaged { .. })));
    release.install(&store, 9).unwrap();
    assert!(release.is_in(&store));
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_still_opens() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, store) = folder();
    let release = Release::new(1, b"base");
    release.install(&store, 9).unwrap();
    for (mode, opens) in [(0o555, true), (0o755, true)] {
        fs::set_permissions(store.folder(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(store.current().is_ok(), opens);
        assert!(release.is_in(&store));
    }
}

#[test]
fn installing_needs_a_manifest_and_all_files() {
    let (_folder, store) = folder();
    let mut update = store.update(expected()).unwrap();
    assert!(matches!(update.next_fetch(), Err(Error::Incomplete)));
    assert!(matches!(update.receive(0, b"x"), Err(Error::Incomplete)));
    update.manifest(&Release::new(1, b"base").signed(), NOW).unwrap();
    assert!(matches!(update.install(), Err(Error::Incomplete)));
    assert_eq!(store.current().unwrap(), None);
}

#[test]
fn a_base_that_is_on_the_device_is_not_fetched() {
    let (folder, store) = folder();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let (bundled, other) = (file("bundled", b"the base"), file("other", b"not base"));
    let release = Release::new(3, b"the base").with_delta(Some(b"delta"), None);
    let mut update = store.update(expected()).unwrap();
    assert!(matches!(update.take_file(&bundled), Err(Error::Incomplete)));
    assert!(matches!(update.target(), Err(Error::Incomplete)));
    let all = update.manifest(&release.signed(), NOW).unwrap();
    // A part of it came from elsewhere, and another file of that length is no help.
    let fetch = update.next_fetch().unwrap().unwrap();
    update.receive(fetch.offset, b"the").unwrap();
    assert_eq!((all.files, all.bytes), (2, 13));
    for useless in [&other, &folder.path().join("none")] {
        assert_eq!(update.take_file(useless).unwrap().bytes, 10);
    }
    for _ in 0..2 {
        let left = update.take_file(&bundled).unwrap();
        assert_eq!((left.files, left.bytes), (1, 5));
    }
    assert_eq!(update.next_fetch().unwrap().unwrap().bytes, 5);
    let target = update.target().unwrap();
    release.feed(&mut update, 9).unwrap();
    update.install().unwrap();
    assert!(release.is_in(&store) && bundled.exists());
    assert_eq!(store.current().unwrap(), Some(target));
}
