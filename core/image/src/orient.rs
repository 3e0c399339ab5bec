//! EXIF orientation: the picture is stored as the sensor saw it, and a tag says how to turn it upright.
//!
//! The region is turned back into stored pixels and only the small result is turned upright: the same picture as
//! turning all of it first, without touching millions of pixels.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use super::region::Region;

/// Whether width and height change places.
pub(super) fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation as O;
    matches!(orientation, O::Rotate90 | O::Rotate270 | O::Rotate90FlipH | O::Rotate270FlipH)
}

/// A width and height after turning.
pub(super) fn turned(orientation: Orientation, (width, height): (u32, u32)) -> (u32, u32) {
    if swaps_sides(orientation) { (height, width) } else { (width, height) }
}

/// The region of the upright picture in pixels of the stored one, which has `width` x `height` of them.
pub(super) fn stored_region(orientation: Orientation, upright: Region, (width, height): (u32, u32)) -> Region {
    let Region { x, y, width: w, height: h } = upright;
    let swapped = |x, y| Region { x, y, width: h, height: w };
    match orientation {
        Orientation::NoTransforms => upright,
        Orientation::FlipHorizontal => Region { x: width - x - w, ..upright },
        Orientation::FlipVertical => Region { y: height - y - h, ..upright },
        Orientation::Rotate180 => Region { x: width - x - w, y: height - y - h, ..upright },
        Orientation::Rotate90 => swapped(y, height - x - w),
        Orientation::Rotate270 => swapped(width - y - h, x),
        Orientation::Rotate90FlipH => swapped(y, x),
        Orientation::Rotate270FlipH => swapped(width - y - h, height - x - w),
    }
}

/// Turns a small picture upright.
pub(super) fn upright(orientation: Orientation, picture: RgbImage) -> RgbImage {
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Cutting the stored picture and turning the part is turning the whole and cutting the part.
        #[test]
        fn cutting_and_turning_commute(
            tag in 1u8..=8, width in 1u32..9, height in 1u32..9, at in (0u32..8, 0u32..8), size in (1u32..9, 1u32..9),
        ) {
            let orientation = Orientation::from_exif(tag).expect("1 to 8 are defined");
            let stored = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 0]));
            let (uw, uh) = turned(orientation, (width, height));
            let (x, y) = (at.0 % uw, at.1 % uh);
            let region = Region { x, y, width: size.0.min(uw - x), height: size.1.min(uh - y) };

            let cut = |from: &RgbImage, r: Region| {
                image::imageops::crop_imm(from, r.x, r.y, r.width, r.height).to_image()
            };
            let whole = upright(orientation, stored.clone());
            prop_assert_eq!(whole.dimensions(), (uw, uh));
            let part = upright(orientation, cut(&stored, stored_region(orientation, region, (width, height))));
            prop_assert_eq!(part, cut(&whole, region));
        }
    }
}
