//! The table of attacks in `core/docs/RELEASE_FORMAT.md`: none of them gets in, and what is installed stays.

use super::*;
use crate::envelope::seal;
use crate::keys::KeysDocument;
use crate::testing::{NOW, Release, expected, key, model, public};

/// A store with publication 5 of the shop.
fn installed() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    Release::new(5, b"base").install(&store, 9).unwrap();
    (folder, store)
}

/// Offers a manifest, which must be refused, and returns why.
fn refusal(store: &Store, bytes: &[u8], now: u64) -> Error {
    let error = store.update(expected()).unwrap().manifest(bytes, now).unwrap_err();
    assert!(Release::new(5, b"base").is_in(store));
    error
}

fn changed(sequence: u64, change: impl FnOnce(&mut Manifest)) -> Release {
    let mut release = Release::new(sequence, b"other base");
    change(&mut release.manifest);
    release
}

#[test]
fn rollback_an_older_publication_is_refused_even_if_the_newer_was_only_seen() {
    let (_folder, store) = installed();
    assert!(matches!(refusal(&store, &Release::new(4, b"old").signed(), NOW), Error::Rollback { seen: 5, found: 4 }));
    store.update(expected()).unwrap().manifest(&Release::new(9, b"new").signed(), NOW).unwrap();
    assert!(matches!(refusal(&store, &Release::new(8, b"old").signed(), NOW), Error::Rollback { seen: 9, found: 8 }));
    // Without the file that says so, at least what is installed was seen.
    std::fs::remove_file(store.folder().join("seen")).unwrap();
    assert!(matches!(refusal(&store, &Release::new(4, b"old").signed(), NOW), Error::Rollback { seen: 5, .. }));
}

#[test]
fn rollback_two_manifests_with_one_number_are_noticed() {
    let (_folder, store) = installed();
    assert!(matches!(refusal(&store, &Release::new(5, b"other").signed(), NOW), Error::Reused { sequence: 5 }));
}

#[test]
fn freeze_an_expired_manifest_is_refused_whatever_the_clock_says() {
    let (_folder, store) = installed();
    let old = changed(6, |manifest| (manifest.issued, manifest.expires) = (NOW - 2000, NOW - 1500)).signed();
    for (now, compared) in [(NOW, NOW), (0, NOW - 995), (NOW - 1500, NOW - 995)] {
        let error = refusal(&store, &old, now);
        assert!(matches!(error, Error::Expired { now, .. } if now == compared), "{error}");
    }
}

#[test]
fn a_clock_that_is_wrong_breaks_nothing() {
    let (_folder, store) = installed();
    let new = Release::new(6, b"new");
    // Far ahead: nothing is taken until it is right, and the catalogue still opens.
    assert!(matches!(refusal(&store, &new.signed(), NOW * 2), Error::Expired { .. }));
    assert!(store.current().unwrap().unwrap().expires < NOW * 2);
    // Far behind: updates go on.
    let mut update = store.update(expected()).unwrap();
    update.manifest(&new.signed(), 0).unwrap();
    new.feed(&mut update, 9).unwrap();
    update.install().unwrap();
    assert!(new.is_in(&store));
}

#[test]
fn mix_and_match_a_delta_of_another_base_is_refused() {
    let (_folder, store) = installed();
    let mut mixed = Release::new(6, b"base").with_delta(Some(b"delta"), None);
    mixed.manifest.deltas[0].base = Digest::of(b"another base");
    assert!(matches!(refusal(&store, &mixed.signed(), NOW), Error::Malformed { .. }));
}

#[test]
fn endless_data_is_cut_off_at_the_length_of_the_manifest() {
    let (_folder, store) = installed();
    let release = Release::new(6, b"new base");
    let mut update = store.update(expected()).unwrap();
    update.manifest(&release.signed(), NOW).unwrap();
    update.next_fetch().unwrap();
    update.receive(0, b"new ").unwrap();
    assert!(matches!(update.receive(4, b"base and more"), Err(Error::TooLong { bytes: 8, .. })));
    assert_eq!(update.next_fetch().unwrap().unwrap().offset, 0);
    assert!(matches!(update.receive(0, &[0; 9]), Err(Error::TooLong { .. })));
    drop(update);
    let manifest = [release.signed(), vec![0; crate::MAX_ENVELOPE_BYTES]].concat();
    assert!(matches!(refusal(&store, &manifest, NOW), Error::Malformed { .. }));
}

#[test]
fn endless_data_a_packed_file_takes_no_more_than_the_length_of_the_manifest() {
    let (_folder, store) = installed();
    let bomb = zstd::bulk::compress(&vec![0; 4 << 20], 1).unwrap();
    let shard = [5; 4000];
    let good = zstd::bulk::compress(&shard, 1).unwrap();
    let longer = zstd::bulk::compress(&[5; 4001], 1).unwrap();
    let shorter = zstd::bulk::compress(&[5; 3999], 1).unwrap();
    let other = zstd::bulk::compress(&[6; 4000], 1).unwrap();
    let twice = [&good[..], &good].concat();
    for (sequence, packed) in (6..).zip([&bomb, &longer, &shorter, &other, &twice, &b"no frame".to_vec()]) {
        let release = Release::new(sequence, b"base").with_packed_delta(&shard, packed);
        let mut update = store.update(expected()).unwrap();
        update.manifest(&release.signed(), NOW).unwrap();
        assert!(matches!(release.feed(&mut update, 1 << 20), Err(Error::WrongHash { .. })), "{sequence}");
        assert!(matches!(update.install(), Err(Error::Incomplete)));
        assert!(Release::new(5, b"base").is_in(&store));
        // Nothing of it is left.
        let parts = std::fs::read_dir(store.folder().join(PARTS)).unwrap();
        assert_eq!(parts.count(), 0, "{sequence}");
    }
    // The frame itself has a hash and a length, too.
    let release = Release::new(20, b"base").with_packed_delta(&shard, &good);
    let mut update = store.update(expected()).unwrap();
    update.manifest(&release.signed(), NOW).unwrap();
    update.next_fetch().unwrap();
    assert!(matches!(update.receive(0, &[&good[..], b"x"].concat()), Err(Error::TooLong { .. })));
    update.next_fetch().unwrap();
    assert!(matches!(update.receive(0, &vec![0; good.len()]), Err(Error::WrongHash { .. })));
    release.feed(&mut update, 9).unwrap();
    update.install().unwrap();
    assert!(release.is_in(&store));
}

#[test]
fn wrong_catalogue_and_wrong_model_are_refused() {
    let (_folder, store) = installed();
    let other = changed(6, |manifest| manifest.catalog = "other".to_owned());
    assert!(matches!(refusal(&store, &other.signed(), NOW), Error::WrongCatalog { .. }));
    let any = Expected { catalog: None, ..expected() };
    // Who names no catalogue stays with the one that is installed.
    assert!(matches!(store.update(any).unwrap().manifest(&other.signed(), NOW), Err(Error::WrongCatalog { .. })));
    let other = changed(6, |manifest| manifest.model.id = Digest([9; 32]));
    let error = refusal(&store, &other.signed(), NOW);
    assert!(matches!(error, Error::WrongModel { expected, .. } if expected == model()));
    let newer = changed(6, |manifest| manifest.shard_format = 3);
    assert!(matches!(refusal(&store, &newer.signed(), NOW), Error::TooNew { found: 3, known: 2, .. }));
    let newer = changed(6, |manifest| manifest.format = 2);
    assert!(matches!(refusal(&store, &newer.signed(), NOW), Error::TooNew { found: 2, known: 1, .. }));
}

#[test]
fn stolen_mirror_other_files_and_other_manifests_are_refused() {
    let (_folder, store) = installed();
    let release = Release::new(6, b"new base");
    let mut update = store.update(expected()).unwrap();
    update.manifest(&release.signed(), NOW).unwrap();
    update.next_fetch().unwrap();
    assert!(matches!(update.receive(0, b"bad base"), Err(Error::WrongHash { .. })));
    assert!(matches!(update.install(), Err(Error::Incomplete)));
    for keys in [&[2_u8][..], &[2, 3]] {
        assert!(matches!(refusal(&store, &release.signed_by(keys), NOW), Error::Untrusted { valid: 0, .. }));
    }
    // A signature that is there twice, or is of another manifest, does not count.
    let mut forged = release.signed();
    let sequence = forged.windows(12).position(|bytes| bytes == b"\"sequence\":6").unwrap();
    forged[sequence + 11] = b'7';
    assert!(matches!(refusal(&store, &forged, NOW), Error::Untrusted { valid: 0, .. }));
}

fn rotation(version: u64, keys: &[u8], sequence: u64, signed_by: &[u8]) -> Vec<u8> {
    let keys = KeySet { version, sequence, ..KeySet::new(keys.iter().map(|seed| public(*seed)).collect()) };
    let signers: Vec<_> = signed_by.iter().map(|seed| key(*seed)).collect();
    let payload = serde_json::to_vec(&KeysDocument::of("shop", &keys)).unwrap();
    seal(Kind::Keys, &payload, &signers.iter().collect::<Vec<_>>()).unwrap()
}

#[test]
fn stolen_key_one_of_three_cannot_replace_the_others_and_is_replaced_by_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let pinned = KeySet::new([1, 2, 3].map(public).to_vec());
    let expected = || Expected { keys: pinned.clone(), ..expected() };
    // The thief has key 1: publishes, and uses up the numbers.
    let mut thief = Release::new(1, b"bad");
    thief.manifest.sequence = crate::manifest::MAX_NUMBER;
    store.update(expected()).unwrap().manifest(&thief.signed(), NOW).unwrap();
    let mut update = store.update(expected()).unwrap();
    assert_eq!(update.keys_path(), "keys-2");
    for document in [rotation(2, &[9], 1, &[1]), rotation(2, &[9], 1, &[1, 9])] {
        assert!(matches!(update.add_keys(&document), Err(Error::Untrusted { valid: 1, needed: 2, .. })));
    }
    // The owners replace it.
    for (version, wrong) in [(3, "version"), (1, "version")] {
        let error = update.add_keys(&rotation(version, &[2, 3, 4], 6, &[2, 3])).unwrap_err();
        assert!(error.to_string().contains(wrong), "{error}");
    }
    update.add_keys(&rotation(2, &[2, 3, 4], 6, &[2, 3])).unwrap();
    drop(update);
    // From now on, in all later updates too.
    let offer =
        |release: &Release, key: u8| store.update(expected()).unwrap().manifest(&release.signed_by(&[key]), NOW);
    assert!(matches!(offer(&thief, 1), Err(Error::Untrusted { .. })));
    assert!(matches!(offer(&Release::new(5, b"old"), 4), Err(Error::Rollback { seen: 6, found: 5 })));
    offer(&Release::new(6, b"good"), 4).unwrap();
    // A document is taken once, and the chain goes on from the new keys.
    let mut update = store.update(expected()).unwrap();
    assert_eq!(update.keys_path(), "keys-3");
    assert!(update.add_keys(&rotation(3, &[1], 1, &[1, 2])).is_err());
    update.add_keys(&rotation(3, &[5], 1, &[2, 4])).unwrap();
}

#[test]
fn a_threshold_needs_so_many_different_keys() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let keys = KeySet::new([1, 2, 3].map(public).to_vec()).with_threshold(2);
    let expected = || Expected { keys: keys.clone(), ..expected() };
    let offer = |by: &[u8]| store.update(expected()).unwrap().manifest(&Release::new(1, b"base").signed_by(by), NOW);
    for few in [&[1_u8][..], &[1, 1], &[1, 4]] {
        assert!(matches!(offer(few), Err(Error::Untrusted { valid: 1, needed: 2, .. })), "{few:?}");
    }
    offer(&[1, 3, 4]).unwrap();
}

#[test]
fn a_manifest_is_strict_json_with_bounded_values() {
    let good = serde_json::to_string(&Release::new(6, b"base").with_delta(Some(b"d"), None).manifest).unwrap();
    let (_folder, store) = installed();
    let base = Digest::of(b"base").to_string();
    let long = format!(",\"removed\":{{\"hash\":\"OTHER\",\"bytes\":{}}},\"shard\":{{", crate::MAX_REMOVED_BYTES + 1);
    for (from, to) in [
        (",\"shard\":{", &long[..]),
        ("\"format\":1", "\"format\":0"),
        ("\"sequence\":6", "\"sequence\":0"),
        ("\"sequence\":6", "\"sequence\":-6"),
        ("\"sequence\":6", "\"sequence\":9007199254740992"),
        ("\"sequence\":6", "\"sequence\":6,\"sequence\":7"),
        ("\"sequence\":6", "\"sequence\":6,\"more\":7"),
        ("\"shop\"", "\"\""),
        ("\"shop\"", "\"sh\\u001bop\""),
        ("\"bytes\":4", "\"bytes\":0"),
        ("\"bytes\":4", "\"bytes\":99999999999999"),
        (",\"shard\":{", ",\"shard\":null,\"other\":{"),
        (&base[..], &base.to_uppercase()),
        (&base[..], "../../etc/passwd"),
        ("\"model\":{", "\"model\":{\"pack\":[{\"name\":\"../x\",\"hash\":\"HASH\",\"bytes\":4}],"),
        ("}]}", "}]} x"),
        ("\"bytes\":4}", "\"bytes\":4,\"packed\":{\"hash\":\"OTHER\",\"bytes\":0}}"),
        ("\"bytes\":4}", "\"bytes\":4,\"packed\":{\"hash\":\"OTHER\",\"bytes\":4}}"),
        ("\"bytes\":4}", "\"bytes\":4,\"packed\":{\"hash\":\"HASH\",\"bytes\":3}}"),
        ("\"bytes\":4}", "\"bytes\":4,\"packed\":{\"hash\":\"OTHER\",\"bytes\":3,\"packed\":null}}"),
        ("\"bytes\":4}", "\"bytes\":16777217,\"packed\":{\"hash\":\"OTHER\",\"bytes\":3}}"),
    ] {
        let text = good.replacen(from, &to.replace("HASH", &base).replace("OTHER", &"9".repeat(64)), 1);
        assert_ne!(text, good, "{from}");
        let bytes = seal(Kind::Manifest, text.as_bytes(), &[&key(1)]).unwrap();
        assert!(matches!(refusal(&store, &bytes, NOW), Error::Malformed { .. }), "{to}");
    }
}
