//! Where a shard's bytes come from. The only file that maps memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{Error, Result};

/// The bytes of a shard, aligned to at least 64 bytes.
pub(super) enum Source {
    Mapped(Mmap),
    /// Length in bytes, and the bytes in units that give the alignment.
    Owned(usize, Vec<Unit>),
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct Unit([u8; 64]);

impl Source {
    /// Maps a file read-only.
    pub(super) fn map(path: &Path) -> Result<Source> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        // An empty file cannot be mapped on every system; it is no shard in any case.
        if file.metadata().map_err(|e| Error::io(path, e))?.len() == 0 {
            return Ok(Source::copy(&[]));
        }
        // SAFETY: the map is read-only, and this process never writes the file. Another process that changes or truncates
        // the file would break the promise of `&[u8]`: catalogues are therefore installed by writing a new file and
        // renaming it over the old name, which leaves the mapped one as it was (SHARD_FORMAT.md, "Changing a shard").
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
        Ok(Source::Mapped(map))
    }

    /// Reads a file into memory. A file that changes meanwhile gives some mixture, which the checks that follow judge.
    pub(super) fn read(path: &Path) -> Result<Source> {
        let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
        let len = file.metadata().map_err(|e| Error::io(path, e))?.len();
        let too_long = |e: std::num::TryFromIntError| Error::io(path, std::io::Error::other(e));
        let len = usize::try_from(len).map_err(too_long)?;
        let mut units = vec![Unit([0; 64]); len.div_ceil(64)];
        let bytes: &mut [u8] = &mut bytemuck::cast_slice_mut(&mut units)[..len];
        file.read_exact(bytes).map_err(|e| Error::io(path, e))?;
        Ok(Source::Owned(len, units))
    }

    /// Says that a range will be read soon: a hint.
    pub(super) fn will_need(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Source::Mapped(map) = self {
            let _ = map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
        }
    }

    /// Says that a range will be read here and there, so that reading ahead is of no use: a hint.
    pub(super) fn will_pick(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Source::Mapped(map) = self {
            let _ = map.advise_range(memmap2::Advice::Random, range.start, range.len());
        }
    }

    /// Copies bytes that came from elsewhere, e.g. an app's compressed asset.
    pub(super) fn copy(bytes: &[u8]) -> Source {
        let mut units = vec![Unit([0; 64]); bytes.len().div_ceil(64)];
        bytemuck::cast_slice_mut(&mut units)[..bytes.len()].copy_from_slice(bytes);
        Source::Owned(bytes.len(), units)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Source::Mapped(map) => map,
            Source::Owned(len, units) => &bytemuck::cast_slice(units)[..*len],
        }
    }
}
