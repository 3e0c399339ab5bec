//! Asking a server where the phone's own answer may not be good enough.
//!
//! Nothing here does I/O, reads a clock or starts a thread. `policy` decides whether to ask at all; `wire` and `query`
//! hold what is sent, `reply` judges what comes back; an [`Exchange`] takes what happened ([`Event`]) and says what to
//! do next ([`Action`]); `merge` puts local and remote listings into one order. What is known of a server from earlier
//! exchanges ([`Origin`]) outlives them: how fast it answers, whether it is down, how many hedges it had. An engine puts
//! its own search before all of this (`Engine::ask_photo`).
//!
//! The host performs single attempts, one HTTP request each, and reports them:
//!
//! ```
//! use std::time::Duration;
//! use magpie_core::remote::{Action, Event, Exchange, Limits, Origin, Question, Trouble};
//! # let model_id = magpie_core::ModelId([7; 32]);
//! # let reason = magpie_core::remote::Reason::NothingFound;
//! let mut origin = Origin::new(17); // any number: it spreads retries
//! let question = Question { model_id, k: 10, per: None };
//! let mut exchange = Exchange::new(question, Limits::default(), Vec::new(), reason, Duration::ZERO);
//! let mut action = exchange.handle(Event::Clock, Duration::ZERO, &mut origin);
//! loop {
//!     action = match action {
//!         // Here a host sends the request, and reports what became of it: Event::Reply or Event::Failed.
//!         Action::Send { attempt, .. } => {
//!             let event = Event::Failed { attempt, trouble: Trouble::Unreachable };
//!             exchange.handle(event, Duration::from_millis(3), &mut origin)
//!         }
//!         Action::Wait { until } => exchange.handle(Event::Clock, until, &mut origin),
//!         Action::Done => break,
//!     };
//! }
//! let answer = exchange.into_answer(); // what the phone found is in it, whatever the server did
//! # assert_eq!(answer.sends, 3);
//! ```

mod backoff;
mod breaker;
mod exchange;
mod latency;
mod merge;
mod origin;
mod policy;
mod query;
mod reply;
mod wire;

pub use exchange::{Action, Attempt, Event, Exchange, Limits, MAX_RETRIES, Question};
pub use merge::{Answer, Source, Sourced, merge};
pub use origin::{HEDGE_SHARE, Origin};
pub use policy::{Ask, Connectivity, Judgement, Reason, Setting, Situation, Thresholds, Verdict, decide};
pub use query::QueryCode;
pub use reply::{Ended, Failure, MAX_REPLY_BYTES, Reply, ReplyFault, Trouble, read_reply, retry_after};
pub use wire::{
    DEADLINE_HEADER, Fields, ModelProblem, Parsed, Problem, RequestFault, SEARCH_PATH, SearchReply, SearchRequest,
    WireListing, WirePer,
};
