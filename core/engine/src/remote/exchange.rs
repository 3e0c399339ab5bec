//! The state machine of one search on a server: events go in, actions come out.

use std::time::Duration;

use super::breaker::BreakerState;
use super::merge::{Answer, Source, Sourced, merge};
use super::origin::Origin;
use super::policy::{Connectivity, Reason};
use super::reply::{Ended, Failure, Reply, Trouble, read_reply};
use super::wire::SearchReply;
use crate::ModelId;
use crate::listing::Found;
use crate::search::Per;

/// The most retries of an exchange, whatever [`ExchangeLimits::retries`] says.
pub const MAX_RETRIES: u32 = 2;

/// An attempt that is abandoned at the deadline counts as a failure of the server if it was in flight for this long.
const LEAST_SLOW: Duration = Duration::from_millis(200);

/// Time and retry limits of one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExchangeLimits {
    /// The time for the whole exchange, including retries.
    pub deadline: Duration,
    /// The timeout of one attempt.
    pub attempt: Duration,
    /// No attempt starts with less time left until the deadline.
    pub least_time: Duration,
    /// The retry budget, at most [`MAX_RETRIES`].
    pub retries: u32,
    /// Whether a hedged request may be sent: a second attempt while a slow first one is still in flight.
    pub hedge: bool,
}

impl Default for ExchangeLimits {
    fn default() -> Self {
        ExchangeLimits {
            deadline: Duration::from_millis(1500),
            attempt: Duration::from_millis(800),
            least_time: Duration::from_millis(50),
            retries: MAX_RETRIES,
            hedge: true,
        }
    }
}

impl ExchangeLimits {
    /// The defaults for a kind of network: hedged requests are sent on unmetered ones only.
    pub fn on(connectivity: Connectivity) -> ExchangeLimits {
        ExchangeLimits { hedge: connectivity == Connectivity::Unmetered, ..ExchangeLimits::default() }
    }

    /// Sets the time for the whole exchange.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> ExchangeLimits {
        self.deadline = deadline;
        self
    }

    /// Sets the timeout of one attempt.
    #[must_use]
    pub fn with_attempt(mut self, attempt: Duration) -> ExchangeLimits {
        self.attempt = attempt;
        self
    }

    /// Sets the least time left that an attempt starts with.
    #[must_use]
    pub fn with_least_time(mut self, least_time: Duration) -> ExchangeLimits {
        self.least_time = least_time;
        self
    }

    /// Sets the retry budget.
    #[must_use]
    pub fn with_retries(mut self, retries: u32) -> ExchangeLimits {
        self.retries = retries;
        self
    }

    /// Sets whether a hedged request may be sent.
    #[must_use]
    pub fn with_hedge(mut self, hedge: bool) -> ExchangeLimits {
        self.hedge = hedge;
        self
    }
}

/// The parameters of a request that its reply is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The model of the request.
    pub model_id: ModelId,
    /// The number of listings requested.
    pub k: usize,
    /// The requested limit for each value of a column.
    pub per: Option<Per>,
}

/// One HTTP request of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt(pub u32);

/// What happened, as reported by the host.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Time passed. This is also the first event of an exchange.
    Clock,
    /// A response arrived, with any status.
    Reply {
        /// The attempt.
        attempt: Attempt,
        /// The response.
        reply: Reply<'a>,
    },
    /// An attempt failed without a response.
    Failed {
        /// The attempt.
        attempt: Attempt,
        /// The reason.
        trouble: Trouble,
    },
    /// The user cancelled the search.
    Cancelled,
}

/// What the host has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send the request. Report its outcome, or [`Event::Clock`] at `until` at the latest.
    Send {
        /// Identifies the attempt in the report.
        attempt: Attempt,
        /// The timeout of the attempt. Send it in the header [`DEADLINE_HEADER`](super::DEADLINE_HEADER).
        timeout: Duration,
        /// When to report [`Event::Clock`] if nothing else happens.
        until: Duration,
    },
    /// Report the next event, or [`Event::Clock`] at `until` at the latest.
    Wait {
        /// A time on the host's clock.
        until: Duration,
    },
    /// The exchange has ended: take [`Exchange::into_answer`] and abort the attempts in flight.
    Done,
}

/// An attempt in flight.
#[derive(Debug, Clone, Copy)]
struct Flight {
    attempt: Attempt,
    sent: Duration,
    ends: Duration,
}

/// Asks a server within a deadline, with a small retry budget and at most one hedged request. It holds the local
/// listings, which are in the answer whatever the server does.
///
/// All times are on one monotonic clock of the host, e.g. the time since the app started.
///
/// ```
/// use std::time::Duration;
/// use magpie_core::remote::{Action, Event, Exchange, ExchangeLimits, Origin, Question, Reason};
///
/// let (mut origin, now) = (Origin::new(17), Duration::ZERO);
/// let question = Question { model_id: magpie_core::ModelId([7; 32]), k: 10, per: None };
/// let limits = ExchangeLimits::default().with_deadline(Duration::from_millis(500));
/// let mut exchange = Exchange::new(question, limits, Vec::new(), Reason::NothingFound, now);
/// let action = exchange.handle(Event::Clock, now, &mut origin);
/// assert!(matches!(action, Action::Send { timeout, .. } if timeout == Duration::from_millis(500)));
/// ```
#[derive(Debug, Clone)]
pub struct Exchange {
    question: Question,
    limits: ExchangeLimits,
    local: Vec<Found>,
    reason: Reason,
    /// The latest time that was reported.
    now: Duration,
    deadline: Duration,
    flights: Vec<Flight>,
    begun: bool,
    probe: bool,
    sends: u32,
    retries: u32,
    hedged: bool,
    retry_at: Option<Duration>,
    hedge_at: Option<Duration>,
    /// No attempt starts before this, because of `retry-after`.
    not_before: Duration,
    /// The last transient failure.
    failure: Option<Failure>,
    reply: Option<SearchReply>,
    ended: Option<Ended>,
}

impl Exchange {
    /// Creates an exchange whose deadline counts from `now`. `local` are the phone's own listings, `reason` is why the
    /// server is asked.
    pub fn new(
        question: Question,
        limits: ExchangeLimits,
        local: Vec<Found>,
        reason: Reason,
        now: Duration,
    ) -> Exchange {
        Exchange {
            deadline: now.saturating_add(limits.deadline),
            question,
            limits,
            local,
            reason,
            now,
            flights: Vec::new(),
            begun: false,
            probe: false,
            sends: 0,
            retries: 0,
            hedged: false,
            retry_at: None,
            hedge_at: None,
            not_before: Duration::ZERO,
            failure: None,
            reply: None,
            ended: None,
        }
    }

    /// Takes an event and returns the next action. Events of attempts that ended or were abandoned are ignored.
    pub fn handle(&mut self, event: Event<'_>, now: Duration, origin: &mut Origin) -> Action {
        // A clock that jumps back must not extend the deadline.
        self.now = self.now.max(now);
        if self.ended.is_none() {
            self.take(event, origin);
        }
        if self.ended.is_none() {
            self.expire(origin);
        }
        if self.ended.is_none() { self.proceed(origin) } else { Action::Done }
    }

    /// Returns why the server is asked.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether the exchange has ended.
    pub fn is_done(&self) -> bool {
        self.ended.is_some()
    }

    /// Returns the local listings merged with the server's. Before [`Action::Done`] the exchange counts as cancelled.
    pub fn into_answer(self) -> Answer {
        let Exchange { question, local, reason, sends, hedged, .. } = self;
        let ended = Some(self.ended.unwrap_or(Ended::Failed(Failure::Cancelled)));
        let listings = match self.reply {
            Some(reply) => {
                let remote = reply.listings.into_iter().map(Found::from).collect();
                merge(local, remote, question.k, question.per.as_ref())
            }
            // Exactly the local listings, in their order.
            None => local.into_iter().map(|found| Sourced { source: Source::Local, found }).collect(),
        };
        Answer { listings, reason, ended, sends, hedged }
    }

    fn take(&mut self, event: Event<'_>, origin: &mut Origin) {
        if matches!(event, Event::Cancelled) {
            return self.give_up(Failure::Cancelled, origin);
        }
        if self.now >= self.deadline {
            let failure = self.failure.take().filter(|_| self.flights.is_empty());
            return self.give_up(failure.unwrap_or(Failure::TimedOut), origin);
        }
        match event {
            Event::Reply { attempt, reply } => {
                if let Some(flight) = self.land(attempt) {
                    self.judge(&reply, flight, origin);
                }
            }
            Event::Failed { attempt, trouble } => {
                if let Some(flight) = self.land(attempt) {
                    self.failed(trouble.into(), None, flight, origin);
                }
            }
            Event::Clock | Event::Cancelled => {}
        }
    }

    fn land(&mut self, attempt: Attempt) -> Option<Flight> {
        let at = self.flights.iter().position(|flight| flight.attempt == attempt)?;
        Some(self.flights.remove(at))
    }

    /// Ends attempts that have timed out, whether or not the host reports it.
    fn expire(&mut self, origin: &mut Origin) {
        while let Some(at) = self.flights.iter().position(|flight| flight.ends <= self.now) {
            let flight = self.flights.remove(at);
            self.failed(Failure::TimedOut, None, flight, origin);
            if self.ended.is_some() {
                return;
            }
        }
    }

    fn judge(&mut self, reply: &Reply<'_>, flight: Flight, origin: &mut Origin) {
        match read_reply(reply, self.question.model_id, self.question.k) {
            Ok(answer) => {
                origin.answered(self.now.saturating_sub(flight.sent));
                for slower in &self.flights {
                    origin.given_up(self.now.saturating_sub(slower.sent));
                }
                self.reply = Some(answer);
                self.ended = Some(Ended::Answered);
            }
            Err(failure) => self.failed(failure, reply.retry_after, flight, origin),
        }
    }

    /// Handles a failed attempt: waits for the other one in flight, schedules a retry, or ends the exchange.
    fn failed(&mut self, failure: Failure, retry_after: Option<Duration>, flight: Flight, origin: &mut Origin) {
        match failure {
            // The server is up and rejects only this request.
            Failure::Refused { .. } | Failure::WrongModel { .. } => origin.refused(),
            Failure::Busy { status: 429 } if retry_after.is_some() => origin.refused(),
            Failure::TimedOut => {
                origin.given_up(self.now.saturating_sub(flight.sent));
                origin.failed(self.now);
            }
            _ => origin.failed(self.now),
        }
        if !failure.is_transient() {
            self.ended = Some(Ended::Failed(failure));
            return;
        }
        if let Some(time) = retry_after {
            origin.retry_after(self.now, time);
            self.not_before = self.not_before.max(self.now.saturating_add(time));
        }
        self.hedge_at = None;
        if !self.flights.is_empty() {
            self.failure = Some(failure);
            return;
        }
        let wait = origin.backoff(self.retries);
        let at = self.now.saturating_add(wait).max(self.not_before);
        let budget = if self.probe { 0 } else { self.limits.retries.min(MAX_RETRIES) };
        if self.retries >= budget || at.saturating_add(self.limits.least_time) > self.deadline {
            self.ended = Some(Ended::Failed(failure));
            return;
        }
        self.failure = Some(failure);
        self.retry_at = Some(at);
    }

    fn give_up(&mut self, failure: Failure, origin: &mut Origin) {
        let times = self.flights.drain(..).map(|flight| self.now.saturating_sub(flight.sent));
        let longest = times.inspect(|&time| origin.given_up(time)).max();
        if failure == Failure::TimedOut && longest.is_some_and(|time| time >= LEAST_SLOW) {
            origin.failed(self.now);
        } else if self.probe {
            origin.undecided();
        }
        self.ended = Some(Ended::Failed(failure));
    }

    /// Sends an attempt that is due, or waits for the next event.
    fn proceed(&mut self, origin: &mut Origin) -> Action {
        if !self.begun {
            self.begun = true;
            match origin.admit(self.now) {
                BreakerState::Open(_) => {
                    self.ended = Some(Ended::Failed(Failure::Resting));
                    return Action::Done;
                }
                state => self.probe = state == BreakerState::HalfOpen,
            }
            self.hedge_at = match self.limits.hedge && !self.probe {
                true => origin.hedge_after().map(|time| self.now.saturating_add(time)),
                false => None,
            };
            return self.send();
        }
        if self.retry_at.is_some_and(|at| at <= self.now) {
            self.retry_at = None;
            self.retries += 1;
            return self.send();
        }
        if self.hedge_at.is_some_and(|at| at <= self.now) {
            self.hedge_at = None;
            let in_time = self.now.saturating_add(self.limits.least_time) <= self.deadline;
            if in_time && self.flights.len() == 1 && origin.take_hedge() {
                self.hedged = true;
                return self.send();
            }
        }
        Action::Wait { until: self.until() }
    }

    fn send(&mut self) -> Action {
        let attempt = Attempt(self.sends);
        self.sends += 1;
        let ends = self.now.saturating_add(self.limits.attempt).min(self.deadline);
        self.flights.push(Flight { attempt, sent: self.now, ends });
        Action::Send { attempt, timeout: ends.saturating_sub(self.now), until: self.until() }
    }

    fn until(&self) -> Duration {
        let times = self.flights.iter().map(|flight| flight.ends).chain(self.retry_at).chain(self.hedge_at);
        times.fold(self.deadline, Duration::min)
    }
}

#[cfg(test)]
mod tests;
