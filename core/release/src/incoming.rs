//! A file that is being received: kept under its hash, so that it goes on after an interruption.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::manifest::FileEntry;
use crate::packed;
use crate::store::{PARTS, Store};

#[derive(Debug)]
pub(crate) struct Incoming {
    /// What is needed.
    file: FileEntry,
    /// What is received: the file, or its packed form.
    pub(crate) wire: FileEntry,
    path: PathBuf,
    open: File,
    hasher: blake3::Hasher,
}

impl Incoming {
    /// Opens what there is of a file; `None` where that turns out to be all of it.
    pub(crate) fn open(store: &Store, file: FileEntry) -> Result<Option<Incoming>> {
        let wire = file.wire();
        let path = part(store, &wire);
        let mut open = store.disk.open_to_append(&path)?;
        let mut hasher = blake3::Hasher::new();
        // After a power cut, part of it may be anything: the hash over the whole file shows that.
        store.disk.read_all(&mut open, &path, |bytes| {
            hasher.update(bytes);
        })?;
        let mut incoming = Incoming { file, wire, path, open, hasher };
        if incoming.received() > wire.bytes {
            incoming.begin_anew(store)?;
        }
        if incoming.received() < wire.bytes {
            return Ok(Some(incoming));
        }
        match incoming.finish(store) {
            Ok(()) => Ok(None),
            Err(Error::WrongHash { .. }) => Incoming::open(store, file),
            Err(other) => Err(other),
        }
    }

    pub(crate) fn received(&self) -> u64 {
        self.hasher.count()
    }

    fn begin_anew(&mut self, store: &Store) -> Result<()> {
        self.open = store.disk.create(&self.path)?;
        self.hasher = blake3::Hasher::new();
        Ok(())
    }

    /// Takes bytes; returns whether those were the last.
    pub(crate) fn receive(&mut self, store: &Store, offset: u64, bytes: &[u8]) -> Result<bool> {
        if offset == 0 && self.received() > 0 {
            self.begin_anew(store)?;
        }
        let received = self.received();
        if offset != received {
            return Err(Error::WrongOffset { expected: received, found: offset });
        }
        if received.checked_add(bytes.len() as u64).is_none_or(|end| end > self.wire.bytes) {
            store.disk.remove(&self.path)?;
            return Err(Error::TooLong { path: self.wire.path(), bytes: self.wire.bytes });
        }
        store.disk.write(&mut self.open, &self.path, bytes)?;
        self.hasher.update(bytes);
        Ok(self.received() == self.wire.bytes)
    }

    /// Copies all of the file from another one.
    pub(crate) fn copy(mut self, store: &Store, from: &Path) -> Result<()> {
        let (mut offset, mut copied) = (0, Ok(false));
        let mut open = store.disk.open(from)?;
        store.disk.read_all(&mut open, from, |bytes| {
            if copied.is_ok() {
                copied = self.receive(store, offset, bytes);
                offset += bytes.len() as u64;
            }
        })?;
        match copied? {
            true => self.finish(store),
            // It was changed meanwhile: the next fetch goes on from here, and the hash decides.
            false => Ok(()),
        }
    }

    /// Gives the complete file its name, if it is the right one.
    pub(crate) fn finish(self, store: &Store) -> Result<()> {
        if *self.hasher.finalize().as_bytes() != self.wire.hash.0 {
            return self.refuse(store);
        }
        if self.file.packed.is_some() {
            return self.unpack(store);
        }
        store.disk.sync(&self.open, &self.path)?;
        store.disk.rename(&self.path, &store.file(&self.file))
    }

    fn refuse(self, store: &Store) -> Result<()> {
        store.disk.remove(&self.path)?;
        Err(Error::WrongHash { path: self.wire.path() })
    }

    /// Makes the file of its packed form. That is kept too: who has both can serve the release on. It gets its name first, so
    /// that whoever has a file that came packed has the frame.
    fn unpack(self, store: &Store) -> Result<()> {
        let packed = store.disk.read(&self.path, self.wire.bytes)?.unwrap_or_default();
        let Some(bytes) = packed::unpack(&packed, &self.file) else { return self.refuse(store) };
        let path = part(store, &self.file);
        let mut file = store.disk.create(&path)?;
        store.disk.write(&mut file, &path, &bytes)?;
        store.disk.sync(&file, &path)?;
        store.disk.sync(&self.open, &self.path)?;
        store.disk.rename(&self.path, &store.file(&self.wire))?;
        store.disk.rename(&path, &store.file(&self.file))
    }
}

/// Where a file is kept until it is complete.
fn part(store: &Store, file: &FileEntry) -> PathBuf {
    store.folder().join(PARTS).join(file.hash.to_string())
}
