//! Live search with a camera: selects the frames that deserve a search, and stabilises the list of results.
//!
//! [`Gate`] judges small luma pictures ([`Frame::luma`](crate::Frame::luma)) and gives the reason when a frame is
//! skipped. [`Steady`] keeps the list on the screen from flickering. Neither has a clock, a thread or a camera: the
//! host passes the time of each frame, so the same frames and times give the same decisions.

mod gate;
mod measure;
mod settings;
mod steady;

pub use gate::{FrameVerdict, Gate, PowerHint, SkipReason};
pub use measure::{brightness, difference, sharpness};
pub use settings::LiveSettings;
pub use steady::{Ranked, Steady, SteadySettings};

#[cfg(test)]
mod tests;
