//! Camera frames: planes with strides, in the orientation of the sensor.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};

use super::picture::{InputRgb, Luma};
use super::pixels::Pixels;
use super::region::Region;
use super::simd::ResampleKernels;
use super::{orient, planes};
use crate::error::PhotoError;
use crate::recipe::{MAX_SIDE, Recipe, ResizeFilter};

/// Largest side of a frame in pixels.
pub const MAX_FRAME_SIDE: u32 = 1 << 14;

/// A clockwise rotation by a multiple of 90 degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QuarterTurn {
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

impl QuarterTurn {
    /// The rotation by 0, 90, 180 or 270 degrees.
    ///
    /// # Errors
    /// [`PhotoError::BadRotation`] for any other number.
    pub fn from_degrees(degrees: u32) -> Result<Self, PhotoError> {
        match degrees {
            0 => Ok(QuarterTurn::None),
            90 => Ok(QuarterTurn::Quarter),
            180 => Ok(QuarterTurn::Half),
            270 => Ok(QuarterTurn::ThreeQuarters),
            _ => Err(PhotoError::BadRotation { degrees }),
        }
    }
}

/// A camera frame: borrowed pixels and how to make them upright.
///
/// ```
/// use magpie_image::recipe::Recipe;
/// use magpie_image::{Frame, Pixels, Plane, QuarterTurn};
///
/// # fn main() -> Result<(), magpie_image::PhotoError> {
/// // 60 x 48 grey pixels; the camera pads each row to 64 bytes.
/// let (luma, chroma) = (vec![128; 64 * 48], vec![128; 64 * 24]);
/// let y = Plane { bytes: &luma, row_stride: 64, pixel_stride: 1 };
/// let vu = Plane { bytes: &chroma, row_stride: 64, pixel_stride: 2 };
/// let rotation = QuarterTurn::from_degrees(90)?;
/// let frame = Frame { pixels: Pixels::nv21(y, vu), width: 60, height: 48, rotation, mirrored: false };
/// assert_eq!(frame.upright_size(), (48, 60));
///
/// let input = frame.input_rgb(None, &Recipe::new(16, 16))?;
/// assert_eq!(input.rgb, [128; 3 * 16 * 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The pixels, as stored.
    pub pixels: Pixels<'a>,
    /// Width as stored, in pixels.
    pub width: u32,
    /// Height as stored, in pixels.
    pub height: u32,
    /// The clockwise rotation that makes the frame upright.
    pub rotation: QuarterTurn,
    /// Whether the upright frame is then mirrored left to right, as front cameras are shown.
    pub mirrored: bool,
}

impl Frame<'_> {
    /// Checks the sides, then for each plane the pixel stride, the row stride and the length. The other methods call
    /// it.
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
        let rgb = planes::rgb(&self.pixels, stored, to, recipe.filter, ResampleKernels::best());
        debug_assert_eq!(rgb.len() as u64, 3 * u64::from(to.0) * u64::from(to.1));
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
        let grey = planes::grey(&self.pixels, stored, to, ResizeFilter::Box, ResampleKernels::best());
        debug_assert_eq!(grey.len() as u64, u64::from(to.0) * u64::from(to.1));
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
            (QuarterTurn::None, false) => Orientation::NoTransforms,
            (QuarterTurn::Quarter, false) => Orientation::Rotate90,
            (QuarterTurn::Half, false) => Orientation::Rotate180,
            (QuarterTurn::ThreeQuarters, false) => Orientation::Rotate270,
            (QuarterTurn::None, true) => Orientation::FlipHorizontal,
            (QuarterTurn::Quarter, true) => Orientation::Rotate90FlipH,
            (QuarterTurn::Half, true) => Orientation::FlipVertical,
            (QuarterTurn::ThreeQuarters, true) => Orientation::Rotate270FlipH,
        }
    }
}

fn between(what: &str, found: u32, least: u32, most: u32) -> Result<(), PhotoError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let (found, least, most) = (found.into(), least.into(), Some(most.into()));
    Err(PhotoError::BadFrame { what: what.to_owned(), found, least, most })
}
