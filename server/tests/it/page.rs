//! The demo page: its requests, and the page itself in a real browser.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::common::browser::Browser;
use crate::common::{Running, agent, get, read};
use base64::Engine as _;
use magpie_core::builder::{Field, Identity, ShardBuilder};
use magpie_core::engine;
use magpie_core::image::DecodeLimits;
use magpie_core::model::{Model, Pack};
use magpie_core::remote::{Problem, QueryCode};
use magpie_core::search::search;
use magpie_core::shard::Shard;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn pack() -> PathBuf {
    root().join("models/packs/default")
}

fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| Model::load(&Pack::open(pack()).unwrap()).unwrap())
}

/// Builds a shard of the demo's listings. All but the rings have thumbnails.
fn shard(path: &Path) {
    let demo = root().join("cli/demo");
    let text = std::fs::read_to_string(demo.join("catalog.csv")).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').skip(2).collect();
    let field = |name: &&str| Field { name: (*name).to_owned(), filter: !["title", "url"].contains(name) };
    let identity =
        Identity { model_id: model().id(), catalog: "the demo".to_owned(), sequence: 1, writer: "tests".to_owned() };
    let fields: Vec<Field> = names.iter().map(field).collect();
    let mut builder = ShardBuilder::new(identity, model().manifest().embedding.dim as usize, fields);
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        // Skips titles with a comma, which are quoted: they are not needed here.
        if cells.len() != names.len() + 2 {
            continue;
        }
        let photo = std::fs::read(demo.join("photos").join(cells[1])).unwrap();
        let embedding = engine::embed(model(), &photo, None, &DecodeLimits::default()).unwrap().embedding;
        let values: Vec<String> = cells[2..].iter().map(|&cell| cell.to_owned()).collect();
        // Rings have no thumbnail.
        let thumbnail = if cells[0].starts_with("ring") { &[] } else { &photo[..] };
        builder.add_with_thumbnail(cells[0], cells[1], &values, &embedding, thumbnail).unwrap();
    }
    builder.write(path).unwrap();
}

/// Starts a server with the page. The shard is built once.
fn serve(change: impl FnOnce(&mut magpie_server::Settings)) -> Running {
    static SHARD: OnceLock<Vec<u8>> = OnceLock::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.magpie");
    let bytes = SHARD.get_or_init(|| {
        shard(&path);
        std::fs::read(&path).unwrap()
    });
    std::fs::write(&path, bytes).unwrap();
    Running::serve(folder, vec![path], |settings| {
        settings.page = Some(pack());
        change(settings);
    })
}

fn query(name: &str) -> PathBuf {
    root().join("cli/demo/queries").join(name)
}

#[test]
fn the_page_embeds_as_the_phone_does() {
    let server = serve(|_| ());
    let photo = std::fs::read(query("mug-01.jpg")).unwrap();
    let post =
        |query: &str, bytes: &[u8]| read(agent().post(server.url(&format!("/page/embed{query}"))).send(bytes)).unwrap();
    for (query, region) in [("", None), ("?region=10,20,90,100", Some("10,20,90,100".parse().unwrap()))] {
        let got = post(query, &photo);
        assert_eq!(got.status, 200, "{}", got.body);
        let reply: Value = serde_json::from_str(&got.body).unwrap();
        let local = engine::embed(model(), &photo, region, &DecodeLimits::default()).unwrap();
        assert_eq!(reply["embedding"], QueryCode::of(&local.embedding).to_string());
        assert_eq!(reply["attributes"].as_array().unwrap().len(), local.attributes.0.len());
        let stages: Vec<&str> =
            reply["stages"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
        assert_eq!(stages, ["decode", "prepare", "network"]);
    }
    for (query, bytes, status) in [
        ("", &b"not a photo"[..], 422),
        ("", b"", 422),
        ("", &photo[..500], 422),
        ("?region=0,0,9000,10", &photo, 422),
        ("?region=no", &photo, 400),
        ("?crop=1,2,3,4", &photo, 400),
        ("", &vec![0; (24 << 20) + 1], 413),
    ] {
        let got = post(query, bytes);
        assert_eq!((got.status, got.kind.as_str()), (status, "application/problem+json"), "{query} {}", got.body);
        let problem: Problem = serde_json::from_str(&got.body).unwrap();
        assert!(problem.detail.is_some_and(|detail| !detail.is_empty()), "{query}");
    }
}

#[test]
fn the_page_judges_results_as_the_engine_does() {
    let server = serve(|_| ());
    let calibration = model().manifest().confidence.clone().unwrap();
    for scores in [&[0.9f32, 0.5, 0.4][..], &[0.41, 0.405], &[0.2]] {
        let text: Vec<String> = scores.iter().map(f32::to_string).collect();
        let got = get(&server.url(&format!("/page/confidence?scores={}", text.join(","))));
        assert_eq!(got.body, serde_json::to_string(&calibration.judge(scores)).unwrap());
    }
    for bad in ["", "0.2,0.9", "2", "NaN", "0.1,x", &["0.5"; 11].join(",")] {
        let got = get(&server.url(&format!("/page/confidence?scores={bad}")));
        assert!(got.status == 400 && got.body.contains("up to 10 cosines"), "{bad}: {}", got.body);
    }
}

#[test]
fn the_page_is_public_but_its_requests_need_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, "app one-long-enough-token\n").unwrap();
    let server = serve(|s| s.tokens = Some(file.clone()));
    for (path, kind) in [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        let response = agent().get(server.url(path)).call().unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with(kind));
        assert!(header("content-security-policy").starts_with("default-src 'none'; script-src 'self'; "));
        assert_eq!(
            (header("x-content-type-options"), header("referrer-policy")),
            ("nosniff".into(), "no-referrer".into())
        );
    }
    let paths = ["/page/about", "/page/picture?id=mug-01&photo=mug-01-1.jpg"];
    assert_eq!(paths.map(|path| get(&server.url(path)).status), [401, 401]);
    let status = |path: &str| {
        let request = agent().get(server.url(path)).header("authorization", "Bearer one-long-enough-token");
        request.call().unwrap().status().as_u16()
    };
    assert_eq!(paths.map(status), [200, 200]);
    assert_eq!(
        ["/page/picture?id=mug-01&photo=none.jpg", "/page/picture?id=none&photo=x", "/secrets"].map(status),
        [404; 3]
    );
    // The page is disabled without the setting.
    let plain = serve(|s| s.page = None);
    assert_eq!(["/", "/page.js", "/page/about"].map(|path| get(&plain.url(path)).status), [404; 3]);
}

/// Saves a screenshot for people to look at.
fn keep(browser: &mut Browser, name: &str) {
    let folder = root().join("target/page");
    std::fs::create_dir_all(&folder).unwrap();
    let png = base64::engine::general_purpose::STANDARD.decode(browser.picture()).unwrap();
    std::fs::write(folder.join(name), png).unwrap();
}

const DONE: &str = "document.querySelectorAll('.listing').length > 0 && !document.querySelector('#results.waiting') \
    && [...document.querySelectorAll('.picture')].slice(0, 4).every(p => p.classList.contains('none') || p.querySelector('img')?.complete)";

#[test]
fn a_person_finds_a_mug() {
    let Some(mut browser) = Browser::start() else {
        eprintln!("skipped: Chromium is not installed");
        return;
    };
    let server = serve(|_| ());
    browser.size(1280, 900, false);
    browser.call("Page.navigate", serde_json::json!({ "url": server.url("/") }));
    browser.until(
        "document.readyState === 'complete' && document.getElementById('about')?.textContent.includes('listings')",
    );
    keep(&mut browser, "1280-empty.png");

    browser.choose("#file", &query("mug-01.jpg"));
    browser.until(DONE);
    keep(&mut browser, "1280-found.png");
    let titles = "[...document.querySelectorAll('.text > :first-child')].map(e => e.textContent)";
    let found = browser.value(titles);
    assert_eq!(found[0], "Tall tapered mug in sea-green stoneware", "{found}");
    let stages = browser.value("[...document.querySelectorAll('#stages dt')].map(e => e.textContent)");
    let expected = ["upload", "decode", "prepare", "model", "search", "reply"];
    assert_eq!(stages, serde_json::json!(expected));
    let first = browser.value("document.querySelector('.score').textContent");
    let status = "document.getElementById('status').textContent";
    // The page says what the command line says of the same photo, in percent.
    let photo = std::fs::read(query("mug-01.jpg")).unwrap();
    let embedding = engine::embed(model(), &photo, None, &DecodeLimits::default()).unwrap().embedding;
    let shard = Shard::open(server.folder.path().join("demo.magpie")).unwrap();
    let best = search(&shard, &embedding, None, 10).unwrap();
    let scores: Vec<f32> = best.iter().map(|candidate| candidate.score).collect();
    let sure = model().manifest().confidence.as_ref().unwrap().judge(&scores);
    let shown = browser.value(status);
    assert!(shown.as_str().unwrap().contains(&format!("{:.0} %", 100.0 * sure.probability)), "{shown}");
    // Labels that the catalogue does not have are not shown, and prices are written as the browser's locale has them.
    assert_eq!(browser.value("document.querySelectorAll('#seen span').length"), 0);
    assert_eq!(browser.value("document.querySelector('.price').textContent"), "€18.00");

    // The other listings are one click away.
    let count = "document.querySelectorAll('.listing').length";
    assert_eq!(browser.value(count), 24);
    browser.value("document.getElementById('all').click()");
    assert_eq!(browser.value(count), 60);

    // Select a part of the photo with the mouse: the scores change. Reset it with the keyboard.
    browser.drag("#photo", (0.3, 0.3), (0.75, 0.7));
    browser.until(&format!(
        "!{status}.includes('Searching') && !document.getElementById('box').classList.contains('whole')"
    ));
    browser.until(DONE);
    keep(&mut browser, "1280-part.png");
    assert_ne!(browser.value("document.querySelector('.score').textContent"), first);
    let left = "parseFloat(document.getElementById('box').style.left)";
    let before = browser.value(left).as_f64().unwrap();
    browser.key("ArrowRight", 39, 0);
    assert!((browser.value(left).as_f64().unwrap() - before - 2.0).abs() < 0.01);
    let width = "parseFloat(document.getElementById('box').style.width)";
    let before = browser.value(width).as_f64().unwrap();
    browser.key("ArrowRight", 39, 8);
    assert!((browser.value(width).as_f64().unwrap() - before - 2.0).abs() < 0.01);
    browser.key("Escape", 27, 0);
    browser.until(&format!(
        "!{status}.includes('Searching') && document.querySelector('.score')?.textContent === {first}"
    ));

    // Set a filter with the keyboard: the focus stays, and every listing passes.
    let chip = "[...document.querySelectorAll('.chips button')].find(b => b.dataset.column === 'colour' && b.dataset.value === 'green')";
    browser.value(&format!("{chip}.focus()"));
    browser.key(" ", 32, 0);
    browser.until(&format!("{chip}.getAttribute('aria-pressed') === 'true' && document.activeElement === {chip}"));
    browser.until(&format!("!{status}.includes('Searching')"));
    browser.until(DONE);
    keep(&mut browser, "1280-filtered.png");
    let colours =
        browser.value("[...document.querySelectorAll('.listing small')].every(e => e.textContent.includes('green'))");
    assert_eq!(colours, true);

    // The screen of a phone.
    browser.size(400, 800, true);
    browser.call("Page.navigate", serde_json::json!({ "url": server.url("/") }));
    browser.until("document.getElementById('about')?.textContent.includes('listings')");
    keep(&mut browser, "400-empty.png");
    browser.choose("#file", &query("mug-01.jpg"));
    browser.until(DONE);
    assert_eq!(browser.value("document.documentElement.scrollWidth"), 400);
    keep(&mut browser, "400-top.png");
    browser.value("document.getElementById('answer').scrollIntoView()");
    keep(&mut browser, "400-results.png");
    browser
        .value("document.getElementById('filters').open = true; document.getElementById('filters').scrollIntoView()");
    keep(&mut browser, "400-filters.png");
    assert_eq!(browser.value("document.documentElement.scrollWidth"), 400);

    browser.call(
        "Emulation.setEmulatedMedia",
        serde_json::json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] }),
    );
    browser.value("scrollTo(0, 0)");
    keep(&mut browser, "400-dark.png");

    // A listing without a picture has a line instead of an empty square.
    browser.choose("#file", &query("ring-01.jpg"));
    browser.until("document.querySelectorAll('.picture.none').length > 0");
    keep(&mut browser, "400-no-pictures.png");

    // A file that is not a photo gets a message; the photo before it stays, with its results.
    browser.choose("#file", &root().join("Cargo.toml"));
    browser.until(&format!("{status}.includes('JPEG')"));
    assert_eq!(browser.value("document.getElementById('photo').naturalWidth > 0"), true);
    assert!(browser.value(count).as_u64().unwrap() > 0);
    // No resource came from another host, and none was blocked.
    let hosts = "[...new Set(performance.getEntriesByType('resource').map(e => new URL(e.name).origin))]";
    assert_eq!(browser.value(hosts), serde_json::json!([server.url("")]));
    let missing = |complaint: &&String| !complaint.contains("404");
    assert_eq!(browser.complaints.iter().filter(missing).collect::<Vec<_>>(), Vec::<&String>::new());

    // Without a server, the page says what to do, and shows nothing of an earlier photo.
    drop(server);
    browser.choose("#file", &query("hat-01.jpg"));
    browser.until(&format!("{status}.includes('cannot be reached')"));
    assert_eq!(browser.value(count), 0);
    let hidden = "['seen', 'filters', 'times', 'all'].every(id => document.getElementById(id).hidden)";
    assert_eq!(browser.value(hidden), true);
    assert_eq!(browser.value("document.getElementById('retry').hidden"), false);
    keep(&mut browser, "400-no-server.png");
}
