//! Crops, resizes and rotates a decoded photo: upright pixels at the network's size.

use image::RgbImage;

use super::passes::Area;
use super::photo::Photo;
use super::picture::InputRgb;
use super::pixels::Plane;
use super::region::Region;
use super::simd::ResampleKernels;
use super::{orient, packed};
use crate::error::PhotoError;
use crate::recipe::Recipe;

impl Photo {
    /// Crops the region (by default the whole photo), resizes it to the recipe's size and rotates it upright. The colours
    /// are brought to sRGB.
    ///
    /// Region and recipe must be those that the photo was decoded for: for others its resolution may be too low.
    ///
    /// # Errors
    /// [`PhotoError::BadRegion`] if the region does not lie inside the upright photo.
    pub fn input_rgb(&self, region: Option<Region>, recipe: &Recipe) -> Result<InputRgb, PhotoError> {
        let (upright_w, upright_h) = self.size();
        let region = Region::of(region, upright_w, upright_h)?.fitted(recipe.fit, recipe.width, recipe.height);
        let stored = orient::stored_region(self.orientation, region, self.full);
        let source = stored.scaled(self.full, self.decoded_size());
        let target = orient::oriented_size(self.orientation, (recipe.width, recipe.height));
        let row_stride = 3 * self.rgb.width() as usize;
        let plane = Plane { bytes: self.rgb.as_raw(), row_stride, pixel_stride: 3 };
        let mut resized =
            packed::rgb::<3>(&plane, [0, 1, 2], &Area::new(source), target, recipe.filter, ResampleKernels::best());
        debug_assert_eq!(resized.len() as u64, 3 * u64::from(target.0) * u64::from(target.1));
        if let Some(to_srgb) = &self.to_srgb {
            to_srgb.apply(&mut resized);
        }
        let resized = RgbImage::from_raw(target.0, target.1, resized).unwrap_or_default();
        let upright = orient::upright(self.orientation, resized);
        Ok(InputRgb { width: recipe.width, height: recipe.height, rgb: upright.into_raw() })
    }
}
