//! The pixels of a camera frame: borrowed planes with strides.

use super::yuv::YuvRange;
use crate::error::PhotoError;

/// One plane of a frame, borrowed from the camera.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// The bytes from the first sample on. The last row may end with its last sample, without padding.
    pub bytes: &'a [u8],
    /// Bytes from the start of one row to the start of the next.
    pub row_stride: usize,
    /// Bytes from one sample (or one pixel of four bytes) to the next in a row.
    pub pixel_stride: usize,
}

/// The pixels of a frame, by their format.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Pixels<'a> {
    /// Four bytes per pixel: red, green, blue and one that is ignored, since camera pixels are opaque.
    Rgba(Plane<'a>),
    /// Four bytes per pixel: blue, green, red and one that is ignored.
    Bgra(Plane<'a>),
    /// 8-bit YUV 4:2:0: one U and one V sample for each square of 2 x 2 pixels. An odd width or height is rounded up.
    ///
    /// The chroma planes may overlap, as on Android: with a pixel stride of 2 they are interleaved.
    Yuv420 {
        /// The luma plane.
        y: Plane<'a>,
        /// The plane of blue differences (Cb).
        u: Plane<'a>,
        /// The plane of red differences (Cr).
        v: Plane<'a>,
        /// Colour matrix and value range.
        range: YuvRange,
    },
}

impl<'a> Pixels<'a> {
    /// A luma plane and a plane of interleaved U and V with a pixel stride of 2. BT.601 in full range.
    pub fn nv12(y: Plane<'a>, uv: Plane<'a>) -> Self {
        Pixels::Yuv420 { y, u: uv, v: second(uv), range: YuvRange::default() }
    }

    /// A luma plane and a plane of interleaved V and U with a pixel stride of 2. BT.601 in full range.
    pub fn nv21(y: Plane<'a>, vu: Plane<'a>) -> Self {
        Pixels::Yuv420 { y, u: second(vu), v: vu, range: YuvRange::default() }
    }

    /// Three separate planes. BT.601 in full range.
    pub fn i420(y: Plane<'a>, u: Plane<'a>, v: Plane<'a>) -> Self {
        Pixels::Yuv420 { y, u, v, range: YuvRange::default() }
    }

    /// Sets the colour matrix and value range of YUV pixels; RGBA and BGRA stay as they are.
    pub fn with_range(mut self, to: YuvRange) -> Self {
        if let Pixels::Yuv420 { range, .. } = &mut self {
            *range = to;
        }
        self
    }
}

/// The second one of two interleaved planes. An empty plane stays empty, and `check` refuses it.
fn second(plane: Plane<'_>) -> Plane<'_> {
    Plane { bytes: plane.bytes.get(1..).unwrap_or_default(), ..plane }
}

impl Plane<'_> {
    /// Checks that the plane holds `columns` x `rows` samples of `bytes` bytes each, and that no row overlaps the next.
    pub(super) fn check(&self, name: &'static str, bytes: u64, (columns, rows): (u32, u32)) -> Result<(), PhotoError> {
        let least = |what, found: usize, least: u128| {
            let (found, least) = (found as u64, u64::try_from(least).unwrap_or(u64::MAX));
            if found >= least {
                return Ok(());
            }
            Err(PhotoError::BadFrame { what: format!("{name}{what}"), found, least, most: None })
        };
        least("pixel stride", self.pixel_stride, bytes.into())?;
        // The products of a 64-bit stride and a side of 14 bits need more than 64 bits.
        let row = u128::from(columns - 1) * self.pixel_stride as u128 + u128::from(bytes);
        least("row stride", self.row_stride, row)?;
        least("length", self.bytes.len(), u128::from(rows - 1) * self.row_stride as u128 + row)
    }
}
