//! The error of the crate. Its variants tell the caller what to do.

use std::path::{Path, PathBuf};

use crate::hash::Digest;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong with a release, grouped by what the caller can do. After any of them, the catalogue that
/// is installed stays as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not what they should be: report it to the publisher, or try another source.
    #[error("{what}: {detail}")]
    Malformed {
        /// What was read, such as `manifest`.
        what: &'static str,
        /// What is wrong, with the expected and found values.
        detail: String,
    },
    /// The release is for later versions of the app: update the app.
    #[error("{what} {found} is newer than {known}, the latest that this version reads: update the app")]
    TooNew {
        /// What is too new, such as `manifest format`.
        what: &'static str,
        /// The number that was found.
        found: u32,
        /// The highest number that is known.
        known: u32,
    },
    /// Too few of the trusted keys have signed: look for a newer keys document, else distrust the source.
    #[error("{what}: signed by {valid} of the trusted keys, needed are {needed}; is this the right publisher's key?")]
    Untrusted {
        /// What was read, such as `manifest`.
        what: &'static str,
        /// Trusted keys with a valid signature.
        valid: usize,
        /// The threshold.
        needed: usize,
    },
    /// The release is of another catalogue.
    #[error("this is a release of the catalogue '{found}', expected '{expected}'")]
    WrongCatalog {
        /// The catalogue that the app expects.
        expected: String,
        /// The catalogue of the release.
        found: String,
    },
    /// The release was built with another model, and brings no pack of it: update the app.
    #[error(
        "the release is for model {found}, the app has {expected}, and no model pack comes with it: update the app"
    )]
    WrongModel {
        /// The app's model.
        expected: Digest,
        /// The release's model.
        found: Digest,
    },
    /// The release is older than one that was seen before: distrust the source, or wait until its copy is renewed.
    #[error("publication {found} is older than publication {seen}, which was seen before; ask for it again later")]
    Rollback {
        /// The highest sequence that was seen, or the lowest that the keys allow.
        seen: u64,
        /// The sequence of the release.
        found: u64,
    },
    /// Two different manifests have the same sequence: the publisher has to publish again.
    #[error("another manifest was seen with the publication number {sequence}; publish again")]
    Reused {
        /// The sequence of both.
        sequence: u64,
    },
    /// The manifest is no longer valid: the source does not renew its copy, or the clock is wrong.
    #[error("the manifest expired at {expires} (Unix time), and it is {now}; is the clock right?")]
    Expired {
        /// When it expired, in Unix seconds.
        expires: u64,
        /// The time that it was compared with, in Unix seconds.
        now: u64,
    },
    /// The bytes do not follow those that are there: fetch from the offset that [`Update::next_fetch`] says.
    ///
    /// [`Update::next_fetch`]: crate::Update::next_fetch
    #[error("bytes from offset {found}, expected are those from {expected}")]
    WrongOffset {
        /// Number of bytes that are there.
        expected: u64,
        /// Offset of the bytes that were given.
        found: u64,
    },
    /// The file is longer than the manifest says. What was received of it is discarded: distrust the source.
    #[error("{path}: more than the {bytes} bytes that the manifest says")]
    TooLong {
        /// Path in the release.
        path: String,
        /// Length that the manifest says.
        bytes: u64,
    },
    /// The file is not the one that the manifest names. It is discarded: fetch it again, from another source if need be.
    #[error("{path}: the bytes do not have this hash; fetch the file again")]
    WrongHash {
        /// Path in the release.
        path: String,
    },
    /// Installing needs a manifest and all its files first.
    #[error("not all files of the release are there: go on fetching")]
    Incomplete,
    /// Another process or thread updates or publishes: try again later.
    #[error("{path}: in use by another update; try again later")]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// What is installed cannot be used: update again, which fetches what is wrong.
    #[error("{path}: {detail}; update again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
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

    pub(crate) fn malformed(what: &'static str, detail: impl Into<String>) -> Self {
        Error::Malformed { what, detail: detail.into() }
    }

    pub(crate) fn damaged(path: impl AsRef<Path>, detail: impl Into<String>) -> Self {
        Error::Damaged { path: path.as_ref().to_path_buf(), detail: detail.into() }
    }
}
