//! `magpie correct`, and searches that apply it.

use crate::small::{Small, query};
use crate::{json, magpie, refused};

#[test]
fn a_corrected_photo_finds_its_listing_first_until_it_is_forgotten() {
    let small = Small::get();
    let (shard, file) = (small.shard(), small.path("mine.corrections"));
    let (mug, chair) = (query("mug-01.jpg"), query("chair-01.jpg"));
    let correct =
        |more: &[&str]| json(&[&["correct", "--shard", &shard, "--corrections", &file, "--json"][..], more].concat());
    let search = |photo: &str| small.search(photo, &["--corrections", &file])["listings"].clone();
    let (before, untouched) =
        (small.search(&mug, &[])["listings"].clone(), small.search(&chair, &[])["listings"].clone());
    assert_eq!((search(&mug), search(&chair)), (before.clone(), untouched.clone()), "no file yet");
    let made = correct(&["--photo", &mug, "--listing", "hat-02"]);
    assert_eq!(made["corrections"][0]["id"], "hat-02");

    let found = search(&mug);
    assert_eq!(
        (&found[0]["id"], &found[0]["corrected"], &found[1]["corrected"]),
        (&"hat-02".into(), &true.into(), &().into())
    );
    assert_eq!(found[1], before[0]);
    assert_eq!(search(&chair), untouched);
    let table = magpie(&["search", "--shard", &shard, "--photo", &mug, "--corrections", &file]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("1*") && table.contains("because of a correction"), "{table}");

    let gone = refused(&["correct", "--shard", &shard, "--corrections", &file, "--photo", &mug, "--listing", "x"], 1);
    assert!(gone.contains("no listing 'x'"), "{gone}");
    refused(&["correct", "--shard", &shard, "--corrections", &file, "--photo", &mug], 2);
    let csv = small.path("catalog.csv");
    let other = refused(&["search", "--shard", &shard, "--photo", &mug, "--corrections", &csv], 1);
    assert!(other.contains("not a file of corrections"), "{other}");

    assert_eq!(correct(&["--forget", "hat-02"])["forgotten"], 1);
    assert_eq!(search(&mug), before);
    assert_eq!(correct(&["--forget-all"])["corrections"], serde_json::json!([]));
}
