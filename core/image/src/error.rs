//! The reasons to refuse a photo, a region of it or a camera frame.

/// The reason why a photo, a region or a camera frame was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PhotoError {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file has more bytes than [`DecodeLimits::max_bytes`](crate::DecodeLimits).
    #[error("{bytes} bytes are more than the {limit} allowed")]
    TooManyBytes {
        /// Size of the file in bytes.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The header announces more pixels than [`DecodeLimits::max_pixels`](crate::DecodeLimits).
    #[error("{width} x {height} pixels are more than the {limit} allowed")]
    TooManyPixels {
        /// Width in the header.
        width: u32,
        /// Height in the header.
        height: u32,
        /// The limit in pixels.
        limit: u64,
    },
    /// Decoding would take more memory than [`DecodeLimits::max_memory`](crate::DecodeLimits).
    #[error("decoding needs about {bytes} bytes of memory, more than the {limit} allowed")]
    TooMuchMemory {
        /// The estimate, made before the picture's memory is allocated.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The scans of a JPEG visit more blocks than [`DecodeLimits::max_blocks`](crate::DecodeLimits).
    #[error("decoding has to visit {blocks} blocks or more, more than the {limit} allowed")]
    TooMuchWork {
        /// Blocks of the scans up to the one that exceeds the limit.
        blocks: u64,
        /// The limit in blocks.
        limit: u64,
    },
    /// The file is not JPEG, PNG or WebP.
    #[error("not a JPEG, PNG or WebP picture{}", hint(.found))]
    UnknownFormat {
        /// The format that it seems to be, if it is a known one.
        found: Option<&'static str>,
    },
    /// The file starts like a picture but cannot be decoded: it is damaged, or too much of it is missing.
    #[error("the {format} picture is damaged or truncated: {detail}")]
    Damaged {
        /// The format.
        format: &'static str,
        /// The decoder's message.
        detail: String,
    },
    /// The picture is valid, but uses a feature that the decoder does not support.
    #[error("this kind of {format} is not supported: {detail}")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// The decoder's message.
        detail: String,
    },
    /// The region of interest is empty or reaches outside the photo.
    #[error("the crop {x},{y},{width},{height} does not lie inside the photo of {photo_width} x {photo_height} pixels")]
    BadRegion {
        /// Left edge of the crop.
        x: u32,
        /// Top edge of the crop.
        y: u32,
        /// Width of the crop.
        width: u32,
        /// Height of the crop.
        height: u32,
        /// Width of the upright photo.
        photo_width: u32,
        /// Height of the upright photo.
        photo_height: u32,
    },
    /// The description of a camera frame is inconsistent, or the size requested from it is out of range.
    #[error("the frame's {what} is {found}, expected {}", range(*.least, *.most))]
    BadFrame {
        /// The name of the number: a side in pixels, or the stride or length of a plane in bytes.
        what: String,
        /// Its value.
        found: u64,
        /// The smallest valid value.
        least: u64,
        /// The largest valid value, if there is an upper bound.
        most: Option<u64>,
    },
    /// The rotation of a camera frame is not a multiple of 90 degrees below 360.
    #[error("the frame's rotation is {degrees} degrees, expected 0, 90, 180 or 270")]
    BadRotation {
        /// The rotation in degrees.
        degrees: u32,
    },
}

fn range(least: u64, most: Option<u64>) -> String {
    most.map_or_else(|| format!("at least {least}"), |most| format!("{least} to {most}"))
}

fn hint(found: &Option<&'static str>) -> String {
    found.map(|name| format!(" (it looks like {name})")).unwrap_or_default()
}
