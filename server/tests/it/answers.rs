//! Responses to clients: the same listings as on the phone, or a problem that says why not.

use std::io::Read;
use std::time::Duration;

use crate::common::{
    DIM, JSON, MODEL, Running, agent, embedding, get, on_the_phone, post, request, search, search_options, shard,
};
use magpie_core::builder::{Identity, ShardBuilder};
use magpie_core::listing::Found;
use magpie_core::remote::{ModelProblem, Problem, Reply, SearchRequest, read_reply};
use magpie_core::search::{Filter, SearchParams};
use magpie_core::shard::Shard;
use magpie_core::{Embedding, ModelId};

#[test]
fn server_and_phone_return_the_same_listings() {
    let server = Running::start(|_| ());
    let (agent, shard) = (agent(), Shard::open(server.folder.path().join("a.magpie")).unwrap());
    let mut listings = 0;
    for seed in 0..20 {
        for (filter, params) in search_options() {
            let body = request(seed, filter, &params);
            let reply = search(&agent, &server, &body);
            let found: Vec<Found> = reply.listings.into_iter().map(Found::from).collect();
            assert_eq!(found, on_the_phone(&shard, &body), "{filter:?} {params:?}");
            listings += found.len();
        }
    }
    assert!(listings > 3000, "{listings}");
}

#[test]
fn an_unchanged_catalogue_is_not_sent_again() {
    let server = Running::start(|_| ());
    let url = server.url("/v1/catalogs/Ann's%20shop");
    let ask = |known: &str| agent().get(&url).header("if-none-match", known).call().unwrap();
    let mut first = ask("\"other\"");
    let reply: serde_json::Value = serde_json::from_str(&first.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!((&reply["listings"], &reply["sequence"]), (&400.into(), &1.into()));
    assert_eq!(reply["columns"], serde_json::json!({ "colour": "word", "price": "number" }));
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    for known in [tag.as_str(), tag.trim_start_matches("W/"), &format!("\"x\", {tag}"), "*"] {
        let mut again = ask(known);
        assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().unwrap()), (304, tag.as_str()));
        assert_eq!(again.body_mut().read_to_string().unwrap(), "");
    }
    shard(&server.folder.path().join("b.magpie"), 0..410, 2);
    std::fs::rename(server.folder.path().join("b.magpie"), server.folder.path().join("a.magpie")).unwrap();
    server.reload();
    let changed = ask(&tag);
    assert!(changed.status() == 200 && changed.headers()["etag"] != tag.as_str());
    assert_eq!(get(&server.url("/v1/catalogs/Bob's%20shop")).status, 404);
}

#[test]
fn responses_are_compressed_as_the_client_accepts() {
    let server = Running::start(|_| ());
    let body = request(1, None, &SearchParams::default());
    let ask = |accept: &str| {
        let request = agent().post(server.url("/v1/search")).header("content-type", "application/json");
        let mut response = request.header("accept-encoding", accept).send(&body).unwrap();
        let coding = response.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(response.headers()["vary"], "accept-encoding");
        (coding, response.body_mut().read_to_vec().unwrap())
    };
    let (none, plain) = ask("identity");
    assert_eq!(none, None);
    let (coding, coded) = ask("gzip, zstd");
    assert_eq!((coding.as_deref(), zstd::decode_all(&coded[..]).unwrap()), (Some("zstd"), plain.clone()));
    assert!(2 * coded.len() < plain.len(), "{} {}", coded.len(), plain.len());
    let (coding, coded) = ask("gzip");
    let mut undone = Vec::new();
    flate2::read::GzDecoder::new(&coded[..]).read_to_end(&mut undone).unwrap();
    assert_eq!((coding.as_deref(), undone), (Some("gzip"), plain));
    for (accept, coding) in [
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip;q=1.0, zstd;q=0", Some("gzip")),
        ("gzip; q=0.5", Some("gzip")),
        ("", None),
        ("br", None),
        ("gzip;q=0", None),
        ("gzip;q=no", None),
    ] {
        assert_eq!(ask(accept).0.as_deref(), coding, "{accept}");
    }
    // Short responses are not compressed.
    let response = agent().get(server.url("/healthz")).header("accept-encoding", "zstd").call().unwrap();
    assert!(response.headers().get("content-encoding").is_none());
}

#[test]
fn a_listing_is_found_by_its_id() {
    let server = Running::start(|_| ());
    let got = get(&server.url("/v1/listings/mug-0007"));
    let expected = r#"{"id":"mug-0007","photos":["7-0.jpg","7-1.jpg"],"fields":{"title":"Mug no. 7","colour":"green","price":"7.50"}}"#;
    assert_eq!((got.status, got.body.as_str()), (200, expected));
    assert_eq!(get(&server.url("/v1/listings/mug-9999")).status, 404);
}

#[test]
fn a_rejected_request_gets_a_problem() {
    let server = Running::start(|s| (s.max_body, s.max_k) = (20_000, 50));
    let (agent, url) = (agent(), server.url("/v1/search"));
    let sound = request(1, None, &SearchParams::default());
    let long = format!("{}{sound}", " ".repeat(20_000));
    let changed = |from: &str, to: &str| {
        let text = sound.replacen(from, to, 1);
        assert_ne!(text, sound);
        text
    };
    let short = Embedding::new(&[0.5; DIM / 2], MODEL).unwrap();
    let short = serde_json::to_string(&SearchRequest::new(&short, None, &SearchParams::default())).unwrap();
    let text = ("content-type", "text/plain");
    let late = ("magpie-deadline-ms", "0");
    for (headers, body, status, kind, detail) in [
        (vec![text], sound.clone(), 415, "wrong-type", ""),
        (vec![], sound.clone(), 415, "wrong-type", ""),
        (vec![JSON], String::new(), 400, "bad-request", "EOF"),
        (vec![JSON], "{}".to_owned(), 400, "bad-request", "missing field"),
        // Serde would take an array with the values of the fields.
        (vec![JSON], " [\"m\", \"e\", 10]".to_owned(), 400, "bad-request", "a JSON object"),
        (vec![JSON], changed(r#""k":10"#, r#""k":0"#), 400, "bad-request", "k is 0"),
        (vec![JSON], changed(r#""k":10"#, r#""k":51"#), 400, "bad-request", "at most 50"),
        (vec![JSON], changed(r#""k":10"#, r#""k":10,"filter":"size=3""#), 400, "bad-request", "no column 'size'"),
        (vec![JSON], changed(r#""k":10"#, r#""k":10,"filter":"price<""#), 400, "bad-request", "filter"),
        (vec![JSON], changed(r#""k":10"#, r#""k":10,"photo":"x""#), 400, "bad-request", "unknown field"),
        (vec![JSON], changed(r#""embedding":""#, r#""embedding":"!"#), 400, "bad-request", "base64"),
        (vec![JSON], short, 400, "bad-request", "16 coordinates"),
        (vec![JSON], long, 413, "too-large", "20000"),
        (vec![JSON, ("magpie-deadline-ms", "soon")], sound.clone(), 400, "bad-request", "milliseconds"),
        (vec![JSON, late], sound.clone(), 504, "late", ""),
    ] {
        let got = post(&agent, &url, &headers, &body).unwrap();
        assert_eq!((got.status, got.kind.as_str()), (status, "application/problem+json"), "{headers:?} {}", got.body);
        let problem: Problem = serde_json::from_str(&got.body).unwrap();
        assert_eq!((problem.kind, problem.status), (format!("/problems/{kind}"), status));
        let found = problem.detail.unwrap_or_default();
        assert!(found.contains(detail) && found.len() < 400, "{found}");
    }
    assert_eq!(get(&server.url("/v1/nothing")).status, 404);
    assert_eq!(get(&url).status, 405);
    // A request may be long, a problem that quotes it may not.
    let got =
        post(&agent, &url, &[JSON], &changed(r#""k":10"#, &format!(r#""k":10,"{}":1"#, "é".repeat(5000)))).unwrap();
    assert!(got.status == 400 && got.body.len() < 1000, "{}", got.body);
}

#[test]
fn an_answer_says_when_the_search_gave_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.magpie");
    let identity = Identity { model_id: MODEL, catalog: "copies".to_owned(), sequence: 1, writer: "tests".to_owned() };
    let mut builder = ShardBuilder::new(identity, DIM, Vec::new());
    let near = Embedding::new(&[1.0; DIM], MODEL).unwrap();
    // The second listing comes after more photos of the first than a search collects.
    (0..20_000).for_each(|at| builder.add("a", &format!("{at}"), &[], &near).unwrap());
    builder.add("b", "b", &[], &Embedding::new(&[-1.0; DIM], MODEL).unwrap()).unwrap();
    builder.write(&path).unwrap();
    let server = Running::serve(folder, vec![path], |_| ());
    let ask = |k| {
        let body = serde_json::to_string(&SearchRequest::new(&near, None, &SearchParams::new(k))).unwrap();
        let reply = search(&agent(), &server, &body);
        (reply.listings.len(), reply.complete, reply.why.is_some())
    };
    assert_eq!((ask(1), ask(2)), ((1, true, false), (1, false, true)));
    // There is no third one, and the search has looked at all.
    assert_eq!(ask(9), (2, true, false));
}

#[test]
fn responses_are_neither_stored_nor_guessed_at() {
    let server = Running::start(|_| ());
    for path in ["/v1/listings/mug-0007", "/v1/listings/none", "/healthz", "/metrics", "/v1/listings/%ff"] {
        let response = agent().get(server.url(path)).call().unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((header("cache-control"), header("x-content-type-options")), ("no-store".into(), "nosniff".into()));
        assert!(response.status() != 400 || header("content-type") == "application/problem+json", "{path}");
    }
}

#[test]
fn the_core_understands_the_problem_of_a_wrong_model() {
    let server = Running::start(|_| ());
    let other = ModelId([9; 32]);
    let query = Embedding::new(embedding(1).values(), other).unwrap();
    let body = serde_json::to_string(&SearchRequest::new(&query, None, &SearchParams::default())).unwrap();
    let got = post(&agent(), &server.url("/v1/search"), &[JSON], &body).unwrap();
    assert_eq!(got.status, 409);
    assert_eq!(serde_json::from_str::<ModelProblem>(&got.body).unwrap().model_id, MODEL);
    let reply = Reply { status: 409, retry_after: None, body: got.body.as_bytes() };
    let failure = read_reply(&reply, other, 10).unwrap_err();
    assert_eq!(failure, magpie_core::remote::Failure::WrongModel { server: Some(MODEL) });
}

#[test]
fn tokens_are_required_and_rate_limited_if_configured() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, "app one-long-enough-token\n").unwrap();
    let server = Running::start(|s| (s.tokens, s.rate, s.burst) = (Some(file.clone()), 0.5, 3.0));
    let (agent, url) = (agent(), server.url("/v1/search"));
    let body = request(1, None, &SearchParams::default());
    let ask = |token: &str| post(&agent, &url, &[JSON, ("authorization", &format!("Bearer {token}"))], &body).unwrap();
    assert_eq!(post(&agent, &url, &[JSON], &body).unwrap().status, 401);
    assert_eq!(ask("not-the-right-token").status, 401);
    assert_eq!([(); 3].map(|()| ask("one-long-enough-token").status), [200; 3]);
    let got = ask("one-long-enough-token");
    assert_eq!((got.status, got.retry_after.as_deref()), (429, Some("2")));
    // Monitoring does not need a token.
    assert_eq!(["/healthz", "/readyz", "/metrics"].map(|path| get(&server.url(path)).status), [200; 3]);
    std::fs::write(&file, "other another-long-enough-token\n").unwrap();
    server.reload();
    assert_eq!((ask("one-long-enough-token").status, ask("another-long-enough-token").status), (401, 200));
}

#[test]
fn requests_are_counted_in_metrics() {
    let server = Running::start(|s| s.default_deadline = Duration::from_secs(5));
    let agent = agent();
    for seed in 0..3 {
        search(&agent, &server, &request(seed, None, &SearchParams::default()));
    }
    get(&server.url("/v1/listings/mug-0001"));
    get(&server.url("/v1/listings/none"));
    let text = get(&server.url("/metrics")).body;
    for line in [
        r#"magpie_requests_total{route="/v1/search",status="200"} 3"#,
        r#"magpie_requests_total{route="/v1/listings/{id}",status="200"} 1"#,
        r#"magpie_requests_total{route="/v1/listings/{id}",status="404"} 1"#,
        r#"magpie_request_seconds_count{route="/v1/search"} 3"#,
        "magpie_catalog_listings 400",
        "magpie_catalog_sequence 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
    let ready: serde_json::Value = serde_json::from_str(&get(&server.url("/readyz")).body).unwrap();
    assert_eq!((&ready["listings"], &ready["catalog"]), (&400.into(), &"Ann's shop".into()));
}

#[test]
fn the_server_can_read_any_filter_that_a_phone_writes() {
    let server = Running::start(|_| ());
    let (agent, shard) = (agent(), Shard::open(server.folder.path().join("a.magpie")).unwrap());
    for text in ["colour='sea blue' and (price<5 or price>35)", "not (colour=red or colour=green)", "price!=3.5"] {
        let filter = Filter::parse(text).unwrap();
        assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
        let body = request(3, Some(text), &SearchParams::default());
        let reply = search(&agent, &server, &body);
        assert_eq!(reply.listings.into_iter().map(Found::from).collect::<Vec<_>>(), on_the_phone(&shard, &body));
    }
}
