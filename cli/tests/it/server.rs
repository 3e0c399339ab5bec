//! `magpie search --server` against a real server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use magpie_server::{Embedded, Overrides, Server};
use serde_json::Value;
use tempfile::TempDir;

use crate::{demo, json, pack, refused};

const TOKEN: &str = "a-long-enough-token";

/// A phone's shard with mugs only, a server's shard with mugs, chairs and hats, and that server. Made once.
struct Shop {
    folder: TempDir,
    url: String,
}

impl Shop {
    fn get() -> &'static Shop {
        static SHOP: OnceLock<Shop> = OnceLock::new();
        SHOP.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let all = std::fs::read_to_string(demo("catalog.csv")).unwrap();
            let part = |prefixes: &[&str]| -> String {
                let keep =
                    |line: &&str| line.starts_with("listing_id,") || prefixes.iter().any(|p| line.starts_with(p));
                all.lines().filter(keep).map(|line| format!("{line}\n")).collect()
            };
            for (name, prefixes) in [("phone", &["mug-0"][..]), ("server", &["mug-0", "chair-0", "hat-0"])] {
                let table = folder.path().join(format!("{name}.csv"));
                std::fs::write(&table, part(prefixes)).unwrap();
                let (table, images) = (table.to_str().unwrap().to_owned(), demo("photos"));
                let out = folder.path().join(format!("{name}.magpie"));
                let (images, out) = (images.to_str().unwrap(), out.to_str().unwrap());
                json(&["build", "--catalog", &table, "--images", images, "--out", out, "--json", "--name", "Demo"]);
            }
            std::fs::write(folder.path().join("tokens"), format!("test {TOKEN}\n")).unwrap();
            let url = serve(&folder);
            Shop { folder, url }
        })
    }

    fn search(&self, shard: &str, query: &str, more: &[&str]) -> Value {
        let (shard, photo) = (self.folder.path().join(shard), demo("queries").join(query));
        let mut args = vec!["search", "--shard", shard.to_str().unwrap(), "--photo", photo.to_str().unwrap(), "--json"];
        args.extend(more);
        json(&args)
    }

    fn ask(&self, query: &str, more: &[&str]) -> Value {
        let mut args = vec!["--server", &self.url, "--token", TOKEN, "--deadline-ms", "8000"];
        args.extend(more);
        self.search("phone.magpie", query, &args)
    }
}

fn serve(folder: &TempDir) -> String {
    let overrides = Overrides {
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        shards: vec![folder.path().join("server.magpie")],
        tokens: Some(folder.path().join("tokens")),
        // Tests run concurrently and share the cores.
        max_wait_ms: Some(5000),
        ..Overrides::default()
    };
    let settings = overrides.settings().unwrap();
    let engine = Embedded::of(&settings).unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (server, stop) = Server::bind(settings, Arc::new(engine)).await.unwrap();
            sender.send(server.address().unwrap()).unwrap();
            server.run().await;
            drop(stop);
        });
    });
    format!("http://{}", receiver.recv().unwrap())
}

fn tls(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// Starts a proxy that speaks TLS in front of a server; returns its URL.
fn tls_front(server: &str) -> String {
    let chain = vec![CertificateDer::from_pem_file(tls("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(tls("server.key")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let (config, server) = (Arc::new(config), server.strip_prefix("http://").unwrap().to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut outside = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let Some(request) = read_request(&mut outside) else { continue };
            let mut inside = TcpStream::connect(&server).unwrap();
            inside.write_all(&request).unwrap();
            let mut reply = Vec::new();
            inside.read_to_end(&mut reply).unwrap();
            let _ = outside.write_all(&reply);
            outside.conn.send_close_notify();
            let _ = outside.flush();
        }
    });
    format!("https://{address}")
}

/// Reads head and body, and adds a header that makes the server close the connection after its response. `None` if the
/// TLS handshake failed.
fn read_request(stream: &mut impl Read) -> Option<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => bytes.extend(&buffer[..count]),
            _ => return None,
        }
        let text = std::str::from_utf8(&bytes).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned);
        if head.lines().find_map(header).unwrap().parse() == Ok(body.len()) {
            return Some(format!("{head}\r\nconnection: close\r\n\r\n{body}").into_bytes());
        }
    }
}

fn listings(value: &Value) -> Vec<(&str, f64)> {
    let listings = value["listings"].as_array().unwrap().iter();
    listings.map(|l| (l["id"].as_str().unwrap(), l["score"].as_f64().unwrap())).collect()
}

fn sources(value: &Value) -> Vec<&str> {
    value["listings"].as_array().unwrap().iter().map(|l| l["source"].as_str().unwrap()).collect()
}

#[test]
fn the_server_finds_what_the_phone_does_not_have() {
    let shop = Shop::get();
    let found = shop.ask("chair-02.jpg", &["--k", "20"]);
    assert_eq!((&found["ended"]["name"], &found["sends"]), (&"answered".into(), &1.into()), "{found}");
    assert_eq!(found["listings"][0]["source"], "server", "{found}");
    assert!(listings(&found)[0].0.starts_with("chair-"), "{found}");
    assert!(sources(&found).contains(&"both") && !sources(&found).contains(&"local"), "{found}");
}

#[test]
fn asking_gives_the_order_of_a_search_in_the_whole_shard() {
    let shop = Shop::get();
    for (query, filter) in [("hat-01.jpg", "price>0"), ("mug-02.jpg", "price>0"), ("chair-02.jpg", "not category=Mugs")]
    {
        let more = ["--k", "20", "--recall", "1", "--where", filter];
        let (asked, whole) = (shop.ask(query, &more), shop.search("server.magpie", query, &more));
        assert_eq!(asked["ended"]["name"], "answered", "{asked}");
        let (asked, whole) = (listings(&asked), listings(&whole));
        // The query is rounded for the request, which changes scores by less than this.
        for (asked, whole) in asked.iter().zip(&whole) {
            assert!((asked.1 - whole.1).abs() < 0.02, "{asked:?} {whole:?}");
        }
        assert_eq!(asked.len(), whole.len());
    }
}

#[test]
fn a_calibrated_pack_decides_by_its_confidence() {
    let shop = Shop::get();
    let ask = |bias: f32| {
        let model = pack::with_confidence(&shop.folder.path().join(format!("pack{bias}")), pack::calibration(bias));
        shop.ask("mug-01.jpg", &["--k", "3", "--model", &model])
    };
    // Listings and scores are the same; only the confidence in them differs.
    let (sure, unsure) = (ask(100.0), ask(-100.0));
    assert_eq!((&sure["reason"], &sure["sends"]), (&"good_enough".into(), &0.into()), "{sure}");
    assert_eq!((&unsure["reason"], &unsure["ended"]["name"]), (&"doubtful".into(), &"answered".into()), "{unsure}");
    assert_eq!(
        (&sure["local_confidence"]["enough"], &unsure["local_confidence"]["enough"]),
        (&true.into(), &false.into())
    );
}

#[test]
fn without_a_server_the_phone_answers_and_says_why() {
    let shop = Shop::get();
    let alone = shop.search("phone.magpie", "chair-02.jpg", &["--k", "3"]);
    let ids = |value: &Value| listings(value).iter().map(|(id, _)| (*id).to_owned()).collect::<Vec<_>>();
    let offline = shop.ask("chair-02.jpg", &["--k", "3", "--offline"]);
    assert_eq!((&offline["reason"], &offline["ended"], ids(&offline)), (&"offline".into(), &Value::Null, ids(&alone)));
    let refused = shop.search("phone.magpie", "chair-02.jpg", &["--k", "20", "--server", &shop.url]);
    assert_eq!(refused["ended"]["name"], "refused", "{refused}");
    assert!(sources(&refused).iter().all(|source| *source == "local"));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let dead = shop.search("phone.magpie", "chair-02.jpg", &["--k", "20", "--server", &url]);
    assert_eq!((&dead["ended"]["name"], &dead["sends"]), (&"unreachable".into(), &3.into()), "{dead}");
}

#[test]
fn a_server_behind_tls_is_asked_if_its_authority_is_trusted() {
    let shop = Shop::get();
    let front = tls_front(&shop.url);
    let ask = |url: &str, more: &[&str]| {
        let args = ["--k", "20", "--server", url, "--token", TOKEN, "--deadline-ms", "8000"];
        shop.search("phone.magpie", "chair-02.jpg", &[&args, more].concat())
    };
    let authority = tls("authority.pem");
    let trusting = ["--ca", authority.to_str().unwrap()];
    let found = ask(&front, &trusting);
    assert_eq!(found["ended"]["name"], "answered", "{found}");
    assert_eq!(listings(&found), listings(&ask(&shop.url, &[])));
    // The public authorities did not sign its certificate. A retry would not help.
    let distrusted = ask(&front, &[]);
    assert_eq!((&distrusted["ended"]["name"], &distrusted["sends"]), (&"untrusted".into(), &1.into()), "{distrusted}");
    assert!(sources(&distrusted).iter().all(|source| *source == "local"));
    // The certificate is for the address 127.0.0.1, not for the name localhost.
    let renamed = ask(&front.replace("127.0.0.1", "localhost"), &trusting);
    assert_eq!(renamed["ended"]["name"], "untrusted", "{renamed}");
}

#[test]
fn files_without_a_certificate_are_rejected() {
    let shard = Shop::get().folder.path().join("phone.magpie");
    let error = |ca: &Path| {
        let options = ["--shard", shard.to_str().unwrap(), "--photo", "none.jpg", "--server", "https://127.0.0.1:9"];
        refused(&[&["search"], &options[..], &["--ca", ca.to_str().unwrap()]].concat(), 1)
    };
    assert!(error(&tls("server.key")).contains("server.key: the file holds no PEM certificate"));
    assert!(error(&tls("nowhere.pem")).contains("nowhere.pem: "));
}
