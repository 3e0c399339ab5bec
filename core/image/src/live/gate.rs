//! Decides which camera frames deserve a search.

use std::time::Duration;

use super::measure::{brightness, difference, sharpness, usable};
use super::settings::LiveSettings;
use crate::picture::Luma;

/// What the operating system reports about battery and heat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PowerHint {
    /// No need to save power.
    #[default]
    Normal,
    /// Battery saver or low power mode.
    Saving,
    /// The thermal status is severe or worse.
    Hot,
}

/// The decision on a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameVerdict {
    /// Search with the frame, and call [`Gate::searched`] when the search is done.
    Search,
    /// Skip the frame.
    Skip(SkipReason),
}

/// The reason why a frame is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// The luma picture is smaller than 3 x 3 pixels, or its number of values does not match its sides.
    Unusable,
    /// A search is running.
    Busy,
    /// The last search started too recently, or took so long that a pause is due.
    TooSoon,
    /// The wait is longer because the phone saves its battery; otherwise it would be over.
    Saving,
    /// The wait is longer because the phone is hot; otherwise it would be over.
    Hot,
    /// The picture is too dark.
    Dark,
    /// The camera or the scene is moving, or has only just stopped.
    Moving,
    /// The picture is out of focus, or shows only plain surfaces.
    Blurred,
    /// The picture shows the scene that was searched last.
    Unchanged,
}

/// Decides frame by frame whether to search.
///
/// A frame is searched if none of these conditions holds. They are checked in this order, and the first one that holds
/// is the reason to skip the frame:
///
/// 1. the picture is unusable; the gate then ignores the frame;
/// 2. a search is running and started less than `lost_after` ago;
/// 3. the wait since the start of the last search is not over. The wait is `min_interval`, or the duration of the last
///    search divided by `max_load` if that is longer. Battery saving and heat multiply it, and are the reason if the
///    wait without them is over;
/// 4. the mean luma is below `min_brightness`;
/// 5. not all of the last `steady_frames` frames were within `max_motion` of the one before; a change of size counts as
///    motion;
/// 6. the sharpness is below `min_sharpness`;
/// 7. the difference to the frame that was searched last is below `min_change`.
///
/// ```
/// use magpie_image::Luma;
/// use magpie_image::live::{FrameVerdict, Gate, LiveSettings, PowerHint, SkipReason};
/// use std::time::Duration;
///
/// let stripes = |at| if at % 160 / 8 % 2 == 0 { 200 } else { 60 };
/// let luma = Luma { width: 160, height: 90, values: (0..160 * 90).map(stripes).collect() };
/// let mut gate = Gate::new(LiveSettings::default());
/// let mut verdicts = Vec::new();
/// for now in [0, 33, 66, 99].map(Duration::from_millis) {
///     let verdict = gate.frame(&luma, now, PowerHint::Normal);
///     if verdict == FrameVerdict::Search {
///         gate.searched(Duration::from_millis(20), now + Duration::from_millis(20));
///     }
///     verdicts.push(verdict);
/// }
/// // Two frames show that the camera is held still.
/// let moving = FrameVerdict::Skip(SkipReason::Moving);
/// assert_eq!(verdicts, [moving, moving, FrameVerdict::Search, FrameVerdict::Skip(SkipReason::TooSoon)]);
/// ```
///
/// Times may come from any monotonic clock. If a time is earlier than one before, waits start again at the earlier
/// time.
#[derive(Debug, Clone)]
pub struct Gate {
    settings: LiveSettings,
    previous: Option<Luma>,
    /// Number of consecutive frames that were close to the one before.
    steady: u32,
    last: Option<LastSearch>,
}

/// The search that was started last.
#[derive(Debug, Clone)]
struct LastSearch {
    luma: Luma,
    started: Duration,
    /// Its duration, once it is done.
    took: Option<Duration>,
}

impl Gate {
    /// A gate that has seen no frame.
    pub fn new(settings: LiveSettings) -> Gate {
        Gate { settings, previous: None, steady: 0, last: None }
    }

    /// Decides whether to search with this frame. `now` is the time at which it was taken.
    pub fn frame(&mut self, luma: &Luma, now: Duration, hint: PowerHint) -> FrameVerdict {
        if !usable(luma) {
            return FrameVerdict::Skip(SkipReason::Unusable);
        }
        let motion = self.previous.as_ref().and_then(|previous| difference(previous, luma));
        let still = motion.is_some_and(|motion| motion <= self.settings.max_motion);
        self.steady = if still { self.steady.saturating_add(1) } else { 0 };
        let reason = self.waiting(now, hint).or_else(|| self.unfit(luma));
        self.previous = Some(luma.clone());
        if let Some(reason) = reason {
            return FrameVerdict::Skip(reason);
        }
        self.last = Some(LastSearch { luma: luma.clone(), started: now, took: None });
        FrameVerdict::Search
    }

    /// Reports that the search is done, successfully or not, and how long it took.
    pub fn searched(&mut self, took: Duration, now: Duration) {
        if let Some(last) = &mut self.last {
            last.took = Some(took);
            last.started = last.started.min(now);
        }
    }

    /// Allows the scene that was searched last to be searched again. Call it when the catalogue, the filter or the crop
    /// has changed.
    pub fn forget(&mut self) {
        if let Some(last) = &mut self.last {
            last.luma.values.clear();
        }
    }

    /// The reason to wait with the next search, if there is one.
    fn waiting(&mut self, now: Duration, hint: PowerHint) -> Option<SkipReason> {
        let last = self.last.as_mut()?;
        last.started = last.started.min(now);
        let since = now - last.started;
        let Some(took) = last.took else {
            if since < self.settings.lost_after {
                return Some(SkipReason::Busy);
            }
            // Its results were never shown: the same scene may be searched again.
            last.luma.values.clear();
            last.took = Some(Duration::ZERO);
            return self.waiting(now, hint);
        };
        // Keep settings that are out of range from giving a wait of nothing or without end.
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

    /// The reason why the picture does not deserve a search, if there is one.
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
