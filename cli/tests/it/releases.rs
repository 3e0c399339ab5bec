//! Publishing a catalogue and updating a phone's folder, with the real pack and real files.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::{demo, json, magpie, refused};

/// A shop that publishes: a table, photos, a key.
struct Shop {
    folder: TempDir,
}

impl Shop {
    fn new() -> Shop {
        let shop = Shop { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(shop.folder.path().join("photos")).unwrap();
        for name in ["mug-01-1.jpg", "mug-02-1.jpg", "chair-01-1.jpg", "hat-01-1.jpg"] {
            fs::copy(demo("photos").join(name), shop.folder.path().join("photos").join(name)).unwrap();
        }
        shop.write("m1,mug-01-1.jpg,Mug,12\nm2,mug-02-1.jpg,Other mug,14\nc1,chair-01-1.jpg,Chair,80\n");
        json(&["key", "new", "--out", &shop.path("key"), "--json"]);
        shop
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, rows: &str) {
        fs::write(self.path("shop.csv"), format!("listing_id,photo,title,price\n{rows}")).unwrap();
    }

    fn args(&self, more: &[&str]) -> Vec<String> {
        let (table, photos, to, key) =
            (self.path("shop.csv"), self.path("photos"), self.path("release"), self.path("key"));
        // Three listings are few: every change would be more than 15 %.
        let share = ["--max-delta-share", "3", "--json"];
        let args = ["publish", "--catalog", &table, "--images", &photos, "--to", &to, "--key", &key];
        args.iter().chain(&share).chain(more).map(|&arg| arg.to_owned()).collect()
    }

    fn publish(&self, more: &[&str]) -> Value {
        json(&self.args(more).iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn update_args(&self) -> [String; 8] {
        let (from, into, key) = (self.path("release"), self.path("phone"), self.path("key.pub"));
        ["update", "--from", &from, "--into", &into, "--trust", &key, "--json"].map(str::to_owned)
    }

    fn update(&self) -> Value {
        json(&self.update_args().each_ref().map(String::as_str))
    }

    fn refused_update(&self) -> String {
        refused(&self.update_args().each_ref().map(String::as_str), 1)
    }

    /// The publication that the phone has, which must be whole.
    fn installed(&self) -> Value {
        let verified = json(&["verify", &self.path("phone"), "--trust", &self.path("key.pub"), "--json"]);
        assert_eq!(verified["signature_checked"], true);
        json(&["inspect", &self.path("phone"), "--json"])
    }

    /// The phone has what the release has.
    fn agrees(&self) {
        assert_eq!(self.installed(), json(&["inspect", &self.path("release"), "--json"]));
        json(&["verify", &self.path("release"), "--trust", &self.path("key.pub"), "--json"]);
    }

    /// What the phone finds for the mug.
    fn search(&self, more: &[&str]) -> Vec<Value> {
        let (catalog, photo) = (self.path("phone"), demo("queries/mug-01.jpg"));
        let args = ["search", "--catalog", &catalog, "--photo", photo.to_str().unwrap(), "--json"];
        json(&[&args[..], more].concat())["listings"].as_array().unwrap().clone()
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.path("release/files")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn ids(shard: &Path) -> Value {
    json(&["inspect", shard.to_str().unwrap(), "--json"])["header"]["listing_count"].clone()
}

#[test]
fn a_changed_price_travels_as_a_small_delta_and_nothing_is_embedded_again() {
    let shop = Shop::new();
    let first = shop.publish(&[]);
    assert_eq!((&first["kind"], &first["photos_embedded"], &first["sequence"]), (&"base".into(), &3.into(), &1.into()));
    assert_eq!(shop.update()["files"], 1);
    shop.agrees();

    shop.write("m1,mug-01-1.jpg,Mug,11\nm2,mug-02-1.jpg,Other mug,14\nc1,chair-01-1.jpg,Chair,80\n");
    let second = shop.publish(&[]);
    let numbers = ["changed", "removed", "photos_embedded", "deltas"].map(|name| second[name].as_u64().unwrap());
    assert_eq!((&second["kind"], numbers), (&"delta".into(), [1, 0, 0, 1]), "{second}");
    let update = shop.update();
    assert_eq!((&update["files"], &update["fetched_bytes"]), (&1.into(), &second["bytes"]));
    // The zeros between the sections of a shard do not travel.
    assert!(second["bytes"].as_u64().unwrap() < 4000, "{second}");
    shop.agrees();
    // The phone finds the listing with its new price, once.
    let found = shop.search(&[]);
    let of_mug: Vec<&Value> = found.iter().filter(|found| found["id"] == "m1").collect();
    assert_eq!((found.len(), of_mug.len(), &of_mug[0]["fields"]["price"]), (3, 1, &"11".into()), "{found:?}");
    assert_eq!(shop.search(&["--where", "price<12"]).len(), 1);
    let delta = shop.installed()["deltas"][0]["shard"]["hash"].as_str().unwrap().to_owned();
    assert_eq!(ids(&Path::new(&shop.path("phone/files")).join(delta)), 1);

    // Nothing has changed: a new date, and no file.
    let third = shop.publish(&[]);
    assert_eq!((&third["kind"], &third["bytes"], &third["sequence"]), (&"nothing".into(), &0.into(), &3.into()));
    assert_eq!(shop.update()["files"], 0);
    shop.agrees();
    assert_eq!(shop.update()["was_installed"], true);
}

#[test]
fn new_and_removed_listings_travel_and_deltas_can_be_merged() {
    let shop = Shop::new();
    shop.publish(&[]);
    shop.write("m1,mug-01-1.jpg,Mug,12\nc1,chair-01-1.jpg,Chair,80\n");
    let removal = shop.publish(&[]);
    assert_eq!((&removal["changed"], &removal["removed"]), (&0.into(), &1.into()));
    shop.update();
    shop.agrees();
    // A delta that only removes has no shard.
    assert_eq!(shop.search(&[]).iter().map(|found| found["id"].clone()).collect::<Vec<_>>(), ["m1", "c1"]);
    let delta = &shop.installed()["deltas"][0];
    let removed = delta["removed"]["hash"].as_str().unwrap();
    let bytes = fs::read(Path::new(&shop.path("phone/files")).join(removed)).unwrap();
    assert_eq!((magpie_release::read_removed(&bytes).unwrap(), &delta["shard"]), (vec!["m2".to_owned()], &Value::Null));

    shop.write("m1,mug-01-1.jpg,Mug,12\nc1,chair-01-1.jpg,Chair,80\nh1,hat-01-1.jpg,Hat,30\n");
    let new = shop.publish(&[]);
    assert_eq!((&new["changed"], &new["photos_embedded"], &new["deltas"]), (&1.into(), &1.into(), &2.into()));
    let merged = shop.publish(&["--compact"]);
    let numbers = ["changed", "removed", "photos_embedded", "deltas"].map(|name| merged[name].as_u64().unwrap());
    assert_eq!(numbers, [1, 1, 0, 1]);
    shop.update();
    shop.agrees();
    // Other columns make a new base; the photos are still known.
    let base = shop.publish(&["--filters", "title"]);
    assert_eq!((&base["kind"], &base["photos_embedded"]), (&"base".into(), &0.into()));
    // Old files stay for phones that are behind, and go when their time has come.
    assert!(shop.files().len() > 1);
    shop.publish(&["--filters", "title", "--keep", "1"]);
    assert_eq!(shop.files().len(), 1);
    shop.update();
    shop.agrees();
}

#[test]
fn a_delta_keeps_the_kinds_of_the_columns() {
    let shop = Shop::new();
    // `size` holds words, and the changed listing has a number; `weight` holds numbers, and it has none.
    let table = |rows: &str| {
        fs::write(shop.path("shop.csv"), format!("listing_id,photo,title,price,size,weight\n{rows}")).unwrap();
    };
    table("m1,mug-01-1.jpg,Mug,12,40,\nm2,mug-02-1.jpg,Mug,14,XL,3\n");
    shop.publish(&[]);
    table("m1,mug-01-1.jpg,Mug,13,40,\nm2,mug-02-1.jpg,Mug,14,XL,3\n");
    assert_eq!(shop.publish(&[])["kind"], "delta");
    shop.update();
    let shown = |of: &str| {
        let hash = shop.installed();
        let hash = if of == "base" { hash["base"]["hash"].clone() } else { hash["deltas"][0]["shard"]["hash"].clone() };
        let shard = Path::new(&shop.path("phone/files")).join(hash.as_str().unwrap());
        let filters = json(&["inspect", shard.to_str().unwrap(), "--json"])["filters"].clone();
        let kinds = filters.as_array().unwrap().iter().map(|filter| filter["holds"] == "numbers");
        kinds.collect::<Vec<_>>()
    };
    assert_eq!(shown("base"), shown("delta"));
    // A word in a column of numbers makes it a column of words, for all listings.
    table("m1,mug-01-1.jpg,Mug,13,40,heavy\nm2,mug-02-1.jpg,Mug,14,XL,3\n");
    assert_eq!(shop.publish(&[])["kind"], "base");
}

#[test]
fn a_photo_with_other_bytes_is_a_change_and_broken_rows_are_left_out() {
    let shop = Shop::new();
    shop.publish(&[]);
    fs::copy(demo("photos/hat-01-1.jpg"), shop.path("photos/mug-01-1.jpg")).unwrap();
    let changed = shop.publish(&[]);
    assert_eq!((&changed["changed"], &changed["photos_embedded"]), (&1.into(), &1.into()));
    fs::write(shop.path("photos/mug-01-1.jpg"), "no photo").unwrap();
    let broken = shop.publish(&[]);
    assert_eq!((&broken["changed"], &broken["removed"]), (&0.into(), &1.into()));
    assert_eq!(broken["skipped"].as_array().unwrap().len(), 1);
    let strict: Vec<String> = shop.args(&["--strict"]);
    assert!(refused(&strict.iter().map(String::as_str).collect::<Vec<_>>(), 1).contains("mug-01-1.jpg"));
}

#[test]
fn a_photo_that_several_rows_show_is_embedded_once() {
    let shop = Shop::new();
    fs::copy(demo("photos/mug-01-1.jpg"), shop.path("photos/copy.jpg")).unwrap();
    let cut = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/photos/cut-99.jpg");
    fs::copy(cut, shop.path("photos/cut.jpg")).unwrap();
    fs::write(shop.path("photos/bad.jpg"), "no photo").unwrap();
    let photos = ["mug-01-1.jpg", "copy.jpg", "mug-01-1.jpg", "cut.jpg", "cut.jpg", "bad.jpg", "bad.jpg"];
    shop.write(&photos.iter().zip(1..).map(|(photo, id)| format!("l{id},{photo},Thing,1\n")).collect::<String>());
    let made = shop.publish(&[]);
    assert_eq!((&made["listings"], &made["photos_embedded"]), (&5.into(), &2.into()), "{made}");
    // Each row is told what is wrong with its photo, whichever of them was first.
    let lines = |list: &str| made[list].as_array().unwrap().iter().map(|row| row["line"].clone()).collect::<Vec<_>>();
    assert_eq!((lines("incomplete"), lines("skipped")), (vec![5.into(), 6.into()], vec![7.into(), 8.into()]));
}

#[test]
fn what_is_not_the_publishers_newest_release_is_refused() {
    let shop = Shop::new();
    shop.publish(&[]);
    let old = fs::read(shop.path("release/manifest")).unwrap();
    shop.write("m1,mug-01-1.jpg,Mug,11\nm2,mug-02-1.jpg,Other mug,14\nc1,chair-01-1.jpg,Chair,80\n");
    shop.publish(&[]);
    shop.update();
    let good = fs::read(shop.path("release/manifest")).unwrap();
    let offered = |manifest: &[u8]| {
        fs::write(shop.path("release/manifest"), manifest).unwrap();
        let text = shop.refused_update();
        assert_eq!(shop.installed()["sequence"], 2);
        text
    };
    assert!(offered(&old).contains("publication 1 is older than publication 2"));
    assert!(offered(&good[..good.len() - 1]).contains("manifest: "));
    assert!(offered(&[&good[..], b"x"].concat()).contains("manifest: "));
    let mut other = good.clone();
    let at = other.windows(8).position(|bytes| bytes == b"\"issued\"").unwrap() + 10;
    other[at] ^= 1;
    assert!(offered(&other).contains("signed by 0 of the trusted keys"));
    fs::write(shop.path("release/manifest"), &good).unwrap();
    json(&["key", "new", "--out", &shop.path("other"), "--json"]);
    let (from, into, trust) = (shop.path("release"), shop.path("fresh"), shop.path("other.pub"));
    let update = ["update", "--from", &from, "--into", &into, "--trust", &trust];
    assert!(refused(&update, 1).contains("signed by 0"));

    // Files with more, fewer or other bytes.
    let manifest = json(&["inspect", &from, "--json"]);
    let trust = shop.path("key.pub");
    let update = ["update", "--from", &from, "--into", &into, "--trust", &trust];
    for file in [&manifest["base"], &manifest["deltas"][0]["shard"]["packed"]] {
        let file = Path::new(&from).join("files").join(file["hash"].as_str().unwrap());
        let bytes = fs::read(&file).unwrap();
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for (wrong, why) in [
            ([&bytes[..], b"x"].concat(), "more than the"),
            (bytes[..bytes.len() - 1].to_vec(), "sends no more bytes"),
            (flipped, "do not have this hash"),
        ] {
            fs::write(&file, wrong).unwrap();
            let text = refused(&update, 1);
            assert!(text.contains(why), "{text}");
            assert!(!magpie(&["verify", &into]).status.success());
        }
        fs::write(&file, &bytes).unwrap();
    }
    json(&[&update[..], &["--json"]].concat());
}

#[test]
fn new_keys_are_followed_and_old_ones_no_longer_trusted() {
    let shop = Shop::new();
    shop.publish(&["--name", "shop"]);
    shop.update();
    json(&["key", "new", "--out", &shop.path("new"), "--json"]);
    let (to, trust, old) = (shop.path("release"), shop.path("new.pub"), shop.path("key"));
    let rotate = ["key", "rotate", "--to", &to, "--name", "shop", "--version", "2", "--trust", &trust, "--key", &old];
    assert!(magpie(&rotate).status.success());
    let publish: Vec<String> =
        shop.args(&[]).into_iter().map(|arg| if arg == old { shop.path("new") } else { arg }).collect();
    json(&publish.iter().map(String::as_str).collect::<Vec<_>>());
    shop.update();
    shop.agrees();
    shop.publish(&[]);
    assert!(shop.refused_update().contains("signed by 0"));
}

#[test]
fn a_model_pack_travels_with_the_release() {
    let shop = Shop::new();
    shop.publish(&["--with-pack"]);
    assert_eq!(shop.update()["files"], 3);
    let pack = shop.installed()["model"]["pack"].clone();
    let names: Vec<&str> = pack.as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["manifest.json", "model.onnx"]);
}

/// Serves a folder. Of each file under `files/`, a connection sends `most` bytes and is cut.
struct Server {
    url: String,
}

impl Server {
    fn new(folder: String, most: usize, ranges: bool) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // Ends with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = Server::answer(stream, Path::new(&folder), most, ranges);
            }
        });
        Server { url }
    }

    fn answer(mut stream: TcpStream, folder: &Path, most: usize, ranges: bool) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().unwrap_or(Ok(String::new()))?;
        let mut offset = 0;
        for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
            let line = line.to_lowercase();
            let from = line.strip_prefix("range: bytes=").and_then(|range| range.strip_suffix('-'));
            offset = from.and_then(|from| from.parse().ok()).filter(|_| ranges).unwrap_or(offset);
        }
        let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let Ok(bytes) = fs::read(folder.join(&path)) else {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        };
        let status = if offset > 0 { "206 Partial Content" } else { "200 OK" };
        let rest = &bytes[offset.min(bytes.len())..];
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", rest.len());
        stream.write_all(head.as_bytes())?;
        let sent = if path.starts_with("files/") { rest.len().min(most) } else { rest.len() };
        stream.write_all(&rest[..sent])
    }
}

#[test]
fn a_release_comes_over_http_even_if_connections_are_cut() {
    let shop = Shop::new();
    let bytes = shop.publish(&[])["bytes"].as_u64().unwrap() as usize;
    let trust = shop.path("key.pub");
    for (name, most, ranges) in [("cut", bytes / 10, true), ("whole", usize::MAX, false)] {
        let server = Server::new(shop.path("release"), most, ranges);
        let into = shop.path(name);
        let update = ["update", "--from", &server.url, "--into", &into, "--trust", &trust, "--json"];
        assert_eq!(json(&update)["fetched_bytes"], bytes, "{name}");
        assert_eq!(json(&update)["was_installed"], true);
        json(&["verify", &into, "--trust", &trust, "--json"]);
    }
    // Each connection brings the same bytes again, and never comes to the end.
    let stuck = Server::new(shop.path("release"), bytes / 10, false);
    refused(&["update", "--from", &stuck.url, "--into", &shop.path("stuck"), "--trust", &trust], 1);
    let nobody = Server::new(shop.path("photos"), 0, true);
    let update = ["update", "--from", &nobody.url, "--into", &shop.path("none"), "--trust", &trust];
    assert!(refused(&update, 1).contains("is this a release?"));
}
