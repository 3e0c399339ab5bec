//! The error of the crate. Its variants tell the caller what to do.

use std::path::{Path, PathBuf};

use crate::ids::ModelId;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong with an index, grouped by what the caller can do. Crates that wrap it map every
/// variant, so a new one is a breaking change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The shard cannot be used: download it again, or update the app.
    #[error("shard: {0}")]
    Shard(#[from] ShardError),
    /// The filter does not parse or does not fit the shard: correct it.
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
    /// The caller asked a search to stop: [`Searcher::with_stop`](crate::search::Searcher::with_stop).
    #[error("the search was stopped")]
    Stopped,
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps an I/O error with the file that it concerns.
    pub(crate) fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }
}

/// The reason why a shard was rejected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// The file does not start with the magic bytes of a shard.
    #[error("not a Magpie shard (the first bytes do not match)")]
    NotAShard,
    /// Written by a newer version, for readers newer than this one.
    #[error("format {found} needs a reader of format {needs} or later, this one reads {known}: update the app")]
    TooNew {
        /// Format version of the file.
        found: u32,
        /// Format version of the oldest reader that may read the file.
        needs: u32,
        /// Format version that this reader knows.
        known: u32,
    },
    /// Written in a format that this reader no longer supports.
    #[error("format {found} is too old, this version reads {oldest} and later: build the shard again")]
    TooOld {
        /// Format version of the file.
        found: u32,
        /// Oldest format version that is still read.
        oldest: u32,
    },
    /// The file is shorter than a header, or does not have the length that its header says.
    #[error("the file has {found} bytes, expected {expected}: it is cut short or not complete")]
    WrongLength {
        /// Length that the header says, or of a header.
        expected: u64,
        /// Length of the file.
        found: u64,
    },
    /// The bytes of the header or a section do not match their checksum.
    #[error("the checksum of {part} does not match: the file is damaged")]
    Checksum {
        /// `header`, or the name of the section.
        part: String,
    },
    /// A value that no writer of this format produces, or a row that the shard lacks.
    #[error("{part}: {detail}")]
    Invalid {
        /// `header`, or the name of the section.
        part: String,
        /// What is wrong, with the expected and found values.
        detail: String,
    },
    /// Texts that take more memory or work than a reader accepts: of too many long listings, or of a file that was made to
    /// exhaust it.
    #[error("{what} take more than {limit} bytes: ask for fewer listings, or the shard is not to be trusted")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// The builder's input does not fit the format.
    #[error("cannot build: {0}")]
    Build(String),
}

/// The reason why a filter was rejected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The text does not parse.
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
        /// The column that the filter names.
        column: String,
        /// The columns that the shard has.
        known: String,
    },
    /// The operator or value does not fit the column's type.
    #[error("column '{column}' {detail}")]
    WrongType {
        /// The column.
        column: String,
        /// What the column holds, and what does not fit.
        detail: String,
    },
}

impl FilterError {
    /// The error for a column that the shard lacks; `known` are the names of those that it has.
    pub fn unknown_column<'a>(column: &str, known: impl Iterator<Item = &'a str>) -> FilterError {
        let known: Vec<&str> = known.collect();
        let known = if known.is_empty() { "no column".to_owned() } else { known.join(", ") };
        FilterError::UnknownColumn { column: column.to_owned(), known }
    }
}
