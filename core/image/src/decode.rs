//! Decodes a photo: format detection, and the formats other than JPEG.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, RgbImage};

use super::limits::DecodeLimits;
use super::photo::{Format, Need, Photo};
use super::region::Region;
use super::to_srgb::{MAX_ICC_BYTES, ToSrgb};
use super::{exif, jpeg, orient, png};
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
/// catalogue cut-outs. Colours other than sRGB are noted, and [`Photo::input_rgb`] brings them to sRGB: by the ICC profile of
/// the file, by what a PNG says in chunks, or by the mark of Adobe RGB that cameras leave in EXIF. A profile of inks, and
/// one that cannot be read, is ignored.
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
        Format::Png => png::decode(bytes, &need, limits),
        Format::WebP => webp(bytes, &need, limits),
    }));
    // No photo is known that makes a decoder panic. Should there be one, only that photo is lost, not the process.
    let failed = |_| Err(PhotoError::Damaged { format: format.name(), detail: "the decoder panicked".to_owned() });
    decoded.unwrap_or_else(failed)
}

/// Largest side of a photo in pixels, the same as a JPEG's. The resampler's memory grows with the side, whatever the
/// area is.
const MAX_PHOTO_SIDE: u32 = u16::MAX as u32;

fn memory_limit(limits: &DecodeLimits) -> image::Limits {
    let mut decoder = image::Limits::default();
    decoder.max_alloc = Some(limits.max_memory);
    decoder
}

/// Checks the sides of a picture whose format allows more than a JPEG.
pub(super) fn check_sides(format: &'static str, width: u32, height: u32) -> Result<(), PhotoError> {
    let Some(side) = [width, height].into_iter().find(|side| *side > MAX_PHOTO_SIDE) else { return Ok(()) };
    let detail = format!("one side has {side} pixels, more than {MAX_PHOTO_SIDE}");
    Err(PhotoError::Unsupported { format, detail })
}

/// Decodes a WebP. One that is cut short is refused: the decoder gives pixels only of a whole one. A lossy one would not
/// tell either how many rows are there, since its data has no marks and is not in the order of rows alone.
fn webp(bytes: &[u8], need: &Need, limits: &DecodeLimits) -> Result<Photo, PhotoError> {
    let failed = |error| translate(Format::WebP.name(), error, limits);
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    // The decoder's own buffer, and its conversion to RGB.
    limits.check_size(width, height, u64::from(decoder.color_type().bytes_per_pixel()) + 3)?;
    check_sides(Format::WebP.name(), width, height)?;
    decoder.set_limits(memory_limit(limits)).map_err(failed)?;
    let exif = decoder.exif_metadata().map_err(failed)?;
    let orientation = exif.and_then(|exif| exif::orientation(&exif)).unwrap_or(Orientation::NoTransforms);
    need.region(orient::oriented_size(orientation, (width, height)))?;
    // A photo whose profile cannot be read is still used.
    let icc = decoder.icc_profile().ok().flatten();
    let to_srgb = icc.filter(|icc| icc.len() <= MAX_ICC_BYTES).and_then(|icc| ToSrgb::of_icc(&icc, false));
    let picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    Ok(Photo::new(rgb(picture), orientation, (width, height)).with_colours(to_srgb))
}

fn rgb(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let rgba = picture.into_rgba8();
    let (width, height) = rgba.dimensions();
    let mut rgb = RgbImage::new(width, height);
    for (to, image::Rgba([r, g, b, alpha])) in rgb.pixels_mut().zip(rgba.pixels()) {
        to.0 = on_white([*r, *g, *b], *alpha);
    }
    rgb
}

/// A pixel in front of white.
pub(super) fn on_white(rgb: [u8; 3], alpha: u8) -> [u8; 3] {
    let alpha = u32::from(alpha);
    rgb.map(|value| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
}

fn translate(format: &'static str, error: ImageError, limits: &DecodeLimits) -> PhotoError {
    match error {
        ImageError::Limits(_) => PhotoError::TooMuchMemory { bytes: limits.max_memory, limit: limits.max_memory },
        ImageError::Unsupported(what) => PhotoError::Unsupported { format, detail: what.to_string() },
        other => PhotoError::Damaged { format, detail: other.to_string() },
    }
}
