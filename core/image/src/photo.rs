//! A decoded photo, its format, and the part of it that is needed.

use image::RgbImage;
use image::metadata::Orientation;

use super::orient;
use super::region::Region;
use super::to_srgb::ToSrgb;
use crate::error::PhotoError;

/// A picture format that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG.
    Png,
    /// WebP, lossy or lossless, first frame.
    WebP,
}

impl Format {
    /// The name in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
            Format::WebP => "WebP",
        }
    }
}

/// The part of a photo that the caller needs, so that no more is decoded.
pub(super) struct Need {
    pub(super) region: Option<Region>,
    /// Width and height of the network's input.
    pub(super) input: (u32, u32),
}

impl Need {
    /// The region, checked to lie inside an upright photo of this size.
    pub(super) fn region(&self, upright: (u32, u32)) -> Result<Region, PhotoError> {
        Region::of(self.region, upright.0, upright.1)
    }
}

/// A decoded photo: pixels as stored, possibly at a fraction of the full size, and their EXIF orientation.
#[derive(Debug, Clone)]
pub struct Photo {
    pub(super) rgb: RgbImage,
    pub(super) orientation: Orientation,
    /// Width and height as stored, at full size.
    pub(super) full: (u32, u32),
    incomplete: bool,
    /// `None` if the colours are sRGB, or are not known.
    pub(super) to_srgb: Option<Box<ToSrgb>>,
}

impl Photo {
    pub(super) fn new(rgb: RgbImage, orientation: Orientation, full: (u32, u32)) -> Self {
        Photo { rgb, orientation, full, incomplete: false, to_srgb: None }
    }

    /// Notes whether a part of the file was missing.
    pub(super) fn with_missing(mut self, missing: bool) -> Self {
        self.incomplete = missing;
        self
    }

    /// Notes how the colours of the pixels become sRGB.
    pub(super) fn with_colours(mut self, to_srgb: Option<ToSrgb>) -> Self {
        self.to_srgb = to_srgb.map(Box::new);
        self
    }

    /// Whether data was missing or invalid that these pixels need: a download that broke off, for example.
    ///
    /// Up to a tenth of the rows may then be grey, or the picture may be less sharp. A JPEG or PNG can be incomplete, but
    /// not a WebP or an interlaced PNG, which are refused then. A file that lacks nothing but its end marker is complete.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Width and height of the upright photo at full size: the coordinates of [`Region`].
    pub fn size(&self) -> (u32, u32) {
        orient::oriented_size(self.orientation, self.full)
    }

    /// Width and height of the decoded pixels, as stored. Outside of the region's rows, a JPEG's are black.
    pub fn decoded_size(&self) -> (u32, u32) {
        self.rgb.dimensions()
    }
}
