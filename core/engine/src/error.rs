//! The error type of the crate. Its variants are grouped by what the caller can do about them.

use std::path::{Path, PathBuf};

#[cfg(feature = "image")]
pub use magpie_image::PhotoError;
use magpie_index::ModelId;
pub use magpie_index::{FilterError, ShardError};

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, grouped by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The photo or the crop cannot be used: pick another one.
    #[cfg(feature = "image")]
    #[error("photo: {0}")]
    Photo(#[from] PhotoError),
    /// The model pack cannot be used: reinstall it, or update the app.
    #[error("model: {0}")]
    Model(#[from] ModelError),
    /// The catalogue shard cannot be used: download it again, or update the app.
    #[error("shard: {0}")]
    Shard(#[from] ShardError),
    /// The filter does not parse, or does not fit the shard: correct it.
    #[error("filter: {0}")]
    Filter(#[from] FilterError),
    /// The embedding and the shard come from different models: use the pack that the shard was built with.
    #[error("the shard was built with model {shard} but this is model {model}; build the shard again with this model")]
    ModelMismatch {
        /// The model in use.
        model: ModelId,
        /// The model that the shard was built with.
        shard: ModelId,
    },
    /// The catalogue has no listing with this id: search with another one.
    #[error("the shard has no listing '{}'", id.escape_debug())]
    UnknownListing {
        /// The id asked for.
        id: String,
    },
    /// The engine has no file of corrections: open one first.
    #[error("no file of corrections is open; open one first")]
    NoCorrections,
    /// The caller cancelled the search.
    #[error("cancelled")]
    Cancelled,
    /// A file operation failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps an I/O error together with the path of the file.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }
}

/// Why a model pack was rejected, or its network failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The manifest is malformed or has a value out of range.
    #[error("manifest.json: {0}")]
    Manifest(String),
    /// The manifest's format is newer than this version reads.
    #[error("manifest.json has format {found}, this version reads up to {known}: update the app")]
    TooNew {
        /// The manifest's format.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// The network file is not the one that the manifest describes.
    #[error("the network file does not match the manifest: {what} is {found}, expected {expected}")]
    Changed {
        /// What was compared.
        what: &'static str,
        /// The value in the manifest.
        expected: String,
        /// The value of the file.
        found: String,
    },
    /// The network cannot be loaded, e.g. because it is not ONNX, or has operators that tract does not support.
    #[error("the network cannot be loaded: {0}")]
    Load(String),
    /// The network failed at run time, or its outputs do not match the manifest.
    #[error("the network failed: {0}")]
    Run(String),
}

impl From<magpie_index::Error> for Error {
    fn from(error: magpie_index::Error) -> Self {
        match error {
            magpie_index::Error::Shard(e) => Error::Shard(e),
            magpie_index::Error::Filter(e) => Error::Filter(e),
            magpie_index::Error::ModelMismatch { model, shard } => Error::ModelMismatch { model, shard },
            magpie_index::Error::Stopped => Error::Cancelled,
            magpie_index::Error::Io { path, source } => Error::Io { path, source },
        }
    }
}
