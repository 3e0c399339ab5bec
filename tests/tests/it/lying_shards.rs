//! A forged catalogue with valid checksums is refused and never crashes the app or exhausts its memory.

use std::cell::Cell;

use magpie_core::ShardError;
use magpie_core::shard::Shard;
use magpie_tests::cases;
use magpie_tests::shards::{
    fix_checksums, fix_header_checksum, kind, listed_shop_bytes, put, refusal, section, sections, shop_bytes,
    use_in_every_way,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[test]
fn wrong_counts_are_refused() {
    let lie = |at: usize, value: u64, width: usize| {
        refusal(|bytes| {
            put(bytes, at, &value.to_le_bytes()[..width]);
            fix_header_checksum(bytes);
        })
    };
    for photos in [0, 89, 91, u64::from(u32::MAX), 1 << 32, u64::MAX] {
        lie(32, photos, 8);
    }
    for listings in [0, 59, 61, 1000, 1 << 32, u64::MAX] {
        lie(40, listings, 8);
    }
    for dim in [0, 7, 9, 4096, 4097, u64::from(u32::MAX)] {
        lie(24, dim, 4);
    }
    for sections in [0, 1, 13, 62, u64::from(u32::MAX)] {
        // More entries than there are: the bytes after the table are zero, which is not a valid section.
        lie(20, sections, 4);
    }
    lie(16, 8192, 4);
    lie(104, 64, 8);
}

/// Nothing may be allocated for a count that has not been checked.
#[test]
fn four_billion_listings_in_the_header_cost_no_memory() {
    let error = refusal(|bytes| {
        put(bytes, 40, &u64::from(u32::MAX).to_le_bytes());
        fix_header_checksum(bytes);
    });
    assert!(matches!(error, ShardError::Invalid { .. }), "{error}");
}

#[test]
fn sections_that_overlap_or_lie_outside_are_refused() {
    let bytes = shop_bytes();
    let all = sections(&bytes);
    for pair in all.windows(2) {
        for offset in [pair[0].offset as u64, 0, 4095, 1 << 40, u64::MAX, u64::MAX - 63, pair[1].offset as u64 + 1] {
            let error = refusal(|bytes| {
                put(bytes, pair[1].entry + 8, &offset.to_le_bytes());
                fix_checksums(bytes);
            });
            assert!(matches!(&error, ShardError::Invalid { part, .. } if part == "header"), "{offset}: {error}");
        }
    }
    for section in all {
        for len in [section.len as u64 + (64 << 10), u64::MAX] {
            refusal(|bytes| {
                put(bytes, section.entry + 16, &len.to_le_bytes());
                fix_checksums(bytes);
            });
        }
    }
}

#[test]
fn an_invalid_schema_is_refused_even_with_valid_checksums() {
    let schema = section(&shop_bytes(), kind::SCHEMA);
    let column = r#"{"name":"x","kind":"word"}"#;
    let long = format!(r#"{{"catalog":"","writer":"","fields":[],"columns":[{}]}}"#, [column; 17].join(","));
    let deep = "[".repeat(1000);
    for text in ["", "{}", "null", "\u{0}", r#"{"catalog":1}"#, &long, &deep] {
        let error = refusal(|bytes| {
            // Spaces keep the length. A text longer than the section is cut off, which makes it invalid too.
            let mut body = text.as_bytes().to_vec();
            body.resize(schema.len, b' ');
            put(bytes, schema.offset, &body);
            fix_checksums(bytes);
        });
        assert!(matches!(&error, ShardError::Invalid { part, .. } if part == "schema"), "{text}: {error}");
    }
}

#[test]
fn rows_out_of_range_are_refused_and_do_not_panic_a_search() {
    for (kind, behind, wrong) in [
        (kind::INDEX, 0, 2u32.to_le_bytes()),
        (kind::INDEX, 0, u32::MAX.to_le_bytes()),
        (kind::LIST_STARTS, 0, 1u32.to_le_bytes()),
        (kind::LIST_STARTS, 0, u32::MAX.to_le_bytes()),
        (kind::LIST_BIASES, 0, f32::NAN.to_le_bytes()),
        (kind::LIST_BIASES, 0, f32::INFINITY.to_le_bytes()),
        (kind::CENTROIDS, 0, [0x80; 4]),
        (kind::CENTROID_GRAPH, 0, 1u32.to_le_bytes()),
        // Bits for coordinates 8 to 11, where there are only coordinates 0 to 7.
        (kind::SCAN_BLOCKS, 32, [0xff; 4]),
        (kind::CODES, 8, [0, 1, 0, 0]),
        (kind::THUMBNAIL_ENDS, 0, u32::MAX.to_le_bytes()),
        (kind::PHOTO_LISTINGS, 0, 60u32.to_le_bytes()),
        (kind::PHOTO_LISTINGS, 0, 59u32.to_le_bytes()),
        (kind::PHOTO_ORDINALS, 0, [2, 0, 0, 0]),
        (kind::COLUMN_VALUES, 0, 4u32.to_le_bytes()),
        (kind::COLUMN_WORDS, 0, u32::MAX.to_le_bytes()),
        (kind::METADATA_INDEX, 0, u32::MAX.to_le_bytes()),
        (kind::METADATA_BLOCKS, 0, [0; 4]),
    ] {
        refusal(|bytes| {
            let at = section(bytes, kind).offset;
            put(bytes, at + behind, &wrong);
            fix_checksums(bytes);
        });
    }
}

#[test]
fn two_photos_with_the_same_ordinal_are_refused() {
    let error = refusal(|bytes| {
        // In the only list, rows 0 and 1 are the two photos of the first listing.
        let at = section(bytes, kind::PHOTO_ORDINALS).offset;
        put(bytes, at, &[1, 0, 1, 0]);
        fix_checksums(bytes);
    });
    assert!(error.to_string().contains("photo ordinals"), "{error}");
}

#[test]
fn a_catalogue_id_that_does_not_match_the_name_is_refused() {
    let error = refusal(|bytes| {
        put(bytes, 80, &[9; 16]);
        fix_header_checksum(bytes);
    });
    assert!(matches!(error, ShardError::Invalid { .. }), "{error}");
}

/// The units that packed integers are multiplied by.
#[test]
fn units_that_are_not_small_numbers_are_refused_on_opening() {
    for at in [16, 20, 24, 28, 32] {
        for unit in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
            let error = refusal(|bytes| {
                let index = section(bytes, kind::INDEX).offset;
                put(bytes, index + at, &unit.to_le_bytes());
                fix_checksums(bytes);
            });
            assert!(matches!(&error, ShardError::Invalid { part, .. } if part == "index"), "{at}: {error}");
        }
    }
}

/// Lists that end outside the shard, overlap or run backwards.
#[test]
fn lists_with_wrong_starts_are_an_error() {
    let bytes = listed_shop_bytes();
    let starts = section(&bytes, kind::LIST_STARTS);
    for (place, start) in [(1, 91), (1, u32::MAX), (2, 0), (5, 0), (5, u32::MAX), (0, 5)] {
        let mut damaged = bytes.clone();
        put(&mut damaged, starts.offset + 4 * place, &u32::to_le_bytes(start));
        fix_checksums(&mut damaged);
        assert!(use_in_every_way(&damaged));
        let error = Shard::from_bytes(&damaged).unwrap().verify().unwrap_err();
        assert!(matches!(&error, ShardError::Invalid { part, .. } if part == "list starts"), "{error}");
    }
}

/// Checksums are recomputed, as an attacker would. Values are often small, to be plausible lengths and offsets.
#[test]
fn shards_with_wrong_contents_and_valid_checksums_never_panic() {
    wrong_contents_never_panic(&shop_bytes());
}

#[test]
fn shards_of_several_lists_with_wrong_contents_never_panic() {
    wrong_contents_never_panic(&listed_shop_bytes());
}

fn wrong_contents_never_panic(original: &[u8]) {
    let count = original[20..24].to_vec();
    let mut places: Vec<_> = sections(original).iter().map(|s| (s.offset, s.len)).collect();
    // Every section is equally likely, however small, and so is the header with its table.
    places.push((8, 1100));
    let value = prop_oneof![any::<u8>(), 0u8..8, Just(0xff), Just(0x7f), Just(0x80)];
    let change = (prop::sample::select(places), any::<prop::sample::Index>(), value);
    let opened = Cell::new(0);
    let cases = cases(1500);
    let mut runner = TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..Default::default() });
    let result = runner.run(&prop::collection::vec(change, 1..5), |changes| {
        let mut bytes = original.to_vec();
        for ((offset, len), place, value) in changes {
            bytes[offset + place.index(len)] = value;
        }
        // `fix_checksums` trusts the number of sections. Another test changes that number.
        put(&mut bytes, 20, &count);
        fix_checksums(&mut bytes);
        opened.set(opened.get() + u32::from(use_in_every_way(&bytes)));
        Ok(())
    });
    result.unwrap();
    let opened = opened.get();
    assert!(opened > cases / 4, "only {opened} of {cases} shards got past opening: this tests little");
}

proptest! {
    #[test]
    fn any_bytes_behind_the_magic_are_refused(tail in prop::collection::vec(any::<u8>(), 0..9000)) {
        let mut bytes = b"MAGPIE\x1a\n\x02\0\0\0\x02\0\0\0".to_vec();
        bytes.extend(tail);
        prop_assert!(Shard::from_bytes(&bytes).is_err());
        if bytes.len() > 4096 {
            let len = bytes.len() as u64;
            put(&mut bytes, 104, &len.to_le_bytes());
            fix_header_checksum(&mut bytes);
            prop_assert!(!use_in_every_way(&bytes));
        }
    }
}
