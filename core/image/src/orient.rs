//! EXIF orientation: the picture is stored as the sensor read it, and a tag says how to rotate it upright.
//!
//! The region is mapped to stored pixels, and only the small result is rotated upright. This gives the same picture as
//! rotating the whole photo first, without touching millions of pixels.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use super::region::Region;

/// Whether the orientation swaps width and height.
pub(super) fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation as O;
    matches!(orientation, O::Rotate90 | O::Rotate270 | O::Rotate90FlipH | O::Rotate270FlipH)
}

/// Width and height after the orientation was applied.
pub(super) fn oriented_size(orientation: Orientation, (width, height): (u32, u32)) -> (u32, u32) {
    if swaps_sides(orientation) { (height, width) } else { (width, height) }
}

/// Maps a region of the upright picture to the stored picture, which has `width` x `height` pixels.
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

/// Rotates a small picture upright.
pub(super) fn upright(orientation: Orientation, picture: RgbImage) -> RgbImage {
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::cases;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        /// Cropping the stored picture and rotating the crop gives the same as rotating the whole and cropping it.
        #[test]
        fn cropping_and_rotating_commute(
            tag in 1u8..=8, width in 1u32..9, height in 1u32..9, at in (0u32..8, 0u32..8), size in (1u32..9, 1u32..9),
        ) {
            let orientation = Orientation::from_exif(tag).expect("1 to 8 are defined");
            let stored = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 0]));
            let (uw, uh) = oriented_size(orientation, (width, height));
            let (x, y) = (at.0 % uw, at.1 % uh);
            let region = Region { x, y, width: size.0.min(uw - x), height: size.1.min(uh - y) };

            let crop = |from: &RgbImage, r: Region| {
                image::imageops::crop_imm(from, r.x, r.y, r.width, r.height).to_image()
            };
            let whole = upright(orientation, stored.clone());
            prop_assert_eq!(whole.dimensions(), (uw, uh));
            let part = upright(orientation, crop(&stored, stored_region(orientation, region, (width, height))));
            prop_assert_eq!(part, crop(&whole, region));
        }
    }
}
