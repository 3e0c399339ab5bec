//! From the bytes of a photo to the network's input.
//!
//! [`decode`] reads JPEG, PNG and WebP under [`Limits`], no larger than the network needs; [`Photo::input_rgb`] takes a
//! region of it, scales it and turns it upright; [`normalise`] makes the tensor. The recipe comes from the model pack,
//! and the same steps are taken in training: a difference here costs recall and nothing fails.

mod decode;
mod jpeg;
mod limits;
mod normalise;
mod orient;
mod region;
mod resize;

pub use decode::{Format, Photo, decode, sniff};
pub use limits::Limits;
pub use normalise::normalise;
pub use region::Region;
pub use resize::InputRgb;
