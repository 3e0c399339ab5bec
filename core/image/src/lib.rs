#![doc = include_str!("../README.md")]

mod decode;
mod error;
mod exif;
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
mod png;
pub mod recipe;
mod region;
mod resize;
mod rows;
mod simd;
mod taps;
mod to_srgb;
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
mod colour_tests;
#[cfg(test)]
mod frame_tests;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod png_tests;
#[cfg(test)]
mod resize_tests;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod yuv_tests;
