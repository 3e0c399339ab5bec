//! Thumbnails: small JPEGs of the photos, for result lists that work offline.

use jpeg_encoder::{ColorType, Encoder};
use magpie_core::image::{DecodeLimits, decode};
use magpie_core::recipe::{Fit, Recipe};

use crate::failure::{CommandFailure, Result};

/// JPEG quality: good enough for a result list, at a third of the bytes of quality 90.
const QUALITY: u8 = 70;

/// Encodes the photo as a JPEG whose longer side has `size` pixels. A smaller photo keeps its size.
pub(crate) fn thumbnail(photo: &[u8], size: u32, recipe: &Recipe, limits: &DecodeLimits) -> Result<Vec<u8>> {
    let square = Recipe { width: size, height: size, fit: Fit::Squash, ..recipe.clone() };
    let decoded = decode(photo, None, &square, limits).map_err(magpie_core::Error::from)?;
    let (width, height) = decoded.size();
    let longer = width.max(height).max(1);
    let size = size.min(longer);
    let scaled = |side: u32| (u64::from(side) * u64::from(size) / u64::from(longer)).max(1) as u32;
    let recipe = Recipe { width: scaled(width), height: scaled(height), ..square };
    let small = decoded.input_rgb(None, &recipe).map_err(magpie_core::Error::from)?;
    let mut jpeg = Vec::new();
    // `--thumbnails` allows at most 1024 pixels, so the sides fit u16.
    let (width, height) = (small.width as u16, small.height as u16);
    let encoded = Encoder::new(&mut jpeg, QUALITY).encode(&small.rgb, width, height, ColorType::Rgb);
    encoded.map_err(|e| CommandFailure::new(e.to_string()))?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_keeps_the_shape_and_is_never_larger_than_the_photo() {
        let recipe = crate::assets::pack(None).expect("the embedded pack").manifest().input.clone();
        let mut photo = Vec::new();
        let grey = vec![128; 3 * 300 * 90];
        Encoder::new(&mut photo, 90).encode(&grey, 300, 90, ColorType::Rgb).expect("a small picture");
        for (size, expected) in [(64, (64, 19)), (1024, (300, 90))] {
            let jpeg = thumbnail(&photo, size, &recipe, &DecodeLimits::default()).expect("a good photo");
            let small = decode(&jpeg, None, &recipe, &DecodeLimits::default()).expect("a good thumbnail");
            assert_eq!(small.size(), expected);
        }
        assert!(thumbnail(b"not a photo", 64, &recipe, &DecodeLimits::default()).is_err());
    }
}
