//! A circuit breaker: stops requests to a failing server, and probes it again later.

use std::time::Duration;

/// The number of consecutive failures that opens the breaker.
const FAILURES: u32 = 5;
/// How long the breaker stays open at first; each failed probe doubles it.
const FIRST_OPEN: Duration = Duration::from_secs(5);
/// The longest time that the breaker stays open, also if `retry-after` says more: a server must not be able to block
/// its apps for good.
const LONGEST_OPEN: Duration = Duration::from_secs(300);
/// A probe whose outcome was not reported is discarded after this.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// The state of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerState {
    /// Requests pass.
    Closed,
    /// One probe passes, without retries and hedged request.
    HalfOpen,
    /// No request passes before this time.
    Open(Duration),
}

/// The circuit breaker of one server. Times are those of the host's clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaker {
    /// Consecutive failures.
    failures: u32,
    /// How often the breaker opened since the last success.
    openings: u32,
    /// Open until then, because of failures.
    until: Option<Duration>,
    /// Open until then, because the server said so in `retry-after`.
    retry_after: Option<Duration>,
    /// When the pending probe began.
    probe: Option<Duration>,
}

impl Breaker {
    /// Returns the state. Does not start a probe.
    pub(super) fn state(&self, now: Duration) -> BreakerState {
        let probe_ends = self.probe.map(|began| began.saturating_add(PROBE_TIMEOUT));
        let open_until = [self.until, self.retry_after, probe_ends].into_iter().flatten().max();
        match open_until {
            Some(until) if now < until => BreakerState::Open(until),
            _ if self.until.is_some() => BreakerState::HalfOpen,
            _ => BreakerState::Closed,
        }
    }

    /// Returns the state. If it is half-open, the caller's request becomes the probe.
    pub(super) fn admit(&mut self, now: Duration) -> BreakerState {
        let state = self.state(now);
        if state == BreakerState::HalfOpen {
            self.probe = Some(now);
        }
        state
    }

    /// Closes the breaker: the server is up. A pending `retry-after` stays in force.
    pub(super) fn succeeded(&mut self) {
        *self = Breaker { retry_after: self.retry_after, ..Breaker::default() };
    }

    /// Counts a failure: the server did not answer, or answered with an error.
    pub(super) fn failed(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        let probed = self.probe.take().is_some();
        if probed || self.failures >= FAILURES {
            self.failures = 0;
            let factor = 1u32.checked_shl(self.openings).unwrap_or(u32::MAX);
            let time = FIRST_OPEN.saturating_mul(factor).min(LONGEST_OPEN);
            self.openings = self.openings.saturating_add(1);
            self.until = self.until.max(Some(now.saturating_add(time)));
        }
    }

    /// Opens the breaker for the time in the server's `retry-after`.
    pub(super) fn retry_after(&mut self, now: Duration, time: Duration) {
        self.retry_after = self.retry_after.max(Some(now.saturating_add(time.min(LONGEST_OPEN))));
    }

    /// Discards a probe that ended without an outcome.
    pub(super) fn undecided(&mut self) {
        self.probe = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_success_closes_it() {
        let mut breaker = Breaker::default();
        (0..4).for_each(|_| breaker.failed(seconds(1)));
        breaker.succeeded();
        (0..4).for_each(|_| breaker.failed(seconds(1)));
        assert_eq!(breaker.admit(seconds(1)), BreakerState::Closed);
        breaker.failed(seconds(1));
        assert_eq!(breaker.admit(seconds(5)), BreakerState::Open(seconds(6)));
        assert_eq!(breaker.admit(seconds(6)), BreakerState::HalfOpen);
        assert_eq!(breaker.admit(seconds(6)), BreakerState::Open(seconds(36)), "one probe at a time");
        breaker.succeeded();
        assert_eq!(breaker.admit(seconds(6)), BreakerState::Closed);
    }

    #[test]
    fn failed_probes_double_the_open_time_up_to_a_bound() {
        let mut breaker = Breaker::default();
        (0..5).for_each(|_| breaker.failed(Duration::ZERO));
        let mut now = Duration::ZERO;
        let mut times = Vec::new();
        for _ in 0..9 {
            let BreakerState::Open(until) = breaker.admit(now) else { panic!("not open at {now:?}") };
            times.push((until - now).as_secs());
            now = until;
            assert_eq!(breaker.admit(now), BreakerState::HalfOpen);
            breaker.failed(now);
        }
        assert_eq!(times, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn retry_after_is_obeyed_up_to_a_bound() {
        let mut breaker = Breaker::default();
        breaker.retry_after(seconds(10), seconds(7));
        assert_eq!(breaker.state(seconds(16)), BreakerState::Open(seconds(17)));
        assert_eq!(breaker.admit(seconds(17)), BreakerState::Closed, "not a probe: it did not fail");
        breaker.retry_after(seconds(20), seconds(1_000_000));
        assert_eq!(breaker.state(seconds(20)), BreakerState::Open(seconds(320)));
    }

    #[test]
    fn a_probe_without_a_report_does_not_keep_it_open() {
        let mut breaker = Breaker::default();
        (0..5).for_each(|_| breaker.failed(Duration::ZERO));
        assert_eq!(breaker.admit(seconds(5)), BreakerState::HalfOpen);
        assert_eq!(breaker.admit(seconds(35)), BreakerState::HalfOpen);
        breaker.undecided();
        assert_eq!(breaker.admit(seconds(35)), BreakerState::HalfOpen);
    }
}
