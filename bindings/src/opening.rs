//! Which model and catalogue an engine opens, where a catalogue is installed or comes with the app.

use std::sync::Arc;

use magpie_core::ModelId;
use magpie_core::catalog::Catalog;
use magpie_core::model::{Model, Pack};
use magpie_core::shard::Shard;
use magpie_release::Current;

use crate::catalog_store::{CatalogStore, InstalledCatalog, open_parts};
use crate::error::{MagpieError, guarded};

/// How to open what is installed.
#[derive(Debug, Clone, uniffi::Record)]
pub struct InstalledOptions {
    /// Folder of the app's model pack: used unless the installed catalogue came with its own.
    pub model_folder: String,
    /// A shard that comes with the app. It is searched while nothing is installed, while what is installed was built with
    /// the model of an earlier version of the app, and while that is damaged.
    #[uniffi(default = None)]
    pub bundled_catalog: Option<String>,
    /// Number of threads for one run of the network. More than one helps networks with inputs of 224 pixels and more.
    #[uniffi(default = 1)]
    pub threads: u32,
}

/// The id of a model pack, 64 hexadecimal digits: what an update passes as the app's own model. Reads the pack's files.
///
/// # Errors
/// `File` if a file cannot be read, `Model` if one is invalid.
#[uniffi::export]
pub fn model_id(model_folder: String) -> Result<String, MagpieError> {
    guarded("model_id", || Ok(Pack::open(model_folder)?.manifest().model_id.to_string()))
}

/// A model pack and a catalogue for an engine.
pub(crate) struct Opening {
    pub(crate) pack: Pack,
    pub(crate) catalog: Arc<Catalog>,
    /// None for the bundled one.
    pub(crate) installed: Option<InstalledCatalog>,
}

impl Opening {
    /// The installed catalogue with its model, or else the bundled one with the app's model.
    pub(crate) fn choose(store: &CatalogStore, options: &InstalledOptions) -> Result<Opening, MagpieError> {
        let installed = match (&options.bundled_catalog, store.current_files()) {
            (None, _) => return Opening::installed(&store.installed()?, options),
            (Some(file), Ok(None)) => return Opening::bundled(file, options),
            (Some(file), Ok(Some(current))) => (file, Opening::installed(&current, options)),
            (Some(file), Err(error)) => (file, Err(error)),
        };
        match installed {
            // The app was updated and brings another model, with a catalogue for it.
            (file, Err(MagpieError::OtherModel { reason })) => {
                log::info!("{reason}; the bundled one is opened");
                Opening::bundled(file, options)
            }
            // Until it is repaired. Where it is the app's own model that is damaged, this fails too.
            (file, Err(error @ (MagpieError::Catalog { .. } | MagpieError::Model { .. }))) => {
                log::warn!("what is installed cannot be opened, the bundled catalogue is: {error}");
                Opening::bundled(file, options)
            }
            (_, result) => result,
        }
    }

    fn bundled(file: &str, options: &InstalledOptions) -> Result<Opening, MagpieError> {
        let (pack, shard) = (Pack::open(&options.model_folder)?, Shard::open(file)?);
        Ok(Opening { pack, catalog: Arc::new(shard.into()), installed: None })
    }

    fn installed(current: &Current, options: &InstalledOptions) -> Result<Opening, MagpieError> {
        let pack = match current.pack.is_empty() {
            true => Pack::open(&options.model_folder)?,
            false => Pack::open_files(&current.pack)?,
        };
        check_model(pack.manifest().model_id, current)?;
        let catalog = Arc::new(open_parts(current)?);
        Ok(Opening { pack, catalog, installed: Some(InstalledCatalog::of(current)) })
    }
}

/// Opens the installed catalogue for an engine that has this model.
pub(crate) fn reopen(store: &CatalogStore, model: ModelId) -> Result<(Arc<Catalog>, InstalledCatalog), MagpieError> {
    let current = store.installed()?;
    check_model(model, &current)?;
    Ok((Arc::new(open_parts(&current)?), InstalledCatalog::of(&current)))
}

/// Loads the model pack that comes with a release: this build of the library may not read its network.
pub(crate) fn load_pack(target: &Current) -> Result<(), MagpieError> {
    let pack = Pack::open_files(&target.pack)?;
    let found = pack.manifest().model_id;
    if found.0 != target.model.0 {
        // Another engine would not help: the release is wrong.
        let reason = format!("the manifest says model {}, its pack has {found}", target.model);
        return Err(MagpieError::Catalog { reason });
    }
    Model::load(&pack)?;
    Ok(())
}

fn check_model(model: ModelId, current: &Current) -> Result<(), MagpieError> {
    if current.model.0 == model.0 {
        return Ok(());
    }
    let reason = format!("the installed catalogue is for model {}, this is model {model}", current.model);
    Err(MagpieError::OtherModel { reason })
}
