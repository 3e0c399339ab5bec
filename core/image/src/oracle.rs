//! The oracle of the resampler's tests: the crate fast_image_resize, which agrees with Pillow within one level.
#![allow(clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
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
    // Typed: the general function compiles every kind of pixel into this package's tests, for minutes.
    let mut pixels = vec![0; 3 * target.0 as usize * target.1 as usize];
    let whole = TypedImageRef::<U8x3>::from_buffer(rgb.width(), rgb.height(), rgb.as_raw()).unwrap();
    let part = TypedCroppedImage::from_ref(&whole, source.x, source.y, source.width, source.height).unwrap();
    let mut to = TypedImage::<U8x3>::from_buffer(target.0, target.1, &mut pixels).unwrap();
    Resizer::new().resize_typed(&part, &mut to, &options).unwrap();
    RgbImage::from_raw(target.0, target.1, pixels).unwrap()
}
