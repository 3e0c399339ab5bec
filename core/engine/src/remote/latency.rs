//! How long a server takes, from its latest answers.

use std::time::Duration;

/// Answers that are remembered.
const KEPT: usize = 64;
/// Fewer say nothing of the slowest in twenty.
const NEEDED: usize = 20;

/// The times of the latest attempts. Those that were given up count with the time that they had, else the slow ones
/// would be missing and the times look better than they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Latencies {
    times: Vec<Duration>,
    next: usize,
}

impl Latencies {
    pub(super) fn add(&mut self, time: Duration) {
        if self.times.len() < KEPT {
            self.times.push(time);
        } else if let Some(oldest) = self.times.get_mut(self.next) {
            *oldest = time;
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// What nineteen in twenty attempts stay below; `None` while too few are known.
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
    fn the_slow_ones_among_the_latest_count() {
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
