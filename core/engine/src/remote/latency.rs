//! Recent latencies of a server.

use std::time::Duration;

/// The number of latencies that are kept.
const KEPT: usize = 64;
/// The least number of latencies for a 95th percentile: the slowest of twenty is one value.
const NEEDED: usize = 20;

/// A ring buffer of the latencies of the latest attempts. Abandoned attempts count with the time until then; without
/// them, slow attempts would be missing and the percentile would be too low.
#[derive(Debug, Clone, Default)]
pub(super) struct Latencies {
    times: Vec<Duration>,
    next: usize,
}

impl Latencies {
    pub(super) fn add(&mut self, time: Duration) {
        if self.times.len() < KEPT {
            self.times.push(time);
        } else {
            self.times[self.next] = time;
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// The 95th percentile; `None` while fewer than [`NEEDED`] latencies are known.
    pub(super) fn p95(&self) -> Option<Duration> {
        if self.times.len() < NEEDED {
            return None;
        }
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() * 95).div_ceil(100) - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_of_the_latest_attempts() {
        let mut latencies = Latencies::default();
        for ms in 1..20 {
            latencies.add(Duration::from_millis(ms));
            assert_eq!(latencies.p95(), None);
        }
        latencies.add(Duration::from_millis(20));
        assert_eq!(latencies.p95(), Some(Duration::from_millis(19)));
        (0..KEPT).for_each(|_| latencies.add(Duration::from_millis(5)));
        assert_eq!(latencies.p95(), Some(Duration::from_millis(5)));
    }
}
