//! A search that may ask a server: the core decides what to do and when; the host sends single requests and reports.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use magpie_core::engine::{Begun, ServerSearch as CoreSearch};
use magpie_core::remote::{self, Action, Attempt, DEADLINE_HEADER, Event, Exchange, Reply, SEARCH_PATH, retry_after};

use crate::error::{MagpieError, guarded};
use crate::records::{Listing, SearchResults, ms};
use crate::server::{AskReason, AskStep, Asked, AskedEnd, HttpHeader, ServerState, Trouble};

/// A search that may ask a server. Its results always include the phone's own, whatever the server does.
///
/// If [`ServerSearch::is_asked`], the host calls [`ServerSearch::advance`], performs each step, and reports the outcome
/// of each request, until a step is `Done`. Any thread may report. Reports of abandoned requests, repeated reports and
/// reports after the end have no effect. Dropping the object cancels the request.
#[derive(Debug, uniffi::Object)]
pub struct ServerSearch {
    search: CoreSearch,
    server: Arc<ServerState>,
    shows_local: bool,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// The server is not asked.
    Local(remote::Answer),
    /// The server is or was asked; once that has ended, with the time it took.
    Exchange(Box<Exchange>, Option<Duration>),
}

#[uniffi::export]
impl ServerSearch {
    /// Whether the server is asked. If not, the results are available at once.
    pub fn is_asked(&self) -> bool {
        matches!(*self.lock(), State::Exchange(..))
    }

    /// Whether the phone's own results are worth showing while the server is asked.
    pub fn shows_local(&self) -> bool {
        self.shows_local
    }

    /// The path to post to, appended to the server's URL.
    pub fn path(&self) -> String {
        SEARCH_PATH.to_owned()
    }

    /// The JSON body to post, the same for every attempt.
    pub fn body(&self) -> Vec<u8> {
        self.search.body().into_bytes()
    }

    /// Starts the exchange, and from then on reports that time has passed.
    pub fn advance(&self) -> AskStep {
        self.handle("advance", Event::Clock)
    }

    /// Reports that an attempt got a response, whatever its status. `retry_after` is the value of the `Retry-After`
    /// header. The body need not be read beyond `max_reply_bytes`.
    pub fn replied(&self, attempt: u32, status: u16, retry_after: Option<String>, body: &[u8]) -> AskStep {
        let retry_after = retry_after.as_deref().and_then(self::retry_after);
        let reply = Reply { status, retry_after, body };
        self.handle("replied", Event::Reply { attempt: Attempt(attempt), reply })
    }

    /// Reports that an attempt got no response.
    pub fn failed(&self, attempt: u32, trouble: Trouble) -> AskStep {
        self.handle("failed", Event::Failed { attempt: Attempt(attempt), trouble })
    }

    /// Cancels the exchange; the returned step is `Done`.
    pub fn cancelled(&self) -> AskStep {
        self.handle("cancelled", Event::Cancelled)
    }

    /// The results so far: the phone's own, merged with the server's once it has answered.
    pub fn results(&self) -> SearchResults {
        let (answer, took, is_pending) = match &*self.lock() {
            State::Local(answer) => (answer.clone(), Duration::ZERO, false),
            State::Exchange(exchange, ended) => {
                (exchange.as_ref().clone().into_answer(), ended.unwrap_or(self.begun.elapsed()), ended.is_none())
            }
        };
        let confidence = self.search.confidence_in(&answer);
        let remote::Answer { listings, reason, ended, sends, .. } = answer;
        let ended = if is_pending { AskedEnd::Pending } else { ended.into() };
        let phone = &self.search.local;
        SearchResults {
            listings: listings.into_iter().map(Listing::from).collect(),
            confidence,
            attributes: phone.attributes.0.clone(),
            times: phone.stages.into(),
            asked: Some(Asked { reason: AskReason::from(reason), ended, requests: sends, took_ms: ms(took) }),
            photo_incomplete: phone.photo_incomplete,
        }
    }
}

impl ServerSearch {
    /// Lets the policy decide, and starts the clock if the server is asked.
    pub(crate) fn begin(search: CoreSearch, server: Arc<ServerState>) -> ServerSearch {
        let begun = Instant::now();
        let (state, shows_local) = match search.begin(&server.origin(), server.now()) {
            Begun::Answer(answer) => (State::Local(answer), true),
            Begun::Exchange { exchange, show_local } => (State::Exchange(exchange, None), show_local),
        };
        ServerSearch { search, server, shows_local, begun, state: Mutex::new(state) }
    }

    fn handle(&self, call: &'static str, event: Event<'_>) -> AskStep {
        let step = guarded(call, || Ok(self.step(event)));
        // A panic ends the exchange; the phone's own results remain.
        step.unwrap_or_else(|_: MagpieError| self.step(Event::Cancelled))
    }

    fn step(&self, event: Event<'_>) -> AskStep {
        let mut state = self.lock();
        let State::Exchange(exchange, ended) = &mut *state else { return AskStep::Done };
        let now = self.server.now();
        let action = exchange.handle(event, now, &mut self.server.origin());
        // Rounded up: a host that calls too early would be told to call again at once.
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
        // The state stays usable after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ServerSearch {
    fn drop(&mut self) {
        // Ends a half-open trial request, so that the server's circuit breaker does not wait for its report.
        self.handle("drop", Event::Cancelled);
    }
}

/// Converts to milliseconds, rounded up, at least 1: some hosts take a timeout of zero as no timeout.
fn whole_ms(time: Duration) -> u32 {
    u32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

/// All request headers except those of the connection and the token.
fn headers(timeout_ms: u32) -> Vec<HttpHeader> {
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("accept", "application/json".to_owned()),
        ("user-agent", concat!("magpie/", env!("CARGO_PKG_VERSION")).to_owned()),
        (DEADLINE_HEADER, timeout_ms.to_string()),
    ];
    headers.into_iter().map(|(name, value)| HttpHeader { name: name.to_owned(), value }).collect()
}
