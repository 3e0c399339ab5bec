//! Tests with a simulated clock and scripted servers.

use super::super::wire::{Fields, WireListing};
use super::super::{HEDGE_SHARE, ReplyFault};
use super::*;
use crate::listing::Listing;
use proptest::prelude::*;

const MODEL: ModelId = ModelId([7; 32]);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn question() -> Question {
    Question { model_id: MODEL, k: 5, per: None }
}

fn local() -> Vec<Found> {
    let found = |id: &str, score| {
        let listing =
            Listing { id: id.to_owned(), photo: "a.jpg".to_owned(), photos: vec!["a.jpg".to_owned()], fields: vec![] };
        Found::new(score, listing)
    };
    vec![found("b", 0.8), found("a", 0.5)]
}

fn body(model_id: ModelId) -> Vec<u8> {
    let listing = WireListing {
        score: 0.9,
        id: "z".to_owned(),
        photo: "z.jpg".to_owned(),
        photos: vec!["z.jpg".to_owned()],
        fields: Fields::default(),
    };
    let reply = SearchReply::new(model_id, "shop".to_owned(), vec![listing]);
    serde_json::to_vec(&reply).expect("plain values")
}

/// How the server reacts to an attempt.
#[derive(Debug, Clone, Copy)]
enum Behaviour {
    Answers,
    /// Responds with this status, and with seconds in `retry-after`.
    Status(u16, Option<u64>),
    Body(&'static [u8]),
    Fails(Trouble),
    /// Never responds, and the host does not report the timeout either.
    Silent,
}

#[derive(Debug, Clone, Copy)]
struct Script {
    after: u64,
    behaviour: Behaviour,
}

/// What the host observed.
#[derive(Debug, Default)]
struct Run {
    answer: Option<Answer>,
    took: Duration,
    /// When attempts were sent, with their timeouts.
    sent: Vec<(Duration, Duration)>,
}

/// A host that performs the actions. The last line of the script applies to all further attempts.
fn run(limits: &ExchangeLimits, script: &[Script], origin: &mut Origin, start: Duration) -> Run {
    let mut exchange = Exchange::new(question(), limits.clone(), local(), Reason::Doubtful, start);
    let mut seen = Run::default();
    let mut pending: Vec<(Duration, Attempt, Behaviour)> = Vec::new();
    let mut now = start;
    let mut action = exchange.handle(Event::Clock, now, origin);
    loop {
        let until = match action {
            Action::Done => break,
            Action::Wait { until } => until,
            Action::Send { attempt, timeout, until } => {
                seen.sent.push((now - start, timeout));
                let line = script[(attempt.0 as usize).min(script.len() - 1)];
                // The host aborts the request after the timeout, as an HTTP client does.
                let late = ms(line.after) > timeout;
                let behaviour = if late { Behaviour::Fails(Trouble::TimedOut) } else { line.behaviour };
                pending.push((now + ms(line.after).min(timeout), attempt, behaviour));
                until
            }
        };
        assert!(until > now, "a host would loop forever at {now:?}");
        pending.retain(|(_, _, behaviour)| !matches!(behaviour, Behaviour::Silent));
        pending.sort_by_key(|(at, attempt, _)| (*at, attempt.0));
        if pending.first().is_none_or(|(at, ..)| *at > until) {
            now = until;
            action = exchange.handle(Event::Clock, now, origin);
            continue;
        }
        let (at, attempt, behaviour) = pending.remove(0);
        now = at;
        let valid = body(MODEL);
        let reply = |status, retry_after: Option<u64>, body| Event::Reply {
            attempt,
            reply: Reply { status, retry_after: retry_after.map(Duration::from_secs), body },
        };
        let event = match behaviour {
            Behaviour::Answers => reply(200, None, valid.as_slice()),
            Behaviour::Status(status, after) => reply(status, after, b""),
            Behaviour::Body(body) => reply(200, None, body),
            Behaviour::Fails(trouble) => Event::Failed { attempt, trouble },
            Behaviour::Silent => Event::Clock,
        };
        action = exchange.handle(event, now, origin);
    }
    seen.took = now - start;
    seen.answer = Some(exchange.into_answer());
    seen
}

fn line(after: u64, behaviour: Behaviour) -> Script {
    Script { after, behaviour }
}

fn ids(answer: &Answer) -> Vec<(&str, Source)> {
    answer.listings.iter().map(|sourced| (sourced.found.listing.id.as_str(), sourced.source)).collect()
}

/// One exchange with an unknown server.
fn once(script: &[Script]) -> (Run, Failure) {
    let run = run(&ExchangeLimits::default(), script, &mut Origin::new(1), ms(1000));
    let answer = run.answer.as_ref().expect("it ended");
    assert_eq!(ids(answer), [("b", Source::Local), ("a", Source::Local)]);
    let Some(Ended::Failed(failure)) = answer.ended.clone() else { panic!("{answer:?}") };
    (run, failure)
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        Just(Behaviour::Answers),
        (prop::sample::select(vec![400u16, 401, 409, 429, 500, 503, 504]), prop::option::of(0u64..3))
            .prop_map(|(status, after)| Behaviour::Status(status, after)),
        prop::sample::select(vec![&b"<html>"[..], b"{", b""]).prop_map(Behaviour::Body),
        prop::sample::select(vec![
            Trouble::Unreachable,
            Trouble::Untrusted,
            Trouble::Broken,
            Trouble::TimedOut,
            Trouble::TooLarge
        ])
        .prop_map(Behaviour::Fails),
        Just(Behaviour::Silent),
    ]
}

fn scripts() -> impl Strategy<Value = Vec<Script>> {
    prop::collection::vec((0u64..2500, behaviour()).prop_map(|(after, behaviour)| Script { after, behaviour }), 1..5)
}

fn limits() -> impl Strategy<Value = ExchangeLimits> {
    (0u64..3000, 1u64..2000, 0u64..200, 0u32..9, any::<bool>()).prop_map(
        |(deadline, attempt, least, retries, hedge)| ExchangeLimits {
            deadline: ms(deadline),
            attempt: ms(attempt),
            least_time: ms(least),
            retries,
            hedge,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::cases(500)))]

    /// Many exchanges in sequence with one server: each keeps the deadline, the retry budget, the share of hedged
    /// requests and the local listings.
    #[test]
    fn no_server_breaks_the_deadline_the_budgets_or_the_local_listings(
        exchanges in prop::collection::vec((limits(), scripts(), 0u64..8000), 1..40), seed in any::<u64>(),
        fast in 0u64..60,
    ) {
        let mut origin = Origin::new(seed);
        let mut now = ms(5);
        let mut hedges = 0usize;
        // The 95th percentile has to be known before requests are hedged.
        for _ in 0..30 {
            run(&ExchangeLimits::default(), &[line(fast, Behaviour::Answers)], &mut origin, now);
        }
        for (at, (limits, script, pause)) in exchanges.iter().enumerate() {
            now += ms(*pause);
            let run = run(limits, script, &mut origin, now);
            let answer = run.answer.expect("it ended");
            prop_assert!(run.took <= limits.deadline, "{:?} after {:?}", limits, run.took);
            let retries = limits.retries.min(MAX_RETRIES);
            prop_assert!(answer.sends - u32::from(answer.hedged) <= 1 + retries);
            prop_assert_eq!(answer.sends as usize, run.sent.len());
            prop_assert!(limits.hedge || !answer.hedged);
            for (sent, timeout) in &run.sent {
                prop_assert!(*sent + *timeout <= limits.deadline);
            }
            hedges += usize::from(answer.hedged);
            prop_assert!(hedges as f64 <= (at + 1 + 30) as f64 * HEDGE_SHARE, "{hedges} hedges");
            let found = ids(&answer);
            prop_assert!(["a", "b"].iter().all(|id| found.iter().any(|(found, _)| found == id)), "{found:?}");
            prop_assert_eq!(answer.ended == Some(Ended::Answered), found.iter().any(|(id, _)| *id == "z"));
            now += run.took;
        }
    }

    /// Hosts that report arbitrary events at arbitrary times.
    #[test]
    fn no_sequence_of_events_breaks_it(
        events in prop::collection::vec((0u64..3000, 0u32..6, 0u8..5, behaviour()), 0..40), limits in limits(),
    ) {
        let mut origin = Origin::new(3);
        let mut exchange = Exchange::new(question(), limits.clone(), local(), Reason::TooFew, ms(100));
        let valid = body(MODEL);
        let (mut latest, mut done, mut sends) = (ms(100), false, 0);
        for (at, attempt, kind, behaviour) in events {
            let attempt = Attempt(attempt);
            let event = match (kind, behaviour) {
                (0, Behaviour::Answers) => Event::Cancelled,
                (1, _) => Event::Reply { attempt, reply: Reply { status: 200, retry_after: None, body: &valid } },
                (_, Behaviour::Status(status, after)) => Event::Reply {
                    attempt,
                    reply: Reply { status, retry_after: after.map(Duration::from_secs), body: b"" },
                },
                (_, Behaviour::Fails(trouble)) => Event::Failed { attempt, trouble },
                _ => Event::Clock,
            };
            latest = latest.max(ms(at));
            let action = exchange.handle(event, ms(at), &mut origin);
            prop_assert!(!done || action == Action::Done, "it continued after its end");
            done = action == Action::Done;
            prop_assert!(done || latest < ms(100) + limits.deadline, "late");
            prop_assert_eq!(done, exchange.is_done());
            if let Action::Send { timeout, until, .. } = action {
                sends += 1;
                prop_assert!(latest + timeout <= ms(100) + limits.deadline && until > latest);
            }
        }
        prop_assert!(sends <= 2 + limits.retries.min(MAX_RETRIES));
        let answer = exchange.into_answer();
        let found = ids(&answer);
        prop_assert!(found.contains(&("a", Source::Local)) && found.contains(&("b", Source::Local)), "{found:?}");
    }

    /// `retry-after` applies to this exchange and to later ones.
    #[test]
    fn retry_after_is_obeyed(seconds in 0u64..4, status in prop::sample::select(vec![429u16, 503])) {
        let mut origin = Origin::new(9);
        let mut limits = ExchangeLimits { deadline: ms(10_000), ..ExchangeLimits::default() };
        let script = [line(10, Behaviour::Status(status, Some(seconds))), line(10, Behaviour::Answers)];
        let seen = run(&limits, &script, &mut origin, ms(0));
        prop_assert_eq!(seen.sent.len(), 2);
        prop_assert!(seen.sent[1].0 >= ms(10 + seconds * 1000), "{:?}", seen.sent);
        limits.deadline = ms(500);
        let start = ms(60_000);
        let first = run(&limits, &[line(10, Behaviour::Status(status, Some(seconds)))], &mut origin, start);
        let next = run(&limits, &[line(10, Behaviour::Answers)], &mut origin, start + first.took);
        let resting = Some(Ended::Failed(Failure::Resting));
        prop_assert_eq!(next.answer.expect("it ended").ended == resting, seconds > 0);
    }
}

#[test]
fn the_answer_is_merged_with_the_local_listings() {
    let run = run(&ExchangeLimits::default(), &[line(30, Behaviour::Answers)], &mut Origin::new(1), ms(0));
    let answer = run.answer.expect("it ended");
    assert_eq!(ids(&answer), [("z", Source::Server), ("b", Source::Local), ("a", Source::Local)]);
    assert_eq!((answer.ended, answer.sends, run.took), (Some(Ended::Answered), 1, ms(30)));
}

#[test]
fn transient_failures_are_retried_and_others_are_not() {
    for behaviour in [Behaviour::Fails(Trouble::Broken), Behaviour::Status(500, None), Behaviour::Status(503, Some(0))]
    {
        let (tried, _) = once(&[line(10, behaviour)]);
        assert_eq!(tried.sent.len(), 3, "{behaviour:?}");
        let script = [line(10, behaviour), line(10, behaviour), line(10, Behaviour::Answers)];
        let run = run(&ExchangeLimits::default(), &script, &mut Origin::new(1), ms(0));
        assert_eq!(run.answer.expect("it ended").ended, Some(Ended::Answered), "{behaviour:?}");
    }
    for (behaviour, failure) in [
        (Behaviour::Status(401, None), Failure::Refused { status: 401 }),
        (Behaviour::Status(409, None), Failure::WrongModel { server: None }),
        (Behaviour::Fails(Trouble::TooLarge), Failure::TooLarge),
        (Behaviour::Body(b"<html>"), Failure::BadReply(ReplyFault::Syntax { line: 1, column: 1 })),
    ] {
        let (run, found) = once(&[line(10, behaviour)]);
        assert_eq!((run.sent.len(), found), (1, failure));
    }
}

#[test]
fn a_silent_server_takes_the_deadline_and_not_more() {
    for behaviour in [Behaviour::Silent, Behaviour::Answers] {
        let (run, failure) = once(&[line(60_000, behaviour)]);
        assert_eq!((failure, run.took), (Failure::TimedOut, ExchangeLimits::default().deadline));
    }
    // No wait that would end after the deadline.
    let (run, failure) = once(&[line(10, Behaviour::Status(503, Some(2)))]);
    assert_eq!((failure, run.took), (Failure::Busy { status: 503 }, ms(10)));
}

#[test]
fn the_breaker_opens_for_a_server_that_is_down_and_probes_it_later() {
    let mut origin = Origin::new(1);
    let dead = [line(1, Behaviour::Fails(Trouble::Unreachable))];
    let sends = |origin: &mut Origin, script: &[Script], at| {
        run(&ExchangeLimits::default(), script, origin, at).answer.expect("it ended").sends
    };
    assert_eq!((sends(&mut origin, &dead, ms(0)), sends(&mut origin, &dead, ms(500))), (3, 3));
    assert_eq!(sends(&mut origin, &dead, ms(1000)), 0);
    assert!(origin.resting(ms(1000)).is_some());
    assert_eq!(sends(&mut origin, &dead, ms(8_000)), 1, "a probe has no retries");
    assert_eq!(sends(&mut origin, &dead, ms(10_000)), 0);
    assert_eq!(sends(&mut origin, &[line(1, Behaviour::Answers)], ms(30_000)), 1);
    assert_eq!(sends(&mut origin, &dead, ms(30_001)), 3, "the breaker is closed again");
}

#[test]
fn a_slow_attempt_is_hedged() {
    let mut origin = Origin::new(1);
    for at in 0..30 {
        run(&ExchangeLimits::default(), &[line(40, Behaviour::Answers)], &mut origin, ms(at * 100));
    }
    let script = [line(700, Behaviour::Answers), line(30, Behaviour::Answers)];
    let metered = ExchangeLimits { deadline: ms(500), ..ExchangeLimits::on(Connectivity::Metered) };
    let slow = run(&metered, &script, &mut origin.clone(), ms(5000));
    assert_eq!(slow.sent.len(), 1, "no hedged request on a metered network");
    let seen = run(&ExchangeLimits::default(), &script, &mut origin, ms(5000));
    let answer = seen.answer.expect("it ended");
    assert!(answer.hedged && answer.ended == Some(Ended::Answered));
    assert_eq!((seen.sent[1].0, seen.took), (ms(40), ms(70)));
}

#[test]
fn a_cancelled_exchange_has_the_local_listings() {
    let mut origin = Origin::new(1);
    let mut exchange = Exchange::new(question(), ExchangeLimits::default(), local(), Reason::Doubtful, ms(0));
    assert!(matches!(exchange.handle(Event::Clock, ms(0), &mut origin), Action::Send { .. }));
    let unfinished = exchange.clone().into_answer();
    assert_eq!(unfinished.ended, Some(Ended::Failed(Failure::Cancelled)));
    assert_eq!(exchange.handle(Event::Cancelled, ms(5), &mut origin), Action::Done);
    assert_eq!(ids(&exchange.into_answer()), ids(&unfinished));
}
