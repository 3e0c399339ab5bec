//! A catalogue in one file, mapped read-only. The bytes are specified in `core/docs/SHARD_FORMAT.md`.
//!
//! `format` holds what writer and reader share, `index` the inverted lists, `columns` and `metadata` theirs; `writer` writes, [`Shard`] reads, [`Shard::verify`] checks everything
//! that opening leaves unchecked.

mod columns;
mod format;
mod index;
mod metadata;
mod reader;
mod source;
mod verify;
#[cfg(feature = "build")]
pub(crate) mod writer;

pub use columns::{Column, ColumnKind, WordCodes, Words};
pub use format::{FORMAT_OLDEST_READ, FORMAT_WRITTEN, Header, MAX_COLUMNS, SectionInfo};
pub use index::{Budget, Graph, Index, Links, RECALLS};
pub use metadata::Record;
#[cfg(feature = "build")]
pub(crate) use metadata::{MAX_LISTING_PHOTOS, text_at, texts};
pub use reader::Shard;
pub use verify::VerifyReport;
