//! The folder of the phone in which a catalogue is installed.

use std::sync::Arc;

use magpie_core::Error;
use magpie_core::catalog::{Catalog, PartFiles};
use magpie_core::shard::FORMAT_WRITTEN;
use magpie_release::{Current, Digest, Expected, KeySet, PublicKey, Store};

use crate::catalog_update::CatalogUpdate;
use crate::error::{MagpieError, guarded};

/// A folder in which one catalogue is installed and updated. Any number of objects, threads and processes may use the same
/// folder. Files in it are never changed, only replaced by others: engines keep searching during an update.
#[derive(Debug, uniffi::Object)]
pub struct CatalogStore {
    store: Store,
}

/// A catalogue that is installed.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct InstalledCatalog {
    /// Name of the catalogue.
    pub catalog: String,
    /// Publication number: each publication has a higher one than those before.
    pub sequence: u64,
    /// When it was signed, in Unix seconds.
    pub issued: u64,
    /// When it expires, in Unix seconds. An expired catalogue still opens; whether to show it is up to the app.
    pub expires: u64,
    /// The model that it was built with: 64 hexadecimal digits.
    pub model_id: String,
    /// Whether the model pack came with it, so that the app's own is not needed.
    pub has_pack: bool,
    /// Number of deltas that it has besides its base.
    pub deltas: u32,
}

/// What an app expects of a release.
#[derive(Debug, Clone, uniffi::Record)]
pub struct UpdateOptions {
    /// The public keys that the app pins, 64 hexadecimal digits each.
    pub trusted_keys: Vec<String>,
    /// How many of them have to have signed.
    #[uniffi(default = 1)]
    pub threshold: u32,
    /// The catalogue's name; none for the one that is installed, and for any if none is.
    #[uniffi(default = None)]
    pub catalog: Option<String>,
    /// Id of the app's own model; none takes any. A release of another model has to bring its pack.
    #[uniffi(default = None)]
    pub model_id: Option<String>,
    /// A shard that comes with the app: if the release needs this very file, it is copied, not fetched.
    #[uniffi(default = None)]
    pub bundled_catalog: Option<String>,
    /// Reads what is installed, and fetches again what is damaged.
    #[uniffi(default = false)]
    pub repair: bool,
}

#[uniffi::export]
impl CatalogStore {
    /// A folder, which need not exist yet. Does nothing with it.
    #[uniffi::constructor]
    pub fn at(folder: String) -> Arc<CatalogStore> {
        Arc::new(CatalogStore { store: Store::at(folder) })
    }

    /// What is installed, or none. Reads one small file and the lengths of the others, and changes nothing.
    ///
    /// # Errors
    /// `Catalog` if the files were changed by something else: update with `repair`. `File` if they cannot be read.
    pub fn current(&self) -> Result<Option<InstalledCatalog>, MagpieError> {
        guarded("current", || Ok(self.store.current()?.as_ref().map(InstalledCatalog::of)))
    }

    /// Reads every byte of what is installed and compares it with the manifest. With keys, also checks that enough of
    /// them, or of those that replaced them, have signed it.
    ///
    /// # Errors
    /// `Catalog` if it is damaged, or nothing is installed; `Untrusted`, `File`; `Request` if a key is not a key.
    pub fn verify(&self, trusted_keys: Vec<String>, threshold: u32) -> Result<InstalledCatalog, MagpieError> {
        guarded("verify", || {
            let keys = if trusted_keys.is_empty() { None } else { Some(key_set(&trusted_keys, threshold)?) };
            self.store.verify(keys.as_ref())?;
            let current = self.installed()?;
            for shard in open_parts(&current)?.shards() {
                shard.verify().map_err(Error::from)?;
            }
            Ok(InstalledCatalog::of(&current))
        })
    }

    /// Begins an update. It locks the folder until it is installed, ended or released.
    ///
    /// # Errors
    /// `Busy` while another update is under way; `NoSpace`, `File`; `Request` if a key or the model's id is malformed.
    pub fn update(&self, options: UpdateOptions) -> Result<Arc<CatalogUpdate>, MagpieError> {
        guarded("update", || {
            let keys = key_set(&options.trusted_keys, options.threshold)?;
            let mut expected = Expected::new(options.catalog, keys, FORMAT_WRITTEN);
            if let Some(id) = options.model_id {
                expected = expected.with_model(id.parse::<Digest>().map_err(refused)?);
            }
            let mut update = self.store.update(expected)?;
            if options.repair {
                update.discard_damaged()?;
            }
            Ok(Arc::new(CatalogUpdate::new(update, options.bundled_catalog)))
        })
    }
}

impl CatalogStore {
    pub(crate) fn current_files(&self) -> Result<Option<Current>, MagpieError> {
        Ok(self.store.current()?)
    }

    /// What is installed; an error if nothing is.
    pub(crate) fn installed(&self) -> Result<Current, MagpieError> {
        self.current_files()?.ok_or_else(|| self.none_installed())
    }

    fn none_installed(&self) -> MagpieError {
        let folder = self.store.folder().display();
        MagpieError::Catalog { reason: format!("{folder}: no catalogue is installed; update first") }
    }
}

impl InstalledCatalog {
    pub(crate) fn of(current: &Current) -> InstalledCatalog {
        InstalledCatalog {
            catalog: current.catalog.clone(),
            sequence: current.sequence,
            issued: current.issued,
            expires: current.expires,
            model_id: current.model.to_string(),
            has_pack: !current.pack.is_empty(),
            deltas: current.parts.len().saturating_sub(1) as u32,
        }
    }
}

/// Opens base, deltas and removals as one catalogue, and checks that it is of the manifest's model.
pub(crate) fn open_parts(current: &Current) -> Result<Catalog, MagpieError> {
    let files = current.parts.iter().map(|part| {
        let removed = part.removed_ids()?;
        Ok(PartFiles { shard: part.shard.clone(), removed })
    });
    let catalog = Catalog::open(&files.collect::<Result<Vec<_>, magpie_release::Error>>()?)?;
    let (found, said) = (catalog.model_id().to_string(), current.model.to_string());
    if found != said {
        return Err(MagpieError::Catalog {
            reason: format!("the manifest says model {said}, the shards have {found}"),
        });
    }
    Ok(catalog)
}

/// Reads the keys that an app pins. Without this check, a threshold that cannot be reached would look like a wrong signature.
fn key_set(keys: &[String], threshold: u32) -> Result<KeySet, MagpieError> {
    let mut keys: Vec<PublicKey> = keys.iter().map(|key| key.parse()).collect::<Result<_, _>>().map_err(refused)?;
    keys.sort_unstable();
    keys.dedup();
    let (count, threshold) = (keys.len(), threshold as usize);
    if !(1..=count).contains(&threshold) {
        return Err(refused(format!(
            "a threshold of {threshold} needs at least as many different keys, found {count}"
        )));
    }
    Ok(KeySet::new(keys).with_threshold(threshold))
}

fn refused(reason: String) -> MagpieError {
    MagpieError::Request { reason }
}
