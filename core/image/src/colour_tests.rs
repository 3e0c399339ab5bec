//! A file of each format with the colours of a phone, and what the network gets of it.
#![allow(clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};
use jpeg_encoder::{ColorType, Encoder};

use super::decode::decode;
use super::limits::DecodeLimits;
use crate::recipe::Recipe;
use crate::test_support::{ADOBE_RGB, Icc, P3, PROPHOTO, SRGB};

const SIDE: u16 = 32;

/// A JPEG of one colour, with these segments after its start.
fn jpeg(pixel: &[u8], color: ColorType, segments: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    let pixels = pixel.repeat(usize::from(SIDE) * usize::from(SIDE));
    Encoder::new(&mut file, 100).encode(&pixels, SIDE, SIDE, color).unwrap();
    let mut front = vec![0xff, 0xd8];
    for (code, segment) in segments {
        front.extend([0xff, *code]);
        front.extend((segment.len() as u16 + 2).to_be_bytes());
        front.extend(segment);
    }
    [&front, &file[2..]].concat()
}

/// A profile in parts of this many bytes.
fn parts(icc: &[u8], bytes: usize) -> Vec<(u8, Vec<u8>)> {
    let count = icc.len().div_ceil(bytes) as u8;
    let part = |(part, number): (&[u8], u8)| (0xe2, [b"ICC_PROFILE\0", &[number, count][..], part].concat());
    icc.chunks(bytes).zip(1..).map(part).collect()
}

fn first_pixel(file: &[u8]) -> [u8; 3] {
    let recipe = Recipe::new(8, 8);
    let input = decode(file, None, &recipe, &DecodeLimits::default()).unwrap().input_rgb(None, &recipe).unwrap();
    input.rgb[..3].try_into().unwrap()
}

#[track_caller]
fn near(found: [u8; 3], expected: [u8; 3]) {
    let off = found.into_iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max();
    assert!(off <= Some(2), "{found:?}, expected {expected:?}");
}

const PIXEL: [u8; 3] = [200, 100, 50];
const IN_P3: [u8; 3] = [215, 93, 31];

#[test]
fn a_jpeg_is_brought_to_srgb_by_its_profile() {
    let of = |segments: &[(u8, Vec<u8>)]| first_pixel(&jpeg(&PIXEL, ColorType::Rgb, segments));
    near(of(&[]), PIXEL);
    near(of(&parts(&P3.bytes(), 60_000)), IN_P3);
    near(of(&parts(&ADOBE_RGB.bytes(), 60_000)), [227, 100, 42]);
    near(of(&parts(&PROPHOTO.bytes(), 60_000)), [255, 80, 46]);
    // In parts, in any order, with one of them twice; and with one missing.
    let mut several = parts(&P3.bytes(), 100);
    several.reverse();
    several.push((0xe2, b"ICC_PROFILE\0\x01\x05other".to_vec()));
    near(of(&several), IN_P3);
    several.remove(1);
    near(of(&several), PIXEL);
    near(of(&[(0xe2, b"ICC_PROFILE\0".to_vec()), (0xe2, b"MPF\0".to_vec())]), PIXEL);
    assert_eq!(of(&parts(&SRGB.bytes(), 60_000)), of(&[]));
}

#[test]
fn greys_have_their_own_profiles_and_inks_have_none() {
    let grey = parts(&Icc { space: *b"GRAY", ..PROPHOTO }.bytes(), 60_000);
    near(first_pixel(&jpeg(&[128], ColorType::Luma, &grey)), [146; 3]);
    near(first_pixel(&jpeg(&PIXEL, ColorType::Rgb, &grey)), PIXEL);
    let inks = [55, 155, 205, 0];
    let plain = first_pixel(&jpeg(&inks, ColorType::Cmyk, &[]));
    assert_eq!(first_pixel(&jpeg(&inks, ColorType::Cmyk, &parts(&P3.bytes(), 60_000))), plain);
}

/// A camera that is set to Adobe RGB says so in EXIF only.
#[test]
fn the_mark_of_a_camera_counts_where_there_is_no_profile() {
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0".to_vec();
    exif.extend(b"\0\x01\xa0\x01\0\x03\0\0\0\x01\0\x02\0\0\0\0\0\0");
    let of = |segments: &[(u8, Vec<u8>)]| first_pixel(&jpeg(&PIXEL, ColorType::Rgb, segments));
    near(of(&[(0xe1, exif.clone())]), [227, 100, 42]);
    near(of(&[&[(0xe1, exif.clone())], &parts(&P3.bytes(), 60_000)[..]].concat()), IN_P3);
    near(of(&[&[(0xe1, exif)], &parts(&SRGB.bytes(), 60_000)[..]].concat()), PIXEL);
}

#[test]
fn a_webp_is_brought_to_srgb_by_its_profile() {
    let of = |icc: Vec<u8>| {
        let mut file = Vec::new();
        let mut encoder = WebPEncoder::new_lossless(&mut file);
        encoder.set_icc_profile(icc).unwrap();
        let pixels = PIXEL.repeat(usize::from(SIDE) * usize::from(SIDE));
        encoder.write_image(&pixels, SIDE.into(), SIDE.into(), ExtendedColorType::Rgb8).unwrap();
        first_pixel(&file)
    };
    near(of(P3.bytes()), IN_P3);
    assert_eq!(of(SRGB.bytes()), PIXEL);
    assert_eq!(of(b"no profile".to_vec()), PIXEL);
}
