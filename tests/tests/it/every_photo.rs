//! However a photo was taken and stored, the network gets the same upright picture.

use image::RgbImage;
use jpeg_encoder::ColorType;
use magpie_core::PhotoError;
use magpie_core::image::{DecodeLimits, InputRgb, Region, decode};
use magpie_tests::pictures::{self, JpegStyle, LOSSY_WEBP, SIDE, input_within, jpeg, png, recipe, scene, webp};

fn input(bytes: &[u8]) -> Result<InputRgb, PhotoError> {
    input_within(bytes, None, &DecodeLimits::default())
}

fn difference(a: &InputRgb, b: &InputRgb) -> u8 {
    a.rgb.iter().zip(&b.rgb).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

fn upright() -> InputRgb {
    input(&png(scene(40, 24))).unwrap()
}

/// Eight ways to hold a phone: the orientation tag rotates or flips each set of stored pixels to the same picture.
#[test]
fn orientations_1_to_8_give_the_same_upright_input() {
    use image::imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
    let upright = scene(400, 240);
    let crop = Some(Region { x: 40, y: 24, width: 200, height: 160 });
    let expected =
        [None, crop].map(|crop| input_within(&png(upright.clone()), crop, &DecodeLimits::default()).unwrap());
    let stored: [RgbImage; 8] = [
        upright.clone(),
        flip_horizontal(&upright),
        rotate180(&upright),
        flip_vertical(&upright),
        flip_horizontal(&rotate90(&upright)),
        rotate270(&upright),
        flip_horizontal(&rotate270(&upright)),
        rotate90(&upright),
    ];
    for (stored, orientation) in stored.into_iter().zip(1..) {
        let bytes = jpeg(&stored, JpegStyle { orientation, ..JpegStyle::default() });
        for (crop, expected) in [None, crop].into_iter().zip(&expected) {
            let found = input_within(&bytes, crop, &DecodeLimits::default()).unwrap();
            let off = difference(&found, expected);
            assert!(off <= 12, "orientation {orientation}, {crop:?}: {off} levels");
        }
    }
    for nonsense in [9, 255] {
        input(&jpeg(&scene(40, 24), JpegStyle { orientation: nonsense, ..JpegStyle::default() })).unwrap();
    }
}

#[test]
fn every_colour_space_shows_the_same_picture() {
    let picture = scene(40, 24);
    let size = picture.dimensions();
    let expected = upright();
    let near = |bytes: &[u8], levels: u8, what: &str| {
        let off = difference(&input(bytes).unwrap(), &expected);
        assert!(off <= levels, "{what}: {off} levels");
    };
    near(&webp(picture.clone()), 0, "lossless WebP");
    near(&jpeg(&picture, JpegStyle::default()), 6, "JPEG");
    near(&jpeg(&picture, JpegStyle { progressive: true, ..JpegStyle::default() }), 6, "progressive JPEG");
    let deep = image::DynamicImage::from(picture.clone()).into_rgb16();
    near(&png(deep), 1, "16-bit PNG");

    // 255 is full ink. The file stores inks inverted, as Adobe's programs do.
    let inks: Vec<u8> = picture.pixels().flat_map(|p| [255 - p[0], 255 - p[1], 255 - p[2], 0]).collect();
    near(&pictures::jpeg_of(&inks, size, ColorType::Cmyk, JpegStyle::default()), 8, "CMYK JPEG");
    near(&pictures::jpeg_of(&inks, size, ColorType::CmykAsYcck, JpegStyle::default()), 8, "YCCK JPEG");

    let grey = image::DynamicImage::from(picture).into_luma8();
    let expected = input(&png(image::DynamicImage::from(grey.clone()).into_rgb8())).unwrap();
    let bytes = pictures::jpeg_of(grey.as_raw(), size, ColorType::Luma, JpegStyle::default());
    assert!(difference(&input(&bytes).unwrap(), &expected) <= 4, "grey JPEG");
    assert!(difference(&input(&png(grey)).unwrap(), &expected) <= 1, "grey PNG");
}

#[test]
fn transparent_pixels_lie_on_white() {
    let cut_out = image::RgbaImage::from_fn(SIDE, SIDE, |x, _| match x {
        0..8 => image::Rgba([10, 20, 30, 0]),
        8..12 => image::Rgba([10, 20, 30, 255]),
        _ => image::Rgba([0, 0, 0, 128]),
    });
    for bytes in [png(cut_out.clone()), webp(cut_out)] {
        let input = input(&bytes).unwrap();
        let at = |x: usize| &input.rgb[3 * x..3 * x + 3];
        assert_eq!((at(0), at(9), at(14)), (&[255; 3][..], &[10, 20, 30][..], &[127; 3][..]));
    }
}

#[test]
fn lossy_and_animated_webp_show_their_first_frame() {
    let lossy = decode(LOSSY_WEBP, None, &recipe(), &DecodeLimits::default()).unwrap();
    assert_eq!(lossy.size(), (16, 12));
    let input = lossy.input_rgb(None, &recipe()).unwrap();
    let corner = |x: usize, y: usize| &input.rgb[3 * (16 * y + x)..][..3];
    let near = |found: &[u8], expected: [u8; 3]| found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) < 24);
    assert!(near(corner(0, 0), [20, 20, 120]) && near(corner(15, 15), [200, 196, 120]), "{:?}", corner(0, 0));

    let frames = [scene(40, 24), RgbImage::from_pixel(40, 24, image::Rgb([0; 3]))];
    let animated = pictures::animated_webp(&frames);
    assert_eq!(difference(&self::input(&animated).unwrap(), &upright()), 0, "not the first frame");
}

/// Lossless JPEG has no DCT, so it cannot be decoded at a reduced size.
#[test]
fn a_lossless_jpeg_is_decoded_correctly_or_refused() {
    // 256 x 256, grey; predictor 1. The left half is 128, the right half 228.
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xc3, 0, 11, 8, 1, 0, 1, 0, 1, 1, 0x11, 0];
    // Huffman codes: `0` for a difference of zero, `10` for a difference of 7 bits.
    bytes.extend([0xff, 0xc4, 0, 21, 0x00, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    bytes.extend([0xff, 0xda, 0, 8, 1, 1, 0, 1, 0, 0]);
    let mut bits = String::new();
    // The first pixel of a row is predicted from the pixel above, which has the left half's value.
    for x in (0..256).cycle().take(256 * 256) {
        bits.push_str(if x == 128 { "101100100" } else { "0" });
    }
    bits.push_str(&"1".repeat((8 - bits.len() % 8) % 8));
    for byte in bits.as_bytes().chunks(8) {
        let byte = byte.iter().fold(0u8, |value, &bit| value << 1 | (bit - b'0'));
        bytes.push(byte);
        bytes.extend((byte == 0xff).then_some(0));
    }
    bytes.extend([0xff, 0xd9]);
    // A crop that needs the full resolution, and the whole picture, which does not.
    let crop = Some(Region { x: 112, y: 100, width: 32, height: 32 });
    for region in [crop, None] {
        match input_within(&bytes, region, &DecodeLimits::default()) {
            Err(PhotoError::Unsupported { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(input) => {
                let at = |x: usize, y: usize| input.rgb[3 * (16 * y + x)];
                let found = [at(2, 2), at(13, 2), at(2, 13), at(13, 13)];
                assert_eq!(found, [128, 228, 128, 228], "{region:?} was decoded to another picture");
            }
        }
    }
}
