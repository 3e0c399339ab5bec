//! One question to a server: what happened goes in, what to do comes out.

use std::time::Duration;

use super::breaker::Admission;
use super::merge::{Answer, Source, Sourced, merge};
use super::origin::Origin;
use super::policy::{Connectivity, Reason};
use super::reply::{Ended, Failure, Reply, Trouble, read_reply};
use super::wire::SearchReply;
use crate::ModelId;
use crate::listing::Found;
use crate::search::Per;

/// Most retries of an exchange, whatever [`Limits::retries`] says.
pub const MAX_RETRIES: u32 = 2;

/// An attempt that was under way for so long says something of the server when it is given up.
const TELLING: Duration = Duration::from_millis(200);

/// What one exchange may take.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// From the start to the answer, with everything in between.
    pub deadline: Duration,
    /// For one attempt.
    pub attempt: Duration,
    /// An attempt with less time left is not begun.
    pub least_time: Duration,
    /// Retries, at most [`MAX_RETRIES`].
    pub retries: u32,
    /// Whether a second attempt may be sent beside a slow first one.
    pub hedge: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            deadline: Duration::from_millis(1500),
            attempt: Duration::from_millis(800),
            least_time: Duration::from_millis(50),
            retries: MAX_RETRIES,
            hedge: true,
        }
    }
}

impl Limits {
    /// The defaults for a network: no hedge where bytes cost money.
    pub fn on(connectivity: Connectivity) -> Limits {
        Limits { hedge: connectivity == Connectivity::Unmetered, ..Limits::default() }
    }
}

/// What a reply has to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The model of the request.
    pub model_id: ModelId,
    /// Listings asked for.
    pub k: usize,
    /// The limit for each value of a column that was asked for.
    pub per: Option<Per>,
}

/// One HTTP request of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt(pub u32);

/// What happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Nothing but that time passed; also the first event of all.
    Clock,
    /// A response came, whatever its status.
    Reply {
        /// The attempt that it answers.
        attempt: Attempt,
        /// The response.
        reply: Reply<'a>,
    },
    /// An attempt brought no response.
    Failed {
        /// The attempt.
        attempt: Attempt,
        /// Why.
        trouble: Trouble,
    },
    /// The user does not wait any longer.
    Cancelled,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send the request, and report the attempt's outcome, or the clock at `until` at the latest.
    Send {
        /// To be named in the report.
        attempt: Attempt,
        /// Give the attempt up after this. The server is told in [`DEADLINE_HEADER`](super::DEADLINE_HEADER).
        timeout: Duration,
        /// When to report the clock if nothing else happens.
        until: Duration,
    },
    /// Report what happens, or the clock at `until` at the latest.
    Wait {
        /// A time of the host's clock.
        until: Duration,
    },
    /// The answer is there ([`Exchange::into_answer`]). Give up all attempts that are under way.
    Done,
}

/// An attempt under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    attempt: Attempt,
    sent: Duration,
    ends: Duration,
}

/// Asks a server within a deadline, with few retries and at most one hedge. Holds what the phone found itself: that is
/// in the answer whatever the server does.
///
/// All times are of one clock of the host's that does not run backwards, e.g. since the app started.
#[derive(Debug, Clone)]
pub struct Exchange {
    question: Question,
    limits: Limits,
    local: Vec<Found>,
    reason: Reason,
    /// The latest time that was reported.
    now: Duration,
    deadline: Duration,
    flights: Vec<Flight>,
    begun: bool,
    trial: bool,
    sends: u32,
    retries: u32,
    hedged: bool,
    retry_at: Option<Duration>,
    hedge_at: Option<Duration>,
    /// The server wants no attempt before this.
    not_before: Duration,
    /// The last failure that might have passed.
    failure: Option<Failure>,
    reply: Option<SearchReply>,
    ended: Option<Ended>,
}

impl Exchange {
    /// An exchange whose time runs from `now` on. `local` is what the phone found, `reason` why it asks.
    pub fn new(question: Question, limits: Limits, local: Vec<Found>, reason: Reason, now: Duration) -> Exchange {
        Exchange {
            deadline: now.saturating_add(limits.deadline),
            question,
            limits,
            local,
            reason,
            now,
            flights: Vec::new(),
            begun: false,
            trial: false,
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

    /// Takes an event and says what to do. Events of attempts that were given up, or reported before, change nothing.
    pub fn handle(&mut self, event: Event<'_>, now: Duration, origin: &mut Origin) -> Action {
        // Whoever reads a clock that jumps back must not win time by it.
        self.now = self.now.max(now);
        if self.ended.is_none() {
            self.take(event, origin);
        }
        if self.ended.is_none() {
            self.expire(origin);
        }
        if self.ended.is_none() { self.proceed(origin) } else { Action::Done }
    }

    /// Why the server is asked.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether the answer is there.
    pub fn is_done(&self) -> bool {
        self.ended.is_some()
    }

    /// What the phone found, merged with what the server answered. Before [`Action::Done`] it is what is known so far.
    pub fn into_answer(self) -> Answer {
        let Exchange { question, local, reason, sends, hedged, .. } = self;
        let ended = Some(self.ended.unwrap_or(Ended::Failed(Failure::Cancelled)));
        let listings = match self.reply {
            Some(reply) => {
                let remote = reply.listings.into_iter().map(Found::from).collect();
                merge(local, remote, question.k, question.per.as_ref())
            }
            // As the phone found it: nothing is left out, and nothing moves.
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

    /// Attempts whose time is over have failed, whether or not the host says so.
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

    /// An attempt failed: waits for the other one, plans a retry, or ends.
    fn failed(&mut self, failure: Failure, retry_after: Option<Duration>, flight: Flight, origin: &mut Origin) {
        match failure {
            // The server is there, and has nothing against being asked for something else.
            Failure::Refused { .. } | Failure::WrongModel { .. } => origin.refused(),
            Failure::Busy { status: 429 } if retry_after.is_some() => origin.refused(),
            Failure::TimedOut => {
                origin.given_up(self.now.saturating_sub(flight.sent));
                origin.failed(self.now);
            }
            _ => origin.failed(self.now),
        }
        if !failure.passes() {
            self.ended = Some(Ended::Failed(failure));
            return;
        }
        if let Some(time) = retry_after {
            origin.rest_for(self.now, time);
            self.not_before = self.not_before.max(self.now.saturating_add(time));
        }
        self.hedge_at = None;
        if !self.flights.is_empty() {
            self.failure = Some(failure);
            return;
        }
        let wait = origin.wait(self.retries);
        let at = self.now.saturating_add(wait).max(self.not_before);
        let budget = if self.trial { 0 } else { self.limits.retries.min(MAX_RETRIES) };
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
        if failure == Failure::TimedOut && longest.is_some_and(|time| time >= TELLING) {
            origin.failed(self.now);
        } else if self.trial {
            origin.undecided();
        }
        self.ended = Some(Ended::Failed(failure));
    }

    /// Sends what is due, or waits for the next time at which something may be.
    fn proceed(&mut self, origin: &mut Origin) -> Action {
        if !self.begun {
            self.begun = true;
            match origin.admit(self.now) {
                Admission::Resting(_) => {
                    self.ended = Some(Ended::Failed(Failure::Resting));
                    return Action::Done;
                }
                admission => self.trial = admission == Admission::Trial,
            }
            self.hedge_at = match self.limits.hedge && !self.trial {
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
            let time = self.now.saturating_add(self.limits.least_time) <= self.deadline;
            if time && self.flights.len() == 1 && origin.take_hedge() {
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
