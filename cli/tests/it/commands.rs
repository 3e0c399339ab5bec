//! All commands but `magpie search --server`, with the real pack and real files.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::small::{Small, query};
use crate::{demo, json, magpie, pack, refused};

#[test]
fn build_reports_skipped_rows_and_strict_fails_at_them() {
    let small = Small::get();
    let skipped = small.built["skipped"].as_array().unwrap();
    let reasons: Vec<&str> = skipped.iter().map(|row| row["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons[0].starts_with("missing.jpg: ") && reasons[1].contains("it looks like text"), "{reasons:?}");
    assert_eq!(small.built["photos"], 2 * small.built["listings"].as_u64().unwrap());

    let (strict, out) = (small.build_args(&["--strict"]), small.path("strict.magpie"));
    let strict: Vec<&str> =
        strict.iter().map(|arg| if arg.ends_with("small.magpie") { &out } else { &**arg }).collect();
    assert!(refused(&strict, 1).contains("missing.jpg"));
    assert!(!Path::new(&out).exists());
}

#[test]
fn unusable_rows_do_not_stop_a_build() {
    let small = Small::get();
    let (catalog, images, out) = (small.path("few.csv"), small.path("photos"), small.path("few.magpie"));
    let build = ["build", "--catalog", &catalog, "--images", &images, "--out", &out, "--json"];
    fs::write(&catalog, "listing_id,photo\n,a.jpg\nmug-01,mug-01-1.jpg\n").unwrap();
    let built = json(&build);
    assert_eq!((&built["photos"], built["skipped"].as_array().unwrap().len()), (&Value::from(1), 1));
    // If no row is usable, the message gives the reason, not only the fact.
    fs::write(&catalog, "listing_id,photo\n,a.jpg\nm\n").unwrap();
    assert!(refused(&build, 1).contains("none of the 2 rows can be used; line 2: listing_id is missing"));
}

#[test]
fn the_same_catalogue_gives_the_same_shard_on_any_number_of_threads() {
    let small = Small::get();
    let (catalog, images) = (small.path("catalog.csv"), small.path("photos"));
    let one = small.path("one-thread.magpie");
    json(&[
        "build",
        "--catalog",
        &catalog,
        "--images",
        &images,
        "--out",
        &one,
        "--threads",
        "1",
        "--name",
        "catalog",
        "--json",
    ]);
    assert!(fs::read(one).unwrap() == fs::read(small.shard()).unwrap());
}

#[test]
fn json_lines_give_the_same_shard_as_csv() {
    let small = Small::get();
    let mut reader = csv::Reader::from_path(small.path("catalog.csv")).unwrap();
    let header = reader.headers().unwrap().clone();
    let mut text = String::new();
    for record in reader.records().map(Result::unwrap) {
        let object: serde_json::Map<String, Value> =
            header.iter().zip(&record).map(|(name, value)| (name.to_owned(), value.into())).collect();
        text.push_str(&format!("{}\n", Value::Object(object)));
    }
    let (catalog, images, out) = (small.path("catalog.jsonl"), small.path("photos"), small.path("jsonl.magpie"));
    fs::write(&catalog, text).unwrap();
    json(&["build", "--catalog", &catalog, "--images", &images, "--out", &out, "--json"]);
    assert!(fs::read(out).unwrap() == fs::read(small.shard()).unwrap());
}

#[test]
fn a_catalogue_photo_finds_its_own_listing_first() {
    let small = Small::get();
    let found = small.search(&small.path("photos/mug-04-1.jpg"), &[]);
    let first = &found["listings"][0];
    assert_eq!((first["id"].as_str(), first["photo"].as_str()), (Some("mug-04"), Some("mug-04-1.jpg")));
    assert!(first["score"].as_f64().unwrap() > 0.999);
    assert_eq!(found["listings"].as_array().unwrap().len(), 10);
    for stage in ["decode_ms", "prepare_ms", "network_ms", "search_ms", "listings_ms"] {
        assert!(found["stages"][stage].as_f64().unwrap() > 0.0, "{stage}");
    }
    assert!(found["attributes"].as_array().unwrap().iter().any(|a| a["name"] == "colour"));
}

#[test]
fn shoppers_photos_scale_the_scores() {
    let small = Small::get();
    let (catalog, images) = (small.path("catalog.csv"), small.path("photos"));
    let (out, shoppers) = (small.path("scaled.magpie"), small.path("shoppers"));
    let photo = small.path("photos/mug-04-1.jpg");
    fs::create_dir_all(&shoppers).unwrap();
    for at in 0..12 {
        fs::copy(&photo, Path::new(&shoppers).join(format!("{at}.jpg"))).unwrap();
    }
    let build = ["build", "--catalog", &catalog, "--images", &images, "--out", &out, "--shoppers"];
    json(&[&build[..], &[&shoppers, "--local-scaling", "1", "--json"]].concat());
    let found = json(&["search", "--shard", &out, "--photo", &photo, "--json"]);
    // The photo has a cosine of 1 to itself and to all shoppers' photos, so its listing's score is its scaling factor.
    let score = found["listings"][0]["score"].as_f64().unwrap();
    assert!((score - 0.7).abs() < 0.01, "{score}");

    let few = small.path("few");
    fs::create_dir_all(&few).unwrap();
    fs::copy(&photo, Path::new(&few).join("one.jpg")).unwrap();
    assert!(refused(&[&build[..], &[&few]].concat(), 1).contains("1 shoppers' photos, at least 10 are needed"));
    assert!(refused(&[&build[..], &[&small.path("nowhere")]].concat(), 1).contains("nowhere"));
}

#[test]
fn filters_and_crops_are_applied() {
    let small = Small::get();
    let found = small.search(&query("mug-01.jpg"), &["--where", "category=Chairs and price>=0", "--k", "3"]);
    let listings = found["listings"].as_array().unwrap();
    assert_eq!(listings.len(), 3);
    assert!(listings.iter().all(|listing| listing["fields"]["category"] == "Chairs"));
    let none = small.search(&query("mug-01.jpg"), &["--where", "price<0"]);
    assert_eq!(none["listings"].as_array().unwrap().len(), 0);
    let cropped = small.search(&query("mug-01.jpg"), &["--crop", "20,30,100,120"]);
    assert_ne!(cropped["listings"], small.search(&query("mug-01.jpg"), &[])["listings"]);
}

#[test]
fn a_calibrated_pack_says_whether_there_is_a_good_match() {
    let small = Small::get();
    let model = pack::with_confidence(&small.folder.path().join("calibrated"), pack::calibration(-9.5));
    let (shard, photo) = (small.shard(), small.path("photos/mug-04-1.jpg"));
    let search = |model: &str, more: &[&str]| small.search(&photo, &[&["--model", model], more].concat());
    let good = search(&model, &[])["confidence"].clone();
    assert!(good["enough"] == true && good["probability"].as_f64().unwrap() > 0.7, "{good}");
    assert_eq!(search(&model, &["--k", "1"])["confidence"], good);
    let chairs = search(&model, &["--where", "category=Chairs"]);
    assert!(chairs["confidence"]["enough"] == false && !chairs["listings"].as_array().unwrap().is_empty(), "{chairs}");

    let text = |more: &[&str]| {
        let args = [&["search", "--shard", &shard, "--photo", &photo, "--model", &model], more].concat();
        String::from_utf8(magpie(&args).stdout).unwrap()
    };
    let (good, doubtful) = (text(&[]), text(&["--where", "category=Chairs"]));
    assert!(good.contains("\nconfidence ") && !good.contains("1?") && !good.contains("no good match"), "{good}");
    assert!(doubtful.contains("\nno good match: confidence ") && doubtful.contains("1?"), "{doubtful}");
    assert!(text(&["--where", "price<0"]).contains("no good match: confidence 0 %"));

    // A compiled pack in a folder of its own keeps the calibration.
    let out = small.path("compiled");
    json(&["model", "compile", &model, "--out", &out, "--json"]);
    assert!(!Path::new(&out).join("model.onnx").exists());
    assert_eq!(search(&out, &[])["confidence"], search(&model, &[])["confidence"]);

    let plain = pack::with_confidence(&small.folder.path().join("plain"), Value::Null);
    assert_eq!(search(&plain, &[])["confidence"], Value::Null);
    let mut wrong = pack::calibration(-7.0);
    wrong["threshold"] = 2.into();
    let wrong = pack::with_confidence(&small.folder.path().join("wrong"), wrong);
    let args = ["search", "--shard", &shard, "--photo", &photo, "--model", &wrong];
    assert!(refused(&args, 4).contains("confidence.threshold is 2, expected 0 to 1"));
}

#[test]
fn eval_scores_a_catalogue_on_a_shops_own_table() {
    let small = Small::get();
    let folder = tempfile::tempdir().unwrap();
    // What the demo calls photo and listing_id has other names here, and one listing is unknown.
    let mut table = "sku;review_photo;split;user\n".to_owned();
    for (at, name) in ["mug-01", "mug-02", "chair-01", "hat-01", "lamp-01"].iter().enumerate() {
        table.push_str(&format!("{name};{name}.jpg;test;u{}\n", at % 2));
    }
    table.push_str("mug-03;mug-03.jpg;train;u1\nmug-04;no-such.jpg;test;u1\n");
    let queries = folder.path().join("reviews.csv");
    fs::write(&queries, table).unwrap();
    let page = folder.path().join("eval.html");
    let (shard, images) = (small.shard(), demo("queries"));
    let args = [
        &["eval", "--shard", &shard, "--queries", queries.to_str().unwrap(), "--images", images.to_str().unwrap()][..],
        &["--photo-column", "review_photo", "--only", "split=test", "--by", "user"],
    ]
    .concat();
    let found = json(&[&args[..], &["--json", "--page", page.to_str().unwrap()]].concat());
    assert_eq!((&found["photos"], &found["in_catalogue"]), (&5.into(), &4.into()), "{found}");
    let skipped = &found["skipped"][0];
    assert_eq!(skipped["line"], 8);
    assert!(skipped["reason"].as_str().unwrap().starts_with("no-such.jpg: "), "{skipped}");
    // The figures follow from the ranks of the photos.
    let ranks: Vec<Option<u64>> = found["results"].as_array().unwrap().iter().map(|r| r["rank"].as_u64()).collect();
    assert_eq!((ranks.len(), ranks[4]), (5, None));
    let first = ranks.iter().filter(|rank| **rank == Some(1)).count();
    assert!(first >= 3, "{ranks:?}");
    assert_eq!(found["hit_at_1"], first as f64 / 4.0);
    assert_eq!(found["groups"].as_array().unwrap().iter().map(|g| g["photos"].as_u64().unwrap()).sum::<u64>(), 4);
    let same = found["others_share"].as_object().unwrap();
    assert!(same.len() == 4 && same["category"].as_f64().unwrap() > 0.2, "{same:?}");
    // At a threshold of 0 every search is answered, with and without its listing.
    let all = &found["confidence"]["thresholds"][0];
    assert_eq!((&all["answered_in"], &all["answered_out"]), (&1.0.into(), &1.0.into()));
    assert_eq!(all["precision_in"], found["hit_at_1"]);
    assert_eq!(found["attributes"].as_array().unwrap().iter().filter(|head| head["name"] == "colour").count(), 1);

    let page = fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("class=\"query\"").count(), 5);
    assert!(page.contains("The catalogue does not have the listing (1)") && !page.contains("src="));
    let text = String::from_utf8(magpie(&args).stdout).unwrap();
    assert!(text.contains("right listing: first") && text.contains("AUROC") && text.contains("in five"), "{text}");

    let wrong = |more: &[&str], code| refused(&[&args[..], more].concat(), code);
    assert!(wrong(&["--only", "split=none"], 1).contains("no row of the table is left"));
    assert!(wrong(&["--only", "fold=1"], 2).contains("--only: no column 'fold' in the table; it has split, user"));
    assert!(wrong(&["--same", "brand"], 2).contains("--same: no column 'brand'; the catalogue has title"));
}

#[test]
fn each_kind_of_bad_input_has_its_message_and_exit_code() {
    let small = Small::get();
    let (shard, photo) = (small.shard(), query("mug-01.jpg"));
    let search = |shard: &str, photo: &str, more: &[&str], code| {
        refused(&[&["search", "--shard", shard, "--photo", photo], more].concat(), code)
    };
    assert!(search(&shard, "no-such.jpg", &[], 1).contains("no-such.jpg"));
    assert!(search("no-such.magpie", &photo, &[], 1).contains("no-such.magpie"));
    let (empty, text) = (small.path("empty.jpg"), small.path("text.jpg"));
    fs::write(&empty, "").unwrap();
    fs::write(&text, "hello").unwrap();
    assert!(search(&shard, &empty, &[], 3).contains("empty"));
    assert!(search(&shard, &text, &[], 3).contains("it looks like text"));
    assert!(search(&shard, &photo, &["--crop", "0,0,0,5"], 3).contains("does not lie inside"));
    assert!(search(&shard, &photo, &["--crop", "1,2,3"], 2).contains("four whole numbers"));
    assert!(search(&photo, &photo, &[], 5).contains("not a Magpie shard"));

    let unknown = search(&shard, &photo, &["--where", "brand=x"], 2);
    assert!(unknown.contains("no column 'brand'") && unknown.contains("category"), "{unknown}");
    assert!(search(&shard, &photo, &["--where", "price<cheap"], 2).contains("holds numbers"));
    assert!(search(&shard, &photo, &["--where", "price 5"], 2).contains("at character 7"));

    let bytes = fs::read(&shard).unwrap();
    let cut = small.path("cut.magpie");
    fs::write(&cut, &bytes[..bytes.len() - 100]).unwrap();
    assert!(search(&cut, &photo, &[], 5).contains("cut short"));
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&cut, flipped).unwrap();
    refused(&["verify", &cut], 5);
    assert!(magpie(&["verify", &shard]).status.success());
}

#[test]
fn inspect_shows_the_catalogue_and_the_pack() {
    let small = Small::get();
    let shown = json(&["inspect", &small.shard(), "--json"]);
    assert_eq!(shown["catalog"], "catalog");
    assert_eq!(shown["header"]["listing_count"], small.built["listings"]);
    let filters: Vec<&str> = shown["filters"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert!(filters.contains(&"price") && !filters.contains(&"title"), "{filters:?}");
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/packs/default");
    let shown = json(&["inspect", pack.to_str().unwrap(), "--json"]);
    assert_eq!(shown["manifest"]["embedding"]["dim"], 128);
    // The whole shipped network runs on the int8 kernels.
    assert_eq!(shown["tract_nodes"], serde_json::json!([]));
    assert_eq!(shown["convolutions"]["int8"], shown["convolutions"]["all"]);
    assert!(shown["convolutions"]["all"].as_u64().unwrap() > 20, "{}", shown["convolutions"]);
    assert!(shown["int8_layers"].as_array().unwrap().len() > 30);
    let shown = json(&["inspect", "--layers", pack.to_str().unwrap(), "--json"]);
    assert!(shown["int8_layers"][0]["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{}", shown["int8_layers"][0]);
}

#[test]
fn embed_writes_rows_in_order_and_names_unreadable_files() {
    let small = Small::get();
    let (list, out) = (small.path("files.txt"), small.path("e.npy"));
    fs::write(&list, format!("{}\n{}\n", query("mug-01.jpg"), query("hat-01.jpg"))).unwrap();
    let written = json(&["embed", "--list", &list, "--out", &out, "--json"]);
    assert_eq!((&written["rows"], &written["columns"]), (&Value::from(2), &Value::from(128)));
    let bytes = fs::read(&out).unwrap();
    assert_eq!(bytes.len(), 128 + 2 * 128 * 4);
    fs::write(&list, format!("{}\nnot-there.jpg\n", query("mug-01.jpg"))).unwrap();
    assert!(refused(&["embed", "--list", &list, "--out", &out], 1).contains("not-there.jpg"));
}

#[test]
fn the_demo_writes_a_self_contained_page() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let result = json(&["demo", "--out", out.to_str().unwrap(), "--json"]);
    assert!(result["hit_at_5"].as_f64().unwrap() > 0.3, "{}", result["hit_at_5"]);
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    assert!(page.contains("</html>") && !page.contains("src=") && !page.contains("href="));
    assert_eq!(page.matches("class=\"query\"").count() as u64, result["queries"].as_u64().unwrap());
}
