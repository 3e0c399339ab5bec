//! The shards of one catalogue, or the base and deltas of a release.

use std::path::PathBuf;
use std::sync::Arc;

use magpie_core::catalog::{Catalog, PartFiles};
use magpie_core::joined::{Joined, ShardAnswer, fetch};
use magpie_core::listing::{Found, Listing};
use magpie_core::remote::Parsed;
use magpie_core::search::{MAX_K, SearchParams, SearchScratch, Searcher, stored_vector};
use magpie_core::shard::Shard;
use magpie_core::vector::Rotation;
use magpie_core::{Embedding, IndexError, PhotoRow};

use crate::backend::{BackendError, ColumnInfo, SearchAnswer, Status};
use crate::release::ServedRelease;

/// Whether the search is to end: its deadline has passed, or its client has left.
pub(crate) type StopWanted<'a> = &'a dyn Fn() -> bool;

/// Listings that the canary search asks for.
const CANARY: usize = 10;

/// One version of the catalogue. A search keeps its version until it is done, so that a reload does not affect it.
pub(crate) struct ShardSet {
    /// Searched in parallel, and merged: one for each shard, or one for a whole release.
    pub(crate) catalogs: Vec<Catalog>,
    pub(crate) status: Status,
    /// What phones fetch of it.
    pub(crate) release: Option<Arc<ServedRelease>>,
}

impl ShardSet {
    /// Opens shards and checks that they belong to one catalogue and model. With `load`, reads them into memory.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(crate) fn of_shards(paths: &[PathBuf], load: bool) -> Result<ShardSet, String> {
        let mut catalogs: Vec<Catalog> = Vec::new();
        for path in paths {
            let shard = if load { Shard::load(path) } else { Shard::open(path) };
            catalogs.push(shard.map_err(|e| named(path, e))?.into());
        }
        let first = catalogs.first().ok_or_else(|| "no shard is given".to_owned())?;
        for (catalog, path) in catalogs.iter().zip(paths) {
            if (catalog.model_id(), catalog.dim()) != (first.model_id(), first.dim()) {
                let (path, found, expected) = (path.display(), catalog.model_id(), first.model_id());
                return Err(format!("{path}: its model is {found}, the first shard's is {expected}"));
            }
            if catalog.name() != first.name() {
                let (path, found, expected) = (path.display(), catalog.name(), first.name());
                return Err(format!("{path}: its catalogue is '{found}', the first shard's is '{expected}'"));
            }
        }
        let sequence = catalogs.iter().map(Catalog::sequence).max().unwrap_or_default();
        Ok(ShardSet { status: status(&catalogs, first, sequence), catalogs, release: None })
    }

    /// Opens a release: base, deltas and removals are one catalogue. With `load`, reads its shards into memory.
    ///
    /// # Errors
    /// Which file cannot be used, and why; also where the shards are not what the manifest says.
    pub(crate) fn of_release(release: ServedRelease, load: bool) -> Result<ShardSet, String> {
        let mut parts = Vec::new();
        for part in release.parts() {
            parts.push(PartFiles { removed: part.removed()?, shard: part.shard });
        }
        let catalog = if load { Catalog::load(&parts) } else { Catalog::open(&parts) };
        let catalog = catalog.map_err(|e| named(&release.folder, e))?;
        let manifest = &release.manifest;
        let wrong = |what: &str, found: &dyn std::fmt::Display, expected: &dyn std::fmt::Display| {
            format!("{}: its shards have the {what} {found}, its manifest says {expected}", release.folder.display())
        };
        if catalog.model_id().0 != manifest.model.id.0 {
            return Err(wrong("model", &catalog.model_id(), &manifest.model.id));
        }
        if catalog.name() != manifest.catalog {
            return Err(wrong("catalogue name", &catalog.name(), &manifest.catalog));
        }
        let sequence = manifest.sequence;
        let catalogs = vec![catalog];
        let status = status(&catalogs, &catalogs[0], sequence);
        Ok(ShardSet { catalogs, status, release: Some(Arc::new(release)) })
    }

    /// All shards.
    pub(crate) fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.catalogs.iter().flat_map(Catalog::shards)
    }

    /// Searches for a photo of the catalogue itself, and reads what is found.
    ///
    /// # Errors
    /// What is wrong with the answer.
    pub(crate) fn canary(&self) -> Result<(), String> {
        let wrong = |detail: String| Err(format!("the canary search failed: {detail}"));
        let shard = self.shards().find(|shard| shard.header().photo_count > 0);
        let Some(shard) = shard else { return wrong("the catalogue has no photo".to_owned()) };
        let mut vector = stored_vector(shard, PhotoRow(0)).map_err(|e| e.to_string())?;
        Rotation::new(vector.len(), shard.rotation_seed()).undo(&mut vector);
        let Some(embedding) = Embedding::new(&vector, self.status.model_id) else {
            return wrong("the first photo has no direction".to_owned());
        };
        let query = Parsed { embedding, filter: None, params: SearchParams::new(CANARY) };
        let mut scratch = SearchScratch::default();
        for at in 0..self.catalogs.len() {
            let found = match self.search(at, &query, &mut scratch, &|| false) {
                Ok(answer) => answer.listings,
                Err(fault) => return wrong(fault.to_string()),
            };
            let expected = self.catalogs[at].listing_count().min(CANARY as u64) as usize;
            if found.len() != expected || found.iter().any(|found| !found.score.is_finite()) {
                return wrong(format!("it found {} listings, expected {expected}", found.len()));
            }
        }
        Ok(())
    }

    /// Searches one of the catalogues.
    pub(crate) fn search(
        &self,
        at: usize,
        query: &Parsed,
        scratch: &mut SearchScratch,
        stop: StopWanted<'_>,
    ) -> Result<SearchAnswer, BackendError> {
        let Some(catalog) = self.catalogs.get(at) else {
            return Ok(SearchAnswer { listings: Vec::new(), complete: true });
        };
        let mut searcher = catalog.searcher(std::mem::take(scratch)).with_stop(stop);
        let ranking = searcher.rank(&query.embedding, query.filter.as_ref(), &query.params, 0);
        *scratch = searcher.into_scratch();
        let ranking = ranking.map_err(fault)?;
        let listings = catalog.fetch(&ranking.candidates).map_err(fault)?;
        Ok(SearchAnswer { listings, complete: ranking.complete })
    }

    /// Finds the best `look` listings of one shard, with their vectors, by which near-duplicates are recognised.
    pub(crate) fn look(
        &self,
        at: usize,
        query: &Parsed,
        look: usize,
        scratch: &mut SearchScratch,
        stop: StopWanted<'_>,
    ) -> Result<ShardAnswer, BackendError> {
        // Several catalogues are searched only where each has one shard.
        let Some(shard) = self.catalogs.get(at).and_then(|catalog| catalog.shards().next()) else {
            return Ok(ShardAnswer::default());
        };
        let mut searcher = Searcher::with_scratch(shard, std::mem::take(scratch)).with_stop(stop);
        let part = ShardAnswer::look(&mut searcher, &query.embedding, query.filter.as_ref(), &query.params, look);
        *scratch = searcher.into_scratch();
        part.map_err(fault)
    }

    /// Reads the texts of what was left of several shards' answers.
    pub(crate) fn fetch(&self, joined: &[Joined]) -> Result<Vec<Found>, BackendError> {
        // As in `look`: several catalogues have one shard each.
        let shards: Vec<&Shard> = self.catalogs.iter().filter_map(|catalog| catalog.shards().next()).collect();
        fetch(&shards, joined).map_err(fault)
    }

    /// Whether a search that looked at the best `look` listings of each shard may have missed some.
    pub(crate) fn may_have_more(&self, look: usize) -> bool {
        look >= MAX_K && self.shards().any(|shard| shard.header().listing_count as usize > MAX_K)
    }

    /// Reads a listing by its id, from the last shard that has it.
    pub(crate) fn listing(&self, id: &str) -> Result<Option<Listing>, BackendError> {
        for catalog in self.catalogs.iter().rev() {
            if let Some(listing) = catalog.listing(id).map_err(fault)? {
                return Ok(Some(listing));
            }
        }
        Ok(None)
    }

    /// Reads the thumbnail of a listing's photo, from the last shard that has it.
    pub(crate) fn picture(&self, id: &str, photo: &str) -> Result<Option<Vec<u8>>, BackendError> {
        for catalog in self.catalogs.iter().rev().filter(|catalog| catalog.has_thumbnails()) {
            let Some(place) = catalog.find_listing(id).map_err(|e| fault(e.into()))? else { continue };
            if let Some(jpeg) = catalog.thumbnail(place, photo).map_err(|e| fault(e.into()))? {
                return Ok(Some(jpeg.to_vec()));
            }
        }
        Ok(None)
    }
}

fn status(catalogs: &[Catalog], first: &Catalog, sequence: u64) -> Status {
    let columns = first.columns().into_iter();
    Status {
        catalog: first.name().to_owned(),
        model_id: first.model_id(),
        dim: first.dim(),
        listings: catalogs.iter().map(Catalog::listing_count).sum(),
        photos: catalogs.iter().map(Catalog::photo_count).sum(),
        sequence,
        shards: catalogs.iter().map(|catalog| catalog.shards().len()).sum(),
        columns: columns.map(|(name, kind)| ColumnInfo { name: name.to_owned(), kind }).collect(),
    }
}

/// Names the file of an error that does not name one.
fn named(path: &std::path::Path, error: IndexError) -> String {
    match error {
        named @ IndexError::Io { .. } => named.to_string(),
        other => format!("{}: {other}", path.display()),
    }
}

fn fault(error: IndexError) -> BackendError {
    match error {
        IndexError::Filter(filter) => BackendError::Unfit(format!("filter: {filter}")),
        // Nobody waits for it any more.
        IndexError::Stopped => BackendError::Late,
        IndexError::ModelMismatch { shard, .. } => BackendError::WrongModel { catalog: shard },
        other => BackendError::Broken(other.to_string()),
    }
}
