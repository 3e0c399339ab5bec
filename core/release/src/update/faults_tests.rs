//! Every call of the file system fails once, and the power is cut before every call: the old release opens or the new one.

use std::sync::Arc;

use super::*;
use crate::faults::{Fault, Faults};
use crate::testing::Release;

/// The releases of the test: a base alone, with two deltas, and another base.
fn releases() -> [Release; 3] {
    let bases: [Vec<u8>; 2] = [1, 2].map(|factor| (0..3000).map(|i| (i * factor) as u8).collect());
    let packed = [6; 3000];
    let frame = zstd::bulk::compress(&packed, 1).unwrap();
    [
        Release::new(1, &bases[0]),
        Release::new(2, &bases[0]).with_delta(Some(&[5; 700]), Some(b"gone")).with_packed_delta(&packed, &frame),
        Release::new(3, &bases[1]).with_delta(None, Some(b"gone")),
    ]
}

/// Updates from one release to the next with a fault at every call, and returns the number of calls.
fn update_with_faults(old: Option<&Release>, new: &Release, fault: Fault) -> usize {
    for at in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::at(folder.path().join("catalog"));
        store.disk.faults = Some(Arc::new(Faults::new(usize::MAX, fault)));
        if let Some(old) = old {
            old.install(&store, 1000).unwrap();
        }
        let faults = Arc::new(Faults::new(at, fault));
        let mut faulty = store.clone();
        faulty.disk.faults = Some(Arc::clone(&faults));
        let result = new.install(&faulty, 1000);
        if faults.calls() <= at {
            assert!(result.is_ok() && new.is_in(&store), "without a fault");
            return at;
        }
        // What opens now is the old release or the new one, whole.
        let opens = match old {
            _ if result.is_ok() => new.is_in(&store),
            None => store.current().unwrap().is_none() || new.is_in(&store),
            Some(old) => old.is_in(&store) || new.is_in(&store),
        };
        assert!(opens, "{fault:?} at call {at}: neither the old release nor the new one");
        // And the next update ends well, from whatever is left.
        new.install(&store, 1000).unwrap_or_else(|e| panic!("{fault:?} at call {at}: {e}"));
        assert!(new.is_in(&store), "{fault:?} at call {at}");
    }
    unreachable!("the loop ends")
}

#[test]
fn whichever_call_fails_the_old_release_opens_or_the_new_one() {
    let [a, b, c] = releases();
    for fault in [Fault::Fails, Fault::ProcessKilled, Fault::PowerCut] {
        for (old, new) in [(None, &a), (Some(&a), &b), (Some(&b), &c)] {
            let calls = update_with_faults(old, new, fault);
            assert!(calls > 30, "{calls} calls are too few: has the disk been bypassed?");
        }
    }
}

#[test]
fn the_power_cut_of_these_tests_loses_what_was_not_synced() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let lost = |sync: bool, at: usize| {
        let disk = crate::disk::Disk { faults: Some(Arc::new(Faults::new(at, Fault::PowerCut))) };
        std::fs::write(path("b"), "old").unwrap();
        let mut file = disk.create(&path("a")).unwrap();
        disk.write(&mut file, &path("a"), b"new").unwrap();
        if sync {
            disk.sync(&file, &path("a")).unwrap();
        }
        disk.rename(&path("a"), &path("b")).unwrap();
        if sync {
            disk.sync_folder(folder.path()).unwrap();
        }
        assert!(disk.remove(&path("c")).is_err());
        std::fs::read_to_string(path("b")).unwrap()
    };
    assert_eq!(lost(true, 5), "new");
    assert_eq!(lost(false, 3), "old");
}
