//! Why a photo, a region of it or a camera frame was refused.

use std::time::Duration;

/// Why a photo was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PhotoError {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// More bytes than [`Limits::max_bytes`](crate::Limits).
    #[error("{bytes} bytes are more than the {limit} allowed")]
    TooManyBytes {
        /// Size of the file.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The header announces more pixels than [`Limits::max_pixels`](crate::Limits).
    #[error("{width} x {height} pixels are more than the {limit} allowed")]
    TooManyPixels {
        /// Announced width.
        width: u32,
        /// Announced height.
        height: u32,
        /// The limit.
        limit: u64,
    },
    /// Decoding would take more memory than [`Limits::max_memory`](crate::Limits).
    #[error("decoding needs about {bytes} bytes of memory, more than the {limit} allowed")]
    TooMuchMemory {
        /// Estimate, made before anything is allocated.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Decoding took longer than [`Limits::max_time`](crate::Limits).
    #[error("decoding took longer than the {limit:?} allowed")]
    TooSlow {
        /// The limit.
        limit: Duration,
    },
    /// Not a JPEG, PNG or WebP file.
    #[error("not a JPEG, PNG or WebP picture{}", hint(.found))]
    UnknownFormat {
        /// What it looks like instead, where that can be told.
        found: Option<&'static str>,
    },
    /// The file starts like a picture but cannot be decoded: truncated or damaged.
    #[error("the {format} picture is damaged or cut short: {detail}")]
    Damaged {
        /// The format.
        format: &'static str,
        /// What the decoder said.
        detail: String,
    },
    /// A valid picture of a kind that the decoder does not know.
    #[error("this kind of {format} is not supported: {detail}")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// What the decoder said.
        detail: String,
    },
    /// The region of interest has no area or lies outside the photo.
    #[error("the crop {x},{y},{width},{height} does not lie inside the photo of {photo_width} x {photo_height} pixels")]
    BadRegion {
        /// Left edge.
        x: u32,
        /// Top edge.
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
    /// The numbers that describe a camera frame do not fit together, or what is wanted of it is too large.
    #[error("the frame's {what} is {found}, expected {}", range(*.least, *.most))]
    BadFrame {
        /// Which number: a side in pixels, or a stride or length of a plane in bytes.
        what: String,
        /// What it is.
        found: u64,
        /// The least that it may be.
        least: u64,
        /// The most that it may be, where there is a bound.
        most: Option<u64>,
    },
    /// A camera frame is turned by quarters only.
    #[error("the frame is turned by {degrees} degrees, expected 0, 90, 180 or 270")]
    BadRotation {
        /// The turn asked for.
        degrees: u32,
    },
}

fn range(least: u64, most: Option<u64>) -> String {
    most.map_or_else(|| format!("at least {least}"), |most| format!("{least} to {most}"))
}

fn hint(found: &Option<&'static str>) -> String {
    found.map(|name| format!(" (it looks like {name})")).unwrap_or_default()
}
