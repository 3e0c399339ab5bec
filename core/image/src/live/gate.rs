//! Which frames deserve a search.

use std::time::Duration;

use super::measure::{brightness, difference, sharpness, usable};
use crate::Luma;

/// What a frame needs for a search. The measures were set with luma pictures of about 160 x 90 pixels, of renders on plain
/// ground: sharp ones measure 0.005, a shift by 2 % of the width 0.03 to 0.06.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LiveSettings {
    /// Least time from one search's start to the next's.
    pub min_interval: Duration,
    /// Most of the time that may go into searches, above 0 and up to 1: a search that takes long is followed by a rest.
    pub max_load: f32,
    /// How many times longer the wait is while the phone saves its battery.
    pub saving: u32,
    /// How many times longer the wait is while the phone is hot.
    pub hot: u32,
    /// Least mean luma, 0 to 255.
    pub min_brightness: f32,
    /// Least [`sharpness`](super::sharpness).
    pub min_sharpness: f32,
    /// Largest [`difference`](super::difference) from one frame to the next of a camera that is held still.
    pub max_motion: f32,
    /// How many frames in a row must have moved no further than that.
    pub steady_frames: u32,
    /// Least [`difference`](super::difference) to the frame searched last.
    pub min_change: f32,
    /// When a search whose end was never reported is taken to be lost, and its scene as not searched.
    pub lost_after: Duration,
}

impl Default for LiveSettings {
    fn default() -> Self {
        LiveSettings {
            min_interval: Duration::from_millis(300),
            max_load: 0.5,
            saving: 3,
            hot: 8,
            min_brightness: 16.0,
            min_sharpness: 0.001,
            max_motion: 0.03,
            steady_frames: 2,
            min_change: 0.08,
            lost_after: Duration::from_secs(5),
        }
    }
}

/// What the system says of battery and heat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PowerHint {
    /// Nothing to save.
    #[default]
    Normal,
    /// Battery saver or low power mode.
    Saving,
    /// Thermal status severe, or worse.
    Hot,
}

/// Whether to search with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Search, and call [`Gate::searched`] when it is done.
    Search,
    /// Pass over it.
    Skip(SkipReason),
}

/// Why a frame was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// The luma picture is below 3 x 3 pixels, or has another number of values than its sides say.
    Unusable,
    /// A search is under way.
    Busy,
    /// The last search started too recently, or took so long that a rest is due.
    TooSoon,
    /// It would be time if the phone did not save its battery.
    Saving,
    /// It would be time if the phone were not hot.
    Hot,
    /// Too dark to see much.
    Dark,
    /// The camera or the scene is moving, or has only just come to rest.
    Moving,
    /// Out of focus, or nothing there but plain surfaces.
    Blurred,
    /// What was searched last.
    Unchanged,
}

/// Decides frame by frame.
///
/// A frame is searched if none of these holds, asked in this order; the first that does is the reason given:
///
/// 1. the picture is unusable; it is then as if there had been no frame;
/// 2. a search is under way, and began less than `lost_after` ago;
/// 3. less than the wait has passed since the last search's start. The wait is `min_interval`, or the last search's time
///    divided by `max_load` if that is more; saving or heat multiply it, and are the reason if the plain wait is over;
/// 4. mean luma is below `min_brightness`;
/// 5. fewer than the last `steady_frames` frames were each within `max_motion` of the one before; frames of different
///    sizes are not;
/// 6. sharpness is below `min_sharpness`;
/// 7. the frame is within `min_change` of the one searched last.
///
/// Times are of any clock that does not run backwards; if one does, waits start again at the earlier time.
#[derive(Debug, Clone)]
pub struct Gate {
    settings: LiveSettings,
    previous: Option<Luma>,
    /// Frames in a row that were close to the one before.
    steady: u32,
    last: Option<Search>,
}

/// The search that was started last.
#[derive(Debug, Clone)]
struct Search {
    luma: Luma,
    started: Duration,
    /// What it took, once it is done.
    took: Option<Duration>,
}

impl Gate {
    /// A gate that has seen nothing.
    pub fn new(settings: LiveSettings) -> Gate {
        Gate { settings, previous: None, steady: 0, last: None }
    }

    /// Decides whether this frame deserves a search. `now` is when it was taken.
    pub fn frame(&mut self, luma: &Luma, now: Duration, hint: PowerHint) -> Verdict {
        if !usable(luma) {
            return Verdict::Skip(SkipReason::Unusable);
        }
        let motion = self.previous.as_ref().and_then(|previous| difference(previous, luma));
        let still = motion.is_some_and(|motion| motion <= self.settings.max_motion);
        self.steady = if still { self.steady.saturating_add(1) } else { 0 };
        let reason = self.waiting(now, hint).or_else(|| self.unfit(luma));
        self.previous = Some(luma.clone());
        if let Some(reason) = reason {
            return Verdict::Skip(reason);
        }
        self.last = Some(Search { luma: luma.clone(), started: now, took: None });
        Verdict::Search
    }

    /// The search that was asked for is done, well or not, and took this long.
    pub fn searched(&mut self, took: Duration, now: Duration) {
        if let Some(last) = &mut self.last {
            last.took = Some(took);
            last.started = last.started.min(now);
        }
    }

    /// Lets what was searched last be searched again: the catalogue, the filter or the crop has changed.
    pub fn forget(&mut self) {
        if let Some(last) = &mut self.last {
            last.luma.values.clear();
        }
    }

    /// Why it is not time for a search.
    fn waiting(&mut self, now: Duration, hint: PowerHint) -> Option<SkipReason> {
        let last = self.last.as_mut()?;
        last.started = last.started.min(now);
        let since = now - last.started;
        let Some(took) = last.took else {
            if since < self.settings.lost_after {
                return Some(SkipReason::Busy);
            }
            // Nobody saw its results: the same scene may be searched again.
            last.luma.values.clear();
            last.took = Some(Duration::ZERO);
            return self.waiting(now, hint);
        };
        // Settings out of range make no load at all, or a wait that never ends.
        let load = f64::from(self.settings.max_load).clamp(0.01, 1.0);
        let rest = Duration::try_from_secs_f64(took.as_secs_f64() / load).unwrap_or(Duration::MAX);
        let wait = self.settings.min_interval.max(rest);
        let (times, reason) = match hint {
            PowerHint::Normal => (1, SkipReason::TooSoon),
            PowerHint::Saving => (self.settings.saving, SkipReason::Saving),
            PowerHint::Hot => (self.settings.hot, SkipReason::Hot),
        };
        if since < wait {
            return Some(SkipReason::TooSoon);
        }
        (since < wait.saturating_mul(times)).then_some(reason)
    }

    /// Why the picture is not worth one.
    fn unfit(&self, luma: &Luma) -> Option<SkipReason> {
        let settings = &self.settings;
        if brightness(luma) < settings.min_brightness {
            return Some(SkipReason::Dark);
        }
        if self.steady < settings.steady_frames {
            return Some(SkipReason::Moving);
        }
        if sharpness(luma) < settings.min_sharpness {
            return Some(SkipReason::Blurred);
        }
        let change = self.last.as_ref().and_then(|last| difference(&last.luma, luma));
        change.is_some_and(|change| change < settings.min_change).then_some(SkipReason::Unchanged)
    }
}
