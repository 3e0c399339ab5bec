//! Live search: which frames deserve a search, and a list that holds still. The host has the camera and the clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use magpie_core::live::{self, Gate, Steady, SteadySettings};

use crate::error::{MagpieError, guarded};
use crate::frame::FrameLayout;

/// What a frame needs for a search.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct LiveSettings {
    /// Least time from one search's start to the next's, in milliseconds.
    #[uniffi(default = 300)]
    pub min_interval_ms: u32,
    /// Length of the list.
    #[uniffi(default = 10)]
    pub listings: u32,
    /// A listing passes the one above it at once if its score is higher by more than this.
    #[uniffi(default = 0.03)]
    pub margin: f32,
}

/// What the system says of battery and heat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum PowerHint {
    /// Nothing to save.
    Normal,
    /// Battery saver or low power mode.
    Saving,
    /// The phone is hot.
    Hot,
}

/// Whether to search with a frame, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Verdict {
    /// Search, and call `searched` when it is done.
    Search,
    /// The frame is too small to be judged.
    Unusable,
    /// A search is under way.
    Busy,
    /// The last search was too recent, or took so long that a rest is due.
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

/// A listing with its score.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Ranked {
    /// The listing's id.
    pub id: String,
    /// The score of the last search that found it.
    pub score: f32,
}

/// Decides frame by frame, and keeps the list on the screen from flickering.
#[derive(Debug, uniffi::Object)]
pub struct LiveGate(Mutex<(Gate, Steady)>);

#[uniffi::export]
impl LiveGate {
    /// A gate that has seen nothing, and an empty list.
    #[uniffi::constructor]
    pub fn new(settings: LiveSettings) -> Arc<LiveGate> {
        let interval = Duration::from_millis(settings.min_interval_ms.into());
        let gate = live::LiveSettings::default().with_min_interval(interval);
        let steady = SteadySettings::default().with_size(settings.listings as usize).with_margin(settings.margin);
        Arc::new(LiveGate(Mutex::new((Gate::new(gate), Steady::new(steady)))))
    }

    /// Whether to search with this frame. Planes as for `Engine::search_frame`; `now_ms` is when it was taken, by any
    /// clock that does not run backwards.
    ///
    /// # Errors
    /// `Photo` where the layout does not fit the planes.
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
            // The measures were set with pictures of this size.
            let (width, height) = frame.upright_size();
            let (width, height) = if width >= height { (160, 90) } else { (90, 160) };
            let luma = frame.luma(width, height).map_err(magpie_core::Error::from)?;
            let power = match power {
                PowerHint::Normal => live::PowerHint::Normal,
                PowerHint::Saving => live::PowerHint::Saving,
                PowerHint::Hot => live::PowerHint::Hot,
            };
            Ok(self.lock().0.frame(&luma, Duration::from_millis(now_ms), power).into())
        })
    }

    /// The search that was asked for is done, well or not, and took this long.
    pub fn searched(&self, took_ms: u64, now_ms: u64) {
        self.lock().0.searched(Duration::from_millis(took_ms), Duration::from_millis(now_ms));
    }

    /// Takes the results of a search, best first, and gives the list to show.
    pub fn results(&self, results: Vec<Ranked>) -> Vec<Ranked> {
        let list = self.lock().1.update(results.iter().map(|ranked| (ranked.id.as_str(), ranked.score)));
        list.into_iter().map(|live::Ranked { id, score }| Ranked { id, score }).collect()
    }

    /// Empties the list and lets what was searched last be searched again: filter, crop or catalogue have changed.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.0.forget();
        state.1.clear();
    }
}

impl LiveGate {
    fn lock(&self) -> MutexGuard<'_, (Gate, Steady)> {
        // What a panic left behind can be used all the same.
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
                // A reason of a later core is none to search.
                _ => Verdict::Unusable,
            },
        }
    }
}
