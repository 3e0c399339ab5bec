//! Drives an exchange with a scripted server that is overloaded first and then answers, on a simulated clock.
//!
//! `cargo run -p magpie-core --example ask_server`

use std::error::Error;
use std::time::Duration;

use magpie_core::ModelId;
use magpie_core::listing::{Found, Listing};
use magpie_core::remote::{
    Action, Event, Exchange, ExchangeLimits, Origin, Question, Reason, Reply, SearchReply, retry_after,
};

const MODEL: ModelId = ModelId([7; 32]);

fn found(id: &str, score: f32) -> Found {
    let (photo, photos) = (format!("{id}.jpg"), vec![format!("{id}.jpg")]);
    Found::new(score, Listing { id: id.to_owned(), photo, photos, fields: Vec::new() })
}

fn main() -> Result<(), Box<dyn Error>> {
    // What the server does with each attempt: the time it takes, the status code, `retry-after` and the body.
    let listings = vec![found("mug-01", 0.91).into(), found("mug-02", 0.84).into()];
    let reply = SearchReply::new(MODEL, "shop".to_owned(), listings);
    let body = serde_json::to_vec(&reply)?;
    let script = [(40, 503, Some("0"), &b""[..]), (60, 200, None, &body)];

    // One origin for each server, kept as long as the app runs. The seed should differ between devices.
    let mut origin = Origin::new(17);
    let mut now = Duration::ZERO;
    let question = Question { model_id: MODEL, k: 3, per: None };
    let local = vec![found("mug-02", 0.84), found("jug-01", 0.52)];
    let mut exchange = Exchange::new(question, ExchangeLimits::default(), local, Reason::Doubtful, now);
    println!("{}", exchange.reason());

    let mut action = exchange.handle(Event::Clock, now, &mut origin);
    loop {
        action = match action {
            Action::Send { attempt, timeout, .. } => {
                println!("{now:?}: attempt {}, timeout {timeout:?}", attempt.0);
                // A real host sends an HTTP request here, and meanwhile reports `Event::Clock` when `until` comes.
                let (ms, status, header, body) = script[(attempt.0 as usize).min(script.len() - 1)];
                now += Duration::from_millis(ms);
                println!("{now:?}: status {status}");
                let reply = Reply { status, retry_after: header.and_then(retry_after), body };
                exchange.handle(Event::Reply { attempt, reply }, now, &mut origin)
            }
            Action::Wait { until } => {
                now = until;
                exchange.handle(Event::Clock, now, &mut origin)
            }
            Action::Done => break,
        };
    }

    let answer = exchange.into_answer();
    println!("{now:?}: {:?} after {} requests", answer.ended, answer.sends);
    for sourced in &answer.listings {
        println!("  {:.2} {} ({:?})", sourced.found.score, sourced.found.listing.id, sourced.source);
    }
    Ok(())
}
