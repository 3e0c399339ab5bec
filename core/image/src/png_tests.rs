//! Every kind of PNG, cut short at every place, with every description of its colours.
#![allow(clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use image::{DynamicImage, RgbImage};
use png::chunk::{ChunkType, IDAT, cHRM, cICP, gAMA, iCCP, sRGB};
use proptest::prelude::*;

use super::decode::decode;
use super::limits::DecodeLimits;
use super::photo::Photo;
use crate::error::PhotoError;
use crate::recipe::Recipe;
use crate::test_support::{P3, cases};

const COLOURS: [png::ColorType; 4] =
    [png::ColorType::Grayscale, png::ColorType::GrayscaleAlpha, png::ColorType::Rgb, png::ColorType::Rgba];

/// A picture of noise.
#[derive(Debug, Clone)]
struct Noise {
    size: (usize, usize),
    color: png::ColorType,
    deep: bool,
    interlaced: bool,
    /// Chunks between header and pixels.
    chunks: Vec<(ChunkType, Vec<u8>)>,
}

impl Noise {
    fn plain(width: usize, height: usize) -> Noise {
        Noise { size: (width, height), color: png::ColorType::Rgb, deep: false, interlaced: false, chunks: Vec::new() }
    }

    fn pixel_bytes(&self) -> usize {
        self.color.samples() * if self.deep { 2 } else { 1 }
    }

    fn pixel(&self, x: usize, y: usize) -> impl Iterator<Item = u8> {
        (0..self.pixel_bytes()).map(move |byte| ((x * 7 + y * 31 + byte * 57) * (x + 3 * y + 1) % 251) as u8)
    }

    /// The file, its pixels in blocks that are stored as they are.
    fn file(&self) -> Vec<u8> {
        let (width, height) = self.size;
        let mut info = png::Info::with_size(width as u32, height as u32);
        (info.color_type, info.interlaced) = (self.color, self.interlaced);
        info.bit_depth = if self.deep { png::BitDepth::Sixteen } else { png::BitDepth::Eight };
        let passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];
        let passes = if self.interlaced { &passes[..] } else { &[(0, 0, 1, 1)] };
        let mut raw = Vec::new();
        for &(left, top, across, down) in passes.iter().filter(|pass| pass.0 < width) {
            for y in (top..height).step_by(down) {
                raw.push(0);
                (left..width).step_by(across).for_each(|x| raw.extend(self.pixel(x, y)));
            }
        }
        let mut data = vec![0x78, 1];
        let count = raw.chunks(1000).len();
        for (at, block) in raw.chunks(1000).enumerate() {
            let length = block.len() as u16;
            data.push(u8::from(at + 1 == count));
            data.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
            data.extend(block);
        }
        data.extend([0; 4]);
        let mut file = Vec::new();
        let mut writer = png::Encoder::with_info(&mut file, info).unwrap().write_header().unwrap();
        self.chunks.iter().for_each(|(kind, data)| writer.write_chunk(*kind, data).unwrap());
        data.chunks(5000).for_each(|part| writer.write_chunk(IDAT, part).unwrap());
        drop(writer);
        file
    }

    /// The pixels as the crate image has them.
    fn expected(&self) -> RgbImage {
        let picture = image::load_from_memory(&self.file()).unwrap();
        let white = |p: &image::Rgba<u8>| super::decode::on_white([p[0], p[1], p[2]], p[3]);
        match picture {
            picture if picture.color().has_alpha() => {
                let rgba = picture.into_rgba8();
                RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| image::Rgb(white(rgba.get_pixel(x, y))))
            }
            DynamicImage::ImageRgb8(rgb) => rgb,
            other => other.into_rgb8(),
        }
    }
}

fn open(file: &[u8]) -> Result<Photo, PhotoError> {
    decode(file, None, &Recipe::new(8, 8), &DecodeLimits::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(640)))]

    #[test]
    fn every_kind_has_the_pixels_that_the_crate_image_has(
        width in 1usize..20, height in 1usize..20, color in 0usize..4, deep in any::<bool>(), interlaced in any::<bool>(),
    ) {
        let noise = Noise { color: COLOURS[color], deep, interlaced, ..Noise::plain(width, height) };
        let photo = open(&noise.file()).unwrap();
        prop_assert!(photo.rgb == noise.expected(), "{noise:?}");
        prop_assert!(!photo.is_incomplete() && photo.to_srgb.is_none());
    }

    /// At every place: refused, or as many rows as there are.
    #[test]
    fn what_is_cut_short_has_the_rows_that_are_there(cut in 0usize..40_000, deep in any::<bool>()) {
        let noise = Noise { deep, ..Noise::plain(40, 200) };
        let (file, whole) = (noise.file(), noise.expected());
        let kept = file.len() - cut.min(file.len());
        match open(&file[..kept]) {
            Ok(photo) => {
                let same = photo.rgb.rows().zip(whole.rows()).take_while(|(a, b)| a.clone().eq(b.clone())).count();
                prop_assert!(same >= 180, "{same} rows of {kept} bytes");
                prop_assert_eq!(photo.is_incomplete(), same < 200);
            }
            Err(_) => prop_assert!(kept < file.len() * 91 / 100, "{} of {} bytes", kept, file.len()),
        }
    }
}

#[test]
fn rows_count_and_the_end_does_not() {
    let noise = Noise::plain(40, 200);
    let file = noise.file();
    // The check sum of the stream, that of its chunk, and the last chunk.
    let bare = open(&file[..file.len() - 20]).unwrap();
    assert!(!bare.is_incomplete() && bare.rgb == noise.expected());
    let some = open(&file[..file.len() * 95 / 100]).unwrap();
    assert!(some.is_incomplete() && some.rgb.get_pixel(0, 199).0 == [128; 3]);
    let message = open(&file[..file.len() / 2]).unwrap_err().to_string();
    assert!(message.contains("it ends after ") && message.contains(" of 200 rows"), "{message}");
    let interlaced = Noise { interlaced: true, ..noise }.file();
    assert!(!open(&interlaced[..interlaced.len() - 20]).unwrap().is_incomplete());
    let message = open(&interlaced[..interlaced.len() * 99 / 100]).unwrap_err().to_string();
    assert!(message.contains("interlaced"), "{message}");
}

/// Bytes that are wrong are no end.
#[test]
fn wrong_check_sums_are_refused() {
    let mut file = Noise::plain(40, 200).file();
    let at = file.len() - 200;
    file[at] ^= 1;
    assert!(matches!(open(&file), Err(PhotoError::Damaged { .. })));
}

#[test]
fn the_best_description_of_the_colours_counts() {
    let srgb = (sRGB, vec![0]);
    let gamma = (gAMA, 45_455u32.to_be_bytes().to_vec());
    let corners = [31_270u32, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000];
    let p3_corners = (cHRM, corners.map(u32::to_be_bytes).concat());
    let (p3_points, srgb_points) = ((cICP, vec![12, 13, 0, 1]), (cICP, vec![1, 13, 0, 1]));
    let profile = (iCCP, profile_chunk(&P3.bytes()));
    let wide = |chunks: &[&(ChunkType, Vec<u8>)]| {
        let noise = Noise { chunks: chunks.iter().copied().cloned().collect(), ..Noise::plain(4, 4) };
        open(&noise.file()).unwrap().to_srgb.map(|to_srgb| {
            let mut pixel = [200, 100, 50];
            to_srgb.apply(&mut pixel);
            pixel
        })
    };
    let p3 = Some([215, 93, 31]);
    for chunks in [&[&profile][..], &[&p3_points], &[&gamma, &p3_corners], &[&p3_points, &srgb], &[&gamma, &profile]] {
        assert_eq!(wide(chunks), p3, "{:?}", chunks.iter().map(|chunk| chunk.0).collect::<Vec<_>>());
    }
    for chunks in [&[&srgb][..], &[&gamma], &[&p3_corners], &[&srgb_points, &profile], &[&srgb, &gamma, &p3_corners]] {
        assert_eq!(wide(chunks), None, "{:?}", chunks.iter().map(|chunk| chunk.0).collect::<Vec<_>>());
    }
    // Broken: not a stream, or not a profile.
    for bad in [b"P3\0\0nothing".to_vec(), profile_chunk(b"nothing")] {
        assert_eq!(wide(&[&(iCCP, bad)]), None);
    }
}

/// The contents of a chunk with a profile: its name, and a stream of one stored block.
fn profile_chunk(contents: &[u8]) -> Vec<u8> {
    let length = (contents.len() as u16).to_le_bytes();
    let head = [&b"P3\0\0\x78\x01\x01"[..], &length, &length.map(|byte| !byte)].concat();
    [&head[..], contents, &adler(contents).to_be_bytes()].concat()
}

fn adler(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1, 0), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}
