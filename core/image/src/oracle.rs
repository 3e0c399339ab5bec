//! The oracle of the resampler's tests: the crate fast_image_resize, which agrees with Pillow within one level.
#![allow(clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use image::metadata::Orientation;

use super::orient;
use super::picture::InputRgb;
use super::region::Region;
use crate::recipe::{Recipe, ResizeFilter};

/// The network's input, made by the oracle from a stored picture and its orientation.
pub(super) fn input(stored: &RgbImage, orientation: Orientation, region: Option<Region>, recipe: &Recipe) -> InputRgb {
    let size = (recipe.width, recipe.height);
    let (width, height) = orient::oriented_size(orientation, stored.dimensions());
    let region = Region::of(region, width, height).unwrap().fitted(recipe.fit, size.0, size.1);
    let source = orient::stored_region(orientation, region, stored.dimensions());
    let resized = resized(stored, source, orient::oriented_size(orientation, size), recipe.filter);
    InputRgb { width: size.0, height: size.1, rgb: orient::upright(orientation, resized).into_raw() }
}

fn resized(rgb: &RgbImage, source: Region, target: (u32, u32), filter: ResizeFilter) -> RgbImage {
    let filter = match filter {
        ResizeFilter::Box => FilterType::Box,
        ResizeFilter::Bilinear => FilterType::Bilinear,
        ResizeFilter::Bicubic => FilterType::CatmullRom,
        ResizeFilter::Lanczos => FilterType::Lanczos3,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    let whole = ImageRef::new(rgb.width(), rgb.height(), rgb.as_raw(), PixelType::U8x3).unwrap();
    let part = CroppedImage::new(&whole, source.x, source.y, source.width, source.height).unwrap();
    let mut to = Image::new(target.0, target.1, PixelType::U8x3);
    Resizer::new().resize(&part, &mut to, &options).unwrap();
    RgbImage::from_raw(target.0, target.1, to.into_vec()).unwrap()
}
