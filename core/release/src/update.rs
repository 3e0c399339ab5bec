//! An update, from the bytes of a manifest to the installed catalogue. It does no network I/O: it says what to fetch.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use crate::envelope::{Envelope, Kind};
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::incoming::Incoming;
use crate::keys::{KeySet, keys_path};
use crate::manifest::{FileEntry, Manifest};
use crate::pointer::Pointer;
use crate::store::{Current, FILES, PARTS, Seen, Store, check_file};

/// What an app expects of a release.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Expected {
    /// The catalogue's name; `None` for the one that is installed, and for any where none is.
    pub catalog: Option<String>,
    /// The keys that the app pins.
    pub keys: KeySet,
    /// The app's own model; `None` takes any.
    pub model: Option<Digest>,
    /// The shard format that the app reads: `FORMAT_WRITTEN` of `magpie-index`.
    pub shard_format: u32,
}

impl Expected {
    /// Expects a catalogue signed by these keys, with shards of this format or earlier.
    pub fn new(catalog: Option<String>, keys: KeySet, shard_format: u32) -> Expected {
        Expected { catalog, keys, model: None, shard_format }
    }

    /// Expects the app's own model, or a release that brings its own.
    #[must_use]
    pub fn with_model(mut self, id: Digest) -> Expected {
        self.model = Some(id);
        self
    }
}

/// What an update has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Publication number of the manifest.
    pub sequence: u64,
    /// Whether this publication is installed already: there is nothing to do.
    pub is_installed: bool,
    /// Number of files to fetch.
    pub files: usize,
    /// Bytes to fetch. What was received before is not counted.
    pub bytes: u64,
    /// Bytes of free space that the update needs.
    pub space: u64,
}

/// A piece of a file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetch {
    /// Path in the release, such as `files/` and the hash.
    pub path: String,
    /// The file's hash.
    pub hash: Digest,
    /// Where to begin: the bytes before are there.
    pub offset: u64,
    /// Length of the whole file, or of its packed form where that is what is fetched.
    pub bytes: u64,
}

/// An update under way. It holds the store's lock; an update that is dropped keeps what it has received, and the next one
/// goes on from there.
///
/// Give it the bytes of the manifest ([`Update::manifest`]), then fetch what [`Update::next_fetch`] says and hand over the
/// bytes as they come ([`Update::receive`]) until nothing is left, then [`Update::install`].
#[derive(Debug)]
pub struct Update {
    store: Store,
    expected: Expected,
    keys: KeySet,
    installed: Option<Pointer>,
    target: Option<Pointer>,
    incoming: Option<Incoming>,
    _lock: File,
}

impl Store {
    /// Begins an update.
    ///
    /// # Errors
    /// [`Error::Busy`] while another one is under way, in this process or another; [`Error::Io`].
    pub fn update(&self, expected: Expected) -> Result<Update> {
        let lock = self.lock()?;
        for folder in [FILES, PARTS] {
            self.disk.create_folder(&self.folder().join(folder))?;
        }
        let installed = match self.pointer() {
            // What is damaged is replaced.
            Err(Error::Damaged { path, detail }) => {
                log::warn!("{}: {detail}", path.display());
                None
            }
            other => other?,
        };
        let mut expected = expected;
        if expected.catalog.is_none() {
            expected.catalog = installed.as_ref().map(|pointer| pointer.manifest.catalog.clone());
        }
        let keys = self.keys(&expected.keys, expected.catalog.as_deref())?;
        let store = self.clone();
        Ok(Update { store, expected, keys, installed, target: None, incoming: None, _lock: lock })
    }
}

impl Update {
    /// Path in the release of the keys document that follows the keys that are trusted now. A host fetches it where
    /// [`Update::manifest`] returns [`Error::Untrusted`], and asks again after [`Update::add_keys`].
    pub fn keys_path(&self) -> String {
        keys_path(self.keys.version + 1)
    }

    /// Takes the keys document that follows the keys that are trusted now, for this update and all later ones.
    ///
    /// # Errors
    /// Those of [`KeySet::next`], [`Error::Io`].
    pub fn add_keys(&mut self, bytes: &[u8]) -> Result<()> {
        let next = self.keys.next(self.expected.catalog.as_deref(), bytes)?;
        self.store.write_keys(next.version, bytes)?;
        self.keys = next;
        Ok(())
    }

    /// Checks a manifest: signatures, catalogue, model, sequence, and that it has not expired at `now`, in Unix seconds.
    /// Its sequence is kept: no older manifest will be taken. Returns what there is to do.
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::Malformed`], [`Error::TooNew`], [`Error::WrongCatalog`], [`Error::WrongModel`],
    /// [`Error::Rollback`], [`Error::Reused`], [`Error::Expired`], [`Error::Io`].
    pub fn manifest(&mut self, bytes: &[u8], now: u64) -> Result<Plan> {
        let manifest = Manifest::parse(bytes, &self.keys)?;
        if let Some(expected) = self.expected.catalog.as_ref().filter(|name| **name != manifest.catalog) {
            return Err(Error::WrongCatalog { expected: expected.clone(), found: manifest.catalog });
        }
        let (found, known) = (manifest.shard_format, self.expected.shard_format);
        if found > known {
            return Err(Error::TooNew { what: "shard format", found, known });
        }
        let own = self.expected.model;
        let with_pack = !manifest.model.pack.is_empty() && own != Some(manifest.model.id);
        if let Some(expected) = own.filter(|own| *own != manifest.model.id && !with_pack) {
            return Err(Error::WrongModel { expected, found: manifest.model.id });
        }
        let seen = self.store.seen(&self.keys, self.installed.as_ref())?;
        if manifest.sequence < seen.sequence {
            return Err(Error::Rollback { seen: seen.sequence, found: manifest.sequence });
        }
        let payload = Digest::of(Envelope::parse(Kind::Manifest, bytes)?.payload());
        let is_other = seen.payload.is_some_and(|known| known != payload);
        if manifest.sequence == seen.sequence && is_other {
            return Err(Error::Reused { sequence: manifest.sequence });
        }
        // It cannot be earlier than when the newest manifest was signed, whatever the clock says.
        let (now, expires) = (now.max(seen.issued), manifest.expires);
        if now >= expires {
            return Err(Error::Expired { expires, now });
        }
        let new = Seen {
            keys: self.keys.version,
            sequence: manifest.sequence,
            issued: manifest.issued.max(seen.issued),
            payload: Some(payload),
        };
        if new != seen {
            self.store.write_seen(&new)?;
        }
        let target = Pointer { manifest, envelope: bytes.to_vec(), with_pack };
        let plan = self.plan(&target)?;
        self.incoming = None;
        self.target = Some(target);
        Ok(plan)
    }

    fn plan(&self, target: &Pointer) -> Result<Plan> {
        let disk = &self.store.disk;
        let needed = target.files();
        let names: HashSet<String> = needed.iter().map(|file| file.wire().hash.to_string()).collect();
        let parts = self.store.folder().join(PARTS);
        // What an older update has left behind takes space.
        for name in disk.list(&parts)?.into_iter().filter(|name| !names.contains(name)) {
            disk.remove(&parts.join(name))?;
        }
        let mut plan = Plan { sequence: target.manifest.sequence, is_installed: false, files: 0, bytes: 0, space: 0 };
        for file in &needed {
            if self.is_there(file)? {
                continue;
            }
            let wire = file.wire();
            let part = disk.length(&parts.join(wire.hash.to_string()))?.unwrap_or(0);
            plan.files += 1;
            plan.bytes += wire.bytes.saturating_sub(part);
            // Both forms stay.
            plan.space += wire.bytes.saturating_sub(part) + file.packed.map_or(0, |_| file.bytes);
        }
        plan.is_installed = plan.files == 0 && self.installed.as_ref() == Some(target);
        Ok(plan)
    }

    /// Whether a file is complete. Files get their names only after they were checked and synced.
    fn is_there(&self, file: &FileEntry) -> Result<bool> {
        Ok(self.store.disk.length(&self.store.file(file))? == Some(file.bytes))
    }

    /// Reads every file that is there and removes those whose bytes are wrong, so that they are fetched again: after
    /// [`Store::verify`] has found damage. Call it before [`Update::manifest`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard_damaged(&mut self) -> Result<()> {
        let folder = self.store.folder().join(FILES);
        for name in self.store.disk.list(&folder)? {
            let path = folder.join(&name);
            let bytes = self.store.disk.length(&path)?.unwrap_or(0);
            let sound = match name.parse() {
                Ok(hash) => check_file(&self.store.disk, &path, &FileEntry::new(hash, bytes)),
                Err(_) => continue,
            };
            match sound {
                Err(Error::Damaged { .. }) => self.store.disk.remove(&path)?,
                other => other?,
            }
        }
        Ok(())
    }

    /// Says what to fetch next: the rest of a file. `None` when all is there. A call in the middle of a file says where
    /// that file goes on.
    ///
    /// # Errors
    /// [`Error::Incomplete`] before there is a manifest, [`Error::Io`].
    pub fn next_fetch(&mut self) -> Result<Option<Fetch>> {
        let target = self.target.as_ref().ok_or(Error::Incomplete)?;
        let needed = target.files();
        if self.incoming.is_none() {
            for file in &needed {
                if self.is_there(file)? {
                    continue;
                }
                self.incoming = Incoming::open(&self.store, *file)?;
                if self.incoming.is_some() {
                    break;
                }
            }
        }
        Ok(self.incoming.as_ref().map(|incoming| Fetch {
            path: incoming.wire.path(),
            hash: incoming.wire.hash,
            offset: incoming.received(),
            bytes: incoming.wire.bytes,
        }))
    }

    /// Takes bytes of the file that [`Update::next_fetch`] named, in pieces of any size; `offset` is where they stand in
    /// it. Bytes from offset 0 begin the file anew, as from a server that sends all of it whatever it is asked for.
    /// Returns whether the file is complete.
    ///
    /// # Errors
    /// [`Error::WrongOffset`], [`Error::TooLong`], [`Error::WrongHash`], [`Error::Io`], and [`Error::Incomplete`] where no
    /// file is being received. Go on with [`Update::next_fetch`] after any of them.
    pub fn receive(&mut self, offset: u64, bytes: &[u8]) -> Result<bool> {
        // After an error, how much of the bytes has arrived is not known: the file is opened again, and looked at.
        let mut incoming = self.incoming.take().ok_or(Error::Incomplete)?;
        if incoming.receive(&self.store, offset, bytes)? {
            incoming.finish(&self.store)?;
            return Ok(true);
        }
        self.incoming = Some(incoming);
        Ok(false)
    }

    /// Takes a file that is on the device already, such as a base that comes with the app, where it is one of those that
    /// are missing. Any other file, or none, changes nothing. Returns what is left to do.
    ///
    /// # Errors
    /// [`Error::Incomplete`] before there is a manifest, [`Error::Io`].
    pub fn take_file(&mut self, path: &Path) -> Result<Plan> {
        let target = self.target.clone().ok_or(Error::Incomplete)?;
        let disk = self.store.disk.clone();
        let length = disk.length(path)?;
        for file in target.files() {
            if length != Some(file.bytes) || self.is_there(&file)? {
                continue;
            }
            match check_file(&disk, path, &file) {
                // Another file of the same length.
                Err(Error::Damaged { .. }) => continue,
                other => other?,
            }
            self.incoming = None;
            // As it is, also where it travels packed.
            let plain = FileEntry::new(file.hash, file.bytes);
            if let Some(incoming) = Incoming::open(&self.store, plain)? {
                incoming.copy(&self.store, path)?;
            }
        }
        self.plan(&target)
    }

    /// What [`Store::current`] will return once this release is installed, so that a host can try to open it before. Its
    /// files are all there when [`Update::next_fetch`] has no more to say.
    ///
    /// # Errors
    /// [`Error::Incomplete`] before there is a manifest.
    pub fn target(&self) -> Result<Current> {
        self.target.as_ref().map(|target| self.store.describe(target)).ok_or(Error::Incomplete)
    }

    /// Installs the release: from here on [`Store::current`] returns it. Then removes the files that neither it nor the
    /// release before needs; searches on those may go on.
    ///
    /// # Errors
    /// [`Error::Incomplete`] where a file is missing, [`Error::Io`]. After an error, the old or the new release is installed.
    pub fn install(mut self) -> Result<()> {
        let target = self.target.take().ok_or(Error::Incomplete)?;
        for file in target.files() {
            if !self.is_there(&file)? {
                return Err(Error::Incomplete);
            }
        }
        if self.installed.as_ref() != Some(&target) {
            self.store.disk.sync_folder(&self.store.folder().join(FILES))?;
            self.store.write_pointer(&target)?;
        }
        if let Err(error) = self.clean(&target) {
            // It is installed; the next update removes what is left.
            log::warn!("files that are no longer needed are left: {error}");
        }
        Ok(())
    }

    fn clean(&self, target: &Pointer) -> Result<()> {
        let needed = target.files().into_iter().chain(self.installed.iter().flat_map(Pointer::files));
        // The packed forms are for those who fetch the release from this folder.
        let needed: HashSet<Digest> = needed.flat_map(|file| [file.hash, file.wire().hash]).collect();
        let is_needed = |name: &String| name.parse().is_ok_and(|hash| needed.contains(&hash));
        let (files, parts) = (self.store.folder().join(FILES), self.store.folder().join(PARTS));
        for name in self.store.disk.list(&files)?.into_iter().filter(|name| !is_needed(name)) {
            self.store.disk.remove(&files.join(name))?;
        }
        // All files are there.
        for name in self.store.disk.list(&parts)? {
            self.store.disk.remove(&parts.join(name))?;
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "publish"))]
mod attack_tests;
#[cfg(all(test, feature = "publish"))]
mod faults_tests;
#[cfg(all(test, feature = "publish"))]
mod tests;
