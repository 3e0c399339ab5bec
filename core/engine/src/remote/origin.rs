//! What is known of one server from earlier exchanges.

use std::time::Duration;

use super::backoff::Random;
use super::breaker::{Admission, Breaker};
use super::latency::Latencies;

/// First attempts that pay for one hedge.
const HEDGE_PRICE: u32 = 20;
/// Hedges that can be saved up.
const SAVED: u32 = 3;
/// A hedge is not sent earlier than this.
const SOONEST_HEDGE: Duration = Duration::from_millis(20);

/// Hedges are at most this share of the exchanges with a server.
pub const HEDGE_SHARE: f64 = 1.0 / HEDGE_PRICE as f64;

/// One server: its circuit breaker, its times, its budget for hedges. One for each origin (scheme, host and port), kept
/// as long as the app runs and shared by its exchanges behind a lock.
#[derive(Debug, Clone)]
pub struct Origin {
    breaker: Breaker,
    latencies: Latencies,
    credit: u32,
    random: Random,
}

impl Origin {
    /// A server of which nothing is known. The seed spreads the retries of different devices: a random number.
    pub fn new(seed: u64) -> Origin {
        let (breaker, latencies) = (Breaker::default(), Latencies::default());
        Origin { breaker, latencies, credit: 0, random: Random::new(seed) }
    }

    /// When the server may be asked again, where it is to be left alone now: for the policy.
    pub fn resting(&self, now: Duration) -> Option<Duration> {
        match self.breaker.look(now) {
            Admission::Resting(until) => Some(until),
            _ => None,
        }
    }

    pub(super) fn admit(&mut self, now: Duration) -> Admission {
        let admission = self.breaker.admit(now);
        if !matches!(admission, Admission::Resting(_)) {
            self.credit = (self.credit + 1).min(SAVED * HEDGE_PRICE);
        }
        admission
    }

    /// How long after the first attempt a second one may be sent beside it; `None` while that is not known.
    pub(super) fn hedge_after(&self) -> Option<Duration> {
        self.latencies.p95().map(|time| time.max(SOONEST_HEDGE))
    }

    /// Takes a hedge from the budget, if there is one.
    pub(super) fn take_hedge(&mut self) -> bool {
        let affordable = self.credit >= HEDGE_PRICE;
        if affordable {
            self.credit -= HEDGE_PRICE;
        }
        affordable
    }

    pub(super) fn wait(&mut self, retry: u32) -> Duration {
        self.random.wait(retry)
    }

    /// An attempt was answered after `time`.
    pub(super) fn answered(&mut self, time: Duration) {
        self.breaker.succeeded();
        self.latencies.add(time);
    }

    /// The server is there, but did not do the work whose time is measured.
    pub(super) fn refused(&mut self) {
        self.breaker.succeeded();
    }

    pub(super) fn failed(&mut self, now: Duration) {
        self.breaker.failed(now);
    }

    /// An attempt was given up after `time`, because another one was answered or because it took too long.
    pub(super) fn given_up(&mut self, time: Duration) {
        self.latencies.add(time);
    }

    pub(super) fn rest_for(&mut self, now: Duration, time: Duration) {
        self.breaker.rest_for(now, time);
    }

    pub(super) fn undecided(&mut self) {
        self.breaker.undecided();
    }
}
