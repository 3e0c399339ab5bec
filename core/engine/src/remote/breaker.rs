//! Leaves a server alone that does not answer, and tries it again later.

use std::time::Duration;

/// Failures in a row that open the breaker.
const FAILURES: u32 = 5;
/// The first rest; each failed trial doubles it.
const REST: Duration = Duration::from_secs(5);
/// The longest rest, also where a server asks for more: it must not be able to silence its apps for good.
const LONGEST: Duration = Duration::from_secs(300);
/// A trial that nobody reported on is forgotten after this.
const TRIAL: Duration = Duration::from_secs(30);

/// Whether a server may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// As usual.
    Open,
    /// Once, without retry and hedge: to see whether it is back.
    Trial,
    /// Not before this time.
    Resting(Duration),
}

/// Counts failures of one server. Times are those of the host's clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaker {
    failures: u32,
    /// Rests since the last success.
    rests: u32,
    /// The end of the rest that failures called for.
    until: Option<Duration>,
    /// The end of the rest that the server asked for.
    asked: Option<Duration>,
    /// When the trial began that is under way.
    trial: Option<Duration>,
}

impl Breaker {
    /// Whether the server may be asked, without taking a trial.
    pub(super) fn look(&self, now: Duration) -> Admission {
        let trial_ends = self.trial.map(|began| began.saturating_add(TRIAL));
        let rest = [self.until, self.asked, trial_ends].into_iter().flatten().max();
        match rest {
            Some(until) if now < until => Admission::Resting(until),
            _ if self.until.is_some() => Admission::Trial,
            _ => Admission::Open,
        }
    }

    /// As [`Breaker::look`]; a trial is the caller's then.
    pub(super) fn admit(&mut self, now: Duration) -> Admission {
        let admission = self.look(now);
        if admission == Admission::Trial {
            self.trial = Some(now);
        }
        admission
    }

    /// The server is there. A rest that it asked for stays.
    pub(super) fn succeeded(&mut self) {
        *self = Breaker { asked: self.asked, ..Breaker::default() };
    }

    /// The server did not answer, or said that it cannot.
    pub(super) fn failed(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        let trial = self.trial.take().is_some();
        if trial || self.failures >= FAILURES {
            self.failures = 0;
            let rest = REST.saturating_mul(1u32.checked_shl(self.rests).unwrap_or(u32::MAX)).min(LONGEST);
            self.rests = self.rests.saturating_add(1);
            self.until = self.until.max(Some(now.saturating_add(rest)));
        }
    }

    /// The server asked to be left alone.
    pub(super) fn rest_for(&mut self, now: Duration, time: Duration) {
        self.asked = self.asked.max(Some(now.saturating_add(time.min(LONGEST))));
    }

    /// A trial ended and says nothing.
    pub(super) fn undecided(&mut self) {
        self.trial = None;
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
        assert_eq!(breaker.admit(seconds(1)), Admission::Open);
        breaker.failed(seconds(1));
        assert_eq!(breaker.admit(seconds(5)), Admission::Resting(seconds(6)));
        assert_eq!(breaker.admit(seconds(6)), Admission::Trial);
        assert_eq!(breaker.admit(seconds(6)), Admission::Resting(seconds(36)), "one trial at a time");
        breaker.succeeded();
        assert_eq!(breaker.admit(seconds(6)), Admission::Open);
    }

    #[test]
    fn failed_trials_double_the_rest_up_to_a_bound() {
        let mut breaker = Breaker::default();
        (0..5).for_each(|_| breaker.failed(Duration::ZERO));
        let mut now = Duration::ZERO;
        let mut rests = Vec::new();
        for _ in 0..9 {
            let Admission::Resting(until) = breaker.admit(now) else { panic!("open at {now:?}") };
            rests.push((until - now).as_secs());
            now = until;
            assert_eq!(breaker.admit(now), Admission::Trial);
            breaker.failed(now);
        }
        assert_eq!(rests, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn a_server_that_asks_for_rest_gets_it_but_not_for_good() {
        let mut breaker = Breaker::default();
        breaker.rest_for(seconds(10), seconds(7));
        assert_eq!(breaker.look(seconds(16)), Admission::Resting(seconds(17)));
        assert_eq!(breaker.admit(seconds(17)), Admission::Open, "no trial: it did not fail");
        breaker.rest_for(seconds(20), seconds(1_000_000));
        assert_eq!(breaker.look(seconds(20)), Admission::Resting(seconds(320)));
    }

    #[test]
    fn a_trial_that_nobody_reports_on_does_not_close_the_door() {
        let mut breaker = Breaker::default();
        (0..5).for_each(|_| breaker.failed(Duration::ZERO));
        assert_eq!(breaker.admit(seconds(5)), Admission::Trial);
        assert_eq!(breaker.admit(seconds(35)), Admission::Trial);
        breaker.undecided();
        assert_eq!(breaker.admit(seconds(35)), Admission::Trial);
    }
}
