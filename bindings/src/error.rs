//! The errors that cross, grouped by what the caller can do. Their details are for logs and developers, not for
//! shoppers.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use magpie_core::{Error, IndexError};

/// Why a call failed. The reasons are English text for developers.
#[derive(Debug, Clone, PartialEq, thiserror::Error, uniffi::Error)]
pub enum MagpieError {
    /// The photo or frame cannot be used, or the crop exceeds it: try another one.
    #[error("photo: {reason}")]
    Photo {
        /// What is wrong with it.
        reason: String,
    },
    /// The catalogue cannot be used: download it again, or update the app.
    #[error("catalogue: {reason}")]
    Catalog {
        /// What is wrong with it.
        reason: String,
    },
    /// The model pack cannot be used, or the catalogue was built with another model: install both again.
    #[error("model: {reason}")]
    Model {
        /// What is wrong with it.
        reason: String,
    },
    /// The request cannot be answered: for example, the filter is invalid or the listing does not exist.
    #[error("request: {reason}")]
    Request {
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("file: {reason}")]
    File {
        /// The file, and the system's error.
        reason: String,
    },
    /// The catalogue is for another model than this engine has: open a new engine, which takes both.
    #[error("other model: {reason}")]
    OtherModel {
        /// The two models.
        reason: String,
    },
    /// The release, or its keys, are not signed by enough of the trusted keys: do not use this source.
    #[error("untrusted: {reason}")]
    Untrusted {
        /// What is signed by how many.
        reason: String,
    },
    /// The release has expired, or is older than one that was seen before: ask again later. The source does not renew its
    /// copy, or the device's clock is wrong.
    #[error("outdated: {reason}")]
    Outdated {
        /// What it is, and what was expected.
        reason: String,
    },
    /// The release is for another catalogue or model than the app's, or for a later version of the app: update the app.
    #[error("not for this app: {reason}")]
    NotForThisApp {
        /// What was found, and what was expected.
        reason: String,
    },
    /// What was downloaded is not what it should be: fetch again. If that does not help, the source is damaged.
    #[error("download: {reason}")]
    Download {
        /// What is wrong.
        reason: String,
    },
    /// Another update of this folder is under way, in this process or another: try again later.
    #[error("busy: {reason}")]
    Busy {
        /// The lock.
        reason: String,
    },
    /// The disk is full: free space, then update again. What was received is kept.
    #[error("no space: {reason}")]
    NoSpace {
        /// The file, and the system's error.
        reason: String,
    },
    /// The call was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A defect of the library: please report it.
    #[error("internal: {reason}")]
    Internal {
        /// What is known about it.
        reason: String,
    },
}

impl From<IndexError> for MagpieError {
    fn from(error: IndexError) -> MagpieError {
        Error::from(error).into()
    }
}

impl From<Error> for MagpieError {
    fn from(error: Error) -> MagpieError {
        let reason = error.to_string();
        match error {
            Error::Photo(e) => MagpieError::Photo { reason: e.to_string() },
            Error::Model(e) => MagpieError::Model { reason: e.to_string() },
            Error::Shard(e) => MagpieError::Catalog { reason: e.to_string() },
            Error::ModelMismatch { .. } => MagpieError::Model { reason },
            Error::Filter(_) | Error::UnknownListing { .. } | Error::NoCorrections => MagpieError::Request { reason },
            Error::Io { .. } => MagpieError::File { reason },
            Error::Cancelled => MagpieError::Cancelled,
            _ => MagpieError::Internal { reason },
        }
    }
}

impl From<magpie_release::Error> for MagpieError {
    fn from(error: magpie_release::Error) -> MagpieError {
        use magpie_release::Error as Release;
        let reason = error.to_string();
        match error {
            Release::Untrusted { .. } => MagpieError::Untrusted { reason },
            Release::Rollback { .. } | Release::Reused { .. } | Release::Expired { .. } => {
                MagpieError::Outdated { reason }
            }
            Release::WrongCatalog { .. } | Release::WrongModel { .. } | Release::TooNew { .. } => {
                MagpieError::NotForThisApp { reason }
            }
            Release::Malformed { .. }
            | Release::WrongOffset { .. }
            | Release::TooLong { .. }
            | Release::WrongHash { .. } => MagpieError::Download { reason },
            Release::Busy { .. } => MagpieError::Busy { reason },
            Release::Damaged { .. } => MagpieError::Catalog { reason },
            Release::Incomplete => MagpieError::Request { reason },
            Release::Io { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => MagpieError::NoSpace { reason },
                _ => MagpieError::File { reason },
            },
            _ => MagpieError::Internal { reason },
        }
    }
}

/// Runs a call: translates and logs its errors, and turns a panic into an error.
pub(crate) fn guarded<T>(call: &'static str, work: impl FnOnce() -> Result<T, MagpieError>) -> Result<T, MagpieError> {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(MagpieError::Internal { reason: text.unwrap_or("panicked").to_owned() })
    });
    result.inspect_err(|error| match error {
        MagpieError::Cancelled => log::debug!("{call}: cancelled"),
        // The reasons of these two may quote what a user photographed or typed, which must not be logged.
        MagpieError::Photo { .. } => log::info!("{call}: the photo was refused"),
        MagpieError::Request { .. } => log::info!("{call}: the request was refused"),
        // These come from servers and networks, and pass by themselves.
        MagpieError::Outdated { .. } | MagpieError::Download { .. } | MagpieError::Busy { .. } => {
            log::warn!("{call}: {error}");
        }
        error => log::error!("{call}: {error}"),
    })
}
