//! Files as shops and phones send them: cut short, without tables or markers, with odd tags. Each is the same picture.

use image::RgbImage;
use image::imageops::rotate90;
use magpie_core::PhotoError;
use magpie_core::image::{DecodeLimits, Photo, decode};
use magpie_core::recipe::{Fit, Recipe};
use magpie_tests::repository;

fn recipe() -> Recipe {
    Recipe::new(48, 48).with_fit(Fit::Squash)
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(repository().join("tests/fixtures/photos").join(name)).unwrap()
}

fn photo(name: &str) -> Result<Photo, PhotoError> {
    decode(&file(name), None, &recipe(), &DecodeLimits::default())
}

/// The picture in a small square.
fn small(photo: &Photo) -> RgbImage {
    RgbImage::from_raw(48, 48, photo.input_rgb(None, &recipe()).unwrap().rgb).unwrap()
}

/// Mean difference in levels.
fn difference(a: &RgbImage, b: &RgbImage) -> f64 {
    let sum: u32 = a.iter().zip(b.iter()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    f64::from(sum) / a.len() as f64
}

#[test]
fn careless_and_cut_files_show_the_picture() {
    let whole = photo("no-eoi.jpg").unwrap();
    assert_eq!((whole.size(), whole.is_incomplete()), ((240, 320), false), "only the end marker is missing");
    let expected = small(&whole);
    // A hundredth of a file is a few rows. The narrow ones were resampled before, to other proportions.
    for (name, levels, incomplete) in [
        ("cut-99.jpg", 3.0, true),
        ("dri-no-rst.jpg", 1.0, false),
        ("no-dht.jpg", 1.0, false),
        ("no-iend.png", 2.0, false),
        // Red and blue are swapped, and so they are in its profile, which calls itself sRGB.
        ("icc-swapped.jpg", 1.5, false),
        ("narrow-200x4000.jpg", 4.0, false),
        ("narrow-4000x200.jpg", 4.0, false),
    ] {
        let photo = photo(name).unwrap();
        assert_eq!(photo.is_incomplete(), incomplete, "{name}");
        let off = difference(&small(&photo), &expected);
        assert!(off < levels, "{name}: {off} levels");
    }
}

#[test]
fn the_orientation_is_found_wherever_it_is() {
    let expected = rotate90(&small(&photo("no-eoi.jpg").unwrap()));
    for name in ["exif-long.jpg", "exif-twice-6-1.jpg", "orient6-prefix.webp"] {
        let photo = photo(name).unwrap();
        assert_eq!(photo.size(), (320, 240), "{name}");
        let off = difference(&small(&photo), &expected);
        assert!(off < 3.0, "{name}: {off} levels");
    }
}

#[test]
fn other_kinds_are_refused_by_name() {
    for (name, word) in [("arith.jpg", "arithmetic coding"), ("fmt.tif", "TIFF")] {
        let message = photo(name).unwrap_err().to_string();
        assert!(message.contains(word), "{name}: {message}");
    }
    assert_eq!(photo("zeros.jpg").unwrap_err(), PhotoError::UnknownFormat { found: None });
}
