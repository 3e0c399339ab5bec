//! The settings of the gate.

use std::time::Duration;

/// The thresholds that a frame has to pass to be searched.
///
/// The defaults were tuned on luma pictures of about 160 x 90 pixels, of renders on a plain background: sharp ones have
/// a sharpness of 0.005, and a shift by 2 % of the width gives a difference of 0.03 to 0.06.
///
/// ```
/// use magpie_image::live::LiveSettings;
/// use std::time::Duration;
///
/// let settings = LiveSettings::default().with_min_interval(Duration::from_millis(500)).with_max_load(0.25);
/// assert_eq!(settings.max_load, 0.25);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LiveSettings {
    /// Shortest time between the starts of two searches.
    pub min_interval: Duration,
    /// Largest share of the time that searches may take, above 0 and up to 1: a slow search is followed by a pause.
    pub max_load: f32,
    /// The wait is multiplied by this while the phone saves its battery.
    pub saving: u32,
    /// The wait is multiplied by this while the phone is hot.
    pub hot: u32,
    /// Lowest mean luma, 0 to 255.
    pub min_brightness: f32,
    /// Lowest [`sharpness`](super::sharpness).
    pub min_sharpness: f32,
    /// Largest [`difference`](super::difference) between two consecutive frames of a camera that is held still.
    pub max_motion: f32,
    /// How many consecutive frames must stay within `max_motion`.
    pub steady_frames: u32,
    /// Lowest [`difference`](super::difference) to the frame that was searched last.
    pub min_change: f32,
    /// After this time, a search whose end was not reported counts as lost, and its scene may be searched again.
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

impl LiveSettings {
    /// Sets the shortest time between the starts of two searches.
    #[must_use]
    pub fn with_min_interval(mut self, interval: Duration) -> LiveSettings {
        self.min_interval = interval;
        self
    }

    /// Sets the largest share of the time that searches may take, above 0 and up to 1.
    #[must_use]
    pub fn with_max_load(mut self, load: f32) -> LiveSettings {
        self.max_load = load;
        self
    }

    /// Sets what multiplies the wait while the phone saves its battery, and while it is hot.
    #[must_use]
    pub fn with_power_factors(mut self, saving: u32, hot: u32) -> LiveSettings {
        (self.saving, self.hot) = (saving, hot);
        self
    }

    /// Sets the lowest mean luma, 0 to 255.
    #[must_use]
    pub fn with_min_brightness(mut self, luma: f32) -> LiveSettings {
        self.min_brightness = luma;
        self
    }

    /// Sets the lowest [`sharpness`](super::sharpness).
    #[must_use]
    pub fn with_min_sharpness(mut self, sharpness: f32) -> LiveSettings {
        self.min_sharpness = sharpness;
        self
    }

    /// Sets the largest [`difference`](super::difference) between two consecutive frames.
    #[must_use]
    pub fn with_max_motion(mut self, difference: f32) -> LiveSettings {
        self.max_motion = difference;
        self
    }

    /// Sets how many consecutive frames must stay within `max_motion`.
    #[must_use]
    pub fn with_steady_frames(mut self, frames: u32) -> LiveSettings {
        self.steady_frames = frames;
        self
    }

    /// Sets the lowest [`difference`](super::difference) to the frame that was searched last.
    #[must_use]
    pub fn with_min_change(mut self, difference: f32) -> LiveSettings {
        self.min_change = difference;
        self
    }

    /// Sets the time after which a search whose end was not reported counts as lost.
    #[must_use]
    pub fn with_lost_after(mut self, time: Duration) -> LiveSettings {
        self.lost_after = time;
        self
    }
}
