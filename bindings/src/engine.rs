//! The engine: the main object of the API.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use magpie_core::Error;
use magpie_core::model::{LoadOptions, Model, Pack};
use magpie_core::shard::{self, Shard};

use crate::Cancellation;
use crate::catalog_store::{CatalogStore, InstalledCatalog};
use crate::error::{MagpieError, guarded};
use crate::frame::FrameLayout;
use crate::opening::{InstalledOptions, Opening, reopen};
use crate::records::{
    Benchmark, Column, Embedding, EngineInfo, Listing, OpenOptions, SearchOptions, SearchResults, ms,
};
use crate::server::{AskOptions, ServerState};
use crate::server_search::ServerSearch;

/// A model and a catalogue built with it. Any number of threads may call it at the same time. It may be released while
/// calls are running, which then finish normally.
#[derive(uniffi::Object)]
pub struct Engine {
    pub(crate) engine: magpie_core::engine::Engine,
    /// Which installed catalogue it searches; none for one that was opened as a file. Locked while it is replaced.
    installed: Mutex<Option<InstalledCatalog>>,
    open_ms: f64,
}

/// Verifies every section of a catalogue file: its checksum and the format's rules. Meant to be called once, after a
/// download. Reads the whole file.
///
/// # Errors
/// `File` if the file cannot be read, `Catalog` if it is damaged.
#[uniffi::export]
pub fn verify_catalog(file: String) -> Result<(), MagpieError> {
    guarded("verify_catalog", || {
        Shard::open(file)?.verify().map_err(Error::from)?;
        Ok(())
    })
}

#[uniffi::export]
impl Engine {
    /// Opens a model pack and a catalogue. Reads the model's files and maps the catalogue into memory.
    ///
    /// # Errors
    /// `File` if a file cannot be read, `Model` or `Catalog` if one is invalid, `Model` if the catalogue was built with
    /// another model.
    #[uniffi::constructor]
    pub fn open(options: OpenOptions) -> Result<Arc<Engine>, MagpieError> {
        guarded("open", || {
            let started = Instant::now();
            let load = LoadOptions::default().with_threads(options.threads.max(1) as usize);
            let model = Model::load_with(&Pack::open(options.model_folder)?, &load)?;
            let open = if options.in_memory { Shard::load } else { Shard::open };
            let engine = magpie_core::engine::Engine::new(model, open(options.catalog_file)?)?;
            Ok(Engine::opened(engine, None, started))
        })
    }

    /// Opens the catalogue that is installed in a folder, with the model pack that came with it or else the app's. While
    /// nothing usable is installed, opens the bundled catalogue; what is damaged is then only a warning in the log.
    ///
    /// # Errors
    /// Without a bundled catalogue, `Catalog` if nothing is installed or what is installed is damaged, `OtherModel` if it is
    /// for another model than the app's; otherwise as [`Engine::open`].
    #[uniffi::constructor]
    pub fn open_installed(store: Arc<CatalogStore>, options: InstalledOptions) -> Result<Arc<Engine>, MagpieError> {
        guarded("open_installed", || {
            let started = Instant::now();
            let Opening { pack, catalog, installed } = Opening::choose(&store, &options)?;
            let load = LoadOptions::default().with_threads(options.threads.max(1) as usize);
            let engine = magpie_core::engine::Engine::with_catalog(Model::load_with(&pack, &load)?, catalog)?;
            Ok(Engine::opened(engine, installed, started))
        })
    }

    /// Changes to the catalogue that is installed now. Searches that are under way end on the one before, and those that
    /// begin later use the new one; neither waits. Returns what is searched from here on.
    ///
    /// # Errors
    /// `OtherModel` if it is for another model than this engine's: open a new engine, which takes both. `Catalog` if
    /// nothing is installed or it is damaged, `File`. After an error, the engine keeps the catalogue that it has.
    pub fn replace_catalog(&self, store: Arc<CatalogStore>) -> Result<InstalledCatalog, MagpieError> {
        guarded("replace_catalog", || {
            // One at a time, so that the last one to look is the last one to replace.
            let mut installed = self.installed.lock().unwrap_or_else(PoisonError::into_inner);
            let (catalog, info) = reopen(&store, self.engine.model().id())?;
            self.engine.replace_catalog(catalog)?;
            log::info!("changed to publication {} of '{}'", info.sequence, info.catalog);
            *installed = Some(info.clone());
            Ok(info)
        })
    }

    /// The installed catalogue that is searched; none for one that was opened as a file, or came with the app.
    pub fn installed(&self) -> Option<InstalledCatalog> {
        self.installed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The opened model and catalogue.
    pub fn info(&self) -> EngineInfo {
        let (model, catalog) = (self.engine.model(), self.engine.catalog());
        let manifest = model.manifest();
        let columns = catalog.columns().into_iter();
        let columns =
            columns.map(|(name, kind)| Column { name: name.into(), is_number: kind == shard::ColumnKind::Number });
        EngineInfo {
            version: env!("CARGO_PKG_VERSION").into(),
            model: manifest.name.clone(),
            model_id: model.id().to_string(),
            input_width: manifest.input.width,
            input_height: manifest.input.height,
            instructions: model.report().isa.name().into(),
            catalog: catalog.name().into(),
            listings: catalog.listing_count(),
            photos: catalog.photo_count(),
            fields: catalog.fields().to_vec(),
            has_thumbnails: catalog.has_thumbnails(),
            columns: columns.collect(),
            open_ms: self.open_ms,
        }
    }

    /// Returns at most `most` distinct words of a filter column, sorted. Empty if the column holds numbers.
    ///
    /// # Errors
    /// `Request` if there is no such column.
    pub fn words(&self, column: String, most: u32) -> Result<Vec<String>, MagpieError> {
        guarded("words", || Ok(self.engine.words(&column, most as usize)?))
    }

    /// Finds the listings most similar to a photo: JPEG, PNG or WebP bytes.
    ///
    /// # Errors
    /// `Photo` if the photo or the crop is invalid, `Request` if the filter is, `Catalog` if the catalogue is damaged,
    /// `Model` if the network fails, `Cancelled`.
    pub fn search_photo(
        &self,
        photo: &[u8],
        options: SearchOptions,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<SearchResults, MagpieError> {
        guarded("search_photo", || {
            let options = options.read(cancellation.as_deref())?;
            Ok(self.engine.search_photo(photo, &options)?.into())
        })
    }

    /// Finds the listings most similar to a camera frame of up to three planes; formats with fewer planes leave the
    /// others empty. The planes are read only during the call.
    ///
    /// # Errors
    /// `Photo` if the layout does not fit the planes; otherwise as for a photo.
    #[allow(clippy::too_many_arguments, reason = "planes cross one by one")]
    pub fn search_frame(
        &self,
        first: &[u8],
        second: &[u8],
        third: &[u8],
        layout: FrameLayout,
        options: SearchOptions,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<SearchResults, MagpieError> {
        guarded("search_frame", || {
            let options = options.read(cancellation.as_deref())?;
            Ok(self.engine.search_frame(&layout.frame([first, second, third])?, &options)?.into())
        })
    }

    /// Searches with a photo, and decides whether to ask a server. The bytes are not needed after the call.
    ///
    /// # Errors
    /// As for [`Engine::search_photo`]. A filter on a column that the catalogue does not have is a `Request` error only
    /// if the options rule out asking the server.
    pub fn ask_photo(
        &self,
        photo: &[u8],
        options: SearchOptions,
        ask: AskOptions,
        server: Arc<ServerState>,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<Arc<ServerSearch>, MagpieError> {
        guarded("ask_photo", || {
            let options = options.read(cancellation.as_deref())?;
            let search = self.engine.ask_photo(photo, &options, &ask.read())?;
            Ok(Arc::new(ServerSearch::begin(search, server)))
        })
    }

    /// Searches with a camera frame, and decides whether to ask a server.
    ///
    /// # Errors
    /// As [`Engine::search_frame`] and [`Engine::ask_photo`].
    #[allow(clippy::too_many_arguments, reason = "planes cross one by one")]
    pub fn ask_frame(
        &self,
        first: &[u8],
        second: &[u8],
        third: &[u8],
        layout: FrameLayout,
        options: SearchOptions,
        ask: AskOptions,
        server: Arc<ServerState>,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<Arc<ServerSearch>, MagpieError> {
        guarded("ask_frame", || {
            let options = options.read(cancellation.as_deref())?;
            let frame = layout.frame([first, second, third])?;
            let search = self.engine.ask_frame(&frame, &options, &ask.read())?;
            Ok(Arc::new(ServerSearch::begin(search, server)))
        })
    }

    /// Finds the listings most similar to one of the catalogue, which is left out. The crop is ignored.
    ///
    /// # Errors
    /// `Request` if there is no such listing; otherwise as for a photo.
    pub fn more_like(
        &self,
        listing_id: String,
        options: SearchOptions,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<Vec<Listing>, MagpieError> {
        guarded("more_like", || {
            let options = options.read(cancellation.as_deref())?;
            Ok(self.engine.more_like(&listing_id, &options)?.into_iter().map(Listing::from).collect())
        })
    }

    /// Computes the embedding of a photo, for comparisons and tests. Of the options, only the crop matters.
    ///
    /// # Errors
    /// As for a search.
    pub fn embed_photo(
        &self,
        photo: &[u8],
        options: SearchOptions,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<Embedding, MagpieError> {
        guarded("embed_photo", || {
            let options = options.read(cancellation.as_deref())?;
            Ok(Embedding::from(&self.engine.embed_photo(photo, &options)?.embedding))
        })
    }

    /// Computes the embedding of a camera frame, as for a photo.
    ///
    /// # Errors
    /// As for a search.
    #[allow(clippy::too_many_arguments, reason = "planes cross one by one")]
    pub fn embed_frame(
        &self,
        first: &[u8],
        second: &[u8],
        third: &[u8],
        layout: FrameLayout,
        options: SearchOptions,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<Embedding, MagpieError> {
        guarded("embed_frame", || {
            let options = options.read(cancellation.as_deref())?;
            Ok(Embedding::from(&self.engine.embed_frame(&layout.frame([first, second, third])?, &options)?.embedding))
        })
    }

    /// Returns the thumbnail of a listing's photo as a JPEG, or none if the catalogue has none of it.
    ///
    /// # Errors
    /// `Request` if there is no such listing, `Catalog` if the catalogue is damaged.
    pub fn thumbnail(&self, listing_id: String, photo: String) -> Result<Option<Vec<u8>>, MagpieError> {
        guarded("thumbnail", || Ok(self.engine.thumbnail(&listing_id, &photo)?))
    }

    /// Searches `runs` times with a photo and measures how long each stage takes.
    ///
    /// # Errors
    /// As for a search.
    pub fn benchmark(
        &self,
        photo: &[u8],
        runs: u32,
        options: SearchOptions,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<Benchmark, MagpieError> {
        guarded("benchmark", || {
            let options = options.read(cancellation.as_deref())?;
            let stages = magpie_core::bench::searches(&self.engine, &[photo], runs, &options)?;
            let mut benchmark = Benchmark {
                runs,
                stages: stages.into_iter().map(Into::into).collect(),
                open_ms: self.open_ms,
                resident_bytes: memory_stats::memory_stats().map(|memory| memory.physical_mem as u64),
                instructions: self.engine.model().report().isa.name().into(),
                photos: self.engine.catalog().photo_count(),
                json: String::new(),
            };
            let json = serde_json::to_string(&benchmark);
            benchmark.json = json.map_err(|e| MagpieError::Internal { reason: e.to_string() })?;
            Ok(benchmark)
        })
    }
}

impl Engine {
    fn opened(
        engine: magpie_core::engine::Engine,
        installed: Option<InstalledCatalog>,
        started: Instant,
    ) -> Arc<Engine> {
        let engine = Engine { engine, installed: Mutex::new(installed), open_ms: ms(started.elapsed()) };
        let EngineInfo { catalog, listings, model, instructions, open_ms, .. } = &engine.info();
        log::info!("opened '{catalog}' with {listings} listings, model {model}, {instructions}, {open_ms} ms");
        Arc::new(engine)
    }
}
