//! Right values are those of lcms, through Pillow.
#![allow(clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use proptest::prelude::*;

use super::*;
use crate::test_support::{ADOBE_RGB, Icc, LINEAR, P3, PROPHOTO, SRGB, cases};

const COLOURS: [[u8; 3]; 8] = [
    [0, 0, 0],
    [255, 255, 255],
    [128, 128, 128],
    [200, 100, 50],
    [30, 60, 90],
    [90, 160, 70],
    [255, 0, 0],
    [10, 12, 200],
];

#[track_caller]
fn check(to_srgb: &ToSrgb, expected: [[u8; 3]; 8]) {
    let mut pixels = COLOURS;
    to_srgb.apply(pixels.as_flattened_mut());
    let off = pixels.as_flattened().iter().zip(expected.as_flattened()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(off <= Some(1), "{pixels:?}, expected {expected:?}");
}

const IN_P3: [[u8; 3]; 8] = [
    [0, 0, 0],
    [255, 255, 255],
    [128, 128, 128],
    [215, 93, 31],
    [17, 61, 93],
    [61, 162, 55],
    [255, 0, 0],
    [9, 12, 208],
];

const IN_ADOBE_RGB: [[u8; 3]; 8] =
    [[0, 0, 0], [255, 255, 255], [129, 129, 129], [227, 100, 42], [0, 57, 91], [0, 161, 60], [255, 0, 0], [2, 4, 205]];

#[test]
fn the_usual_profiles_give_the_colours_of_lcms() {
    let of = |icc: &Icc| ToSrgb::of_icc(&icc.bytes(), false).unwrap();
    check(&of(&P3), IN_P3);
    check(&of(&ADOBE_RGB), IN_ADOBE_RGB);
    let prophoto = [[146; 3], [255, 80, 46], [0, 83, 113], [0, 187, 60], [255, 0, 0], [0, 8, 225]];
    let linear = [[188; 3], [229, 168, 122], [96, 133, 160], [160, 208, 143], [255, 0, 0], [56, 61, 229]];
    for (icc, rest) in [(&PROPHOTO, prophoto), (&LINEAR, linear)] {
        let mut expected = [[0; 3], [255; 3], [0; 3], [0; 3], [0; 3], [0; 3], [0; 3], [0; 3]];
        expected[2..].copy_from_slice(&rest);
        check(&of(icc), expected);
    }
}

#[test]
fn short_descriptions_give_the_same_colours_as_profiles() {
    check(&ToSrgb::of_adobe_rgb().unwrap(), IN_ADOBE_RGB);
    check(&ToSrgb::of_code_points(12, 13).unwrap(), IN_P3);
    let p3 = [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)];
    check(&ToSrgb::of_chromaticities(p3, 1.0 / 0.45455).unwrap(), IN_P3);
    let srgb = [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290)];
    assert!(ToSrgb::of_chromaticities(srgb, 1.0 / 0.45455).is_none());
    assert!(ToSrgb::of_code_points(1, 13).is_none());
    // Perceptual quantiser and hybrid log-gamma: a picture of more than white.
    assert!(ToSrgb::of_code_points(9, 16).is_none() && ToSrgb::of_code_points(9, 18).is_none());
    for gamma in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        assert!(ToSrgb::of_chromaticities(p3, gamma).is_none());
    }
}

#[test]
fn srgb_is_recognised_by_what_it_does() {
    assert!(ToSrgb::of_icc(&SRGB.bytes(), false).is_none());
    // A table of the curve, and numbers that are a little off, as profiles of many makers have them.
    let table = (0..1024).map(|at| (65_535.0 * Curve::SRGB.light(f64::from(at) / 1023.0)) as u16).collect();
    let mut other = Icc { samples: Some(table), ..SRGB };
    other.columns[0][0] += 0.0005;
    assert!(ToSrgb::of_icc(&other.bytes(), false).is_none());
    // Its name does not matter, and neither does the order of its colours to the names of tags.
    let mut swapped = SRGB;
    swapped.columns.swap(0, 2);
    let to_srgb = ToSrgb::of_icc(&swapped.bytes(), false).unwrap();
    assert_eq!(to_srgb.pixel([200, 100, 50]), [50, 100, 200]);
}

#[test]
fn a_grey_profile_is_for_grey_pictures() {
    let gamma = Icc { space: *b"GRAY", ..PROPHOTO }.bytes();
    assert_eq!(ToSrgb::of_icc(&gamma, true).unwrap().pixel([128; 3]), [146; 3]);
    assert!(ToSrgb::of_icc(&gamma, false).is_none());
    // Colours whose grey is that of sRGB.
    assert_eq!(ToSrgb::of_icc(&P3.bytes(), true).unwrap().pixel([77; 3]), [77; 3]);
}

#[test]
fn profiles_that_would_lose_the_picture_are_ignored() {
    let inks = Icc { space: *b"CMYK", ..P3 };
    let black = Icc { columns: [[0.0; 3]; 3], ..P3 };
    let falling = Icc { samples: Some(vec![65_535, 30_000, 0]), ..P3 };
    let flat = Icc { samples: Some(vec![30_000; 9]), ..P3 };
    for bad in [inks, black, falling, flat] {
        assert!(ToSrgb::of_icc(&bad.bytes(), false).is_none(), "{bad:?}");
    }
    let whole = P3.bytes();
    for cut in 0..whole.len() - 3 {
        let _ = ToSrgb::of_icc(&whole[..cut], false);
    }
    assert!(ToSrgb::of_icc(&whole[..whole.len() - 64], false).is_none());
    let mut huge = whole;
    huge.resize(MAX_ICC_BYTES + 1, 0);
    assert!(ToSrgb::of_icc(&huge, false).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(2560)))]

    #[test]
    fn any_profile_is_read_without_panic(
        kind in 0usize..3, damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        grey in any::<bool>(), pixel in any::<[u8; 3]>(),
    ) {
        let mut bytes = [&P3, &ADOBE_RGB, &LINEAR][kind].bytes();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(to_srgb) = ToSrgb::of_icc(&bytes, grey) {
            to_srgb.apply(&mut pixel.clone());
        }
    }

    /// A grey picture stays grey, and more light stays more light.
    #[test]
    fn greys_stay_greys_in_order(grey in 0u8..255) {
        for icc in [&P3, &ADOBE_RGB, &PROPHOTO, &LINEAR] {
            let to_srgb = ToSrgb::of_icc(&icc.bytes(), false).unwrap();
            let [low, high] = [grey, grey + 1].map(|grey| to_srgb.pixel([grey; 3]));
            prop_assert!(low.iter().all(|value| value.abs_diff(low[0]) <= 1), "{:?}", low);
            prop_assert!(low <= high, "{:?} {:?}", low, high);
        }
    }
}
