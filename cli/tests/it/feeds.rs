//! Tables as shops write them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::small::Small;
use crate::{demo, json, magpie, refused};

/// Builds a shard of a table that names the demo's photos; returns what `build --json` and `inspect --json` print.
fn built(table: &str, name: &str, more: &[&str]) -> (Value, Value) {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, shard) = (folder.path().join(name), folder.path().join("out.magpie"));
    fs::write(&catalog, table).unwrap();
    let photos = demo("photos");
    let mut args = vec!["build", "--json", "--catalog", catalog.to_str().unwrap(), "--out", shard.to_str().unwrap()];
    args.extend(["--images", photos.to_str().unwrap()]);
    args.extend(more);
    (json(&args), json(&["inspect", shard.to_str().unwrap(), "--json"]))
}

#[test]
fn feeds_of_shops_are_used_as_they_come() {
    let feeds = [
        "Handle,Title,Vendor,Type,Variant Price,Image Src\nmug-1,Mug,Us,Mugs,18.00,mug-01-1.jpg\nmug-1,,,,,mug-01-2.jpg\n",
        "ID,Type,SKU,Name,Regular price,Categories,Images\n1,simple,a,Mug,18,Mugs,\"mug-01-1.jpg, mug-01-2.jpg\"\n",
        "id\ttitle\tlink\timage_link\tprice\n1\tMug\thttps://x/1\tmug-01-1.jpg\t18.00 EUR\n1\t\t\tmug-01-2.jpg\t\n",
        "sku;name;price;categories;base_image\n1;Mug;18,00;Mugs;mug-01-1.jpg|mug-01-2.jpg\n",
        "{\"id\":1,\"title\":\"Mug\",\"price\":18,\"images\":[\"mug-01-1.jpg\",\"mug-01-2.jpg\"]}\n",
    ];
    for (feed, name) in feeds.iter().zip(["shopify.CSV", "woo.csv", "google.tsv", "magento.txt", "rows.jsonl"]) {
        let (report, about) = built(feed, name, &[]);
        assert_eq!((&report["listings"], &report["photos"]), (&Value::from(1), &Value::from(2)), "{name}: {report}");
        assert_eq!(report["conflicting"], Value::Array(Vec::new()), "{name}");
        let prices = about["filters"].as_array().unwrap().iter().find(|column| column["name"] == "price").unwrap();
        assert_eq!(prices["holds"], "numbers", "{name}: {about}");
    }
}

#[test]
fn a_listing_keeps_its_title_if_its_first_photo_is_bad() {
    let folder = tempfile::tempdir().unwrap();
    let table = "listing_id,photo,title,price\nmug-01,gone.jpg,Tall mug,18\nmug-01,mug-01-1.jpg,,\n";
    let (catalog, shard) = (folder.path().join("t.csv"), folder.path().join("t.magpie"));
    fs::write(&catalog, table).unwrap();
    let photos = demo("photos");
    let [catalog, shard, photos] = [&catalog, &shard, &photos].map(|path| path.to_str().unwrap());
    json(&["build", "--json", "--catalog", catalog, "--images", photos, "--out", shard]);
    let photo = format!("{photos}/mug-01-1.jpg");
    let found = json(&["search", "--shard", shard, "--photo", &photo, "--json", "--where", "price<50"]);
    assert_eq!(found["listings"][0]["fields"]["title"], "Tall mug", "{found}");
}

#[test]
fn an_odd_price_is_named_and_may_be_left_out() {
    let table = "listing_id,photo,price\na,mug-01-1.jpg,18\nb,mug-02-1.jpg,POA\n";
    let (report, _) = built(table, "t.csv", &[]);
    assert!(report["notes"][0].as_str().unwrap().starts_with("price: line 3: 'POA' is not a number"), "{report}");
    let (report, about) = built(table, "t.csv", &["--column", "price=number"]);
    assert!(report["notes"][0].as_str().unwrap().contains("left out"), "{report}");
    assert_eq!(about["filters"][0]["holds"], "numbers", "{about}");
}

#[test]
fn what_can_be_known_before_the_work_is_told_before_it() {
    let small = Small::get();
    let (catalog, images, out) = (small.path("catalog.csv"), small.path("photos"), small.path("gone/out.magpie"));
    let build = |out: &str| refused(&["build", "--catalog", &catalog, "--images", &images, "--out", out], 1);
    assert!(build(&out).contains("no such folder for the shard"));
    assert!(build(&images).contains("it exists and is not a file"));
    #[cfg(unix)]
    assert!(build("/dev/null").contains("it exists and is not a file"));
    #[cfg(unix)]
    assert!(refused(&["build", "--catalog", "/dev/zero", "--images", &images, "--out", &out], 1).contains("no such"));
}

#[test]
fn rows_of_embeddings_are_lines_of_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let (list, out) = (folder.path().join("list.txt"), folder.path().join("e.npy"));
    let photo = |name: &str| demo("photos").join(name).to_str().unwrap().to_owned();
    fs::write(&list, format!("{}\n\n/no/such.jpg\n{}\n\n", photo("mug-01-1.jpg"), photo("mug-02-1.jpg"))).unwrap();
    let args = ["embed", "--list", list.to_str().unwrap(), "--out", out.to_str().unwrap()];
    assert_ne!(magpie(&args).status.code(), Some(0));
    let report = json(&[&args[..], &["--skip-bad", "--json"]].concat());
    let rows: Vec<u64> = report["bad"].as_array().unwrap().iter().map(|bad| bad["row"].as_u64().unwrap()).collect();
    assert_eq!((report["rows"].as_u64(), rows), (Some(4), vec![1, 2]), "{report}");
}

/// Feeds from the wild, each with how it must come out.
#[test]
fn feeds_from_the_wild_come_out_right() {
    let wild = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/wild");
    let Ok(expected) = fs::read_to_string(wild.join("expect.csv")) else {
        eprintln!("skipped: needs ../shared/data/wild");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for row in expected.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()).filter(|row| row[1] == "feed") {
        let out = folder.path().join(format!("{}.magpie", row[0]));
        let (catalog, out) = (wild.join(row[0]), out.to_str().unwrap());
        let (catalog, images) = (catalog.to_str().unwrap(), wild.to_str().unwrap());
        let output = magpie(&["build", "--catalog", catalog, "--images", images, "--out", out]);
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        let text = String::from_utf8_lossy(&text).to_lowercase();
        if row[2] == "says" {
            assert!(text.contains(row[3]) && !text.contains("panicked"), "{row:?}: {text}");
            continue;
        }
        assert!(output.status.success(), "{row:?}: {text}");
        let key = if row[2] == "listings" { "listing_count" } else { "photo_count" };
        assert_eq!(json(&["inspect", out, "--json"])["header"][key].to_string(), row[3], "{row:?}: {text}");
    }
}
