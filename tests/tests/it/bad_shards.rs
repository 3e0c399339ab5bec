//! A damaged, incomplete or foreign catalogue is refused with the name of the damaged part and never crashes the app.

use magpie_core::search::search;
use magpie_core::shard::Shard;
use magpie_core::{IndexError, ListingRow, ModelId, PhotoRow, ShardError};
use magpie_tests::shards::{
    self, fix_checksums, fix_header_checksum, put, refusal, sections, shop_bytes, use_in_every_way,
};

const QUERY: [f32; 8] = [0.3, -0.2, 0.9, 0.1, 0.0, 0.4, -0.5, 0.2];

fn open(bytes: &[u8]) -> Result<Shard, ShardError> {
    Shard::from_bytes(bytes)
}

#[test]
fn the_undamaged_shard_passes_and_recomputing_its_checksums_changes_nothing() {
    let bytes = shop_bytes();
    let report = open(&bytes).unwrap().verify().unwrap();
    assert_eq!((report.photos, report.listings, report.bytes), (90, 60, bytes.len() as u64));
    let mut fixed = bytes.clone();
    fix_checksums(&mut fixed);
    assert!(fixed == bytes, "the tests read the format differently from the writer");
}

#[test]
fn a_download_cut_short_is_refused_with_both_lengths() {
    let bytes = shop_bytes();
    let edges = sections(&bytes).into_iter().flat_map(|s| [s.offset - 1, s.offset, s.offset + 1, s.offset + s.len]);
    let cuts = (0..256).chain(4000..4200).chain(edges).chain([bytes.len() - 1]).filter(|&cut| cut < bytes.len());
    for cut in cuts {
        match open(&bytes[..cut]).unwrap_err() {
            ShardError::NotAShard => assert!(cut < 8, "{cut}"),
            ShardError::WrongLength { expected: 4096, found } => assert!(found == cut as u64 && cut < 4096),
            ShardError::WrongLength { expected, found } => {
                assert_eq!((expected, found), (bytes.len() as u64, cut as u64));
            }
            other => panic!("{cut}: {other}"),
        }
    }
}

#[test]
fn files_on_disk_are_refused_the_same_way_as_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = shop_bytes();
    for (name, content) in [("empty", &[][..]), ("text", b"id,title\n1,Mug\n"), ("half", &bytes[..bytes.len() / 2])] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let Err(IndexError::Shard(error)) = Shard::open(&path) else { panic!("{name} was opened") };
        assert_eq!(error, open(content).unwrap_err());
    }
    let Err(IndexError::Io { path, .. }) = Shard::open(folder.path().join("missing")) else {
        panic!("a missing file was opened")
    };
    assert!(path.ends_with("missing"));
    assert!(matches!(Shard::open(folder.path()), Err(IndexError::Io { .. })), "a folder was opened as a shard");
}

#[test]
fn a_file_with_appended_bytes_is_refused() {
    let found = shop_bytes().len() as u64 + 64;
    let error = refusal(|bytes| bytes.extend([0; 64]));
    assert_eq!(error, ShardError::WrongLength { expected: found - 64, found });
}

#[test]
fn any_changed_byte_of_the_header_is_noticed_on_opening() {
    let bytes = shop_bytes();
    for at in 0..4096 {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let error = open(&damaged).unwrap_err();
        let expected = match at {
            0..8 => matches!(error, ShardError::NotAShard),
            8..16 => matches!(error, ShardError::TooNew { .. } | ShardError::Checksum { .. }),
            _ => error == ShardError::Checksum { part: "header".to_owned() },
        };
        assert!(expected, "byte {at}: {error}");
    }
}

#[test]
fn a_changed_byte_in_any_section_is_named_by_verify() {
    let bytes = shop_bytes();
    let names = open(&bytes).unwrap().sections();
    for (section, info) in sections(&bytes).into_iter().zip(names) {
        assert!(section.len > 0, "{} is empty: the shop should fill every section", info.name);
        for at in [section.offset, section.offset + section.len / 2, section.offset + section.len - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x01;
            use_in_every_way(&damaged);
            // Opening may already refuse a damaged schema or word table; it then names the same part.
            let error = open(&damaged).and_then(|shard| shard.verify()).unwrap_err();
            let part = match &error {
                ShardError::Checksum { part } | ShardError::Invalid { part, .. } => part.clone(),
                other => panic!("{}: {other}", info.name),
            };
            assert!(info.name.starts_with(&part), "{}, byte {at}: {error}", info.name);
        }
    }
}

#[test]
fn bytes_between_the_sections_must_be_zero() {
    let bytes = shop_bytes();
    let mut end = 4096;
    let mut gaps = 0;
    for next in sections(&bytes).into_iter().map(|s| (s.offset, s.offset + s.len)).chain([(bytes.len(), 0)]) {
        for at in [end, next.0 - 1].into_iter().filter(|at| (end..next.0).contains(at)) {
            let mut damaged = bytes.clone();
            damaged[at] = 1;
            let error = open(&damaged).unwrap().verify().unwrap_err();
            assert!(matches!(&error, ShardError::Invalid { part, .. } if part.starts_with("padding")), "{error}");
            gaps += 1;
        }
        end = next.1;
    }
    assert!(gaps > 4);
}

#[test]
fn a_newer_shard_asks_for_an_update_of_the_app_and_an_older_one_for_a_rebuild() {
    let error = refusal(|bytes| {
        put(bytes, 8, &5u32.to_le_bytes());
        put(bytes, 12, &4u32.to_le_bytes());
        fix_header_checksum(bytes);
    });
    assert_eq!(error, ShardError::TooNew { found: 5, needs: 4, known: 2 });
    for found in [0, 1] {
        let error = refusal(|bytes| {
            put(bytes, 8, &u32::to_le_bytes(found));
            fix_header_checksum(bytes);
        });
        assert_eq!(error, ShardError::TooOld { found, oldest: 2 });
    }

    // A newer format that its writer marked as readable by this version.
    let mut bytes = shop_bytes();
    put(&mut bytes, 8, &3u32.to_le_bytes());
    fix_header_checksum(&mut bytes);
    open(&bytes).unwrap().verify().unwrap();
}

#[test]
fn a_shard_of_another_model_is_not_searched() {
    let mut bytes = shop_bytes();
    let other = ModelId([0x4e; 32]);
    put(&mut bytes, 48, &other.0);
    fix_header_checksum(&mut bytes);
    let shard = open(&bytes).unwrap();
    match search(&shard, &shards::embedding(&QUERY), None, 3).unwrap_err() {
        IndexError::ModelMismatch { model, shard } => assert_eq!((model, shard), (shards::MODEL, other)),
        error => panic!("{error}"),
    }
}

#[test]
fn rows_beyond_the_end_are_an_error() {
    let shard = open(&shop_bytes()).unwrap();
    assert_eq!(shard.records(&[ListingRow(59)]).unwrap()[0].id, "mug-059");
    for row in [60, 61, u32::MAX] {
        assert!(matches!(shard.records(&[ListingRow(row)]), Err(ShardError::Invalid { .. })), "{row}");
        assert!(shard.listing_of(PhotoRow(row.max(90))).is_err());
        assert_eq!(shard.ordinal_of(PhotoRow(row.max(90))), 0);
    }
}
