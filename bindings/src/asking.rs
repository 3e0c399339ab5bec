//! A search that may ask a server: the core decides what to do when, the host sends single requests and reports.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use magpie_core::engine::{self, Begun};
use magpie_core::remote::{self, Action, Attempt, DEADLINE_HEADER, Event, Exchange, Reply, SEARCH_PATH, retry_after};

use crate::error::{MagpieError, guarded};
use crate::records::{Listing, SearchResults, ms};
use crate::server::{AskReason, AskStep, Asked, AskedEnd, HttpHeader, Server, Trouble};

/// A search that may ask a server. Holds what the phone found, which is in the results whatever the server does.
///
/// Where [`Asking::is_asked`], the host calls [`Asking::advance`], does what each step says, and reports what became of
/// each request, until a step is `Done`. Any thread may report; reports of requests that were given up, reports that come
/// twice and reports after the end change nothing. Who lets go of it gives up.
#[derive(Debug, uniffi::Object)]
pub struct Asking {
    asking: engine::ServerSearch,
    server: Arc<Server>,
    shows_local: bool,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// The server is not asked.
    Local(remote::Answer),
    /// It is, or was; since the end how long it took.
    Exchange(Box<Exchange>, Option<Duration>),
}

#[uniffi::export]
impl Asking {
    /// Whether the server is asked. If not, the results are there at once.
    pub fn is_asked(&self) -> bool {
        matches!(*self.lock(), State::Exchange(..))
    }

    /// Whether what the phone found is worth showing while the server is asked.
    pub fn shows_local(&self) -> bool {
        self.shows_local
    }

    /// The path to post to, after the server's URL.
    pub fn path(&self) -> String {
        SEARCH_PATH.to_owned()
    }

    /// The body to post, JSON: the same for every attempt.
    pub fn body(&self) -> Vec<u8> {
        self.asking.body().into_bytes()
    }

    /// Nothing happened but that time passed; also the first call of all.
    pub fn advance(&self) -> AskStep {
        self.handle("advance", Event::Clock)
    }

    /// An attempt was answered, with any status. `retry_after` is the text of the header of this name; the body need not
    /// be read beyond `max_reply_bytes`.
    pub fn replied(&self, attempt: u32, status: u16, retry_after: Option<String>, body: &[u8]) -> AskStep {
        let retry_after = retry_after.as_deref().and_then(self::retry_after);
        let reply = Reply { status, retry_after, body };
        self.handle("replied", Event::Reply { attempt: Attempt(attempt), reply })
    }

    /// An attempt brought no response.
    pub fn failed(&self, attempt: u32, trouble: Trouble) -> AskStep {
        self.handle("failed", Event::Failed { attempt: Attempt(attempt), trouble: trouble.into() })
    }

    /// Nobody waits any longer. The step is `Done`.
    pub fn cancelled(&self) -> AskStep {
        self.handle("cancelled", Event::Cancelled)
    }

    /// What was found by now: what the phone found, merged with what the server answered once it did.
    pub fn results(&self) -> SearchResults {
        let (answer, took, is_pending) = match &*self.lock() {
            State::Local(answer) => (answer.clone(), Duration::ZERO, false),
            State::Exchange(exchange, ended) => {
                (exchange.as_ref().clone().into_answer(), ended.unwrap_or(self.begun.elapsed()), ended.is_none())
            }
        };
        let confidence = self.asking.confidence_in(&answer).map(Into::into);
        let remote::Answer { listings, reason, ended, sends, .. } = answer;
        let ended = if is_pending { AskedEnd::Pending } else { ended.into() };
        let local = &self.asking.local;
        SearchResults {
            listings: listings.into_iter().map(Listing::from).collect(),
            confidence,
            attributes: local.attributes.0.iter().cloned().map(Into::into).collect(),
            times: local.stages.into(),
            asked: Some(Asked { reason: AskReason::from(reason), ended, requests: sends, took_ms: ms(took) }),
        }
    }
}

impl Asking {
    /// Decides, and begins to count the time where the server is asked.
    pub(crate) fn begin(asking: engine::ServerSearch, server: Arc<Server>) -> Asking {
        let begun = Instant::now();
        let (state, shows_local) = match asking.begin(&server.origin(), server.now()) {
            Begun::Answer(answer) => (State::Local(answer), true),
            Begun::Exchange { exchange, show_local } => (State::Exchange(exchange, None), show_local),
        };
        Asking { asking, server, shows_local, begun, state: Mutex::new(state) }
    }

    fn handle(&self, call: &'static str, event: Event<'_>) -> AskStep {
        let step = guarded(call, || Ok(self.step(event)));
        // A defect ends the asking; what the phone found is still there.
        step.unwrap_or_else(|_: MagpieError| self.step(Event::Cancelled))
    }

    fn step(&self, event: Event<'_>) -> AskStep {
        let mut state = self.lock();
        let State::Exchange(exchange, ended) = &mut *state else { return AskStep::Done };
        let now = self.server.now();
        let action = exchange.handle(event, now, &mut self.server.origin());
        // Rounded up: a clock that is reported too early would be reported again and again.
        let rest = |until: Duration| whole_ms(until.saturating_sub(now));
        match action {
            Action::Send { attempt, timeout, until } => {
                let timeout_ms = whole_ms(timeout);
                AskStep::Send { attempt: attempt.0, headers: headers(timeout_ms), timeout_ms, wait_ms: rest(until) }
            }
            Action::Wait { until } => AskStep::Wait { wait_ms: rest(until) },
            Action::Done => {
                ended.get_or_insert(self.begun.elapsed());
                AskStep::Done
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic left behind can be used all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // The server must not wait for the report of a trial that nobody makes any more.
        self.handle("drop", Event::Cancelled);
    }
}

/// Milliseconds, rounded up and at least one: for some hosts a timeout of zero is none.
fn whole_ms(time: Duration) -> u32 {
    u32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

/// All headers but those of the connection and the token.
fn headers(timeout_ms: u32) -> Vec<HttpHeader> {
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("accept", "application/json".to_owned()),
        ("user-agent", concat!("magpie/", env!("CARGO_PKG_VERSION")).to_owned()),
        (DEADLINE_HEADER, timeout_ms.to_string()),
    ];
    headers.into_iter().map(|(name, value)| HttpHeader { name: name.to_owned(), value }).collect()
}
