//! Thumbnails: small JPEGs of the photos, for result lists that work offline.

use jpeg_encoder::{ColorType, Encoder};
use magpie_core::image::{DecodeLimits, Photo, decode};
use magpie_core::recipe::{Fit, Recipe};

use crate::failure::{CommandFailure, Result};

/// JPEG quality: good enough for a result list, at a third of the bytes of quality 90.
const QUALITY: u8 = 70;

/// Encodes the photo as a JPEG whose longer side has `size` pixels. A smaller photo keeps its size.
///
/// `decoded` is the photo as it was decoded for the network. Only if that has too few pixels, the file is decoded again.
pub(crate) fn thumbnail(
    decoded: &Photo,
    file: &[u8],
    size: u32,
    recipe: &Recipe,
    limits: &DecodeLimits,
) -> Result<Vec<u8>> {
    let longer = |(width, height): (u32, u32)| width.max(height);
    let square = Recipe { width: size, height: size, fit: Fit::Squash, ..recipe.clone() };
    if longer(decoded.decoded_size()) >= size.min(longer(decoded.size())) {
        return encode(decoded, size, square);
    }
    encode(&decode(file, None, &square, limits).map_err(magpie_core::Error::from)?, size, square)
}

fn encode(decoded: &Photo, size: u32, square: Recipe) -> Result<Vec<u8>> {
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
        let limits = DecodeLimits::default();
        let decoded = decode(&photo, None, &recipe, &limits).expect("a good photo");
        for (size, expected) in [(64, (64, 19)), (1024, (300, 90))] {
            let jpeg = thumbnail(&decoded, &photo, size, &recipe, &limits).expect("a good photo");
            let small = decode(&jpeg, None, &recipe, &limits).expect("a good thumbnail");
            assert_eq!(small.size(), expected);
        }
    }

    /// Red and blue are swapped in this file, and so they are in its profile.
    #[test]
    fn a_thumbnail_has_the_colours_of_the_photo_in_srgb() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/photos/icc-swapped.jpg");
        let photo = std::fs::read(file).expect("a file of the repository");
        let (recipe, limits) = (Recipe::new(192, 192), DecodeLimits::default());
        let decoded = decode(&photo, None, &recipe, &limits).expect("a good photo");
        let jpeg = thumbnail(&decoded, &photo, 64, &recipe, &limits).expect("a good photo");
        let small = decode(&jpeg, None, &recipe, &limits).expect("a good thumbnail").input_rgb(None, &recipe);
        let rgb = small.expect("the whole picture").rgb;
        let mean = |channel: usize| {
            let values = rgb.iter().skip(channel).step_by(3);
            values.clone().map(|value| f64::from(*value)).sum::<f64>() / values.count() as f64
        };
        assert!((mean(0) - 100.9).abs() < 1.5 && (mean(2) - 96.6).abs() < 1.5, "{} {}", mean(0), mean(2));
    }

    /// For this network, 1600 x 1600 pixels become 400 x 400, at 1/4.
    #[test]
    fn a_photo_is_decoded_again_only_if_the_network_needs_fewer_pixels_than_the_thumbnail() {
        let recipe = Recipe::new(192, 192);
        let limits = DecodeLimits::default();
        let grey = vec![128; 3 * 1600 * 1600];
        let mut photo = Vec::new();
        Encoder::new(&mut photo, 90).encode(&grey, 1600, 1600, ColorType::Rgb).expect("a small picture");
        let decoded = decode(&photo, None, &recipe, &limits).expect("a good photo");
        assert_eq!(decoded.decoded_size(), (400, 400));
        // Without the file, only what is decoded already can become a thumbnail.
        let without = |size: u32| thumbnail(&decoded, &[], size, &recipe, &limits);
        assert!(without(400).is_ok() && without(401).is_err());
        let large = thumbnail(&decoded, &photo, 1024, &recipe, &limits).expect("a good photo");
        assert_eq!(decode(&large, None, &recipe, &limits).expect("a good thumbnail").size(), (1024, 1024));
    }
}
