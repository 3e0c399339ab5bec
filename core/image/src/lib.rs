//! Turns photos and camera frames into the input of a network.
//!
//! [`decode`] reads JPEG, PNG and WebP within [`DecodeLimits`], at no higher resolution than the network needs.
//! [`Photo::input_rgb`] crops the region of interest, resizes it and rotates it upright; [`normalise`] makes the
//! tensor. The recipe comes from the model pack. Training takes the same steps: a difference between the two would cost
//! recall without any error.
//!
//! [`Frame`] does the same for a camera's planes, and [`Frame::luma`] makes the small grey picture that the live gate
//! judges.

mod decode;
mod error;
mod frame;
mod jpeg;
mod limits;
pub mod live;
mod normalise;
mod orient;
mod packed;
mod passes;
mod photo;
mod picture;
mod pixels;
mod planes;
pub mod recipe;
mod region;
mod resize;
mod rows;
mod simd;
mod taps;
mod yuv;
mod yuv420;

pub use decode::{decode, sniff};
pub use error::PhotoError;
pub use frame::{Frame, MAX_FRAME_SIDE, QuarterTurn};
pub use limits::DecodeLimits;
pub use normalise::normalise;
pub use photo::{Format, Photo};
pub use picture::{InputRgb, Luma};
pub use pixels::{Pixels, Plane};
pub use region::Region;
pub use yuv::YuvRange;

#[cfg(test)]
mod frame_tests;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod resize_tests;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod yuv_tests;
