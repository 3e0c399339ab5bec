//! Camera frames: planes with strides, in the orientation of the sensor.

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

/// The second one of two interleaved planes.
fn second(plane: Plane<'_>) -> Plane<'_> {
    Plane { bytes: plane.bytes.get(1..).unwrap_or_default(), ..plane }
}

/// A clockwise rotation by a multiple of 90 degrees.
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
    /// The rotation by 0, 90, 180 or 270 degrees.
    ///
    /// # Errors
    /// [`PhotoError::BadRotation`] for any other number.
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

/// A camera frame: borrowed pixels and how to make them upright.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The pixels, as stored.
    pub pixels: Pixels<'a>,
    /// Width as stored, in pixels.
    pub width: u32,
    /// Height as stored, in pixels.
    pub height: u32,
    /// The clockwise rotation that makes the frame upright.
    pub rotation: Rotation,
    /// Whether the upright frame is then mirrored left to right, as front cameras are shown.
    pub mirrored: bool,
}

impl Frame<'_> {
    /// Checks the sides, then for each plane the pixel stride, the row stride and the length. The other methods call it.
    ///
    /// # Errors
    /// [`PhotoError::BadFrame`] with the first number that is out of range.
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

    /// Width and height of the upright frame: the coordinates of [`Region`].
    pub fn upright_size(&self) -> (u32, u32) {
        orient::oriented_size(self.orientation(), (self.width, self.height))
    }

    /// Crops the region (by default the whole frame), resizes it to the recipe's size and rotates it upright. No
    /// converted picture of the frame's size is made in between.
    ///
    /// The result is that of a photo with the same pixels and orientation: byte for byte with the filters bicubic and
    /// Lanczos, within one level with box and bilinear.
    ///
    /// # Errors
    /// [`PhotoError::BadFrame`] if the frame or the recipe's size is invalid, [`PhotoError::BadRegion`] if the region
    /// does not lie inside the upright frame.
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

    /// A small luma picture of the upright frame for the [live gate](crate::live::Gate). Each value is the mean of the
    /// pixels that it covers.
    ///
    /// `width` and `height` are 1 to 1024; they need not keep the frame's aspect ratio.
    ///
    /// # Errors
    /// [`PhotoError::BadFrame`] if the frame or the size is invalid.
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

    /// Region and target size in the orientation in which the pixels are stored.
    fn stored(&self, region: Region, size: (u32, u32)) -> (Region, (u32, u32)) {
        let orientation = self.orientation();
        (
            orient::stored_region(orientation, region, (self.width, self.height)),
            orient::oriented_size(orientation, size),
        )
    }

    /// Rotation and mirroring as an EXIF orientation.
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
    /// Checks that the plane holds `columns` x `rows` samples of `bytes` bytes each, and that no row overlaps the next.
    fn check(&self, name: &'static str, bytes: u64, (columns, rows): (u32, u32)) -> Result<(), PhotoError> {
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

fn between(what: &str, found: u32, least: u32, most: u32) -> Result<(), PhotoError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let (found, least, most) = (found.into(), least.into(), Some(most.into()));
    Err(PhotoError::BadFrame { what: what.to_owned(), found, least, most })
}
