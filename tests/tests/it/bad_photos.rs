//! Whatever file a shopper picks, the app says what is wrong with it and does not crash, hang or exhaust memory.

use std::time::Duration;

use jpeg_encoder::ColorType;
use magpie_core::PhotoError;
use magpie_core::image::{DecodeLimits, InputRgb, Region, decode};
use magpie_tests::pictures::{self, JpegStyle, LOSSY_WEBP, input_within, jpeg, png, png_header, scene, webp};
use magpie_tests::{cases, thread_time};
use proptest::prelude::*;

fn input(bytes: &[u8]) -> Result<InputRgb, PhotoError> {
    input_within(bytes, None, &DecodeLimits::default())
}

#[test]
fn files_that_are_not_pictures_are_named_by_their_format() {
    let message = |bytes: &[u8]| input(bytes).unwrap_err().to_string();
    assert_eq!(input(b"").unwrap_err(), PhotoError::Empty);
    for (bytes, hint) in [
        (&b"not a picture, whatever its name says"[..], "text"),
        (b"GIF89a\x01\0\x01\0\x80\0\0", "GIF"),
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
        (b"%PDF-1.7", "PDF"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"\0\0\x01\0\x01\0\x20\x20", "ICO"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"8BPS\0\x01", "PSD"),
        (
            "Diese Seite wurde nicht gefunden. Sie ist umgezogen; wir bedauern, dass sie hier fehlt: ä".as_bytes(),
            "text",
        ),
    ] {
        assert!(message(bytes).contains(hint), "{}", message(bytes));
    }
    for nothing in [[0xfe; 100], [0; 100]] {
        assert_eq!(input(&nothing).unwrap_err(), PhotoError::UnknownFormat { found: None });
    }
}

#[test]
fn a_decompression_bomb_is_refused_by_its_header_before_memory_is_taken() {
    let started = thread_time();
    let limit = DecodeLimits::default().max_pixels;
    let expected = PhotoError::TooManyPixels { width: 40_000, height: 40_000, limit };
    assert_eq!(input(&png_header(40_000, 40_000)).unwrap_err(), expected);
    // Within the pixel limit, but not within the memory limit.
    assert!(matches!(input(&png_header(15_000, 15_000)), Err(PhotoError::TooMuchMemory { .. })));

    for progressive in [false, true] {
        let mut bomb = jpeg(&scene(64, 64), JpegStyle { progressive, ..JpegStyle::default() });
        let frame = bomb.windows(2).position(|pair| pair == [0xff, 0xc0 + 2 * u8::from(progressive)]).unwrap();
        bomb[frame + 5..frame + 9].fill(0xff);
        let expected = PhotoError::TooManyPixels { width: 65_535, height: 65_535, limit };
        assert_eq!(input(&bomb).unwrap_err(), expected);
        // 14,000 x 14,000 is within the pixel limit. Decoders accept an early end marker and leave the rest grey. What
        // counts is that this takes little time and that the photo is decoded at a reduced size.
        bomb[frame + 5..frame + 9].copy_from_slice(&[0x36, 0xb0, 0x36, 0xb0]);
        if let Err(error) = input(&bomb) {
            assert!(matches!(error, PhotoError::TooMuchMemory { .. } | PhotoError::Damaged { .. }), "{error}");
        }
    }
    let took = thread_time() - started;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn the_callers_limits_hold() {
    let pictures = [png(scene(300, 200)), jpeg(&scene(300, 200), JpegStyle::default()), webp(scene(300, 200))];
    for bytes in pictures {
        let with = |limits: DecodeLimits| input_within(&bytes, None, &limits).unwrap_err();
        let size = bytes.len() as u64;
        assert_eq!(
            with(DecodeLimits::default().with_max_bytes(size - 1)),
            PhotoError::TooManyBytes { bytes: size, limit: size - 1 }
        );
        let limit = 300 * 200 - 1;
        let expected = PhotoError::TooManyPixels { width: 300, height: 200, limit };
        assert_eq!(with(DecodeLimits::default().with_max_pixels(limit)), expected);
        let memory = with(DecodeLimits::default().with_max_memory(5_000));
        assert!(matches!(memory, PhotoError::TooMuchMemory { .. }), "{memory}");
        input_within(&bytes, None, &DecodeLimits::default().with_max_pixels(60_000).with_max_bytes(size)).unwrap();
    }
    // The scans of a JPEG are counted: each has 38 x 25 blocks of three colours, or counts as 4,096.
    let style = JpegStyle { progressive: true, ..JpegStyle::default() };
    let few = DecodeLimits::default().with_max_blocks(4_095);
    let error = input_within(&jpeg(&scene(300, 200), style), None, &few).unwrap_err();
    assert_eq!(error, PhotoError::TooMuchWork { blocks: 4_096, limit: 4_095 });
}

/// A JPEG is shown as far as it goes, if that is nine tenths of it, and says so. The other formats are refused.
#[test]
fn a_picture_cut_short_is_damaged_or_incomplete_wherever_it_is_cut() {
    let picture = scene(60, 40);
    let progressive = jpeg(&picture, JpegStyle { progressive: true, ..JpegStyle::default() });
    let animated = pictures::animated_webp(std::slice::from_ref(&picture));
    let pictures = [
        png(picture.clone()),
        jpeg(&picture, JpegStyle::default()),
        progressive,
        webp(picture),
        LOSSY_WEBP.into(),
        animated,
    ];
    for bytes in pictures {
        let whole = input(&bytes).unwrap();
        for cut in (0..bytes.len()).filter(|cut| *cut < 700 || cut % 61 == 0 || bytes.len() - cut < 40) {
            let photo = decode(&bytes[..cut], None, &pictures::recipe(), &DecodeLimits::default());
            match photo.and_then(|photo| Ok((photo.is_incomplete(), photo.input_rgb(None, &pictures::recipe())?))) {
                Err(PhotoError::Empty) => assert_eq!(cut, 0),
                Err(PhotoError::UnknownFormat { .. }) => assert!(cut < 12),
                Err(PhotoError::Damaged { .. }) => {}
                Err(other) => panic!("{cut} of {}: {other}", bytes.len()),
                // Only data after the pixels may be missing: checksums, the end marker, padding.
                Ok((false, input)) => {
                    assert!(input == whole, "{cut} of {}: half a picture passed as whole", bytes.len());
                }
                Ok((true, _)) => assert!(!bytes.starts_with(b"RIFF"), "a WebP may not be incomplete"),
            }
        }
    }
}

#[test]
fn crops_without_area_or_outside_are_refused() {
    let region = |x, y, width, height| Some(Region { x, y, width, height });
    for bytes in [png(scene(40, 24)), jpeg(&scene(40, 24), JpegStyle { orientation: 1, ..JpegStyle::default() })] {
        for bad in [
            region(0, 0, 0, 5),
            region(0, 0, 5, 0),
            region(40, 0, 1, 1),
            region(0, 24, 1, 1),
            region(0, 0, 41, 1),
            region(39, 23, 2, 1),
            region(u32::MAX, u32::MAX, u32::MAX, u32::MAX),
        ] {
            let error = input_within(&bytes, bad, &DecodeLimits::default()).unwrap_err();
            assert!(matches!(error, PhotoError::BadRegion { photo_width: 40, photo_height: 24, .. }), "{error}");
        }
        for good in [region(39, 23, 1, 1), region(0, 0, 40, 1), region(7, 3, 20, 20)] {
            input_within(&bytes, good, &DecodeLimits::default()).unwrap();
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Baseline,
    Progressive,
    Cmyk,
    Png,
    Lossless,
    Lossy,
    Animated,
}

fn sample(kind: Kind) -> Vec<u8> {
    let picture = scene(48, 40);
    match kind {
        Kind::Baseline => jpeg(&picture, JpegStyle { orientation: 6, ..JpegStyle::default() }),
        Kind::Progressive => jpeg(&picture, JpegStyle { progressive: true, orientation: 3 }),
        Kind::Cmyk => pictures::jpeg_of(&[90; 48 * 40 * 4], (48, 40), ColorType::CmykAsYcck, JpegStyle::default()),
        Kind::Png => png(picture),
        Kind::Lossless => webp(picture),
        Kind::Lossy => LOSSY_WEBP.to_vec(),
        Kind::Animated => pictures::animated_webp(&[picture]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(1500)))]

    #[test]
    fn damaged_pictures_neither_panic_nor_hang(
        kind in prop::sample::select(vec![
            Kind::Baseline, Kind::Progressive, Kind::Cmyk, Kind::Png, Kind::Lossless, Kind::Lossy, Kind::Animated,
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut bytes = sample(kind);
        for (at, early, value) in changes {
            // Headers are short, and damage to them has the most effect.
            let reach = if early { bytes.len().min(220) } else { bytes.len() };
            bytes[at.index(reach)] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let limits = DecodeLimits::default().with_max_pixels(4 << 20).with_max_memory(64 << 20);
        let started = thread_time();
        let _ = input_within(&bytes, Some(Region { x: 3, y: 2, width: 9, height: 10 }), &limits);
        let _ = input_within(&bytes, None, &limits);
        let took = thread_time() - started;
        prop_assert!(took < Duration::from_secs(2), "took {took:?}");
    }
}
