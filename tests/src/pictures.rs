//! Generated pictures in every format, colour space and orientation that a phone or a shop may send.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use magpie_core::PhotoError;
use magpie_core::image::{DecodeLimits, InputRgb, Region, decode};
use magpie_core::recipe::Recipe;

/// Side, in pixels, of the small network input that the tests prepare photos for.
pub const SIDE: u32 = 16;

/// The recipe of that input.
pub fn recipe() -> Recipe {
    Recipe::new(SIDE, SIDE).with_mean_std([0.5; 3], [0.5; 3])
}

/// The network input made from a photo, or from a region of it.
///
/// # Errors
/// The reason why the photo or the region is refused.
pub fn input_within(bytes: &[u8], region: Option<Region>, limits: &DecodeLimits) -> Result<InputRgb, PhotoError> {
    decode(bytes, region, &recipe(), limits)?.input_rgb(region, &recipe())
}

/// A picture with four different corners, smooth enough to survive JPEG compression.
pub fn scene(width: u32, height: u32) -> RgbImage {
    let part = |at: u32, of: u32| (at * 200 / of.max(1)) as u8;
    RgbImage::from_fn(width, height, |x, y| {
        let inside = (x * 3 / width, y * 3 / height) == (0, 1);
        image::Rgb([20 + part(x, width), 20 + part(y, height), if inside { 230 } else { 40 }])
    })
}

/// The picture as PNG.
pub fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    encode(&picture.into(), ImageFormat::Png)
}

/// The picture as lossless WebP.
pub fn webp(picture: impl Into<DynamicImage>) -> Vec<u8> {
    encode(&picture.into(), ImageFormat::WebP)
}

fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("writing to memory");
    bytes.into_inner()
}

/// How a JPEG is encoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct JpegStyle {
    /// Progressive: several scans, each sharper than the last.
    pub progressive: bool,
    /// EXIF orientation, 1 to 8; 0 for no tag.
    pub orientation: u8,
}

/// The picture as a JPEG of quality 95 without chroma subsampling.
pub fn jpeg(picture: &RgbImage, style: JpegStyle) -> Vec<u8> {
    jpeg_of(picture.as_raw(), picture.dimensions(), ColorType::Rgb, style)
}

/// Raw pixels of any colour type as a JPEG of quality 95.
pub fn jpeg_of(pixels: &[u8], (width, height): (u32, u32), colour: ColorType, style: JpegStyle) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    encoder.set_progressive(style.progressive);
    if style.orientation != 0 {
        encoder.add_app_segment(1, [b"Exif\0\0", &exif(style.orientation)[..]].concat()).expect("a small segment");
    }
    encoder.encode(pixels, width as u16, height as u16, colour).expect("writing to memory");
    bytes
}

/// An EXIF block with the orientation tag only.
pub fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    block
}

/// A PNG of signature and header that announces a size, with a correct checksum, and has no pixels.
pub fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(&header);
    bytes.extend(crc32(&header).to_be_bytes());
    bytes.extend(b"\0\0\0\x01IDAT\0\0\0\0\0");
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

/// An animated WebP of these frames, all of the same size.
pub fn animated_webp(frames: &[RgbImage]) -> Vec<u8> {
    let chunk = |name: &[u8; 4], body: &[u8]| {
        let mut chunk = [&name[..], &(body.len() as u32).to_le_bytes(), body].concat();
        chunk.resize(chunk.len().next_multiple_of(2), 0);
        chunk
    };
    let u24 = |value: u32| value.to_le_bytes()[..3].to_vec();
    let (width, height) = frames[0].dimensions();
    let size = [u24(width - 1), u24(height - 1)].concat();
    let mut body = b"WEBP".to_vec();
    body.extend(chunk(b"VP8X", &[&[0b10, 0, 0, 0][..], &size].concat()));
    body.extend(chunk(b"ANIM", &[0; 6]));
    for frame in frames {
        // The encoded file without its RIFF header is the frame's picture.
        let picture = &webp(frame.clone())[12..];
        let frame = [u24(0), u24(0), size.clone(), u24(100), vec![0b10], picture.to_vec()].concat();
        body.extend(chunk(b"ANMF", &frame));
    }
    chunk(b"RIFF", &body)
}

/// A lossy WebP of 16 x 12 pixels, made with libwebp at quality 70, because the dependencies include no encoder for it.
/// Red is `20 + 12 x`, green is `20 + 16 y`, blue is 120.
pub const LOSSY_WEBP: &[u8] = b"RIFF\x48\0\0\0WEBPVP8 \
    \x3c\x00\x00\x00\xb0\x01\x00\x9d\x01\x2a\x10\x00\x0c\x00\x02\x40\
    \x38\x25\xb0\x02\x74\x01\x0e\xb5\x71\xd4\x00\xfe\xf9\xfc\xd8\x9b\
    \x9f\x3d\x59\x8d\xe1\xa1\x35\x3b\xd9\xdf\x1e\x86\x82\xd3\xc3\xaa\
    \x38\x95\x5e\x9e\x9f\xff\x83\x9f\x1f\xfe\xd1\x88\x9f\x0f\xf0\x00";
