//! A catalogue in one file, memory-mapped read-only. The bytes are specified in `core/docs/SHARD_FORMAT.md`.
//!
//! `format` has the header and section table, `index` the layouts of the inverted lists, `columns` those of filter
//! columns, `metadata` those of listings, `photos` the photos of each listing. `writer` writes the file, `open` opens it,
//! [`Shard`] reads it, and [`Shard::verify`] checks all that opening does not read.

mod columns;
mod format;
mod index;
mod metadata;
mod open;
mod photos;
mod reader;
mod source;
mod verify;
#[cfg(feature = "build")]
pub(crate) mod writer;

pub use columns::{Column, ColumnKind, WordCodes, Words};
pub use format::{FORMAT_OLDEST_READ, FORMAT_WRITTEN, Header, MAX_COLUMNS, MAX_FIELDS, SectionInfo};
pub(crate) use index::RECALLS;
#[cfg(feature = "build")]
pub(crate) use index::{Budget, ListIndex};
pub(crate) use metadata::Brief;
pub use metadata::Record;
#[cfg(feature = "build")]
pub(crate) use metadata::{MAX_LISTING_PHOTOS, text_at, texts};
pub use reader::Shard;
pub use verify::VerifyReport;
