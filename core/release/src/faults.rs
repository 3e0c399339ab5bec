//! What the file system does to a test: a call fails, or the power is cut before it.
//!
//! A power cut loses what was not waited for: bytes that were written and not synced, and renames in a folder that was
//! not synced. Removals stay done, since a file system may write them before earlier renames.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::disk::Call;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call fails, and those after it work.
    Fails,
    /// No call works from here on, and what was not waited for is lost.
    PowerCut,
    /// The same, but the system had written everything.
    ProcessKilled,
}

#[derive(Debug)]
pub(crate) struct Faults {
    at: usize,
    fault: Fault,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: usize,
    down: bool,
    /// Files with bytes that were not synced, with the length that was.
    unsynced: HashMap<PathBuf, u64>,
    /// Renames whose folder was not synced: from, to, and what was at `to`.
    renames: Vec<(PathBuf, PathBuf, Option<Vec<u8>>)>,
}

impl Faults {
    pub(crate) fn new(at: usize, fault: Fault) -> Faults {
        Faults { at, fault, state: Mutex::default() }
    }

    /// Number of calls so far.
    pub(crate) fn calls(&self) -> usize {
        self.state.lock().unwrap().calls
    }

    pub(crate) fn step(&self, call: Call<'_>) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let number = state.calls;
        state.calls += 1;
        if state.down {
            return Err(io::Error::other("the power is off"));
        }
        if number == self.at {
            // Half of what is written arrives.
            if let Call::Write(path, bytes) = call {
                use std::io::Write;
                let mut file = fs::OpenOptions::new().append(true).open(path)?;
                let before = file.metadata()?.len();
                state.unsynced.entry(path.to_owned()).or_insert(before);
                file.write_all(&bytes[..bytes.len() / 2])?;
            }
            state.down = self.fault != Fault::Fails;
            if self.fault == Fault::PowerCut {
                state.lose()?;
            }
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        match call {
            Call::Create(path) => {
                state.unsynced.insert(path.to_owned(), 0);
            }
            Call::Write(path, _) => {
                let length = fs::metadata(path).map_or(0, |about| about.len());
                state.unsynced.entry(path.to_owned()).or_insert(length);
            }
            Call::Sync(path) => {
                state.unsynced.remove(path);
            }
            Call::Rename(from, to) => {
                let replaced = fs::read(to).ok();
                if let Some(length) = state.unsynced.remove(from) {
                    state.unsynced.insert(to.to_owned(), length);
                }
                state.renames.push((from.to_owned(), to.to_owned(), replaced));
            }
            Call::SyncFolder(folder) => state.renames.retain(|(_, to, _)| to.parent() != Some(folder)),
            Call::Other => {}
        }
        Ok(())
    }
}

impl State {
    fn lose(&mut self) -> io::Result<()> {
        for (path, length) in self.unsynced.drain().filter(|(path, _)| path.exists()) {
            fs::OpenOptions::new().write(true).open(path)?.set_len(length)?;
        }
        for (from, to, replaced) in self.renames.drain(..).rev() {
            if !to.exists() {
                continue;
            }
            fs::rename(&to, from)?;
            if let Some(bytes) = replaced {
                fs::write(to, bytes)?;
            }
        }
        Ok(())
    }
}
