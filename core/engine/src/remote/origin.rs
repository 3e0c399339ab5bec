//! The state of one server across exchanges.

use std::time::Duration;

use super::backoff::Jitter;
use super::breaker::{Breaker, BreakerState};
use super::latency::Latencies;

/// The number of exchanges that earn one hedged request.
const HEDGE_PRICE: u32 = 20;
/// The most hedged requests that the budget holds.
const SAVED: u32 = 3;
/// The least delay of a hedged request.
const SOONEST_HEDGE: Duration = Duration::from_millis(20);

/// The largest share of the exchanges with a server that send a hedged request.
pub const HEDGE_SHARE: f64 = 1.0 / HEDGE_PRICE as f64;

/// The state of one server: its circuit breaker, its latencies and its budget of hedged requests. Keep one per origin
/// (scheme, host and port) as long as the app runs, behind a lock that its exchanges share.
#[derive(Debug, Clone)]
pub struct Origin {
    breaker: Breaker,
    latencies: Latencies,
    credit: u32,
    jitter: Jitter,
}

impl Origin {
    /// A server of which nothing is known yet. `seed` seeds the jitter of retries; it should differ between devices.
    pub fn new(seed: u64) -> Origin {
        let (breaker, latencies) = (Breaker::default(), Latencies::default());
        Origin { breaker, latencies, credit: 0, jitter: Jitter::new(seed) }
    }

    /// Returns when the circuit breaker will let a request pass again, if it is open now.
    pub fn resting(&self, now: Duration) -> Option<Duration> {
        match self.breaker.state(now) {
            BreakerState::Open(until) => Some(until),
            _ => None,
        }
    }

    /// Asks the circuit breaker to let an exchange pass; an exchange that passes earns a share of a hedged request.
    pub(super) fn admit(&mut self, now: Duration) -> BreakerState {
        let state = self.breaker.admit(now);
        if !matches!(state, BreakerState::Open(_)) {
            self.credit = (self.credit + 1).min(SAVED * HEDGE_PRICE);
        }
        state
    }

    /// The delay after which a hedged request may be sent; `None` while too few latencies are known.
    pub(super) fn hedge_after(&self) -> Option<Duration> {
        self.latencies.p95().map(|time| time.max(SOONEST_HEDGE))
    }

    /// Takes one hedged request from the budget; false if the budget is used up.
    pub(super) fn take_hedge(&mut self) -> bool {
        let affordable = self.credit >= HEDGE_PRICE;
        if affordable {
            self.credit -= HEDGE_PRICE;
        }
        affordable
    }

    /// Returns the wait before retry number `retry`, from 0.
    pub(super) fn backoff(&mut self, retry: u32) -> Duration {
        self.jitter.wait(retry)
    }

    /// Records that an attempt was answered after `time`.
    pub(super) fn answered(&mut self, time: Duration) {
        self.breaker.succeeded();
        self.latencies.add(time);
    }

    /// Records that the server is up but rejected a request. The latency does not count: it did no search.
    pub(super) fn refused(&mut self) {
        self.breaker.succeeded();
    }

    /// Records a failure of the server.
    pub(super) fn failed(&mut self, now: Duration) {
        self.breaker.failed(now);
    }

    /// Records that an attempt was abandoned after `time`, because another one was answered or because of a timeout.
    pub(super) fn given_up(&mut self, time: Duration) {
        self.latencies.add(time);
    }

    /// Records the server's `retry-after`.
    pub(super) fn retry_after(&mut self, now: Duration, time: Duration) {
        self.breaker.retry_after(now, time);
    }

    /// Discards a probe that ended without an outcome.
    pub(super) fn undecided(&mut self) {
        self.breaker.undecided();
    }
}
