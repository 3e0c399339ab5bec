//! How a command fails: with a message, a hint and an exit code.

use std::fmt::Display;
use std::path::Path;

use magpie_core::{Error, FilterError, IndexError, ModelError, PhotoError, ShardError};

pub(crate) type Result<T, E = CommandFailure> = std::result::Result<T, E>;

#[derive(Debug)]
pub(crate) struct CommandFailure {
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
    pub(crate) code: u8,
}

impl CommandFailure {
    /// A general failure: exit code 1, no hint.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        CommandFailure { message: message.into(), hint: None, code: 1 }
    }

    /// Options that are invalid or contradict each other: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        CommandFailure { message: message.into(), hint: Some("try --help"), code: 2 }
    }

    /// Options that cannot be parsed: exit code 2.
    pub(crate) fn of_usage(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        // The rest is the usage line and a hint, for people.
        let ends = ["\n\nUsage:", "\n\nFor more information"];
        let message = ends.iter().fold(text.as_str(), |text, end| text.split(end).next().unwrap_or_default());
        CommandFailure::usage(message.trim_start_matches("error: ").trim())
    }

    pub(crate) fn io(path: &Path, error: impl Display) -> Self {
        CommandFailure::new(format!("{}: {error}", path.display()))
    }

    /// Converts an error of the core and prefixes the path, unless the message names it already.
    pub(crate) fn of(path: &Path, error: impl Into<Error>) -> Self {
        match error.into() {
            error @ Error::Io { .. } => CommandFailure::from(error),
            error => CommandFailure::from(error).in_file(path),
        }
    }

    /// Prefixes the path.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        CommandFailure { message: format!("{}: {}", path.display(), self.message), ..self }
    }
}

impl From<magpie_release::Error> for CommandFailure {
    fn from(error: magpie_release::Error) -> Self {
        CommandFailure::new(error.to_string())
    }
}

impl From<IndexError> for CommandFailure {
    fn from(error: IndexError) -> Self {
        CommandFailure::from(Error::from(error))
    }
}

impl From<Error> for CommandFailure {
    fn from(error: Error) -> Self {
        let (code, hint) = match &error {
            Error::Photo(PhotoError::UnknownFormat { .. }) => (3, Some("save the picture as JPEG, PNG or WebP")),
            Error::Photo(PhotoError::BadRegion { .. }) => {
                (3, Some("give --crop x,y,w,h in pixels of the upright photo"))
            }
            Error::Photo(_) => (3, None),
            Error::ModelMismatch { .. } => (4, Some("give the pack that built the shard with --model")),
            Error::Model(ModelError::Changed { .. }) => (4, Some("copy the whole pack folder again")),
            Error::Model(_) => (4, None),
            Error::Shard(ShardError::NotAShard) => (5, Some("build one with 'magpie build'")),
            Error::Shard(ShardError::WrongLength { .. } | ShardError::Checksum { .. }) => {
                (5, Some("copy or build the file again"))
            }
            // The fault lies in the input of a build, not in an existing shard.
            Error::Shard(ShardError::Build(_)) => (1, None),
            Error::Shard(_) => (5, None),
            // The message lists the existing columns.
            Error::Filter(FilterError::UnknownColumn { .. }) => (2, None),
            Error::Filter(_) => (2, Some("example: --where 'category=Mugs and price<50'")),
            _ => (1, None),
        };
        CommandFailure { message: error.to_string(), hint, code }
    }
}
