//! Searching while the camera looks around: which frames deserve a search, and results that hold still.
//!
//! [`Gate`] judges small luma pictures ([`Frame::luma`](crate::Frame::luma)) and says why a frame is passed over;
//! [`Steady`] keeps the list on the screen from flickering. Neither has a clock, a thread or a camera: the host passes
//! the time of each frame, so the same frames and times give the same answers.

mod gate;
mod measure;
mod steady;

pub use gate::{Gate, LiveSettings, PowerHint, SkipReason, Verdict};
pub use measure::{brightness, difference, sharpness};
pub use steady::{Ranked, Steady, SteadySettings};

#[cfg(test)]
mod tests;
