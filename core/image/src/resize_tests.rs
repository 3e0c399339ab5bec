//! Compares photos with another resizer, and with the golden inputs of the default pack.
#![allow(clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use std::fs;
use std::path::Path;

use image::RgbImage;
use image::metadata::Orientation;
use proptest::prelude::*;

use super::decode::decode;
use super::limits::DecodeLimits;
use super::oracle;
use super::photo::Photo;
use super::region::Region;
use super::test_support::{self, any_cut, any_filter, cases};
use crate::error::PhotoError;
use crate::recipe::{Fit, Recipe, ResizeFilter};

fn recipe((width, height): (u32, u32), filter: ResizeFilter, fit: Fit) -> Recipe {
    Recipe::new(width, height).with_filter(filter).with_fit(fit)
}

/// A gradient with noise of `levels` levels: few of them expose errors of rounding, many of them overshooting.
fn picture((width, height): (u32, u32), levels: u32, seed: u32) -> RgbImage {
    let mut state = seed;
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([x, y, x + y].map(|slope| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((slope + (state >> 24) % levels) % 256) as u8
        }))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(600)))]

    /// Enlarged and reduced, with odd sizes, regions, orientations and every filter.
    #[test]
    fn a_photo_is_resized_as_by_another_resizer(
        size in (1u32..220, 1u32..220), to in (1u32..90, 1u32..90), levels in 1u32..=256, seed: u32,
        cut in any_cut(), crop: bool, tag in 1u8..=8,
        filter in any_filter(),
    ) {
        let stored = picture(size, levels, seed);
        let photo = Photo::new(stored.clone(), Orientation::from_exif(tag).unwrap(), size);
        let region = test_support::region(cut, photo.size());
        let recipe = recipe(to, filter, if crop { Fit::Crop(0.9) } else { Fit::Squash });
        let ours = photo.input_rgb(region, &recipe).unwrap();
        let theirs = oracle::input(&stored, Orientation::from_exif(tag).unwrap(), region, &recipe);
        let furthest = ours.rgb.iter().zip(&theirs.rgb).map(|(a, b)| a.abs_diff(*b)).max();
        prop_assert!(ours == theirs, "off by {:?}", furthest);
    }
}

/// The inputs that training made of the golden pictures are the same within one level. For JPEG, training used another
/// decoder, which interpolates chroma differently: up to three levels at the edges of colours, and 0.25 in the mean.
#[test]
fn golden_inputs_are_reproduced() {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/packs/default");
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(pack.join("manifest.json")).unwrap()).unwrap();
    let recipe: Recipe = serde_json::from_value(manifest["input"].clone()).unwrap();
    let mut cases = 0;
    for case in fs::read_dir(pack.join("golden")).unwrap() {
        let case = case.unwrap().path();
        let (file, allowed) = match case.join("photo.png") {
            png if png.is_file() => (png, 1),
            _ => (case.join("photo.jpg"), 3),
        };
        let notes: serde_json::Value = serde_json::from_slice(&fs::read(case.join("expected.json")).unwrap()).unwrap();
        let crop: Option<[u32; 4]> = serde_json::from_value(notes["crop"].clone()).unwrap();
        let region = crop.map(|[x, y, width, height]| Region { x, y, width, height });
        let expected = image::open(case.join("input.png")).unwrap().into_rgb8();
        let photo = decode(&fs::read(file).unwrap(), region, &recipe, &DecodeLimits::default()).unwrap();
        let found = photo.input_rgb(region, &recipe).unwrap();
        assert_eq!((found.width, found.height), expected.dimensions());
        let furthest = found.rgb.iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(furthest <= allowed, "{}: off by {furthest}", case.display());
        let sum: u32 = found.rgb.iter().zip(expected.as_raw()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        let mean = f64::from(sum) / found.rgb.len() as f64;
        assert!(mean < 0.25, "{}: off by {mean} in the mean", case.display());
        cases += 1;
    }
    assert!(cases >= 9, "found {cases} cases");
}

/// The resampler's memory grows with the sides, not with the area: a strip is refused before it is decoded.
#[test]
fn a_strip_of_a_hundred_thousand_pixels_is_refused() {
    let mut png = Vec::new();
    let strip = RgbImage::new(100_000, 1);
    strip.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
    let recipe = recipe((4, 4), ResizeFilter::Bilinear, Fit::Squash);
    let error = decode(&png, None, &recipe, &DecodeLimits::default()).unwrap_err();
    assert!(matches!(&error, PhotoError::Unsupported { detail, .. } if detail.contains("100000")), "{error}");
}

#[test]
fn an_unchecked_recipe_without_a_width_or_height_gives_an_empty_input() {
    let photo = Photo::new(RgbImage::new(3, 3), Orientation::NoTransforms, (3, 3));
    for to in [(0, 4), (4, 0), (0, 0)] {
        assert_eq!(photo.input_rgb(None, &recipe(to, ResizeFilter::Box, Fit::Squash)).unwrap().rgb.len(), 0);
    }
}
