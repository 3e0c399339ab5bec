//! Camera frames: borrowed planes, and a record with their layout.

use magpie_core::Error;
pub use magpie_core::image::YuvRange as ColorRange;
use magpie_core::image::{Frame, Pixels, Plane, QuarterTurn};

use crate::error::MagpieError;

/// The storage format of a frame's pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum PixelFormat {
    /// Red, green, blue and an ignored byte per pixel, in the first plane.
    Rgba,
    /// Blue, green, red and an ignored byte per pixel, in the first plane.
    Bgra,
    /// Luma in the first plane, interleaved U and V in the second.
    Nv12,
    /// Luma in the first plane, interleaved V and U in the second.
    Nv21,
    /// Luma, U and V in one plane each. The chroma pixel stride is 2 if U and V are interleaved, as on Android.
    Yuv420,
}

/// Colour matrix and range of YUV pixels.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum ColorRange {
    /// BT.601, 0 to 255: the format of Android's cameras.
    Bt601Full,
    /// BT.601, luma 16 to 235.
    Bt601Video,
    /// BT.709, 0 to 255.
    Bt709Full,
    /// BT.709, luma 16 to 235.
    Bt709Video,
}

/// The layout of a frame's planes, and the frame's orientation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct FrameLayout {
    /// The storage format of the pixels.
    pub format: PixelFormat,
    /// Width as stored, in pixels.
    pub width: u32,
    /// Height as stored, in pixels.
    pub height: u32,
    /// Bytes between the starts of two rows of the first plane.
    pub row_stride: u32,
    /// Bytes between the starts of two rows of chroma; ignored for RGBA and BGRA.
    #[uniffi(default = 0)]
    pub chroma_row_stride: u32,
    /// Bytes between two chroma samples of a row, for `Yuv420`.
    #[uniffi(default = 1)]
    pub chroma_pixel_stride: u32,
    /// The clockwise rotation in degrees that makes the frame upright: 0, 90, 180 or 270.
    #[uniffi(default = 0)]
    pub rotation_degrees: u32,
    /// Whether the upright frame is then mirrored left to right, as a front camera's preview is.
    #[uniffi(default = false)]
    pub mirrored: bool,
    /// Colour matrix and range; ignored for RGBA and BGRA.
    pub color: ColorRange,
}

impl FrameLayout {
    /// Builds the frame of these planes; those that the format does not use are empty. The core validates it on use.
    pub(crate) fn frame<'a>(&self, planes: [&'a [u8]; 3]) -> Result<Frame<'a>, MagpieError> {
        let [first, second, third] = planes;
        let plane = |bytes, pixel_stride| Plane { bytes, row_stride: self.row_stride as usize, pixel_stride };
        let chroma = |bytes, pixel_stride| {
            let row_stride = self.chroma_row_stride as usize;
            Plane { bytes, row_stride, pixel_stride }
        };
        let apart = self.chroma_pixel_stride as usize;
        let pixels = match self.format {
            PixelFormat::Rgba => Pixels::Rgba(plane(first, 4)),
            PixelFormat::Bgra => Pixels::Bgra(plane(first, 4)),
            PixelFormat::Nv12 => Pixels::nv12(plane(first, 1), chroma(second, 2)),
            PixelFormat::Nv21 => Pixels::nv21(plane(first, 1), chroma(second, 2)),
            PixelFormat::Yuv420 => Pixels::i420(plane(first, 1), chroma(second, apart), chroma(third, apart)),
        };
        let pixels = pixels.with_range(self.color);
        let rotation = QuarterTurn::from_degrees(self.rotation_degrees).map_err(Error::from)?;
        Ok(Frame { pixels, width: self.width, height: self.height, rotation, mirrored: self.mirrored })
    }
}
