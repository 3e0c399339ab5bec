//! Decodes JPEG at the lowest resolution that the network needs (`core/docs/adr/0013-own-jpeg-decoder.md`).
//!
//! The inverse DCT can produce 1/2, 1/4 or 1/8 of the size directly: a 12-megapixel photo for a 144-pixel network
//! becomes 500 x 375 pixels, 0.6 MB instead of 36 MB. At 1/8 most coefficients are skipped, and of a progressive photo
//! most scans.
//!
//! `segments` reads the headers and tables, `bits` and `huffman` the codes, `block` the coefficients, `scan` the order of
//! the blocks. `frame` says which blocks there are, `dct` makes samples of them, `upsample` and `colour` make pixels.

mod bits;
mod block;
mod colour;
mod dct;
mod frame;
mod huffman;
mod scan;
mod segments;
mod standard;
#[cfg(test)]
mod tests;
mod upsample;

use image::RgbImage;
use image::metadata::Orientation;

use super::limits::DecodeLimits;
use super::photo::{Format, Need, Photo};
use super::to_srgb::ToSrgb;
use super::{exif, orient};
use crate::error::PhotoError;
use colour::Colours;
use frame::Frame;
use scan::Outcome;
use segments::{FrameHeader, ScanHeader, Segments};
use upsample::Upsampler;

/// Least ratio of the decoded size to the input's size, per side, in eighths. With this margin the resize that follows,
/// and not the scaled decoding, determines the tensor. It is a little less than two, so that the photos of most phones,
/// of 4000 x 3000 pixels, are decoded at 1/8 for an input of 192 x 192.
const MARGIN: u64 = 15;

/// Blocks that each scan counts as, at least: its tables have to be built.
const LEAST_BLOCKS: u64 = 4096;

fn damaged(detail: impl Into<String>) -> PhotoError {
    PhotoError::Damaged { format: Format::Jpeg.name(), detail: detail.into() }
}

fn unsupported(detail: impl Into<String>) -> PhotoError {
    PhotoError::Unsupported { format: Format::Jpeg.name(), detail: detail.into() }
}

pub(super) fn decode(bytes: &[u8], need: &Need, limits: &DecodeLimits) -> Result<Photo, PhotoError> {
    let mut file = Segments::new(bytes);
    let mut next = file.next_scan()?;
    let Some(header) = file.frame.clone() else { return Err(damaged("it has no frame header")) };
    let full = (header.width, header.height);
    limits.check_size(full.0, full.1, 0)?;
    let orientation = file.exif.and_then(exif::orientation).unwrap_or(Orientation::NoTransforms);
    let mut frame = lay_out(&header, orientation, need)?;
    let bytes = frame.memory();
    if bytes > limits.max_memory {
        return Err(PhotoError::TooMuchMemory { bytes, limit: limits.max_memory });
    }
    frame.allocate();

    let mut visited = 0;
    let mut incomplete = false;
    while let Some(scan) = next {
        // At 1/8 a block is its mean: other scans have nothing that is needed.
        if frame.progressive && frame.scale == 1 && scan.band.0 > 0 {
            file.continue_at(scan.start);
        } else {
            let ((across, down), blocks) = scan::groups(&scan, &frame);
            visited += (across as u64 * down as u64 * blocks as u64).max(LEAST_BLOCKS);
            if visited > limits.max_blocks {
                return Err(PhotoError::TooMuchWork { blocks: visited, limit: limits.max_blocks });
            }
            let outcome = scan::read(&file, &scan, &mut frame)?;
            incomplete |= outcome.missing + outcome.doubtful > 0;
            note(&mut frame, &scan, outcome)?;
            file.continue_at(outcome.end);
        }
        next = file.next_scan()?;
    }
    check_rows(&frame, header.height)?;
    incomplete |= frame.components.iter().any(|c| frame.progressive && c.lacks_bits(file.ended));
    let rgb = pixels(&mut frame, Colours::of(&file))?;
    Ok(Photo::new(rgb, orientation, full).with_missing(incomplete).with_colours(to_srgb(&file)))
}

/// How the colours become sRGB. Inks do not: they are shown as they are, without their profile.
fn to_srgb(file: &Segments<'_>) -> Option<ToSrgb> {
    let colours = Colours::of(file);
    if matches!(colours, Colours::Cmyk | Colours::Ycck) {
        return None;
    }
    match file.profile() {
        Some(icc) => ToSrgb::of_icc(&icc, colours == Colours::Grey),
        None if file.exif.is_some_and(exif::is_adobe_rgb) => ToSrgb::of_adobe_rgb(),
        None => None,
    }
}

/// Chooses the scale, and the rows that are needed.
fn lay_out(header: &FrameHeader, orientation: Orientation, need: &Need) -> Result<Frame, PhotoError> {
    let full = (header.width, header.height);
    let upright = orient::oriented_size(orientation, full);
    let region = need.region(upright)?;
    let ask = |side: u32, region: u32, input: u32| {
        let pixels = (u64::from(side) * u64::from(input) * MARGIN).div_ceil(8 * u64::from(region));
        pixels.min(u64::from(side)) as usize
    };
    let wanted = (ask(upright.0, region.width, need.input.0), ask(upright.1, region.height, need.input.1));
    let wanted = orient::oriented_size(orientation, (wanted.0 as u32, wanted.1 as u32));
    // Both sides must be large enough: a narrow picture would lose what its short side has.
    let enough = |side: u32, scale: usize, wanted: u32| frame::scaled(side, scale) >= wanted as usize;
    let scales = [1, 2, 4].into_iter();
    let scale = scales.into_iter().find(|&s| enough(full.0, s, wanted.0) && enough(full.1, s, wanted.1)).unwrap_or(8);
    let decoded = (frame::scaled(full.0, scale) as u32, frame::scaled(full.1, scale) as u32);
    let part = orient::stored_region(orientation, region, full).scaled(full, decoded);
    Ok(Frame::new(header, scale, part.y as usize..(part.y + part.height) as usize))
}

/// Notes what a scan has brought. Fails if a tenth of it is likely to be wrong.
fn note(frame: &mut Frame, scan: &ScanHeader, outcome: Outcome) -> Result<(), PhotoError> {
    let Outcome { total, missing, doubtful, .. } = outcome;
    if 10 * doubtful > total {
        return Err(damaged(format!("its data is invalid after {} of {total} blocks", total - missing - doubtful)));
    }
    let good = total - missing - doubtful;
    for scanned in &scan.components {
        let component = &mut frame.components[scanned.component];
        if scan.band.0 == 0 && !scan.refines {
            let reached = component.reached.unwrap_or((0, total));
            component.reached = Some((reached.0.max(good), total));
        }
        let (first, last) = scan.band;
        component.missing[first..=last].fill(Some(scan.shift));
    }
    Ok(())
}

/// Fails if the mean colours of more than a tenth of the rows are missing.
fn check_rows(frame: &Frame, height: u32) -> Result<(), PhotoError> {
    // Of a component without any scan there is nothing.
    let rows = |c: &frame::Component| c.reached.map_or(0, |(good, total)| u64::from(height) * good / total.max(1));
    let enough = |c: &frame::Component| c.reached.is_some_and(|(good, total)| 10 * good >= 9 * total);
    if frame.components.iter().all(enough) {
        return Ok(());
    }
    let rows = frame.components.iter().map(rows).min().unwrap_or(0);
    Err(damaged(format!("it ends after {rows} of {height} rows")))
}

/// Makes the pixels of the needed rows. The others are black.
fn pixels(frame: &mut Frame, colours: Colours) -> Result<RgbImage, PhotoError> {
    frame.transform();
    let frame = &*frame;
    let (width, height) = frame.decoded;
    let mut rgb = vec![0; 3 * width * height];
    let mut components: Vec<Upsampler<'_>> = frame.components.iter().map(|c| Upsampler::new(frame, c)).collect();
    for y in frame.rows.clone() {
        let rows: Vec<&[u8]> = components.iter_mut().map(|component| component.row(y)).collect();
        colours.write(&rows, &mut rgb[3 * width * y..][..3 * width]);
    }
    RgbImage::from_raw(width as u32, height as u32, rgb).ok_or_else(|| damaged("its pixels do not match its header"))
}
