//! Asking a server as Kotlin and Swift do, with replies that a test makes up.
#![allow(clippy::unwrap_used)] // a test may stop at the first thing that is wrong

use std::sync::{Arc, OnceLock};

use magpie_core::ModelId;
use magpie_core::builder::{Field, Identity, ShardBuilder};
use magpie_core::engine;
use magpie_core::image::DecodeLimits;
use magpie_core::listing::{Found, Listing};
use magpie_core::remote::{SearchReply, SearchRequest};
use magpie_ffi::{
    AskOptions, AskReason, AskSetting, AskStep, Asked, AskedEnd, Asking, Cancellation, Connectivity, Engine,
    MagpieError, OpenOptions, SearchOptions, Server, Source, Trouble, max_reply_bytes,
};
use magpie_tests::{default_model, pictures, repository, shards};

const ASK: AskOptions =
    AskOptions { connectivity: Connectivity::Unmetered, setting: AskSetting::WhenUseful, deadline_ms: 60_000 };

fn photo() -> Vec<u8> {
    pictures::png(pictures::scene(96, 96))
}

/// The shipped model, and a shard with one listing: the photo.
fn opened() -> &'static Engine {
    static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
    ENGINE.get_or_init(|| {
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
        // In memory: the folder goes.
        Engine::open(OpenOptions { model_folder, catalog_file: path(&file), threads: 1, in_memory: true }).unwrap()
    })
}

fn options(k: u32, filter: Option<&str>) -> SearchOptions {
    let filter = filter.map(str::to_owned);
    SearchOptions { k, filter, crop: None, recall: None, min_score: None, near_duplicates: None, group: None }
}

/// Asks for two listings, of which the phone has one.
fn ask(server: &Arc<Server>) -> Arc<Asking> {
    opened().ask_photo(&photo(), options(2, None), ASK, Arc::clone(server), None).unwrap()
}

fn reply(model_id: ModelId, ids: &[&str]) -> Vec<u8> {
    let listing = |id: &str| {
        let listing =
            Listing { id: id.to_owned(), photo: "a.jpg".into(), photos: vec!["a.jpg".into()], fields: vec![] };
        Found { score: 0.9, listing }.into()
    };
    let listings = ids.iter().map(|id| listing(id)).collect();
    serde_json::to_vec(&SearchReply { model_id, catalog: "shop".to_owned(), listings }).unwrap()
}

fn model() -> ModelId {
    default_model().id()
}

fn sources(asking: &Asking) -> Vec<(String, Source)> {
    asking.results().listings.into_iter().map(|listing| (listing.id, listing.source)).collect()
}

fn here() -> Vec<(String, Source)> {
    vec![("here".to_owned(), Source::Shard)]
}

fn asked(asking: &Asking) -> Asked {
    asking.results().asked.unwrap()
}

fn failure(asking: &Asking) -> String {
    match asked(asking).ended {
        AskedEnd::Failed { name, reason } if !reason.is_empty() => name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reply_is_merged_and_its_listings_say_where_they_are_from() {
    let asking = ask(&Server::new());
    assert!(asking.is_asked() && asking.shows_local());
    assert_eq!((sources(&asking), asked(&asking).ended), (here(), AskedEnd::Pending));
    assert_eq!(asking.path(), "/v1/search");
    let body = asking.body();
    let request: SearchRequest = serde_json::from_slice(&body).unwrap();
    assert_eq!((request.model_id, request.k), (model(), 2));

    let AskStep::Send { attempt, headers, timeout_ms, wait_ms } = asking.advance() else { panic!("nothing is sent") };
    assert!((1..=60_000).contains(&timeout_ms) && (1..=timeout_ms).contains(&wait_ms), "{timeout_ms}, {wait_ms}");
    let header = |name: &str| headers.iter().find(|h| h.name == name).map(|h| h.value.as_str());
    assert_eq!((header("content-type"), header("accept")), (Some("application/json"), Some("application/json")));
    assert_eq!(header("magpie-deadline-ms"), Some(timeout_ms.to_string().as_str()));
    assert!(matches!(asking.advance(), AskStep::Wait { wait_ms } if wait_ms > 0));

    let both = reply(model(), &["there", "here"]);
    assert_eq!(asking.replied(attempt, 200, None, &both), AskStep::Done);
    let expected = [("here".to_owned(), Source::Both), ("there".to_owned(), Source::Server)];
    assert_eq!(sources(&asking), expected);
    let Asked { reason, ended, requests, took_ms } = asked(&asking);
    assert_eq!((ended, requests), (AskedEnd::Answered, 1));
    assert!(matches!(reason, AskReason::TooFew | AskReason::Doubtful) && took_ms > 0.0, "{reason:?}, {took_ms}");
    assert!(!asking.results().attributes.is_empty() && asking.results().times.network_ms > 0.0);

    // What comes after the end, or again, or of another attempt, changes nothing.
    assert_eq!(asking.replied(attempt, 200, None, &reply(model(), &["late"])), AskStep::Done);
    assert_eq!(asking.failed(attempt, Trouble::Broken), AskStep::Done);
    assert_eq!((asking.advance(), asking.cancelled()), (AskStep::Done, AskStep::Done));
    assert_eq!((sources(&asking), asked(&asking).took_ms), (expected.to_vec(), took_ms));
}

#[test]
fn where_the_server_is_not_asked_the_answer_is_there_at_once() {
    for (connectivity, setting, reason) in [
        (Connectivity::Offline, AskSetting::WhenUseful, AskReason::Offline),
        (Connectivity::Metered, AskSetting::UnmeteredOnly, AskReason::NotAllowed),
        (Connectivity::Unmetered, AskSetting::Never, AskReason::NotAllowed),
    ] {
        let forbidden = AskOptions { connectivity, setting, ..ASK };
        let asking = opened().ask_photo(&photo(), options(2, None), forbidden, Server::new(), None).unwrap();
        assert!(!asking.is_asked());
        assert_eq!((asking.advance(), sources(&asking)), (AskStep::Done, here()));
        let asked = asked(&asking);
        assert_eq!((asked.reason, asked.ended, asked.requests), (reason, AskedEnd::NotAsked, 0));
        let unknown = options(2, Some("weight>3"));
        let error = opened().ask_photo(&photo(), unknown, forbidden, Server::new(), None).unwrap_err();
        assert!(matches!(error, MagpieError::Request { .. }), "{error}");
    }
    let asking = opened().ask_photo(&photo(), options(2, Some("weight>3")), ASK, Server::new(), None).unwrap();
    assert!(asking.is_asked() && !asking.shows_local() && sources(&asking).is_empty());
    assert_eq!(asked(&asking).reason, AskReason::FilterUnknown);
}

#[test]
fn whatever_a_server_says_the_phones_listings_stay() {
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
        let asking = ask(&Server::new());
        let AskStep::Send { attempt, .. } = asking.advance() else { panic!("nothing is sent") };
        assert_eq!(asking.replied(attempt, status, None, body), AskStep::Done, "{status}");
        assert_eq!((failure(&asking).as_str(), sources(&asking)), (name, here()));
    }
}

#[test]
fn a_server_that_fails_again_and_again_is_left_alone() {
    let server = Server::new();
    let mut sent = 0;
    for _ in 0..2 {
        let asking = ask(&server);
        let mut step = asking.advance();
        while step != AskStep::Done {
            step = match step {
                AskStep::Send { attempt, .. } => {
                    sent += 1;
                    asking.failed(attempt, Trouble::Unreachable)
                }
                AskStep::Wait { wait_ms } => {
                    std::thread::sleep(std::time::Duration::from_millis(wait_ms.into()));
                    asking.advance()
                }
                AskStep::Done => break,
            };
        }
        assert_eq!((failure(&asking).as_str(), sources(&asking)), ("unreachable", here()));
    }
    assert_eq!(sent, 6, "three each; five open the breaker");
    assert!(!ask(&server).is_asked());
    assert_eq!(asked(&ask(&server)).reason, AskReason::ServerResting);

    let busy = Server::new();
    let asking = ask(&busy);
    let AskStep::Send { attempt, .. } = asking.advance() else { panic!("nothing is sent") };
    assert_eq!(asking.replied(attempt, 503, Some("100".to_owned()), b""), AskStep::Done);
    assert_eq!((failure(&asking).as_str(), ask(&busy).is_asked()), ("busy", false));
}

#[test]
fn cancelling_ends_it_and_calls_from_many_threads_do_no_harm() {
    let asking = ask(&Server::new());
    let AskStep::Send { attempt, .. } = asking.advance() else { panic!("nothing is sent") };
    assert_eq!(asking.cancelled(), AskStep::Done);
    assert_eq!((failure(&asking).as_str(), sources(&asking)), ("cancelled", here()));
    assert_eq!(asking.replied(attempt, 200, None, &reply(model(), &["late"])), AskStep::Done);
    assert_eq!(sources(&asking), here());

    let cancelled = Cancellation::new();
    cancelled.cancel();
    let error = opened().ask_photo(&photo(), options(2, None), ASK, Server::new(), Some(cancelled)).unwrap_err();
    assert_eq!(error, MagpieError::Cancelled);

    let (server, good) = (Server::new(), reply(model(), &["there"]));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let asking = ask(&server);
                let AskStep::Send { attempt, .. } = asking.advance() else { panic!("nothing is sent") };
                std::thread::scope(|scope| {
                    scope.spawn(|| asking.replied(attempt, 200, None, &good));
                    scope.spawn(|| asking.failed(attempt, Trouble::TooLarge));
                    scope.spawn(|| asking.results());
                });
                assert_eq!(asking.advance(), AskStep::Done);
                assert!(asked(&asking).ended != AskedEnd::Pending);
                assert!(sources(&asking).iter().any(|(id, _)| id == "here"));
            });
        }
    });
}
