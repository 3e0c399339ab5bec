//! Live search: which frames are worth a search, and a stable list of results. The host owns the camera and the clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use magpie_core::live::{self, Gate, Steady, SteadySettings};
pub use magpie_core::live::{PowerHint, Ranked};

use crate::error::{MagpieError, guarded};
use crate::frame::FrameLayout;

/// How often a live search runs, and how stable its list is.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct LiveSettings {
    /// Minimum time between the starts of two searches, in milliseconds.
    #[uniffi(default = 300)]
    pub min_interval_ms: u32,
    /// Length of the list.
    #[uniffi(default = 10)]
    pub listings: u32,
    /// A listing overtakes the one above it at once if its score is higher by more than this.
    #[uniffi(default = 0.03)]
    pub margin: f32,
}

/// The system's battery and thermal state.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum PowerHint {
    /// No restriction.
    Normal,
    /// The battery saver or Low Power Mode is on.
    Saving,
    /// The phone is hot.
    Hot,
}

/// Whether to search with a frame, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Verdict {
    /// Search with it, and call `searched` when that is done.
    Search,
    /// The frame is too small to be analysed.
    Unusable,
    /// A search is in progress.
    Busy,
    /// The last search started too recently, or took so long that a pause is due.
    TooSoon,
    /// Postponed to save the battery.
    Saving,
    /// Postponed because the phone is hot.
    Hot,
    /// The frame is too dark.
    Dark,
    /// The camera or the scene is moving, or stopped only just now.
    Moving,
    /// The frame is out of focus or shows only plain surfaces.
    Blurred,
    /// The scene is the one of the last search.
    Unchanged,
}

/// A listing with its score.
#[uniffi::remote(Record)]
pub struct Ranked {
    /// The listing's id.
    pub id: String,
    /// Its score in the last search that found it.
    pub score: f32,
}

/// Decides for each frame whether to search with it, and keeps the displayed list from flickering.
#[derive(Debug, uniffi::Object)]
pub struct LiveGate(Mutex<(Gate, Steady)>);

#[uniffi::export]
impl LiveGate {
    /// Creates a gate that has seen no frame, and an empty list.
    #[uniffi::constructor]
    pub fn new(settings: LiveSettings) -> Arc<LiveGate> {
        let interval = Duration::from_millis(settings.min_interval_ms.into());
        let gate = live::LiveSettings::default().with_min_interval(interval);
        let steady = SteadySettings::default().with_size(settings.listings as usize).with_margin(settings.margin);
        Arc::new(LiveGate(Mutex::new((Gate::new(gate), Steady::new(steady)))))
    }

    /// Decides whether to search with this frame. The planes are as for `Engine::search_frame`; `now_ms` is the time of
    /// the frame by any monotonic clock.
    ///
    /// # Errors
    /// `Photo` if the layout does not fit the planes.
    #[allow(clippy::too_many_arguments, reason = "planes cross one by one")]
    pub fn frame(
        &self,
        first: &[u8],
        second: &[u8],
        third: &[u8],
        layout: FrameLayout,
        now_ms: u64,
        power: PowerHint,
    ) -> Result<Verdict, MagpieError> {
        guarded("live frame", || {
            let frame = layout.frame([first, second, third])?;
            // The gate's thresholds were tuned with pictures of this size.
            let (width, height) = frame.upright_size();
            let (width, height) = if width >= height { (160, 90) } else { (90, 160) };
            let luma = frame.luma(width, height).map_err(magpie_core::Error::from)?;

            Ok(self.lock().0.frame(&luma, Duration::from_millis(now_ms), power).into())
        })
    }

    /// Reports that a search ended, successfully or not, and how long it took.
    pub fn searched(&self, took_ms: u64, now_ms: u64) {
        self.lock().0.searched(Duration::from_millis(took_ms), Duration::from_millis(now_ms));
    }

    /// Takes the results of a search, best first, and returns the list to show.
    pub fn results(&self, results: Vec<Ranked>) -> Vec<Ranked> {
        self.lock().1.update(results.iter().map(|ranked| (ranked.id.as_str(), ranked.score)))
    }

    /// Clears the list and allows the same scene to be searched again, because filter, crop or catalogue have changed.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.0.forget();
        state.1.clear();
    }
}

impl LiveGate {
    fn lock(&self) -> MutexGuard<'_, (Gate, Steady)> {
        // The state stays usable after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<live::FrameVerdict> for Verdict {
    fn from(verdict: live::FrameVerdict) -> Verdict {
        use live::SkipReason;

        match verdict {
            live::FrameVerdict::Search => Verdict::Search,
            live::FrameVerdict::Skip(reason) => match reason {
                SkipReason::Busy => Verdict::Busy,
                SkipReason::TooSoon => Verdict::TooSoon,
                SkipReason::Saving => Verdict::Saving,
                SkipReason::Hot => Verdict::Hot,
                SkipReason::Dark => Verdict::Dark,
                SkipReason::Moving => Verdict::Moving,
                SkipReason::Blurred => Verdict::Blurred,
                SkipReason::Unchanged => Verdict::Unchanged,
                // Skips frames for reasons that a later core may add.
                _ => Verdict::Unusable,
            },
        }
    }
}
