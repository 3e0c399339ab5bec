//! ServerSearch a server as Kotlin and Swift do, with replies made up by the tests.

use std::sync::{Arc, OnceLock};

use magpie_core::ModelId;
use magpie_core::builder::{Field, Identity, ShardBuilder};
use magpie_core::engine;
use magpie_core::image::DecodeLimits;
use magpie_core::listing::{Found, Listing};
use magpie_core::remote::{SearchReply, SearchRequest};
use magpie_ffi::{
    AskOptions, AskReason, AskSetting, AskStep, Asked, AskedEnd, Cancellation, Connectivity, Engine, MagpieError,
    OpenOptions, SearchOptions, ServerSearch, ServerState, Source, Trouble, max_reply_bytes,
};
use magpie_tests::{default_model, pictures, repository, shards};

const ASK: AskOptions =
    AskOptions { connectivity: Connectivity::Unmetered, setting: AskSetting::WhenUseful, deadline_ms: 60_000 };

pub(crate) fn photo() -> Vec<u8> {
    pictures::png(pictures::scene(96, 96))
}

/// The default model, and a shard whose only listing is the photo.
fn opened() -> &'static Engine {
    static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
    ENGINE.get_or_init(open)
}

pub(crate) fn open() -> Arc<Engine> {
    let model = default_model();
    let identity = Identity { model_id: model.id(), ..shards::identity() };
    let fields = vec![Field { name: "kind".to_owned(), filter: true }];
    let mut builder = ShardBuilder::new(identity, model.manifest().embedding.dim as usize, fields);
    let output = engine::embed(model, &photo(), None, &DecodeLimits::default()).unwrap();
    builder.add("here", "here.jpg", &["thing".to_owned()], &output.embedding).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.magpie");
    builder.write(&file).unwrap();
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let model_folder = path(&repository().join("models/packs/default"));
    // In memory, because the folder is deleted on return.
    Engine::open(OpenOptions { model_folder, catalog_file: path(&file), threads: 1, in_memory: true }).unwrap()
}

pub(crate) fn options(k: u32, filter: Option<&str>) -> SearchOptions {
    let filter = filter.map(str::to_owned);
    SearchOptions { k, filter, crop: None, recall: None, min_score: None, near_duplicates: None, group: None }
}

/// Asks for two listings, of which the phone has one.
fn ask(server: &Arc<ServerState>) -> Arc<ServerSearch> {
    opened().ask_photo(&photo(), options(2, None), ASK, Arc::clone(server), None).unwrap()
}

fn reply(model_id: ModelId, ids: &[&str]) -> Vec<u8> {
    let listing = |id: &str| {
        let listing =
            Listing { id: id.to_owned(), photo: "a.jpg".into(), photos: vec!["a.jpg".into()], fields: vec![] };
        Found::new(0.9, listing).into()
    };
    let listings = ids.iter().map(|id| listing(id)).collect();
    serde_json::to_vec(&SearchReply::new(model_id, "shop".to_owned(), listings)).unwrap()
}

fn model() -> ModelId {
    default_model().id()
}

fn sources(search: &ServerSearch) -> Vec<(String, Source)> {
    search.results().listings.into_iter().map(|listing| (listing.id, listing.source)).collect()
}

fn here() -> Vec<(String, Source)> {
    vec![("here".to_owned(), Source::Shard)]
}

fn asked(search: &ServerSearch) -> Asked {
    search.results().asked.unwrap()
}

fn failure(search: &ServerSearch) -> String {
    match asked(search).ended {
        AskedEnd::Failed { name, reason } if !reason.is_empty() => name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reply_is_merged_and_its_listings_name_their_source() {
    let search = ask(&ServerState::new());
    assert!(search.is_asked() && search.shows_local());
    assert_eq!((sources(&search), asked(&search).ended), (here(), AskedEnd::Pending));
    assert_eq!(search.path(), "/v1/search");
    let body = search.body();
    let request: SearchRequest = serde_json::from_slice(&body).unwrap();
    assert_eq!((request.model_id, request.k), (model(), 2));

    let AskStep::Send { attempt, headers, timeout_ms, wait_ms } = search.advance() else { panic!("no request sent") };
    assert!((1..=60_000).contains(&timeout_ms) && (1..=timeout_ms).contains(&wait_ms), "{timeout_ms}, {wait_ms}");
    let header = |name: &str| headers.iter().find(|h| h.name == name).map(|h| h.value.as_str());
    assert_eq!((header("content-type"), header("accept")), (Some("application/json"), Some("application/json")));
    assert_eq!(header("magpie-deadline-ms"), Some(timeout_ms.to_string().as_str()));
    assert!(matches!(search.advance(), AskStep::Wait { wait_ms } if wait_ms > 0));

    let both = reply(model(), &["there", "here"]);
    assert_eq!(search.replied(attempt, 200, None, &both), AskStep::Done);
    let expected = [("here".to_owned(), Source::Both), ("there".to_owned(), Source::Server)];
    assert_eq!(sources(&search), expected);
    let Asked { reason, ended, requests, took_ms } = asked(&search);
    assert_eq!((ended, requests), (AskedEnd::Answered, 1));
    assert!(matches!(reason, AskReason::TooFew | AskReason::Doubtful) && took_ms > 0.0, "{reason:?}, {took_ms}");
    assert!(!search.results().attributes.is_empty() && search.results().times.network_ms > 0.0);

    // Reports after the end, repeated reports and reports of other attempts have no effect.
    assert_eq!(search.replied(attempt, 200, None, &reply(model(), &["late"])), AskStep::Done);
    assert_eq!(search.failed(attempt, Trouble::Broken), AskStep::Done);
    assert_eq!((search.advance(), search.cancelled()), (AskStep::Done, AskStep::Done));
    assert_eq!((sources(&search), asked(&search).took_ms), (expected.to_vec(), took_ms));
}

#[test]
fn without_a_request_the_answer_is_available_at_once() {
    for (connectivity, setting, reason) in [
        (Connectivity::Offline, AskSetting::WhenUseful, AskReason::Offline),
        (Connectivity::Metered, AskSetting::UnmeteredOnly, AskReason::NotAllowed),
        (Connectivity::Unmetered, AskSetting::Never, AskReason::NotAllowed),
    ] {
        let forbidden = AskOptions { connectivity, setting, ..ASK };
        let search = opened().ask_photo(&photo(), options(2, None), forbidden, ServerState::new(), None).unwrap();
        assert!(!search.is_asked());
        assert_eq!((search.advance(), sources(&search)), (AskStep::Done, here()));
        let asked = asked(&search);
        assert_eq!((asked.reason, asked.ended, asked.requests), (reason, AskedEnd::NotAsked, 0));
        let unknown = options(2, Some("weight>3"));
        let error = opened().ask_photo(&photo(), unknown, forbidden, ServerState::new(), None).unwrap_err();
        assert!(matches!(error, MagpieError::Request { .. }), "{error}");
    }
    let search = opened().ask_photo(&photo(), options(2, Some("weight>3")), ASK, ServerState::new(), None).unwrap();
    assert!(search.is_asked() && !search.shows_local() && sources(&search).is_empty());
    assert_eq!(asked(&search).reason, AskReason::FilterUnknown);
}

#[test]
fn whatever_a_server_replies_the_phones_listings_stay() {
    let other = reply(ModelId([9; 32]), &[]);
    let (huge, twice) = (vec![b'['; max_reply_bytes() as usize + 1], reply(model(), &["a", "a"]));
    let cases: [(u16, &[u8], &str); 9] = [
        (200, b"<html>", "bad_reply"),
        (200, &[0xff; 100], "bad_reply"),
        (200, &huge, "too_large"),
        (200, &twice, "bad_reply"),
        (200, &other, "wrong_model"),
        (409, b"", "wrong_model"),
        (401, b"", "refused"),
        (302, b"", "refused"),
        (0, b"", "refused"),
    ];
    for (status, body, name) in cases {
        let search = ask(&ServerState::new());
        let AskStep::Send { attempt, .. } = search.advance() else { panic!("no request sent") };
        assert_eq!(search.replied(attempt, status, None, body), AskStep::Done, "{status}");
        assert_eq!((failure(&search).as_str(), sources(&search)), (name, here()));
    }
}

#[test]
fn the_circuit_breaker_opens_for_a_server_that_keeps_failing() {
    let server = ServerState::new();
    let mut sent = 0;
    for _ in 0..2 {
        let search = ask(&server);
        let mut step = search.advance();
        while step != AskStep::Done {
            step = match step {
                AskStep::Send { attempt, .. } => {
                    sent += 1;
                    search.failed(attempt, Trouble::Unreachable)
                }
                AskStep::Wait { wait_ms } => {
                    std::thread::sleep(std::time::Duration::from_millis(wait_ms.into()));
                    search.advance()
                }
                AskStep::Done => break,
            };
        }
        assert_eq!((failure(&search).as_str(), sources(&search)), ("unreachable", here()));
    }
    assert_eq!(sent, 6, "three attempts per search; the fifth failure opens the breaker");
    assert!(!ask(&server).is_asked());
    assert_eq!(asked(&ask(&server)).reason, AskReason::ServerResting);

    let busy = ServerState::new();
    let search = ask(&busy);
    let AskStep::Send { attempt, .. } = search.advance() else { panic!("no request sent") };
    assert_eq!(search.replied(attempt, 503, Some("100".to_owned()), b""), AskStep::Done);
    assert_eq!((failure(&search).as_str(), ask(&busy).is_asked()), ("busy", false));
}

#[test]
fn cancelling_ends_the_exchange_and_concurrent_reports_do_no_harm() {
    let search = ask(&ServerState::new());
    let AskStep::Send { attempt, .. } = search.advance() else { panic!("no request sent") };
    assert_eq!(search.cancelled(), AskStep::Done);
    assert_eq!((failure(&search).as_str(), sources(&search)), ("cancelled", here()));
    assert_eq!(search.replied(attempt, 200, None, &reply(model(), &["late"])), AskStep::Done);
    assert_eq!(sources(&search), here());

    let cancelled = Cancellation::new();
    cancelled.cancel();
    let error = opened().ask_photo(&photo(), options(2, None), ASK, ServerState::new(), Some(cancelled)).unwrap_err();
    assert_eq!(error, MagpieError::Cancelled);

    let (server, good) = (ServerState::new(), reply(model(), &["there"]));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let search = ask(&server);
                let AskStep::Send { attempt, .. } = search.advance() else { panic!("no request sent") };
                std::thread::scope(|scope| {
                    scope.spawn(|| search.replied(attempt, 200, None, &good));
                    scope.spawn(|| search.failed(attempt, Trouble::TooLarge));
                    scope.spawn(|| search.results());
                });
                assert_eq!(search.advance(), AskStep::Done);
                assert!(asked(&search).ended != AskedEnd::Pending);
                assert!(sources(&search).iter().any(|(id, _)| id == "here"));
            });
        }
    });
}
