//! Asks a server when the phone's own results may not be good enough.
//!
//! Nothing here does I/O, reads a clock or starts a thread. `policy` decides whether to ask; `wire` and `query` define
//! the messages; `reply` validates responses. An [`Exchange`] is the state machine of one search: it takes an [`Event`]
//! and returns the next [`Action`]. `merge` ranks local and remote listings together. An [`Origin`] keeps the state of
//! a server across exchanges: its circuit breaker, its latencies and the budget of hedged requests. `Engine::ask_photo`
//! runs the local search first.
//!
//! The host performs single attempts, each of them one HTTP request, and reports their outcome:
//!
//! ```
//! use std::time::Duration;
//! use magpie_core::remote::{Action, Event, Exchange, ExchangeLimits, Origin, Question, Trouble};
//! # let model_id = magpie_core::ModelId([7; 32]);
//! # let reason = magpie_core::remote::Reason::NothingFound;
//! let mut origin = Origin::new(17); // the seed of the jitter
//! let question = Question { model_id, k: 10, per: None };
//! let mut exchange = Exchange::new(question, ExchangeLimits::default(), Vec::new(), reason, Duration::ZERO);
//! let mut action = exchange.handle(Event::Clock, Duration::ZERO, &mut origin);
//! loop {
//!     action = match action {
//!         // A real host sends the request here, and reports Event::Reply or Event::Failed.
//!         Action::Send { attempt, .. } => {
//!             let event = Event::Failed { attempt, trouble: Trouble::Unreachable };
//!             exchange.handle(event, Duration::from_millis(3), &mut origin)
//!         }
//!         Action::Wait { until } => exchange.handle(Event::Clock, until, &mut origin),
//!         Action::Done => break,
//!     };
//! }
//! let answer = exchange.into_answer(); // contains the local listings, whatever the server did
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

pub use exchange::{Action, Attempt, Event, Exchange, ExchangeLimits, MAX_RETRIES, Question};
pub use merge::{Answer, Source, Sourced, merge};
pub use origin::{HEDGE_SHARE, Origin};
pub use policy::{Ask, AskDecision, Connectivity, Judgement, Reason, Setting, Situation, Thresholds, decide};
pub use query::QueryCode;
pub use reply::{Ended, Failure, MAX_REPLY_BYTES, Reply, ReplyFault, Trouble, read_reply, retry_after};
pub use wire::{
    DEADLINE_HEADER, Fields, ModelProblem, Parsed, Problem, RequestFault, SEARCH_PATH, SearchReply, SearchRequest,
    WireListing, WirePer,
};
