//! What the commands say of photos, and what they make of them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json as value};

use crate::small::{Small, query};
use crate::{demo, json, magpie};

/// A whole photo and one that is cut short, with a table of them.
fn two_photos(folder: &Path) -> [String; 3] {
    let cut = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/photos/cut-99.jpg");
    fs::copy(cut, folder.join("cut.jpg")).unwrap();
    fs::copy(demo("photos/mug-01-1.jpg"), folder.join("whole.jpg")).unwrap();
    fs::write(folder.join("table.csv"), "listing_id,photo\na,whole.jpg\nb,cut.jpg\n").unwrap();
    ["table.csv", "out.magpie", "out.npy"].map(|name| folder.join(name).to_str().unwrap().to_owned())
}

#[test]
fn a_photo_that_is_cut_short_is_used_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let [table, shard, npy] = two_photos(folder.path());
    let images = folder.path().to_str().unwrap();
    let build = ["build", "--catalog", &table, "--images", images, "--out", &shard];
    let built = json(&[&build[..], &["--json"]].concat());
    assert_eq!(built["photos"], 2);
    assert_eq!(built["incomplete"], value!([{ "line": 3, "photo": "cut.jpg" }]));
    let said = String::from_utf8(magpie(&build).stderr).unwrap();
    assert!(said.contains("line 3: cut.jpg is cut short"), "{said}");

    let list = folder.path().join("list.txt");
    let (whole, cut) = (format!("{images}/whole.jpg"), format!("{images}/cut.jpg"));
    fs::write(&list, format!("{whole}\n{cut}\n")).unwrap();
    let embed = ["embed", "--list", list.to_str().unwrap(), "--out", &npy];
    for more in [&["--json"][..], &["--json", "--skip-bad"]] {
        let report = json(&[&embed[..], more].concat());
        assert_eq!(report["incomplete"], value!([{ "row": 1, "photo": &cut }]));
    }
    let said = String::from_utf8(magpie(&embed).stderr).unwrap();
    assert!(said.contains("cut.jpg is cut short"), "{said}");

    let searched = |photo: &str| json(&["search", "--shard", &shard, "--photo", photo, "--json"]);
    assert_eq!([&whole, &cut].map(|photo| searched(photo)["photo_incomplete"].clone()), [false, true].map(Value::from));
}

/// The network gets the same pixels, whether a thumbnail is made of them as well or not.
#[test]
fn thumbnails_change_no_embedding() {
    let small = Small::get();
    let with = small.path("with-thumbnails.magpie");
    let args = small.build_args(&["--thumbnails", "128", "--name", "catalog"]);
    let args: Vec<&str> = args.iter().map(|arg| if arg.ends_with("small.magpie") { &with } else { &**arg }).collect();
    assert!(magpie(&args).status.success());
    let found = |shard: &str| {
        let found = json(&["search", "--shard", shard, "--photo", &query("mug-01.jpg"), "--json", "--k", "9"]);
        found["listings"].clone()
    };
    assert!(found(&with).as_array().unwrap().len() > 2);
    assert_eq!(found(&with), found(&small.shard()));
}
