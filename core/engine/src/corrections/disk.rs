//! Files that survive a power cut, and a lock between threads and processes.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a lock is tried before the caller is told that the file is busy, and the pause between two tries. Another
/// process may have been frozen while it had the lock.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// Reads a file up to `limit` bytes and one more; nothing where it does not exist.
pub(super) fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Appends to a file that exists, and waits until the bytes are on the disk. Where that fails, nothing is added, or a part
/// that a reader passes over.
pub(super) fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        // Not needed, since readers pass over a part of a record. It keeps the file whole where the disk was full.
        let _ = file.set_len(before);
    }
    written
}

/// Replaces a file at once: after a power cut, it has the old bytes or the new ones. After an error it has the old ones.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Before anything has changed: it may fail.
    let folder = if cfg!(unix) { Some(File::open(folder)?) } else { None };
    std::fs::rename(&new, path)?;
    if let Some(Err(error)) = folder.map(|folder| folder.sync_all()) {
        // Every reader sees the new bytes, so this is no failure; a power cut may still bring back the old ones.
        log::warn!("{}: the folder cannot be synced: {error}", path.display());
    }
    Ok(())
}

/// Locks the file beside `path` for this handle, until the handle is dropped. The file itself cannot be the lock: it is
/// replaced.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(beside(path, ".lock"))?;
    for _ in 0..TRIES {
        if try_lock(&file)? {
            return Ok(file);
        }
        std::thread::sleep(PAUSE);
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another process is changing the corrections: try again"))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// `File::try_lock` is not there on Android before Rust 1.98.
#[cfg(unix)]
fn try_lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

#[cfg(not(unix))]
fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(e)) => Err(e),
    }
}
