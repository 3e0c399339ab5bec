//! The publisher's side: keys, signatures, the folder of a release, and what to publish.

mod cache;
mod folder;
mod listings;
mod secret;

pub use cache::ContentCache;
pub use folder::{ReleaseFolder, parse_manifest, read_release, verify_release};
pub use listings::{Change, Limits, Listings, Publication, PublishedPart};
pub use secret::{SecretKey, sign_keys, sign_manifest};
