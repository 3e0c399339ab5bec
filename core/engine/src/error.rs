//! One error for the crate; its variants say what the caller can do about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ids::ModelId;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong, grouped by what the caller can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The photo or the crop cannot be used: pick another one.
    #[error("photo: {0}")]
    Photo(#[from] PhotoError),
    /// The model pack cannot be used: install it again, or update the app.
    #[error("model: {0}")]
    Model(#[from] ModelError),
    /// The catalogue shard cannot be used: download it again, or update the app.
    #[error("shard: {0}")]
    Shard(#[from] ShardError),
    /// The filter is not understood: correct it.
    #[error("filter: {0}")]
    Filter(#[from] FilterError),
    /// The embedding and the shard come from different networks: use the pack that built the shard.
    #[error("the shard was built with model {shard} but this is model {model}; build the shard again with this model")]
    ModelMismatch {
        /// The model in use.
        model: ModelId,
        /// The model that the shard was built with.
        shard: ModelId,
    },
    /// The shard has no listing with this id: search with another one.
    #[error("the shard has no listing '{}'", id.escape_debug())]
    UnknownListing {
        /// The id asked for.
        id: String,
    },
    /// The caller said that nobody waits for the result any more.
    #[error("cancelled")]
    Cancelled,
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps an I/O error with the file that it concerns.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }
}

/// Why a photo was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PhotoError {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// More bytes than [`Limits::max_bytes`](crate::image::Limits).
    #[error("{bytes} bytes are more than the {limit} allowed")]
    TooManyBytes {
        /// Size of the file.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The header announces more pixels than [`Limits::max_pixels`](crate::image::Limits).
    #[error("{width} x {height} pixels are more than the {limit} allowed")]
    TooManyPixels {
        /// Announced width.
        width: u32,
        /// Announced height.
        height: u32,
        /// The limit.
        limit: u64,
    },
    /// Decoding would take more memory than [`Limits::max_memory`](crate::image::Limits).
    #[error("decoding needs about {bytes} bytes of memory, more than the {limit} allowed")]
    TooMuchMemory {
        /// Estimate, made before anything is allocated.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Decoding took longer than [`Limits::max_time`](crate::image::Limits).
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

/// Why a model pack was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The manifest is not what this version reads.
    #[error("manifest.json: {0}")]
    Manifest(String),
    /// The manifest's format is newer than this version reads.
    #[error("manifest.json has format {found}, this version reads up to {known}: update the app")]
    TooNew {
        /// Format of the manifest.
        found: u32,
        /// Newest format that is known here.
        known: u32,
    },
    /// The network file is not the one that the manifest describes.
    #[error("the network file does not match the manifest: {what} is {found}, expected {expected}")]
    Changed {
        /// What was compared.
        what: &'static str,
        /// Value in the manifest.
        expected: String,
        /// Value of the file.
        found: String,
    },
    /// The network cannot be loaded: not ONNX, or operators that tract does not know.
    #[error("the network cannot be loaded: {0}")]
    Load(String),
    /// The network ran but failed or gave something else than the manifest promises.
    #[error("the network failed: {0}")]
    Run(String),
}

/// Why a shard was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// The file does not start like a shard.
    #[error("not a Magpie shard (the first bytes do not match)")]
    NotAShard,
    /// Written by a newer version that older readers must not read.
    #[error("format {found} needs a reader of format {needs} or later, this one reads {known}: update the app")]
    TooNew {
        /// Format of the file.
        found: u32,
        /// Oldest reader that the file allows.
        needs: u32,
        /// Format that this version reads.
        known: u32,
    },
    /// Written in a format that this version no longer reads.
    #[error("format {found} is too old, this version reads {oldest} and later: build the shard again")]
    TooOld {
        /// Format of the file.
        found: u32,
        /// Oldest format that is still read.
        oldest: u32,
    },
    /// Shorter than a header, or shorter or longer than its header says.
    #[error("the file has {found} bytes, expected {expected}: it is cut short or not complete")]
    WrongLength {
        /// Length in the header, or of a header.
        expected: u64,
        /// Length of the file.
        found: u64,
    },
    /// The bytes of a part do not match their checksum.
    #[error("the checksum of {part} does not match: the file is damaged")]
    Checksum {
        /// Header or section.
        part: String,
    },
    /// A value that no writer of this format produces.
    #[error("{part}: {detail}")]
    Invalid {
        /// Header or section.
        part: String,
        /// What is wrong, with the expected and found values.
        detail: String,
    },
    /// The builder was given something that the format cannot hold.
    #[error("cannot build: {0}")]
    Build(String),
}

/// Why a filter was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The text is not a filter.
    #[error("at character {at}: {detail}")]
    Syntax {
        /// Position in characters, from 1.
        at: usize,
        /// What was expected.
        detail: String,
    },
    /// The shard has no such column.
    #[error("no column '{column}'; this shard can filter by {known}")]
    UnknownColumn {
        /// The column asked for.
        column: String,
        /// The columns that exist.
        known: String,
    },
    /// The comparison does not fit the column's type.
    #[error("column '{column}' {detail}")]
    WrongType {
        /// The column.
        column: String,
        /// What it holds and what was asked.
        detail: String,
    },
}

impl FilterError {
    /// The error for a column that is none of the shard's.
    pub(crate) fn unknown_column<'a>(column: &str, known: impl Iterator<Item = &'a str>) -> FilterError {
        let known: Vec<&str> = known.collect();
        let known = if known.is_empty() { "no column".to_owned() } else { known.join(", ") };
        FilterError::UnknownColumn { column: column.to_owned(), known }
    }
}
