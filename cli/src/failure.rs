//! How a command fails: a message, what to do about it, an exit code.

use std::fmt::Display;
use std::path::Path;

use magpie_core::{Error, FilterError, IndexError, ModelError, PhotoError, ShardError};

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
    pub(crate) code: u8,
}

impl Failure {
    /// A failure that has no kind of its own.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), hint: None, code: 1 }
    }

    /// The command was asked for something that makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure { message: message.into(), hint: Some("try --help"), code: 2 }
    }

    pub(crate) fn io(path: &Path, error: impl Display) -> Self {
        Failure::new(format!("{}: {error}", path.display()))
    }

    /// Puts the file before a core error that does not name it.
    pub(crate) fn of(path: &Path, error: impl Into<Error>) -> Self {
        let error = error.into();
        let named = matches!(error, Error::Io { .. });
        let mut failure = Failure::from(error);
        if !named {
            failure.message = format!("{}: {}", path.display(), failure.message);
        }
        failure
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        Failure::from(Error::from(error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, hint) = match &error {
            Error::Photo(PhotoError::UnknownFormat { .. }) => (3, Some("save the picture as JPEG, PNG or WebP")),
            Error::Photo(PhotoError::BadRegion { .. }) => {
                (3, Some("give --crop x,y,w,h in pixels of the upright photo"))
            }
            Error::Photo(_) => (3, None),
            Error::ModelMismatch { .. } => (4, Some("name the pack that built the shard with --model")),
            Error::Model(ModelError::Changed { .. }) => (4, Some("copy the whole pack folder again")),
            Error::Model(_) => (4, None),
            Error::Shard(ShardError::NotAShard) => (5, Some("make one with 'magpie build'")),
            Error::Shard(ShardError::WrongLength { .. } | ShardError::Checksum { .. }) => {
                (5, Some("copy or build the file again"))
            }
            // What a shard was to be built of, not a shard that there is.
            Error::Shard(ShardError::Build(_)) => (1, None),
            Error::Shard(_) => (5, None),
            // It names the columns that there are.
            Error::Filter(FilterError::UnknownColumn { .. }) => (2, None),
            Error::Filter(_) => (2, Some("write --where like 'category=Mugs and price<50'")),
            _ => (1, None),
        };
        Failure { message: error.to_string(), hint, code }
    }
}
