//! Camera frames: borrowed planes, and a record that says how they lie.

use magpie_core::Error;
use magpie_core::image::{Frame, Pixels, Plane, QuarterTurn, YuvRange};

use crate::error::MagpieError;

/// How a frame's pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum PixelFormat {
    /// Red, green, blue and a byte that is ignored; the first plane alone.
    Rgba,
    /// Blue, green, red and a byte that is ignored; the first plane alone.
    Bgra,
    /// Luma in the first plane, U and V interleaved in the second.
    Nv12,
    /// Luma in the first plane, V and U interleaved in the second.
    Nv21,
    /// Luma, U and V in a plane each; a chroma pixel stride of 2 where U and V share their bytes, as on Android.
    Yuv420,
}

/// Matrix and range of YUV pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ColorRange {
    /// BT.601, 0 to 255: what Android's camera gives.
    Bt601Full,
    /// BT.601, luma 16 to 235.
    Bt601Video,
    /// BT.709, 0 to 255.
    Bt709Full,
    /// BT.709, luma 16 to 235.
    Bt709Video,
}

/// How the planes of a frame lie, and how it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct FrameLayout {
    /// How its pixels are stored.
    pub format: PixelFormat,
    /// Width as stored, in pixels.
    pub width: u32,
    /// Height as stored, in pixels.
    pub height: u32,
    /// Bytes from one row of the first plane to the next.
    pub row_stride: u32,
    /// Bytes from one row of chroma to the next; no matter for RGBA and BGRA.
    #[uniffi(default = 0)]
    pub chroma_row_stride: u32,
    /// Bytes from one sample of chroma to the next, for `Yuv420`.
    #[uniffi(default = 1)]
    pub chroma_pixel_stride: u32,
    /// The clockwise turn that makes it upright: 0, 90, 180 or 270.
    #[uniffi(default = 0)]
    pub rotation_degrees: u32,
    /// Whether it is then mirrored left to right, as a front camera's frame is shown.
    #[uniffi(default = false)]
    pub mirrored: bool,
    /// Matrix and range; no matter for RGBA and BGRA.
    pub color: ColorRange,
}

impl FrameLayout {
    /// The frame of three planes, of which the format may leave the last ones empty. The core checks it when it is used.
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
        let pixels = pixels.with_range(match self.color {
            ColorRange::Bt601Full => YuvRange::Bt601Full,
            ColorRange::Bt601Video => YuvRange::Bt601Video,
            ColorRange::Bt709Full => YuvRange::Bt709Full,
            ColorRange::Bt709Video => YuvRange::Bt709Video,
        });
        let rotation = QuarterTurn::from_degrees(self.rotation_degrees).map_err(Error::from)?;
        Ok(Frame { pixels, width: self.width, height: self.height, rotation, mirrored: self.mirrored })
    }
}
