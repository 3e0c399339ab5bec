//! Measures searches: percentiles of the time of each stage.

use std::time::Duration;

use serde::Serialize;

use crate::engine::{Engine, SearchOptions, Stages, as_ms};
use crate::error::Result;

/// Searches that are not counted: they warm up the caches.
const WARM_UP: usize = 3;

/// Percentiles of the times of one stage over many searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StageTimes {
    /// A name of [`Stages::named`], `together` for their sum, or the name of another measurement.
    pub stage: &'static str,
    /// The median.
    #[serde(rename = "p50_ms", serialize_with = "as_ms")]
    pub p50: Duration,
    /// The 90th percentile.
    #[serde(rename = "p90_ms", serialize_with = "as_ms")]
    pub p90: Duration,
    /// The 99th percentile.
    #[serde(rename = "p99_ms", serialize_with = "as_ms")]
    pub p99: Duration,
}

impl StageTimes {
    /// Returns the percentiles of `times`.
    pub fn of(stage: &'static str, mut times: Vec<Duration>) -> StageTimes {
        let mut at = |share| percentile(&mut times, share);
        StageTimes { stage, p50: at(0.5), p90: at(0.9), p99: at(0.99) }
    }

    /// Returns the percentiles of each stage, and of the sum of all stages.
    pub fn of_searches(searches: &[Stages]) -> Vec<StageTimes> {
        let names = Stages::default().named().map(|(name, _)| name);
        let times = |at: usize| searches.iter().map(|stages| stages.named()[at].1).collect();
        let mut all: Vec<_> = names.into_iter().enumerate().map(|(at, name)| StageTimes::of(name, times(at))).collect();
        all.push(StageTimes::of("together", searches.iter().map(Stages::total).collect()));
        all
    }
}

/// Returns a percentile by the nearest-rank method; `share` is 0 to 1. Sorts the values. Zero if there are none.
pub fn percentile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Searches `runs` times, with the photos in turn, and returns the percentiles of each stage.
///
/// # Errors
/// As [`Engine::search_photo`].
pub fn searches(engine: &Engine, photos: &[&[u8]], runs: u32, options: &SearchOptions) -> Result<Vec<StageTimes>> {
    let mut times = Vec::new();
    for (at, photo) in photos.iter().cycle().take(runs as usize + WARM_UP).enumerate() {
        let results = engine.search_photo(photo, options)?;
        if at >= WARM_UP {
            times.push(results.stages);
        }
    }
    Ok(StageTimes::of_searches(&times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut values: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut values, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&mut values, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&mut values[..1], 0.9), Duration::from_millis(1));
        assert_eq!(percentile(&mut [], 0.9), Duration::ZERO);
    }
}
