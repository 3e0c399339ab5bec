//! The bytes of a shard: memory-mapped or owned. The only file that maps memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{Error, Result, ShardError};

/// The bytes of a shard, aligned to at least 64 bytes.
pub(super) enum ShardBytes {
    Mapped(Mmap),
    /// Length in bytes, and the bytes in units that guarantee the alignment.
    Owned(usize, Vec<Unit>),
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct Unit([u8; 64]);

impl ShardBytes {
    /// Maps a file read-only.
    pub(super) fn map(path: &Path) -> Result<ShardBytes> {
        let (file, len) = open(path)?;
        // Some systems cannot map an empty file; opening it then fails as for any other file that is not a shard.
        if len == 0 {
            return Ok(ShardBytes::copy(&[]));
        }
        // SAFETY: the map is read-only, and this process never writes the file. Another process that changes or
        // truncates it would break the guarantees of `&[u8]`. Catalogues are therefore installed by writing a new file
        // and renaming it over the old name, which leaves the mapped one intact (SHARD_FORMAT.md, "Changing a shard").
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
        Ok(ShardBytes::Mapped(map))
    }

    /// Reads a file into memory. `check` sees its first `front` bytes and its length before memory is taken for the rest.
    /// A file that changes meanwhile gives a mixture, which the checks on opening judge.
    pub(super) fn read(
        path: &Path,
        front: usize,
        check: impl FnOnce(&[u8], u64) -> Result<(), ShardError>,
    ) -> Result<ShardBytes> {
        let io = |e| Error::io(path, e);
        let (mut file, len) = open(path)?;
        let mut first = Vec::with_capacity(front);
        (&mut file).take(front as u64).read_to_end(&mut first).map_err(io)?;
        check(&first, len)?;
        let too_long = |_| Error::io(path, std::io::ErrorKind::OutOfMemory.into());
        let len = usize::try_from(len).map_err(too_long)?;
        let mut units = Vec::new();
        units
            .try_reserve_exact(len.div_ceil(64))
            .map_err(|_| Error::io(path, std::io::ErrorKind::OutOfMemory.into()))?;
        units.resize(len.div_ceil(64), Unit([0; 64]));
        let bytes: &mut [u8] = &mut bytemuck::cast_slice_mut(&mut units)[..len];
        let (start, rest) = bytes.split_at_mut(first.len().min(len));
        start.copy_from_slice(&first[..start.len()]);
        file.read_exact(rest).map_err(io)?;
        Ok(ShardBytes::Owned(len, units))
    }

    /// Hints that a range will be read soon.
    pub(super) fn will_need(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let ShardBytes::Mapped(map) = self {
            let _ = map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
        }
    }

    /// Hints that a range will be read at random, so that reading ahead is useless.
    pub(super) fn will_pick(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let ShardBytes::Mapped(map) = self {
            let _ = map.advise_range(memmap2::Advice::Random, range.start, range.len());
        }
    }

    /// Copies bytes from elsewhere, e.g. an app's compressed asset.
    pub(super) fn copy(bytes: &[u8]) -> ShardBytes {
        let mut units = vec![Unit([0; 64]); bytes.len().div_ceil(64)];
        bytemuck::cast_slice_mut(&mut units)[..bytes.len()].copy_from_slice(bytes);
        ShardBytes::Owned(bytes.len(), units)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            ShardBytes::Mapped(map) => map,
            ShardBytes::Owned(len, units) => &bytemuck::cast_slice(units)[..*len],
        }
    }
}

/// Opens a plain file and returns its length. Opening anything else could wait for ever, or has no length.
fn open(path: &Path) -> Result<(File, u64)> {
    let io = |e| Error::io(path, e);
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a plain file")));
    }
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    Ok((file, len))
}
