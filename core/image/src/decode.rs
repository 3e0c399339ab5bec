//! Decodes a photo: format detection, and the formats other than JPEG.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::{png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, RgbImage};

use super::limits::DecodeLimits;
use super::photo::{Format, Need, Photo};
use super::region::Region;
use super::{exif, jpeg, orient};
use crate::error::PhotoError;
use crate::recipe::Recipe;

/// Detects the format by the first bytes.
///
/// # Errors
/// [`PhotoError::UnknownFormat`] if the bytes are not JPEG, PNG or WebP. It names some other common formats.
pub fn sniff(bytes: &[u8]) -> Result<Format, PhotoError> {
    let at = |from: usize, magic: &[u8]| bytes.get(from..).is_some_and(|rest| rest.starts_with(magic));
    if at(0, &[0xff, 0xd8, 0xff]) {
        return Ok(Format::Jpeg);
    }
    if at(0, b"\x89PNG\r\n\x1a\n") {
        return Ok(Format::Png);
    }
    if at(0, b"RIFF") && at(8, b"WEBP") {
        return Ok(Format::WebP);
    }
    // An ISO media file names its kind after `ftyp`.
    let media = |kind: &[u8]| at(4, b"ftyp") && at(8, kind);
    let known = [
        (media(b"hei") || media(b"hev") || media(b"mif1") || media(b"msf1"), "HEIC; save it as JPEG"),
        (media(b"avif") || media(b"avis"), "AVIF; save it as JPEG"),
        (at(0, b"II*\0") || at(0, b"MM\0*") || at(0, b"II+\0") || at(0, b"MM\0+"), "TIFF; save it as JPEG"),
        (at(0, b"\0\0\0\x0cjP  \r\n\x87\n") || at(0, b"\xff\x4f\xff\x51"), "JPEG 2000; save it as JPEG"),
        (at(0, b"\0\0\0\x0cJXL \r\n\x87\n") || at(0, b"\xff\x0a"), "JPEG XL; save it as JPEG"),
        (at(0, b"\0\0\x01\0") || at(0, b"\0\0\x02\0"), "ICO"),
        (at(0, b"8BPS"), "PSD"),
        (at(0, b"GIF8"), "GIF"),
        (at(0, b"BM"), "BMP"),
        (at(0, b"%PDF"), "PDF"),
        (is_text(&bytes[..bytes.len().min(64)]), "text"),
    ];
    let found = known.into_iter().find_map(|(is, name)| is.then_some(name));
    Err(PhotoError::UnknownFormat { found })
}

/// Whether bytes look like text: a picture that a server did not have is often a page that says so. Zeros are not text,
/// and the last character may be cut off.
fn is_text(bytes: &[u8]) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    valid && !bytes.contains(&0)
}

/// Decodes a photo for a recipe's input, within the limits.
///
/// A JPEG is decoded at the smallest scale of 1/8, 1/4, 1/2 and 1/1 at which the region (the whole photo by default)
/// has at least 15/8 of the input's width and height. A damaged one is decoded as far as it goes, if nine tenths of its
/// rows are there: see [`Photo::is_incomplete`]. Transparent pixels are blended with white, the background of
/// catalogue cut-outs. Colour profiles are not applied.
///
/// ```
/// use magpie_image::recipe::Recipe;
/// use magpie_image::{DecodeLimits, PhotoError, Region, decode};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bytes = std::fs::read("../../models/packs/default/golden/plain-mug/photo.png")?;
/// let recipe = Recipe::new(64, 64);
/// let region = Some(Region { x: 10, y: 20, width: 100, height: 80 });
/// let photo = decode(&bytes, region, &recipe, &DecodeLimits::default())?;
/// let input = photo.input_rgb(region, &recipe)?;
/// assert_eq!((input.width, input.height), (64, 64));
///
/// let strict = DecodeLimits::default().with_max_pixels(1_000);
/// let refused = decode(&bytes, region, &recipe, &strict);
/// assert!(matches!(refused, Err(PhotoError::TooManyPixels { limit: 1_000, .. })));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The file is not a picture that can be decoded, it exceeds a limit, or the region does not lie inside it. Sizes and
/// the region are checked against the header, before any pixel is decoded.
pub fn decode(
    bytes: &[u8],
    region: Option<Region>,
    recipe: &Recipe,
    limits: &DecodeLimits,
) -> Result<Photo, PhotoError> {
    limits.check_bytes(bytes)?;
    let need = Need { region, input: (recipe.width, recipe.height) };
    let format = sniff(bytes)?;
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        Format::Jpeg => jpeg::decode(bytes, &need, limits),
        Format::Png => png(bytes, &need, limits),
        Format::WebP => {
            let decoder = WebPDecoder::new(Cursor::new(bytes));
            full_size(format.name(), decoder.map_err(|e| translate(format.name(), e, limits))?, &need, limits)
        }
    }));
    // No photo is known that makes a decoder panic. Should there be one, only that photo is lost, not the process.
    let failed = |_| Err(PhotoError::Damaged { format: format.name(), detail: "the decoder panicked".to_owned() });
    decoded.unwrap_or_else(failed)
}

/// The last chunk of a PNG.
const PNG_END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// Decodes a PNG. Nothing but the last chunk may be missing, which has no content.
fn png(bytes: &[u8], need: &Need, limits: &DecodeLimits) -> Result<Photo, PhotoError> {
    let format = Format::Png.name();
    let decode = |bytes: &[u8]| {
        // The limit holds from the start: compressed texts and profiles come before the pixels.
        let decoder = PngDecoder::with_limits(Cursor::new(bytes), memory_limit(limits));
        full_size(format, decoder.map_err(|e| translate(format, e, limits))?, need, limits)
    };
    match decode(bytes) {
        // Pixels that are missing too would make these bytes a part of them, with a wrong checksum.
        Err(PhotoError::Damaged { .. }) if !bytes.ends_with(PNG_END) => decode(&[bytes, PNG_END].concat()),
        decoded => decoded,
    }
}

/// Largest side of a photo in pixels, the same as a JPEG's. The resampler's memory grows with the side, whatever the
/// area is.
const MAX_PHOTO_SIDE: u32 = u16::MAX as u32;

fn memory_limit(limits: &DecodeLimits) -> image::Limits {
    let mut decoder = image::Limits::default();
    decoder.max_alloc = Some(limits.max_memory);
    decoder
}

fn full_size(
    format: &'static str,
    mut decoder: impl ImageDecoder,
    need: &Need,
    limits: &DecodeLimits,
) -> Result<Photo, PhotoError> {
    let failed = |error| translate(format, error, limits);
    let (width, height) = decoder.dimensions();
    // The decoder's own buffer, and its conversion to RGB.
    limits.check_size(width, height, u64::from(decoder.color_type().bytes_per_pixel()) + 3)?;
    if let Some(side) = [width, height].into_iter().find(|side| *side > MAX_PHOTO_SIDE) {
        let detail = format!("one side has {side} pixels, more than {MAX_PHOTO_SIDE}");
        return Err(PhotoError::Unsupported { format, detail });
    }
    decoder.set_limits(memory_limit(limits)).map_err(failed)?;
    let exif = decoder.exif_metadata().map_err(failed)?;
    let orientation = exif.and_then(|exif| exif::orientation(&exif)).unwrap_or(Orientation::NoTransforms);
    need.region(orient::oriented_size(orientation, (width, height)))?;
    let picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    Ok(Photo::new(on_white(picture), orientation, (width, height)))
}

fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let rgba = picture.into_rgba8();
    let (width, height) = rgba.dimensions();
    let mut rgb = RgbImage::new(width, height);
    for (to, from) in rgb.pixels_mut().zip(rgba.pixels()) {
        let alpha = u32::from(from[3]);
        for c in 0..3 {
            to[c] = ((u32::from(from[c]) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        }
    }
    rgb
}

fn translate(format: &'static str, error: ImageError, limits: &DecodeLimits) -> PhotoError {
    match error {
        ImageError::Limits(_) => PhotoError::TooMuchMemory { bytes: limits.max_memory, limit: limits.max_memory },
        ImageError::Unsupported(what) => PhotoError::Unsupported { format, detail: what.to_string() },
        other => PhotoError::Damaged { format, detail: other.to_string() },
    }
}
