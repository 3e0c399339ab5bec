//! Values by the hash of what they were made from, in a file that only grows: embeddings and thumbnails of photos.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::hash::Digest;

const MAGIC: &[u8; 8] = b"MAGPIE\x1aE";
/// Hash, length of the value, first bytes of the value's hash.
const HEADER_LEN: usize = 32 + 4 + 8;
const MAX_VALUE: usize = 16 << 20;

/// A cache in one file. Each value is written at once and has a checksum: after a crash, what was written before is there,
/// and what is damaged counts as not there.
pub struct ContentCache {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    file: File,
    /// Where each value starts, and its length.
    places: HashMap<Digest, (u64, u32)>,
    end: u64,
}

impl ContentCache {
    /// Opens the cache file, or creates it. Only one process at a time may do so.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] where the file is something else.
    pub fn open(path: &Path) -> Result<ContentCache> {
        let failed = |e: io::Error| Error::io(path, e);
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut magic = [0; MAGIC.len()];
        if length < MAGIC.len() as u64 {
            file.set_len(0).and_then(|()| file.write_all(MAGIC)).map_err(failed)?;
        } else {
            file.read_exact(&mut magic).map_err(failed)?;
            if magic != *MAGIC {
                return Err(Error::malformed("cache", format!("{} is something else", path.display())));
            }
        }
        let mut places = HashMap::new();
        let mut end = MAGIC.len() as u64;
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut header = [0; HEADER_LEN];
        while end + HEADER_LEN as u64 <= length {
            reader.read_exact(&mut header).map_err(failed)?;
            let (hash, count) = head(&header);
            let after = end + (HEADER_LEN + count) as u64;
            // A value that was cut short, and whatever follows it.
            if count > MAX_VALUE || after > length {
                break;
            }
            places.insert(hash, (end, count as u32));
            reader.seek_relative(count as i64).map_err(failed)?;
            end = after;
        }
        file.set_len(end).map_err(failed)?;
        Ok(ContentCache { path: path.to_owned(), state: Mutex::new(State { file, places, end }) })
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.lock().places.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a value of this hash. It may still turn out to be damaged.
    pub fn contains(&self, hash: &Digest) -> bool {
        self.lock().places.contains_key(hash)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the value of a hash. What cannot be read is as good as not there.
    pub fn get(&self, hash: &Digest) -> Option<Vec<u8>> {
        let mut state = self.lock();
        let (at, count) = *state.places.get(hash)?;
        let mut bytes = vec![0; HEADER_LEN + count as usize];
        state.file.seek(SeekFrom::Start(at)).and_then(|_| state.file.read_exact(&mut bytes)).ok()?;
        let value = bytes.split_off(HEADER_LEN);
        (bytes == header(hash, &value)).then_some(value)
    }

    /// Keeps a value.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put(&self, hash: Digest, value: &[u8]) -> Result<()> {
        let state = &mut *self.lock();
        let bytes = [&header(&hash, value)[..], value].concat();
        let written = state.file.seek(SeekFrom::Start(state.end)).and_then(|_| state.file.write_all(&bytes));
        written.map_err(|e| Error::io(&self.path, e))?;
        state.places.insert(hash, (state.end, value.len() as u32));
        state.end += bytes.len() as u64;
        Ok(())
    }
}

fn head(header: &[u8; HEADER_LEN]) -> (Digest, usize) {
    let mut hash = [0; 32];
    hash.copy_from_slice(&header[..32]);
    (Digest(hash), u32::from_le_bytes([header[32], header[33], header[34], header[35]]) as usize)
}

fn header(hash: &Digest, value: &[u8]) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..32].copy_from_slice(&hash.0);
    header[32..36].copy_from_slice(&(value.len() as u32).to_le_bytes());
    // The key is part of it: a value must not be found under another.
    let check = blake3::Hasher::new().update(&hash.0).update(value).finalize();
    header[36..].copy_from_slice(&check.as_bytes()[..8]);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_there_again_after_any_cut_and_damaged_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let values: Vec<Vec<u8>> = (1..5_u8).map(|i| vec![i; usize::from(i) * 10]).collect();
        let cache = ContentCache::open(&path).unwrap();
        assert!(cache.is_empty());
        let mut ends = Vec::new();
        for value in &values {
            cache.put(Digest::of(value), value).unwrap();
            ends.push(std::fs::metadata(&path).unwrap().len() as usize);
        }
        drop(cache);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let cache = ContentCache::open(&path).unwrap();
            let complete = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(cache.len(), complete, "cut at {cut}");
            for (at, value) in values.iter().enumerate() {
                let found = cache.get(&Digest::of(value));
                assert_eq!(found.as_ref(), (at < complete).then_some(value));
            }
            // And it goes on from there.
            cache.put(Digest::of(b"x"), b"x").unwrap();
            assert_eq!(ContentCache::open(&path).unwrap().get(&Digest::of(b"x")).unwrap(), b"x");
        }
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(ContentCache::open(&path).unwrap().get(&Digest::of(&values[3])), None);
        std::fs::write(&path, "something else").unwrap();
        assert!(ContentCache::open(&path).is_err());
    }
}
