//! An update of an installed catalogue: the core says what to fetch and checks what comes, the host fetches.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use magpie_release::{Fetch, MANIFEST_FILE, MAX_ENVELOPE_BYTES, Plan, Update};

use crate::catalog_store::{InstalledCatalog, open_parts};
use crate::error::{MagpieError, guarded};
use crate::opening::load_pack;

/// An update under way.
///
/// The host fetches [`CatalogUpdate::manifest_path`] and passes it to [`CatalogUpdate::manifest`], fetches what
/// [`CatalogUpdate::next_fetch`] says and passes the bytes to [`CatalogUpdate::receive`] until nothing is left, then calls
/// [`CatalogUpdate::install`]. All paths are relative to the release's URL. Calls wait for each other. What was received is
/// kept when an update is ended or released, or the process is killed: the next update goes on from there.
#[derive(Debug, uniffi::Object)]
pub struct CatalogUpdate {
    /// None after the end.
    update: Mutex<Option<Update>>,
    bundled_catalog: Option<String>,
}

/// What an update has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct UpdatePlan {
    /// Publication number of the manifest.
    pub sequence: u64,
    /// Whether this publication is installed already: there is nothing to do.
    pub is_installed: bool,
    /// Number of files to fetch.
    pub files: u32,
    /// Bytes to fetch. What was received before is not counted.
    pub bytes: u64,
    /// Free space that this needs, in bytes: more than is fetched, where files travel compressed.
    pub space: u64,
}

/// The rest of a file, to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct UpdateFetch {
    /// Its path, relative to the release's URL.
    pub path: String,
    /// Its BLAKE3 hash: 64 hexadecimal digits. A file with a hash never changes.
    pub hash: String,
    /// Where to begin: the bytes before are there. Less than `bytes`.
    pub offset: u64,
    /// Length of the whole file, in bytes. The host stops reading there.
    pub bytes: u64,
}

/// The longest manifest or keys document, in bytes. Hosts stop reading there: the document is not what it should be.
#[uniffi::export]
pub fn max_manifest_bytes() -> u32 {
    MAX_ENVELOPE_BYTES as u32
}

#[uniffi::export]
impl CatalogUpdate {
    /// The manifest's path, relative to the release's URL.
    pub fn manifest_path(&self) -> String {
        MANIFEST_FILE.to_owned()
    }

    /// Path of the keys document that follows the keys that are trusted now. The host fetches it if
    /// [`CatalogUpdate::manifest`] throws `Untrusted`, and passes it to [`CatalogUpdate::add_keys`]; if there is none, the
    /// error stands.
    ///
    /// # Errors
    /// `Request` after the end.
    pub fn keys_path(&self) -> Result<String, MagpieError> {
        self.with("keys_path", |update| Ok(update.keys_path()))
    }

    /// Takes the keys document that follows the keys that are trusted now, for this update and all later ones. Then the
    /// manifest is passed again, which may need further keys.
    ///
    /// # Errors
    /// `Untrusted`, `Download` if it is malformed, `NotForThisApp`, `NoSpace`, `File`; `Request` after the end.
    pub fn add_keys(&self, bytes: &[u8]) -> Result<(), MagpieError> {
        self.with("add_keys", |update| Ok(update.add_keys(bytes)?))
    }

    /// Checks a manifest: signatures, catalogue, model, sequence, and that it has not expired at `now`, in Unix seconds. No
    /// older manifest will be taken after this. Copies the bundled catalogue if the release needs that file. Returns what
    /// there is to do.
    ///
    /// # Errors
    /// `Untrusted`, `Outdated`, `NotForThisApp`, `Download` if it is malformed, `NoSpace`, `File`; `Request` after the end.
    pub fn manifest(&self, bytes: &[u8], now: u64) -> Result<UpdatePlan, MagpieError> {
        self.with("manifest", |update| {
            let plan = update.manifest(bytes, now)?;
            let plan = match &self.bundled_catalog {
                Some(file) if plan.files > 0 => update.take_file(Path::new(file))?,
                _ => plan,
            };
            Ok(plan.into())
        })
    }

    /// What to fetch next: the rest of a file; none when all is there. In the middle of a file, says where it goes on.
    ///
    /// # Errors
    /// `Request` before there is a manifest and after the end; `NoSpace`, `File`.
    pub fn next_fetch(&self) -> Result<Option<UpdateFetch>, MagpieError> {
        self.with("next_fetch", |update| Ok(update.next_fetch()?.map(UpdateFetch::from)))
    }

    /// Takes bytes of the file that [`CatalogUpdate::next_fetch`] named, in pieces of any size; `offset` is where they
    /// stand in it. Bytes from offset 0 begin the file anew: that is for a server that answers with 200 and all of the
    /// file, whatever range it was asked for. Returns whether the file is complete.
    ///
    /// # Errors
    /// `Download` if the bytes do not follow those before, are too many, or do not have the file's hash; `NoSpace`, `File`;
    /// `Request` if no file is being received. After any of them, go on with [`CatalogUpdate::next_fetch`].
    pub fn receive(&self, offset: u64, bytes: &[u8]) -> Result<bool, MagpieError> {
        self.with("receive", |update| Ok(update.receive(offset, bytes)?))
    }

    /// Installs the release and ends the update. The catalogue, and the model if one comes with it, are opened first, so
    /// that what does not open is never installed. Whatever fails, the old or the new catalogue is installed.
    ///
    /// # Errors
    /// `Request` if a file is missing, or after the end; `Catalog` or `Model` if the release does not open; `NoSpace`, `File`.
    pub fn install(&self) -> Result<InstalledCatalog, MagpieError> {
        guarded("install", || {
            let mut locked = self.lock();
            let update = locked.as_mut().ok_or_else(ended)?;
            if update.next_fetch()?.is_some() {
                return Err(magpie_release::Error::Incomplete.into());
            }
            let target = update.target()?;
            open_parts(&target)?;
            if !target.pack.is_empty() {
                load_pack(&target)?;
            }
            locked.take().ok_or_else(ended)?.install()?;
            Ok(InstalledCatalog::of(&target))
        })
    }

    /// Ends the update and unlocks the folder. What was received is kept for the next update. Ending twice is harmless.
    pub fn end(&self) {
        *self.lock() = None;
    }
}

impl CatalogUpdate {
    pub(crate) fn new(update: Update, bundled_catalog: Option<String>) -> CatalogUpdate {
        CatalogUpdate { update: Mutex::new(Some(update)), bundled_catalog }
    }

    fn with<T>(
        &self,
        call: &'static str,
        work: impl FnOnce(&mut Update) -> Result<T, MagpieError>,
    ) -> Result<T, MagpieError> {
        guarded(call, || work(self.lock().as_mut().ok_or_else(ended)?))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Update>> {
        // An update stays usable after a panic: what is on the disk is looked at again.
        self.update.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ended() -> MagpieError {
    MagpieError::Request { reason: "the update has ended; begin a new one".to_owned() }
}

impl From<Plan> for UpdatePlan {
    fn from(plan: Plan) -> UpdatePlan {
        let Plan { sequence, is_installed, files, bytes, space, .. } = plan;
        UpdatePlan { sequence, is_installed, files: files as u32, bytes, space }
    }
}

impl From<Fetch> for UpdateFetch {
    fn from(fetch: Fetch) -> UpdateFetch {
        let Fetch { path, hash, offset, bytes, .. } = fetch;
        UpdateFetch { path, hash: hash.to_string(), offset, bytes }
    }
}
