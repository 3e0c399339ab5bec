//! Region, scale and turn: from a decoded photo to upright pixels at the network's size.

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use super::decode::Photo;
use super::orient;
use super::region::Region;
use crate::error::PhotoError;
use crate::recipe::{Filter, Recipe};

/// Upright RGB pixels at the network's size, before normalisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRgb {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `3 * width * height` bytes, row after row.
    pub rgb: Vec<u8>,
}

impl Photo {
    /// Takes the region (all of the photo by default) and makes it the size that the recipe asks for.
    ///
    /// The region must be the one that the photo was decoded for: another may find too few pixels.
    pub fn input_rgb(&self, region: Option<Region>, recipe: &Recipe) -> Result<InputRgb, PhotoError> {
        let (upright_w, upright_h) = self.size();
        let region = Region::of(region, upright_w, upright_h)?.fitted(recipe.fit, recipe.width, recipe.height);
        let stored = orient::stored_region(self.orientation, region, self.full);
        let source = stored.scaled(self.full, self.decoded_size());
        let target = orient::turned(self.orientation, (recipe.width, recipe.height));
        let resized = resize(&self.rgb, source, target, recipe.filter)?;
        let upright = orient::upright(self.orientation, resized);
        Ok(InputRgb { width: recipe.width, height: recipe.height, rgb: upright.into_raw() })
    }
}

/// Antialiased resampling in 8-bit fixed point, the same as Pillow's `Image.resize` within one level.
fn resize(rgb: &RgbImage, source: Region, target: (u32, u32), filter: Filter) -> Result<RgbImage, PhotoError> {
    // Sizes were checked by the caller; what is left are errors of the library's own checks.
    let failed = |detail: String| PhotoError::Unsupported { format: "picture", detail };
    let filter = match filter {
        Filter::Box => FilterType::Box,
        Filter::Bilinear => FilterType::Bilinear,
        Filter::Bicubic => FilterType::CatmullRom,
        Filter::Lanczos => FilterType::Lanczos3,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    let whole =
        ImageRef::new(rgb.width(), rgb.height(), rgb.as_raw(), PixelType::U8x3).map_err(|e| failed(e.to_string()))?;
    let part = CroppedImage::new(&whole, source.x, source.y, source.width, source.height)
        .map_err(|e| failed(e.to_string()))?;
    let mut to = Image::new(target.0, target.1, PixelType::U8x3);
    Resizer::new().resize(&part, &mut to, &options).map_err(|e| failed(e.to_string()))?;
    RgbImage::from_raw(target.0, target.1, to.into_vec()).ok_or_else(|| failed("resized to another size".to_owned()))
}
