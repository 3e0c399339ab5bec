//! Camera frames: planes with strides, lying as the sensor does.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};

use super::luma::Luma;
use super::region::Region;
use super::resize::InputRgb;
use super::simd::Kernels;
use super::yuv::YuvRange;
use super::{orient, planes};
use crate::error::PhotoError;
use crate::recipe::{Filter, MAX_SIDE, Recipe};

/// Largest side of a frame in pixels.
pub const MAX_FRAME_SIDE: u32 = 1 << 14;

/// One plane of a frame, borrowed from the camera.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// From the first sample to the last or beyond. The last row may end with its last sample, without padding.
    pub bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub row_stride: usize,
    /// Bytes from one sample, or pixel of four bytes, to the next in a row.
    pub pixel_stride: usize,
}

/// A frame's pixels.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Pixels<'a> {
    /// Red, green, blue and a byte that is ignored: cameras give opaque pixels.
    Rgba(Plane<'a>),
    /// Blue, green, red and a byte that is ignored.
    Bgra(Plane<'a>),
    /// 8-bit 4:2:0: a chroma sample for each square of four pixels, and for what is left of one at an odd edge.
    ///
    /// The chroma planes may overlap, as Android's do: a pixel stride of 2 says that they are interleaved.
    Yuv420 {
        /// Luma.
        y: Plane<'a>,
        /// Blue difference, Cb.
        u: Plane<'a>,
        /// Red difference, Cr.
        v: Plane<'a>,
        /// Matrix and range.
        range: YuvRange,
    },
}

impl<'a> Pixels<'a> {
    /// Luma, and U and V interleaved; `uv` has a pixel stride of 2. BT.601 in full range.
    pub fn nv12(y: Plane<'a>, uv: Plane<'a>) -> Self {
        Pixels::Yuv420 { y, u: uv, v: second(uv), range: YuvRange::default() }
    }

    /// Luma, and V and U interleaved; `vu` has a pixel stride of 2. BT.601 in full range.
    pub fn nv21(y: Plane<'a>, vu: Plane<'a>) -> Self {
        Pixels::Yuv420 { y, u: second(vu), v: vu, range: YuvRange::default() }
    }

    /// Three planes. BT.601 in full range.
    pub fn i420(y: Plane<'a>, u: Plane<'a>, v: Plane<'a>) -> Self {
        Pixels::Yuv420 { y, u, v, range: YuvRange::default() }
    }

    /// The same pixels in another matrix and range; no change where they are not YUV.
    pub fn with_range(mut self, to: YuvRange) -> Self {
        if let Pixels::Yuv420 { range, .. } = &mut self {
            *range = to;
        }
        self
    }
}

/// The other plane of two that are interleaved.
fn second(plane: Plane<'_>) -> Plane<'_> {
    Plane { bytes: plane.bytes.get(1..).unwrap_or_default(), ..plane }
}

/// A clockwise turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotation {
    /// By 0 degrees.
    #[default]
    None,
    /// By 90 degrees.
    Quarter,
    /// By 180 degrees.
    Half,
    /// By 270 degrees.
    ThreeQuarters,
}

impl Rotation {
    /// 0, 90, 180 or 270 degrees; others are refused.
    pub fn from_degrees(degrees: u32) -> Result<Self, PhotoError> {
        match degrees {
            0 => Ok(Rotation::None),
            90 => Ok(Rotation::Quarter),
            180 => Ok(Rotation::Half),
            270 => Ok(Rotation::ThreeQuarters),
            _ => Err(PhotoError::BadRotation { degrees }),
        }
    }
}

/// A camera frame.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Its pixels, as stored.
    pub pixels: Pixels<'a>,
    /// Width as stored, in pixels.
    pub width: u32,
    /// Height as stored, in pixels.
    pub height: u32,
    /// The clockwise turn that makes it upright.
    pub rotation: Rotation,
    /// Whether it is then mirrored left to right, as a front camera's frame is shown.
    pub mirrored: bool,
}

impl Frame<'_> {
    /// Sides, then for each plane the pixel stride, the row stride and the length. The other functions call it.
    pub fn check(&self) -> Result<(), PhotoError> {
        between("width", self.width, 1, MAX_FRAME_SIDE)?;
        between("height", self.height, 1, MAX_FRAME_SIDE)?;
        let full = (self.width, self.height);
        let half = (self.width.div_ceil(2), self.height.div_ceil(2));
        match &self.pixels {
            Pixels::Rgba(plane) | Pixels::Bgra(plane) => plane.check("", 4, full),
            Pixels::Yuv420 { y, u, v, .. } => {
                y.check("Y ", 1, full)?;
                u.check("U ", 1, half)?;
                v.check("V ", 1, half)
            }
        }
    }

    /// Width and height of the upright frame: the space of [`Region`].
    pub fn upright_size(&self) -> (u32, u32) {
        orient::turned(self.orientation(), (self.width, self.height))
    }

    /// Takes the region (all of the frame by default) and makes it the size that the recipe asks for, without a
    /// converted picture of the frame's size in between.
    ///
    /// The result is that of a photo with these pixels and this orientation: the same bytes with the filters bicubic and
    /// Lanczos, within one level with the others.
    pub fn input_rgb(&self, region: Option<Region>, recipe: &Recipe) -> Result<InputRgb, PhotoError> {
        self.check()?;
        let size = (recipe.width, recipe.height);
        between("input width", size.0, 1, MAX_SIDE)?;
        between("input height", size.1, 1, MAX_SIDE)?;
        let (upright_w, upright_h) = self.upright_size();
        let region = Region::of(region, upright_w, upright_h)?.fitted(recipe.fit, recipe.width, recipe.height);
        let (stored, to) = self.stored(region, size);
        let rgb = planes::rgb(&self.pixels, stored, to, recipe.filter, Kernels::best());
        let picture = RgbImage::from_raw(to.0, to.1, rgb).unwrap_or_default();
        let upright = orient::upright(self.orientation(), picture);
        Ok(InputRgb { width: recipe.width, height: recipe.height, rgb: upright.into_raw() })
    }

    /// A small luma picture of the upright frame, each value the mean of the pixels that it covers: for the live gate.
    ///
    /// Sides are 1 to 1024. The aspect ratio is the caller's to choose.
    pub fn luma(&self, width: u32, height: u32) -> Result<Luma, PhotoError> {
        self.check()?;
        between("luma width", width, 1, MAX_SIDE)?;
        between("luma height", height, 1, MAX_SIDE)?;
        let (upright_w, upright_h) = self.upright_size();
        let all = Region { x: 0, y: 0, width: upright_w, height: upright_h };
        let (stored, to) = self.stored(all, (width, height));
        let grey = planes::grey(&self.pixels, stored, to, Filter::Box, Kernels::best());
        let mut picture = DynamicImage::ImageLuma8(GrayImage::from_raw(to.0, to.1, grey).unwrap_or_default());
        picture.apply_orientation(self.orientation());
        Ok(Luma { width, height, values: picture.into_luma8().into_raw() })
    }

    /// Region and target size as the pixels are stored.
    fn stored(&self, region: Region, size: (u32, u32)) -> (Region, (u32, u32)) {
        let orientation = self.orientation();
        (orient::stored_region(orientation, region, (self.width, self.height)), orient::turned(orientation, size))
    }

    /// As EXIF would put it.
    pub(super) fn orientation(&self) -> Orientation {
        match (self.rotation, self.mirrored) {
            (Rotation::None, false) => Orientation::NoTransforms,
            (Rotation::Quarter, false) => Orientation::Rotate90,
            (Rotation::Half, false) => Orientation::Rotate180,
            (Rotation::ThreeQuarters, false) => Orientation::Rotate270,
            (Rotation::None, true) => Orientation::FlipHorizontal,
            (Rotation::Quarter, true) => Orientation::Rotate90FlipH,
            (Rotation::Half, true) => Orientation::FlipVertical,
            (Rotation::ThreeQuarters, true) => Orientation::Rotate270FlipH,
        }
    }
}

impl Plane<'_> {
    /// Whether `columns` x `rows` samples of so many bytes lie in it, and do not run into the next row.
    fn check(&self, name: &'static str, bytes: u64, (columns, rows): (u32, u32)) -> Result<(), PhotoError> {
        let least = |what, found: usize, least: u128| {
            let (found, least) = (found as u64, u64::try_from(least).unwrap_or(u64::MAX));
            if found >= least {
                return Ok(());
            }
            Err(PhotoError::BadFrame { what: format!("{name}{what}"), found, least, most: None })
        };
        least("pixel stride", self.pixel_stride, bytes.into())?;
        // 128 bits hold the products of 64 and 14.
        let row = u128::from(columns - 1) * self.pixel_stride as u128 + u128::from(bytes);
        least("row stride", self.row_stride, row)?;
        least("length", self.bytes.len(), u128::from(rows - 1) * self.row_stride as u128 + row)
    }
}

fn between(what: &str, found: u32, least: u32, most: u32) -> Result<(), PhotoError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let (found, least, most) = (found.into(), least.into(), Some(most.into()));
    Err(PhotoError::BadFrame { what: what.to_owned(), found, least, most })
}
