//! Decodes JPEG at the lowest resolution that the network needs.
//!
//! The inverse DCT can produce 1/2, 1/4 or 1/8 of the size directly: a 12-megapixel photo for a 144-pixel network
//! becomes 500 x 375 pixels, 0.6 MB instead of 36 MB, in less time (`core/docs/adr/0001-jpeg-decoder.md`).

use image::RgbImage;
use image::metadata::Orientation;
use jpeg_decoder::{CodingProcess, Decoder, Error, PixelFormat};

use super::limits::{DecodeLimits, TimedReader};
use super::orient;
use super::photo::{Format, Need, Photo};
use crate::error::PhotoError;

const FORMAT: &str = Format::Jpeg.name();

/// Least ratio of the decoded size to the input's size, per side. With this margin the resize that follows, and not the
/// scaled decoding, determines the tensor.
const MARGIN: u64 = 2;

pub(super) fn decode(bytes: &[u8], need: &Need, limits: &DecodeLimits) -> Result<Photo, PhotoError> {
    let failed = |error| translate(error, limits);
    let mut decoder = Decoder::new(TimedReader::new(bytes, limits));
    decoder.read_info().map_err(failed)?;
    let Some(info) = decoder.info() else {
        return Err(PhotoError::Damaged { format: FORMAT, detail: "no frame header".to_owned() });
    };
    if info.coding_process == CodingProcess::Lossless {
        // The decoder would ignore the scale, and no camera or shop writes such files.
        return Err(PhotoError::Unsupported { format: FORMAT, detail: "lossless coding".to_owned() });
    }
    let full = (u32::from(info.width), u32::from(info.height));
    let channels = info.pixel_format.pixel_bytes() as u64;
    let progressive = info.coding_process == CodingProcess::DctProgressive;
    // A progressive file is held as 16-bit coefficients at full size until its last scan.
    limits.check_size(full.0, full.1, if progressive { 2 * channels } else { 0 })?;

    let orientation = decoder.exif_data().and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    let upright = orient::oriented_size(orientation, full);
    let region = need.region(upright)?;
    let ask = |side: u32, region: u32, input: u32| {
        let pixels = (u64::from(side) * u64::from(input) * MARGIN).div_ceil(u64::from(region));
        pixels.min(u64::from(side)) as u32
    };
    let wanted = (ask(upright.0, region.width, need.input.0), ask(upright.1, region.height, need.input.1));
    let (wide, high) = orient::oriented_size(orientation, wanted);
    let (width, height) = decoder.scale(wide as u16, high as u16).map_err(failed)?;
    let (width, height) = (u32::from(width), u32::from(height));
    limits.check_size(width, height, 2 * channels)?;
    let pixels = decoder.decode().map_err(failed)?;
    let format = decoder.info().map_or(info.pixel_format, |info| info.pixel_format);
    let rgb = to_rgb(pixels, format);
    // `from_raw` accepts a longer buffer as well: its rows would be sheared.
    let complete = rgb.len() as u64 == 3 * u64::from(width) * u64::from(height);
    let rgb = RgbImage::from_raw(width, height, rgb).filter(|_| complete).ok_or_else(|| PhotoError::Damaged {
        format: FORMAT,
        detail: "its pixels do not match its header".to_owned(),
    })?;
    Ok(Photo::new(rgb, orientation, full))
}

/// Converts grey, 16-bit grey and CMYK (255 is full ink in the decoder's output) to RGB.
fn to_rgb(pixels: Vec<u8>, format: PixelFormat) -> Vec<u8> {
    match format {
        PixelFormat::RGB24 => pixels,
        PixelFormat::L8 => pixels.iter().flat_map(|&v| [v; 3]).collect(),
        PixelFormat::L16 => {
            let high_byte = |v: &[u8]| u16::from_ne_bytes([v[0], v[1]]).to_be_bytes()[0];
            pixels.chunks_exact(2).flat_map(|v| [high_byte(v); 3]).collect()
        }
        PixelFormat::CMYK32 => pixels
            .chunks_exact(4)
            .flat_map(|v| {
                let ink = |c: u8| ((255 - u32::from(c)) * (255 - u32::from(v[3])) / 255) as u8;
                [ink(v[0]), ink(v[1]), ink(v[2])]
            })
            .collect(),
    }
}

fn translate(error: Error, limits: &DecodeLimits) -> PhotoError {
    match error {
        Error::Io(e) if e.kind() == std::io::ErrorKind::TimedOut => PhotoError::TooSlow { limit: limits.max_time },
        Error::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            PhotoError::Damaged { format: FORMAT, detail: "it ends too early".to_owned() }
        }
        Error::Unsupported(feature) => PhotoError::Unsupported { format: FORMAT, detail: format!("{feature:?}") },
        Error::Format(detail) => PhotoError::Damaged { format: FORMAT, detail },
        other => PhotoError::Damaged { format: FORMAT, detail: other.to_string() },
    }
}
