//! Decodes PNG row by row: straight to RGB on white, and as far as the file goes.

use std::borrow::Cow;
use std::io::{Cursor, ErrorKind};

use image::RgbImage;
use image::metadata::Orientation;
use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Info, Reader, Transformations};

use super::decode::{check_sides, on_white};
use super::limits::DecodeLimits;
use super::photo::{Format, Need, Photo};
use super::to_srgb::{MAX_ICC_BYTES, ToSrgb};
use super::{exif, orient};
use crate::error::PhotoError;

/// Most bytes that the decoder may take for rows, chunks and an unpacked colour profile.
const MAX_CHUNK_BYTES: u64 = 64 << 20;

/// First column and row of each pass of an interlaced picture, and the distances between its columns and rows.
const PASSES: [(usize, usize, usize, usize); 7] =
    [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];

fn damaged(detail: impl Into<String>) -> PhotoError {
    PhotoError::Damaged { format: Format::Png.name(), detail: detail.into() }
}

/// Decodes a PNG. If the bytes end early, nine tenths of the rows are enough, the last chunk is not needed, and the rows
/// that are missing are grey: as in a JPEG, and nearer to the whole picture for the network than white or black. An
/// interlaced picture needs all of its rows: those at the end are every second one.
pub(super) fn decode(bytes: &[u8], need: &Need, limits: &DecodeLimits) -> Result<Photo, PhotoError> {
    let failed = |error| translate(error, limits);
    let mut options = DecodeOptions::default();
    options.set_ignore_text_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_transformations(Transformations::EXPAND);
    let header = decoder.read_header_info().map_err(failed)?;
    let (width, height) = header.size();
    limits.check_size(width, height, 3)?;
    check_sides(Format::Png.name(), width, height)?;
    let pixels = 3 * u64::from(width) * u64::from(height);
    let rest = (limits.max_memory - pixels).min(MAX_CHUNK_BYTES);
    decoder.set_limits(png::Limits { bytes: usize::try_from(rest).unwrap_or(usize::MAX) });
    let mut reader = decoder.read_info().map_err(failed)?;

    let info = reader.info();
    let orientation = info.exif_metadata.as_deref().and_then(exif::orientation).unwrap_or(Orientation::NoTransforms);
    need.region(orient::oriented_size(orientation, (width, height)))?;
    let to_srgb = to_srgb(info);
    let (rgb, incomplete) = rows(&mut reader, (width, height), limits)?;
    let rgb = RgbImage::from_raw(width, height, rgb).ok_or_else(|| damaged("its pixels do not match its header"))?;
    Ok(Photo::new(rgb, orientation, (width, height)).with_missing(incomplete).with_colours(to_srgb))
}

/// Reads the rows, and returns whether some are missing.
fn rows(
    reader: &mut Reader<Cursor<&[u8]>>,
    (width, height): (u32, u32),
    limits: &DecodeLimits,
) -> Result<(Vec<u8>, bool), PhotoError> {
    let (columns, lines) = (width as usize, height as usize);
    let (color, depth) = reader.output_color_type();
    let mut rgb = vec![128; 3 * columns * lines];
    let passes = if reader.info().interlaced { &PASSES[..] } else { &[(0, 0, 1, 1)] };
    // Narrow or low pictures have fewer passes.
    let passes = passes.iter().filter(|(x, y, ..)| *x < columns && *y < lines);
    let places = passes.flat_map(|&(x, y, across, down)| (y..lines).step_by(down).map(move |row| (row, x, across)));
    let interlaced = reader.info().interlaced;
    for (line, first, step) in places {
        let row = match reader.next_row() {
            Ok(Some(row)) => row,
            Ok(None) => return Err(damaged("its rows do not match its header")),
            Err(error) if is_end(&error) && interlaced => {
                return Err(damaged("it is interlaced, and its end is missing"));
            }
            Err(error) if is_end(&error) && 10 * line < 9 * lines => {
                return Err(damaged(format!("it ends after {line} of {lines} rows")));
            }
            Err(error) if is_end(&error) => return Ok((rgb, true)),
            Err(error) => return Err(translate(error, limits)),
        };
        let pixels = rgb[3 * columns * line..][..3 * columns].as_chunks_mut::<3>().0;
        write(row.data(), color, depth, pixels.iter_mut().skip(first).step_by(step));
    }
    // The check sums at the end tell whether the rows are right. Without an end there is nothing to check.
    match reader.next_row() {
        Ok(_) => Ok((rgb, false)),
        Err(error) if is_end(&error) => Ok((rgb, false)),
        Err(error) => Err(translate(error, limits)),
    }
}

fn is_end(error: &DecodingError) -> bool {
    matches!(error, DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof)
}

/// Writes a row of samples as pixels.
fn write<'a>(row: &[u8], color: ColorType, depth: BitDepth, pixels: impl Iterator<Item = &'a mut [u8; 3]>) {
    let bytes: Cow<'_, [u8]> = match depth {
        // 65,535 becomes 255, and everything between is rounded.
        BitDepth::Sixteen => {
            let samples = row.as_chunks::<2>().0.iter().map(|two| u32::from(u16::from_be_bytes(*two)));
            samples.map(|sample| ((sample + 128) / 257) as u8).collect()
        }
        _ => Cow::Borrowed(row),
    };
    match color {
        ColorType::Grayscale => pixels.zip(bytes.iter()).for_each(|(to, grey)| *to = [*grey; 3]),
        ColorType::GrayscaleAlpha => {
            pixels.zip(bytes.as_chunks::<2>().0).for_each(|(to, [grey, alpha])| *to = on_white([*grey; 3], *alpha));
        }
        ColorType::Rgba => {
            pixels
                .zip(bytes.as_chunks::<4>().0)
                .for_each(|(to, [r, g, b, alpha])| *to = on_white([*r, *g, *b], *alpha));
        }
        // Palettes are expanded.
        ColorType::Rgb | ColorType::Indexed => pixels.zip(bytes.as_chunks::<3>().0).for_each(|(to, rgb)| *to = *rgb),
    }
}

/// How the colours become sRGB. Of several descriptions the best one counts, in the order of the standard.
fn to_srgb(info: &Info<'_>) -> Option<ToSrgb> {
    let grey = matches!(info.color_type, ColorType::Grayscale | ColorType::GrayscaleAlpha);
    if let Some(points) = info.coding_independent_code_points {
        return ToSrgb::of_code_points(points.color_primaries, points.transfer_function);
    }
    if let Some(icc) = info.icc_profile.as_deref().filter(|icc| icc.len() <= MAX_ICC_BYTES) {
        return ToSrgb::of_icc(icc, grey);
    }
    // A gamma alone is ignored, as Pillow does: old programs wrote all kinds.
    let (None, Some(gamma), Some(colours)) = (info.srgb, info.gama_chunk, info.chrm_chunk) else { return None };
    let number = |scaled: png::ScaledFloat| f64::from(scaled.into_scaled()) / 100_000.0;
    let corners = [colours.red, colours.green, colours.blue, colours.white].map(|(x, y)| (number(x), number(y)));
    ToSrgb::of_chromaticities(corners, 1.0 / number(gamma))
}

fn translate(error: DecodingError, limits: &DecodeLimits) -> PhotoError {
    match error {
        DecodingError::LimitsExceeded => {
            PhotoError::TooMuchMemory { bytes: limits.max_memory, limit: limits.max_memory }
        }
        error if is_end(&error) => damaged("it ends before its pixels"),
        other => damaged(other.to_string()),
    }
}
