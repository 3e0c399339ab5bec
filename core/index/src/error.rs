//! One error for the crate; its variants say what the caller can do about it.

use std::path::{Path, PathBuf};

use crate::ids::ModelId;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong with an index, grouped by what the caller can do. Whoever wraps it maps each variant, so a
/// new one is a breaking change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The shard cannot be used: download it again, or update the app.
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
    /// A file cannot be read or written.
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
    pub(crate) fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }
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
    pub fn unknown_column<'a>(column: &str, known: impl Iterator<Item = &'a str>) -> FilterError {
        let known: Vec<&str> = known.collect();
        let known = if known.is_empty() { "no column".to_owned() } else { known.join(", ") };
        FilterError::UnknownColumn { column: column.to_owned(), known }
    }
}
