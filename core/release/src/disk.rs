//! The only place that touches files. In tests, each call can fail, or be the last before the power is cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// The file system.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    #[cfg(all(test, feature = "publish"))]
    pub(crate) faults: Option<std::sync::Arc<crate::faults::Faults>>,
}

/// What a call does, for the faults of tests.
#[cfg_attr(not(all(test, feature = "publish")), allow(dead_code))] // only faults look at it
pub(crate) enum Call<'a> {
    Create(&'a Path),
    Write(&'a Path, &'a [u8]),
    Sync(&'a Path),
    Rename(&'a Path, &'a Path),
    SyncFolder(&'a Path),
    Other,
}

impl Disk {
    #[cfg_attr(not(all(test, feature = "publish")), allow(clippy::unused_self))] // only faults are state
    fn step(&self, call: Call<'_>) -> io::Result<()> {
        #[cfg(all(test, feature = "publish"))]
        if let Some(faults) = &self.faults {
            return faults.step(call);
        }
        let _ = call;
        Ok(())
    }

    /// Whether to wait for the disk. Tests with faults keep account of what was waited for, and save the time.
    fn is_real(&self) -> bool {
        #[cfg(all(test, feature = "publish"))]
        return self.faults.is_none();
        #[cfg(not(all(test, feature = "publish")))]
        true
    }

    fn run<T>(&self, path: &Path, call: Call<'_>, work: impl FnOnce() -> io::Result<T>) -> Result<T> {
        self.step(call).and_then(|()| work()).map_err(|e| Error::io(path, e))
    }

    /// As `run`; `None` where the file does not exist.
    fn find<T>(&self, path: &Path, work: impl FnOnce() -> io::Result<T>) -> Result<Option<T>> {
        match self.step(Call::Other).and_then(|()| work()) {
            Ok(found) => Ok(Some(found)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(path, e)),
        }
    }

    pub(crate) fn create_folder(&self, path: &Path) -> Result<()> {
        self.run(path, Call::Other, || fs::create_dir_all(path))
    }

    pub(crate) fn is_folder(&self, path: &Path) -> Result<bool> {
        Ok(self.find(path, || fs::metadata(path))?.is_some_and(|about| about.is_dir()))
    }

    pub(crate) fn open(&self, path: &Path) -> Result<File> {
        self.run(path, Call::Other, || File::open(path))
    }

    /// Creates a file, or empties it.
    pub(crate) fn create(&self, path: &Path) -> Result<File> {
        self.run(path, Call::Create(path), || File::create(path))
    }

    /// Opens a file to read it and to append to it; creates it where it does not exist.
    pub(crate) fn open_to_append(&self, path: &Path) -> Result<File> {
        self.run(path, Call::Other, || OpenOptions::new().read(true).append(true).create(true).open(path))
    }

    pub(crate) fn write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> Result<()> {
        self.run(path, Call::Write(path, bytes), || file.write_all(bytes))
    }

    /// Waits until the bytes of a file are on the disk.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> Result<()> {
        self.run(path, Call::Sync(path), || if self.is_real() { file.sync_all() } else { Ok(()) })
    }

    /// Waits until the names in a folder are on the disk.
    pub(crate) fn sync_folder(&self, path: &Path) -> Result<()> {
        self.run(path, Call::SyncFolder(path), || match cfg!(unix) && self.is_real() {
            true => File::open(path)?.sync_all(),
            false => Ok(()),
        })
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.run(to, Call::Rename(from, to), || fs::rename(from, to))
    }

    /// Removes a file; none is no error.
    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        self.find(path, || fs::remove_file(path)).map(|_| ())
    }

    /// Reads a file that has at most `limit` bytes; `None` where it does not exist.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        let read = || {
            let mut bytes = Vec::new();
            File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
            match bytes.len() as u64 > limit {
                true => Err(io::Error::other(format!("more than {limit} bytes"))),
                false => Ok(bytes),
            }
        };
        self.find(path, read)
    }

    /// Calls `take` with all bytes of an open file, from its start; returns their number.
    pub(crate) fn read_all(&self, file: &mut File, path: &Path, take: impl FnMut(&[u8])) -> Result<u64> {
        self.run(path, Call::Other, || pieces(file, take))
    }

    /// The length of a file; `None` where there is no file.
    pub(crate) fn length(&self, path: &Path) -> Result<Option<u64>> {
        let found = self.find(path, || fs::metadata(path))?;
        Ok(found.filter(fs::Metadata::is_file).map(|about| about.len()))
    }

    /// The names of the files in a folder; none where it does not exist.
    pub(crate) fn list(&self, path: &Path) -> Result<Vec<String>> {
        let names = || {
            let names = fs::read_dir(path)?.map(|entry| entry.map(|e| e.file_name().into_string().unwrap_or_default()));
            names.collect::<io::Result<Vec<_>>>()
        };
        Ok(self.find(path, names)?.unwrap_or_default())
    }

    /// Replaces a file in a folder at once: after a power cut, it has the old bytes or the new ones.
    pub(crate) fn replace(&self, folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
        let (new, path) = (folder.join(format!("{name}.new")), folder.join(name));
        let mut file = self.create(&new)?;
        self.write(&mut file, &new, bytes)?;
        self.sync(&file, &new)?;
        drop(file);
        self.rename(&new, &path)?;
        self.sync_folder(folder)
    }

    /// Locks a file for this process and this handle, until the handle is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] where another handle has it.
    pub(crate) fn lock(&self, path: &Path) -> Result<File> {
        let open = || OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let file = self.run(path, Call::Other, open)?;
        match try_lock(&file) {
            Ok(true) => Ok(file),
            Ok(false) => Err(Error::Busy { path: path.to_path_buf() }),
            Err(e) => Err(Error::io(path, e)),
        }
    }
}

/// Calls `take` with all bytes that are left; returns their number.
fn pieces(from: &mut impl Read, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    let (mut buffer, mut total) = (vec![0; 64 << 10], 0);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                take(&buffer[..count]);
                total += count as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// `File::try_lock` is not there on Android before Rust 1.98.
#[cfg(unix)]
fn try_lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(not(unix))]
fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(e)) => Err(e),
    }
}
