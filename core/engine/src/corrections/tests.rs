//! What is in the file after whatever has happened to it, and which corrections are near.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const MODEL: ModelId = ModelId([7; 32]);
const DIM: usize = 4;

fn embedding(values: &[f32]) -> Embedding {
    Embedding::new(values, MODEL).expect("finite")
}

/// One of 24 directions, none of them near another.
fn direction(at: usize) -> Embedding {
    let angle = (30.0 * at as f32).to_radians();
    let mut values = [0.0; DIM];
    let plane = at / 12 % 2 * 2;
    (values[plane], values[plane + 1]) = (angle.cos(), angle.sin());
    embedding(&values)
}

fn temporary() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("corrections");
    (folder, path)
}

fn open(path: &Path) -> Corrections {
    Corrections::open(path, MODEL, DIM).expect("a file that opens")
}

fn remember(corrections: &Corrections, at: usize, listing: &str) {
    corrections.remember(&direction(at), listing, |_| true).expect("it fits");
}

/// The corrected listings, oldest first.
fn listings(corrections: &Corrections) -> Vec<String> {
    corrections.list().into_iter().rev().map(|correction| correction.listing_id).collect()
}

/// A file with the corrections `a0`, `a1`, ... of different photos.
fn written(path: &Path, count: usize) -> Vec<u8> {
    let entry = |at: usize| Entry::new(&format!("a{at}"), 7, direction(at).values()).expect("a direction");
    let entries: Vec<Entry> = (0..count).map(entry).collect();
    let bytes = file::bytes(&Identity { model: MODEL, dim: DIM }, &entries);
    fs::write(path, &bytes).expect("a folder");
    bytes
}

#[test]
fn corrections_are_there_when_the_file_is_opened_again() {
    let (_folder, path) = temporary();
    let corrections = open(&path);
    assert!(listings(&corrections).is_empty() && !path.exists());
    remember(&corrections, 0, "mug");
    remember(&corrections, 1, "bowl");
    for corrections in [&corrections, &open(&path)] {
        assert_eq!(listings(corrections), ["mug", "bowl"]);
        assert_eq!(corrections.near(&direction(1)), ["bowl"]);
        assert!(corrections.near(&direction(2)).is_empty());
        assert!(corrections.list()[0].time > 1_600_000_000);
    }
    // What was appended is what a file has that is written at once.
    let bytes = fs::read(&path).expect("the file");
    let contents = Contents::read(&bytes, &corrections.identity).expect("corrections");
    assert_eq!(file::bytes(&corrections.identity, &contents.entries), bytes);
    assert!(contents.is_sound && contents.records == 2 && contents.note.is_none());
}

#[test]
fn a_file_that_is_cut_at_any_byte_keeps_its_whole_records_and_takes_new_ones() {
    let (_folder, path) = temporary();
    let bytes = written(&path, 3);
    let record = (bytes.len() - 64) / 3;
    for length in 0..=bytes.len() {
        fs::write(&path, &bytes[..length]).expect("a folder");
        let corrections = open(&path);
        let left: Vec<String> = (0..length.saturating_sub(64) / record).map(|at| format!("a{at}")).collect();
        assert_eq!(listings(&corrections), left, "{length}");
        remember(&corrections, 5, "new");
        assert_eq!(listings(&open(&path)), [left, vec!["new".to_owned()]].concat(), "{length}");
    }
}

#[test]
fn a_damaged_byte_costs_its_correction_and_is_repaired_by_the_next_change() {
    let (_folder, path) = temporary();
    let bytes = written(&path, 3);
    let record = (bytes.len() - 64) / 3;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).expect("a folder");
        let Ok(corrections) = Corrections::open(&path, MODEL, DIM) else {
            // The magic bytes and the version: it may be something else, and is left alone.
            assert!(at < 12, "{at}");
            assert_eq!(fs::read(&path).expect("the file"), damaged);
            continue;
        };
        let (hit, place) = (at.saturating_sub(64) / record, at.saturating_sub(64) % record);
        let left: Vec<usize> = match at {
            0..64 => Vec::new(),
            // A wrong length hides what comes after.
            _ if place < 4 => (0..hit).collect(),
            _ => (0..3).filter(|&other| other != hit).collect(),
        };
        let left: Vec<String> = left.into_iter().map(|at| format!("a{at}")).collect();
        assert_eq!(listings(&corrections), left, "{at}");
        remember(&corrections, 5, "new");
        let contents = Contents::read(&fs::read(&path).expect("the file"), &corrections.identity).expect("repaired");
        assert!(contents.is_sound && contents.entries.len() == left.len() + 1, "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::cases(2000)))]

    #[test]
    fn any_bytes_are_read_or_refused(
        tail in prop::collection::vec(any::<u8>(), 0..400), whole in 0usize..4,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let identity = Identity { model: MODEL, dim: DIM };
        let _ = Contents::read(&tail, &identity);
        let entry = |at: usize| Entry::new(&format!("a{at}"), 7, direction(at).values()).expect("a direction");
        let mut bytes = file::bytes(&identity, &(0..whole).map(entry).collect::<Vec<_>>());
        bytes.extend(&tail);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(contents) = Contents::read(&bytes, &identity) {
            prop_assert!(contents.entries.len() <= whole && contents.records <= bytes.len() / 37);
            for entry in &contents.entries {
                prop_assert!(entry.cosine(direction(1).values()).abs() <= 1.001);
            }
        }
    }

    #[test]
    fn the_code_keeps_cosines(
        a in prop::collection::vec(-1f32..1.0, 128), b in prop::collection::vec(-1f32..1.0, 128), mix in 0f32..1.0,
    ) {
        let b: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + mix * (b - a)).collect();
        let (Some(a), Some(b)) = (Embedding::new(&a, MODEL), Embedding::new(&b, MODEL)) else { return Ok(()) };
        let entry = Entry::new("a", 0, a.values()).expect("a direction");
        let cosine = a.cosine(&b).expect("one model");
        prop_assert!((entry.cosine(b.values()) - cosine).abs() < 0.002);
    }
}

#[test]
fn at_most_a_thousand_are_kept_and_the_file_stays_short() {
    let (_folder, path) = temporary();
    let entry = |at: usize| Entry::of_code(&format!("{at:04}"), 7, vec![127, 0, 0, 0].into()).expect("not zero");
    let identity = Identity { model: MODEL, dim: DIM };
    let fill = |count: usize| {
        let bytes = file::bytes(&identity, &(0..count).map(entry).collect::<Vec<_>>());
        fs::write(&path, &bytes).expect("a folder");
        bytes.len()
    };
    let full = fill(MAX_CORRECTIONS);
    let corrections = open(&path);
    remember(&corrections, 15, "new");
    let all = listings(&corrections);
    assert_eq!((all.len(), all[0].as_str(), all[999].as_str()), (1000, "0001", "new"));
    assert_eq!(listings(&open(&path)), all, "appended, and the oldest pushed out");
    assert_eq!(fs::metadata(&path).expect("the file").len() as usize, full + 39);
    // Those of listings that are gone make room first, and the file is written anew.
    corrections.remember(&direction(16), "newer", |id| id != "0500").expect("it fits");
    let all = listings(&open(&path));
    assert_eq!((all.len(), all[0].as_str(), all.contains(&"0500".to_owned())), (1000, "0001", false));
    // A file that has grown is written anew too.
    fill(2 * MAX_CORRECTIONS);
    let corrections = open(&path);
    assert_eq!((corrections.list().len(), listings(&corrections)[0].as_str()), (1000, "1000"));
    remember(&corrections, 15, "new");
    assert_eq!(fs::metadata(&path).expect("the file").len() as usize, full - 1);
    // Whatever is behind the longest file is not read.
    let mut long = written(&path, 1);
    long.resize(file::MAX_BYTES + 100, 0);
    fs::write(&path, &long).expect("a folder");
    assert_eq!(disk::read(&path, file::MAX_BYTES).expect("the file").len(), file::MAX_BYTES + 1);
    assert_eq!(listings(&open(&path)), ["a0"]);
}

#[test]
fn what_is_forgotten_is_not_in_the_file() {
    let (_folder, path) = temporary();
    let corrections = open(&path);
    assert_eq!(corrections.forget("mug").expect("nothing to do"), 0);
    assert!(!path.exists());
    for (at, listing) in ["mug", "bowl", "mug", "vase"].into_iter().enumerate() {
        remember(&corrections, at, listing);
    }
    let has = |text: &str| fs::read(&path).expect("the file").windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(has("mug"));
    assert_eq!(corrections.forget("mug").expect("written"), 2);
    assert_eq!((listings(&open(&path)), has("mug")), (vec!["bowl".to_owned(), "vase".to_owned()], false));
    assert!(corrections.near(&direction(0)).is_empty());
    corrections.forget_all().expect("written");
    assert!(listings(&corrections).is_empty() && listings(&open(&path)).is_empty() && !has("bowl"));
}

#[test]
fn what_is_forgotten_is_not_in_the_file_where_it_did_not_count_any_more() {
    let (_folder, path) = temporary();
    let has = |text: &str| fs::read(&path).expect("the file").windows(text.len()).any(|bytes| bytes == text.as_bytes());
    // Of 1,001 corrections, the first has been pushed out.
    let entry = |listing: &str| Entry::new(listing, 7, direction(0).values()).expect("a direction");
    let entries: Vec<Entry> = std::iter::once(entry("mug")).chain((0..1000).map(|_| entry("bowl"))).collect();
    let bytes = file::bytes(&Identity { model: MODEL, dim: DIM }, &entries);
    // And one that is damaged, or cut short, may be of any listing.
    let record = file::record(&entries[0]).len();
    let mut damaged = bytes[..64 + record].to_vec();
    damaged[64 + 8] ^= 1;
    let cut = bytes[..64 + record - 1].to_vec();
    for (bytes, left) in [(bytes, 1000), (damaged, 0), (cut, 0)] {
        fs::write(&path, &bytes).expect("a folder");
        let corrections = open(&path);
        assert!(has("mug"));
        assert_eq!(corrections.forget("mug").expect("written"), 0);
        assert_eq!((has("mug"), listings(&corrections).len(), listings(&open(&path)).len()), (false, left, left));
    }
}

#[test]
fn several_handles_and_threads_lose_nothing() {
    let (_folder, path) = temporary();
    let (one, other) = (open(&path), open(&path));
    remember(&one, 0, "mug");
    remember(&other, 1, "bowl");
    assert_eq!((listings(&one), listings(&other)), (vec!["mug".to_owned()], vec!["mug".to_owned(), "bowl".to_owned()]));
    one.forget("bowl").expect("the other's correction is in the file");
    assert_eq!(listings(&one), ["mug"]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (path, other) = (&path, &other);
            scope.spawn(move || {
                let own = open(path);
                let corrections = if thread % 2 == 0 { &own } else { other };
                for at in [5, 6, 7].map(|at| 4 * thread + at) {
                    remember(corrections, at, &format!("b{at:02}"));
                    assert_eq!(corrections.near(&direction(at)), [format!("b{at:02}")]);
                }
            });
        }
    });
    let mut all = listings(&open(&path));
    all.sort();
    let added = (0..4).flat_map(|thread| [5, 6, 7].map(|at| format!("b{:02}", 4 * thread + at)));
    let expected: Vec<String> = added.chain(["mug".to_owned()]).collect();
    assert_eq!(all, expected);
}

#[test]
fn a_file_of_another_model_is_replaced_by_the_next_correction() {
    let (_folder, path) = temporary();
    let bytes = written(&path, 3);
    for (model, dim) in [(ModelId([8; 32]), DIM), (MODEL, DIM + 1)] {
        assert!(listings(&Corrections::open(&path, model, dim).expect("it opens")).is_empty());
        assert_eq!(fs::read(&path).expect("the file"), bytes, "opening changes nothing");
    }
    let other = ModelId([8; 32]);
    let corrections = Corrections::open(&path, other, DIM).expect("it opens");
    assert!(matches!(
        corrections.remember(&direction(1), "a", |_| true),
        Err(Error::ModelMismatch { model: MODEL, shard }) if shard == other
    ));
    let foreign = Embedding::new(&[1.0; DIM], other).expect("finite");
    corrections.remember(&foreign, "b", |_| true).expect("it fits");
    assert_eq!((listings(&corrections), listings(&open(&path)).len()), (vec!["b".to_owned()], 0));
    assert!(corrections.near(&direction(1)).is_empty(), "an embedding of another model is near nothing");
}

#[test]
fn other_files_and_those_of_newer_versions_are_left_alone() {
    let (_folder, path) = temporary();
    let mut newer = written(&path, 1);
    newer[8] = 2;
    for (bytes, part) in [(newer, "update the app"), (b"id,photo\n1,a.jpg\n".to_vec(), "not a file of corrections")] {
        fs::write(&path, &bytes).expect("a folder");
        let error = Corrections::open(&path, MODEL, DIM).expect_err("refused").to_string();
        assert!(error.contains(part) && error.contains("corrections"), "{error}");
        // Nor are they overwritten by a value that was opened before.
        fs::remove_file(&path).expect("the file");
        let corrections = open(&path);
        fs::write(&path, &bytes).expect("a folder");
        assert!(corrections.remember(&direction(0), "a", |_| true).is_err() && corrections.forget_all().is_err());
        assert_eq!(fs::read(&path).expect("the file"), bytes);
    }
}

#[test]
fn a_change_that_fails_changes_nothing_and_leftovers_do_no_harm() {
    let (folder, path) = temporary();
    let corrections = open(&path);
    remember(&corrections, 0, "mug");
    let (bytes, new) = (fs::read(&path).expect("the file"), folder.path().join("corrections.new"));
    fs::create_dir(&new).expect("a folder");
    assert!(matches!(corrections.forget("mug"), Err(Error::Io { .. })));
    assert_eq!((listings(&corrections), fs::read(&path).expect("the file")), (vec!["mug".to_owned()], bytes));
    fs::remove_dir(&new).expect("a folder");
    // A process was killed before it renamed the new file.
    fs::write(&new, b"half of it").expect("a folder");
    assert_eq!(listings(&open(&path)), ["mug"]);
    assert_eq!(corrections.forget("mug").expect("written"), 1);
    assert!(listings(&open(&path)).is_empty() && !new.exists());
    for bad in ["", &"x".repeat(MAX_LISTING_ID + 1)] {
        assert!(corrections.remember(&direction(0), bad, |_| true).is_err());
    }
    remember(&corrections, 0, &"x".repeat(MAX_LISTING_ID));
    assert_eq!(open(&path).list().len(), 1);
    assert!(Corrections::open(folder.path(), MODEL, DIM).is_err(), "a folder");
}

#[test]
fn the_nearest_correction_comes_first_and_the_same_photo_has_one() {
    let (_folder, path) = temporary();
    let corrections = open(&path);
    let at = |angle: f32| embedding(&[angle.to_radians().cos(), angle.to_radians().sin(), 0.0, 0.0]);
    for (angle, listing) in [(0.0, "mug"), (20.0, "bowl"), (40.0, "vase")] {
        corrections.remember(&at(angle), listing, |_| true).expect("it fits");
    }
    // The cosine of 23 degrees is 0.9205, that of 24 degrees 0.9135.
    assert_eq!(corrections.near(&at(9.0)), ["mug", "bowl"]);
    assert_eq!(corrections.near(&at(22.0)), ["bowl", "vase", "mug"]);
    assert_eq!(corrections.near(&at(-22.0)), ["mug"]);
    assert!(corrections.near(&at(-25.0)).is_empty());
    // The same photo again: the user has changed their mind.
    corrections.remember(&at(1.0), "bowl", |_| true).expect("it fits");
    assert_eq!(listings(&open(&path)), ["bowl", "vase", "bowl"]);
    assert_eq!(corrections.near(&at(0.0)), ["bowl"], "each listing once");
    let strict = open(&path).with_least_similarity(0.999);
    assert_eq!((strict.near(&at(5.0)).len(), strict.near(&at(0.5)).len()), (0, 1));
}
