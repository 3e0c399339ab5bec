#![cfg_attr(feature = "publish", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "publish"),
    doc = "Installs signed releases; see README.md. Its example needs the feature `publish`."
)]
#![cfg_attr(test, allow(clippy::unwrap_used))] // a test may stop at the first thing that is wrong

mod disk;
mod envelope;
mod error;
#[cfg(all(test, feature = "publish"))]
mod faults;
mod hash;
mod incoming;
mod keys;
mod manifest;
mod packed;
mod pointer;
#[cfg(feature = "publish")]
pub mod publish;
mod removed;
mod store;
#[cfg(all(test, feature = "publish"))]
mod testing;
mod update;

pub use envelope::{MAX_ENVELOPE_BYTES, MAX_SIGNATURES};
pub use error::{Error, Result};
pub use hash::{Digest, PublicKey};
pub use keys::KeySet;
pub use manifest::{
    Delta, FORMAT_WRITTEN, FileEntry, MANIFEST_FILE, MAX_DELTAS, MAX_FILE_BYTES, MAX_REMOVED_BYTES, Manifest,
    ModelEntry, PackFile, Packed,
};
pub use removed::read_removed;
pub use store::{Current, Part, Store};
pub use update::{Expected, Fetch, Plan, Update};
