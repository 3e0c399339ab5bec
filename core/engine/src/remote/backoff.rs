//! Exponential backoff with full jitter.

use std::time::Duration;

use magpie_index::vector::split_mix;

/// Upper bound of the first wait; it doubles with every retry.
const BASE: Duration = Duration::from_millis(50);
/// Largest upper bound.
const CAP: Duration = Duration::from_secs(2);

/// A pseudo-random generator, seeded differently on each device so that retries spread out. Not for cryptography.
#[derive(Debug, Clone)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    /// A number from 0 to 1, excluding 1.
    fn fraction(&mut self) -> f64 {
        (split_mix(&mut self.0) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns the wait before retry number `retry`, from 0: uniformly distributed below the bound ("full jitter").
    pub(super) fn wait(&mut self, retry: u32) -> Duration {
        bound(retry).mul_f64(self.fraction())
    }
}

fn bound(retry: u32) -> Duration {
    BASE.saturating_mul(1u32.checked_shl(retry).unwrap_or(u32::MAX)).min(CAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_fill_the_whole_range_below_a_bound_that_doubles() {
        let mut jitter = Jitter::new(1);
        for (retry, bound) in [(0, 50), (1, 100), (2, 200), (9, 2000), (60, 2000)] {
            let waits: Vec<u128> = (0..1000).map(|_| jitter.wait(retry).as_millis()).collect();
            assert!(waits.iter().all(|&wait| wait < bound), "{retry}");
            let (low, high) = (waits.iter().min(), waits.iter().max());
            assert!(low < Some(&(bound / 10)) && high > Some(&(bound * 9 / 10)), "{retry}: {low:?} to {high:?}");
        }
    }
}
