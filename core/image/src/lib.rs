//! From the bytes of a photo to the network's input.
//!
//! [`decode`] reads JPEG, PNG and WebP under [`Limits`], no larger than the network needs; [`Photo::input_rgb`] takes a
//! region of it, scales it and turns it upright; [`normalise`] makes the tensor. The recipe comes from the model pack,
//! and the same steps are taken in training: a difference here costs recall and nothing fails.
//!
//! [`Frame`] does the same for a camera's planes, and [`Frame::luma`] gives the live gate something small to look at.

mod decode;
mod error;
mod frame;
mod jpeg;
mod limits;
pub mod live;
mod luma;
mod normalise;
mod orient;
mod packed;
mod passes;
mod planes;
pub mod recipe;
mod region;
mod resize;
mod simd;
mod taps;
mod yuv;
mod yuv420;

pub use decode::{Format, Photo, decode, sniff};
pub use error::PhotoError;
pub use frame::{Frame, MAX_FRAME_SIDE, Pixels, Plane, Rotation};
pub use limits::Limits;
pub use luma::Luma;
pub use normalise::normalise;
pub use region::Region;
pub use resize::InputRgb;
pub use yuv::YuvRange;

#[cfg(test)]
mod frame_tests;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod resize_tests;
#[cfg(test)]
mod yuv_tests;
