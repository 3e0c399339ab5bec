//! A server that serves a release: phones fetch it, and its own search finds the same.

use std::path::Path;

use magpie_core::search::SearchParams;
use magpie_release::publish::{ReleaseFolder, sign_keys};
use magpie_release::{KeySet, Manifest};

use crate::common::publisher::{Phone, Publisher, finds, key};
use crate::common::{CATALOG, Running, agent, eventually, get, request, search};

/// A response with its headers.
struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn ask(server: &Running, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = agent().get(server.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call().unwrap();
    let body = response.body_mut().read_to_vec().unwrap();
    Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
}

/// The ids and prices that the server's own search finds.
fn server_finds(server: &Running, seed: usize) -> Vec<(String, String)> {
    let reply = search(&agent(), server, &request(seed, None, &SearchParams::new(10)));
    let fields = reply.listings.into_iter().map(|listing| (listing.id, listing.fields.0));
    fields.map(|(id, fields)| (id, fields.iter().find(|(name, _)| **name == *"price").unwrap().1.clone())).collect()
}

fn start() -> (Publisher, Running) {
    let folder = tempfile::tempdir().unwrap();
    let publisher = Publisher::new(folder.path(), 0..400);
    (publisher, Running::release(folder, |_| ()))
}

#[test]
fn a_phone_gets_a_base_then_a_delta_and_the_server_finds_the_same() {
    let (mut publisher, server) = start();
    let (url, phone) = (server.url("/release"), Phone::new(server.folder.path().join("phone")));
    let (plan, first) = phone.update(&url);
    assert_eq!((plan.sequence, plan.files), (1, 1));
    assert_eq!(server_finds(&server, 0), phone.finds(0, 10));
    // The best listings of this query get another price, and the first one is sold.
    let sold = phone.finds(0, 1)[0].0.clone();
    publisher.delta(0..8, "99.00", &[]);
    publisher.delta(0..0, "", &[&sold]);
    // Until the server has checked a publication, phones do not get it either.
    assert!(phone.update(&url).0.is_installed);
    server.reload();
    // The connection is cut again and again.
    let phone = Phone { patience: 500, ..phone };
    let (plan, fetched) = phone.update(&url);
    assert_eq!((plan.sequence, plan.files, plan.is_installed), (3, 2, false));
    assert!(fetched > 500 && 10 * fetched < 9 * first, "{fetched} of {first}");
    let (on_phone, on_server) = (phone.finds(0, 10), server_finds(&server, 0));
    assert_eq!(on_server, on_phone);
    assert_eq!(on_server.len(), 10);
    let changed = on_server.iter().filter(|(_, price)| price == "99.00").count();
    assert!(changed >= 5 && on_server.iter().all(|(id, _)| *id != sold), "{on_server:?}");
    // A delta that only removes, and one that brings a listing back.
    publisher.delta(0..0, "", &["mug-0101", "mug-0102"]);
    publisher.delta(101..102, "1.00", &[]);
    server.reload();
    phone.update(&url);
    for seed in 0..10 {
        assert_eq!(server_finds(&server, seed), phone.finds(seed, 10));
        assert_eq!(server_finds(&server, seed), finds(&publisher.catalog(), seed, 10));
    }
    assert_eq!(get(&server.url("/v1/listings/mug-0102")).status, 404);
    assert!(get(&server.url("/v1/listings/mug-0101")).body.contains("1.00"));
    let ready = get(&server.url("/readyz")).body;
    assert!(ready.contains(r#""listings":398,"#) && ready.contains(r#""sequence":5,"#), "{ready}");
}

#[test]
fn an_installed_release_is_searched_and_served_on() {
    let (mut publisher, server) = start();
    publisher.delta(0..4, "7.00", &["mug-0009"]);
    server.reload();
    let folder = tempfile::tempdir().unwrap();
    let mirror = Phone::new(folder.path().join("release"));
    mirror.update(&server.url("/release"));
    let second = Running::release(folder, |_| ());
    let phone = Phone::new(second.folder.path().join("phone"));
    assert_eq!(phone.update(&second.url("/release")).0.sequence, 2);
    assert_eq!(server_finds(&second, 3), server_finds(&server, 3));
}

#[test]
fn a_delta_whose_packed_form_is_damaged_is_not_offered_to_phones() {
    let (mut publisher, server) = start();
    publisher.delta(0..4, "7.00", &[]);
    let delta = publisher.manifest.deltas[0].shard.unwrap();
    let path = publisher.path(&delta.wire());
    assert_ne!(path, publisher.path(&delta), "phones fetch the packed form");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    server.reload();
    assert!(get(&server.url("/readyz")).body.contains(r#""reload_failed":true"#));
    std::fs::write(&path, &bytes).unwrap();
    server.reload();
    assert!(get(&server.url("/readyz")).body.contains(r#""reload_failed":false"#));
}

#[test]
fn a_file_that_comes_after_its_manifest_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut publisher = Publisher::new(folder.path(), 0..400);
    let server = Running::release(folder, |settings| settings.watch = std::time::Duration::from_millis(20));
    let hidden = publisher.release.join("files").join("hidden");
    publisher.delta(0..4, "7.00", &[]);
    let delta = publisher.path(&publisher.manifest.deltas[0].shard.unwrap());
    std::fs::rename(&delta, &hidden).unwrap();
    let failed = || get(&server.url("/readyz")).body.contains(r#""reload_failed":true"#);
    let sequence = || get(&server.url("/readyz")).body.contains(r#""sequence":2"#);
    // The watcher may have seen both, or the manifest alone.
    assert!(eventually(|| failed() || sequence()));
    std::fs::rename(&hidden, &delta).unwrap();
    assert!(eventually(|| !failed() && sequence()));
}

#[test]
fn files_can_be_fetched_in_ranges_and_are_cached_for_ever() {
    let (publisher, server) = start();
    let base = publisher.manifest.base;
    let (path, bytes) = (format!("/release/{}", base.path()), std::fs::read(publisher.path(&base)).unwrap());
    let (tag, length) = (format!("\"{}\"", base.hash), bytes.len());
    let whole = ask(&server, &path, &[]);
    assert_eq!((whole.status, whole.header("content-length")), (200, length.to_string().as_str()));
    assert_eq!((whole.header("etag"), whole.header("accept-ranges")), (format!("W/{tag}").as_str(), "bytes"));
    assert_eq!(whole.header("cache-control"), "public, max-age=31536000, immutable");
    assert!(whole.body == bytes);
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-70000", 1000, 70_001.min(length)),
        ("bytes=5000-", 5000, length),
        ("bytes=-7", length - 7, length),
        ("bytes=7-99999999999", 7, length),
    ] {
        let part = ask(&server, &path, &[("range", range)]);
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {start}-{}/{length}", end - 1), "{range}");
        assert!(part.body == bytes[start..end], "{range}");
    }
    let beyond = ask(&server, &path, &[("range", &format!("bytes={length}-"))]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{length}").as_str()));
    // The whole file, where ranges cannot be given.
    for headers in [
        vec![("range", "bytes=0-1,5-6")],
        vec![("range", "lines=1-2")],
        vec![("range", "bytes=5-"), ("if-range", "\"other\"")],
    ] {
        assert_eq!(ask(&server, &path, &headers).body.len(), length, "{headers:?}");
    }
    assert_eq!(ask(&server, &path, &[("range", "bytes=5-"), ("if-range", &tag)]).status, 206);
    for known in [tag.as_str(), "*", &format!("\"x\", {tag}")] {
        let unchanged = ask(&server, &path, &[("if-none-match", known)]);
        assert_eq!((unchanged.status, unchanged.body.len()), (304, 0), "{known}");
    }
    // A small file is compressed on request, but never a range of it: those are of the file itself.
    let coded = ask(&server, &path, &[("accept-encoding", "zstd, gzip")]);
    assert_eq!(coded.header("content-encoding"), "zstd");
    assert!(coded.body.len() < length && zstd::decode_all(&coded.body[..]).unwrap() == bytes);
    let part = ask(&server, &path, &[("accept-encoding", "zstd, gzip"), ("range", "bytes=0-")]);
    assert_eq!((part.status, part.header("content-encoding"), part.header("etag")), (206, "", tag.as_str()));
    assert!(part.body == bytes);
    let head = agent().head(server.url(&path)).call().unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-length"], length.to_string().as_str());
    let metrics = get(&server.url("/metrics")).body;
    assert!(metrics.contains("magpie_release_bytes_total"), "{metrics}");
}

#[test]
fn the_manifest_and_keys_are_cached_for_a_short_time() {
    let (mut publisher, server) = start();
    let manifest = ask(&server, "/release/manifest", &[]);
    assert_eq!((manifest.status, manifest.header("cache-control")), (200, "public, max-age=15"));
    let keys = KeySet::new(vec![key().public()]);
    assert_eq!(Manifest::parse(&manifest.body, &keys).unwrap(), publisher.manifest);
    let tag = manifest.header("etag").to_owned();
    assert_eq!(ask(&server, "/release/manifest", &[("if-none-match", &tag)]).status, 304);
    publisher.delta(0..2, "5.00", &[]);
    server.reload();
    let changed = ask(&server, "/release/manifest", &[("if-none-match", &tag)]);
    assert!(changed.status == 200 && changed.header("etag") != tag);
    // A keys document is there as soon as the publisher has added it.
    assert_eq!(ask(&server, "/release/keys-2", &[]).status, 404);
    let next = KeySet { version: 2, ..KeySet::new(vec![key().public()]) };
    let signed = sign_keys(CATALOG, &next, &[key()]).unwrap();
    ReleaseFolder::open(&publisher.release).unwrap().add_keys(2, &signed).unwrap();
    assert!(ask(&server, "/release/keys-2", &[]).body == signed);
}

#[test]
fn nothing_but_the_release_is_served() {
    let (publisher, server) = start();
    let secret = publisher.release.join("files").join("notes");
    std::fs::write(secret, "not for phones").unwrap();
    std::fs::write(publisher.release.join("keys-x"), "not for phones").unwrap();
    std::os::unix::fs::symlink("/etc", publisher.release.join("files").join("0".repeat(64))).unwrap();
    let hash = publisher.manifest.base.hash.to_string();
    for path in [
        "/release/",
        "/release",
        "/release/files/",
        "/release/files/notes",
        "/release/.publisher",
        "/release/.publisher/lock",
        "/release/.publisher/history/1",
        "/release/%2epublisher",
        "/release/keys-x",
        "/release/keys-1",
        "/release/keys-02",
        "/release/keys-+2",
        "/release/files/..%2f.publisher%2flock",
        "/release/files/%2e%2e%2fmanifest",
        "/release/..%2f..%2fetc%2fpasswd",
        "/release/keys-2%00",
        "/release/files/%ff",
        &format!("/release/files/{}", hash.to_uppercase()),
        &format!("/release/files/{hash}%2f..%2fnotes"),
        // A folder, and a file that does not exist.
        &format!("/release/files/{}", "0".repeat(64)),
        &format!("/release/files/{}", "1".repeat(64)),
    ] {
        // Written by hand: an HTTP client would tidy the path up.
        let got = raw(&server, path);
        assert!(got.starts_with("HTTP/1.1 404 "), "{path}: {got}");
        assert!(got.contains("application/problem+json"), "{path}: {got}");
    }
    // A server of shards has no release.
    let shards = Running::start(|_| ());
    assert_eq!(get(&shards.url("/release/manifest")).status, 404);
    assert_eq!(get(&shards.url(&format!("/release/files/{hash}"))).status, 404);
}

fn raw(server: &Running, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_publication_that_phones_would_refuse_is_not_served_either() {
    let (mut publisher, server) = start();
    let metrics = || get(&server.url("/metrics")).body;
    let served = || Manifest::parse(&ask(&server, "/release/manifest", &[]).body, &KeySet::new(vec![key().public()]));
    let refused = |text: &str| {
        server.reload();
        assert!(get(&server.url("/readyz")).body.contains(r#""reload_failed":true"#), "{text}");
        assert!(metrics().contains("magpie_reload_failed 1\n"), "{text}");
        assert_eq!(served().unwrap().sequence, 1, "{text}");
        assert_eq!(server_finds(&server, 1).len(), 10, "{text}");
    };
    publisher.delta(0..4, "7.00", &[]);
    let delta = publisher.manifest.deltas[0].shard.unwrap();
    let path = publisher.path(&delta);
    let bytes = std::fs::read(&path).unwrap();
    let write = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).unwrap();
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    write(&path, &damaged);
    refused("damaged");
    write(&path, &bytes[..bytes.len() - 1]);
    refused("cut short");
    std::fs::remove_file(&path).unwrap();
    refused("missing");
    write(&publisher.release.join("manifest"), b"text");
    refused("no manifest");
    // Publication 1 with other contents.
    write(&path, &bytes);
    publisher.manifest.sequence = 1;
    publisher.publish();
    refused("reused");
    publisher.manifest.sequence = 2;
    publisher.publish();
    server.reload();
    assert_eq!(served().unwrap().sequence, 2);
    assert!(metrics().contains("magpie_reload_failed 0\n"));
    assert!(get(&server.url("/readyz")).body.contains(r#""reload_failed":false"#));
}

#[test]
fn a_release_that_others_have_signed_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    Publisher::new(folder.path(), 0..20);
    let open = |trust: &str| {
        let overrides = magpie_server::Overrides {
            release: Some(folder.path().join("release")),
            trust: vec![trust.to_owned()],
            ..Default::default()
        };
        overrides.settings().and_then(|settings| magpie_server::Embedded::of(&settings)).map(|_| ())
    };
    assert_eq!(open(&key().public().to_string()), Ok(()));
    assert!(open(&"1".repeat(64)).unwrap_err().contains("signed"), "{:?}", open(&"1".repeat(64)));
    assert!(open("text").unwrap_err().contains("--trust"));
}
