//! The shards of one catalogue.

use std::path::PathBuf;

use magpie_core::IndexError;
use magpie_core::joined::{Joined, ShardAnswer, fetch};
use magpie_core::listing::{self, Found, Listing};
use magpie_core::remote::Parsed;
use magpie_core::search::{SearchScratch, Searcher};
use magpie_core::shard::Shard;

use crate::backend::{BackendError, ColumnInfo, Status};

/// One version of the shards. A search keeps its version until it is done, so that a reload does not affect it.
pub(crate) struct ShardSet {
    pub(crate) shards: Vec<Shard>,
    pub(crate) status: Status,
}

impl ShardSet {
    /// Opens the shards and checks that they belong to one catalogue and model.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(crate) fn open(paths: &[PathBuf], verify: bool) -> Result<ShardSet, String> {
        let mut shards = Vec::new();
        for path in paths {
            let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
            let shard = Shard::open(path).map_err(|e| match e {
                named @ IndexError::Io { .. } => named.to_string(),
                other => fault(&other),
            })?;
            if verify {
                shard.verify().map_err(|e| fault(&e))?;
            }
            shards.push(shard);
        }
        let first = shards.first().ok_or_else(|| "no shard is given".to_owned())?;
        let (catalog, header) = (first.catalog().to_owned(), first.header());
        let (model_id, dim) = (header.model_id, header.dim);
        for (shard, path) in shards.iter().zip(paths) {
            let header = shard.header();
            if (header.model_id, header.dim) != (model_id, dim) {
                let (path, found) = (path.display(), header.model_id);
                return Err(format!("{path}: its model is {found}, the first shard's is {model_id}"));
            }
            if shard.catalog() != catalog {
                let (path, found) = (path.display(), shard.catalog());
                return Err(format!("{path}: its catalogue is '{found}', the first shard's is '{catalog}'"));
            }
        }
        let status = Status {
            catalog,
            model_id,
            dim,
            listings: shards.iter().map(|shard| u64::from(shard.header().listing_count)).sum(),
            photos: shards.iter().map(|shard| u64::from(shard.header().photo_count)).sum(),
            sequence: shards.iter().map(|shard| shard.header().sequence).max().unwrap_or(0),
            shards: shards.len(),
            columns: first.columns().map(|(name, kind)| ColumnInfo { name: name.to_owned(), kind }).collect(),
        };
        Ok(ShardSet { shards, status })
    }

    /// Searches one shard.
    pub(crate) fn search(
        &self,
        at: usize,
        query: &Parsed,
        scratch: &mut SearchScratch,
    ) -> Result<Vec<Found>, BackendError> {
        let Some(shard) = self.shards.get(at) else { return Ok(Vec::new()) };
        let mut searcher = Searcher::with_scratch(shard, std::mem::take(scratch));
        let candidates = searcher.search(&query.embedding, query.filter.as_ref(), &query.params);
        *scratch = searcher.into_scratch();
        listing::fetch(shard, &candidates.map_err(fault)?).map_err(fault)
    }

    /// Finds the best `look` listings of one shard, with their vectors, by which near-duplicates are recognised.
    pub(crate) fn look(
        &self,
        at: usize,
        query: &Parsed,
        look: usize,
        scratch: &mut SearchScratch,
    ) -> Result<ShardAnswer, BackendError> {
        let Some(shard) = self.shards.get(at) else { return Ok(ShardAnswer::default()) };
        let mut searcher = Searcher::with_scratch(shard, std::mem::take(scratch));
        let part = ShardAnswer::look(&mut searcher, &query.embedding, query.filter.as_ref(), &query.params, look);
        *scratch = searcher.into_scratch();
        part.map_err(fault)
    }

    /// Reads the texts of what was left of several shards' answers.
    pub(crate) fn fetch(&self, joined: &[Joined]) -> Result<Vec<Found>, BackendError> {
        fetch(&self.shards, joined).map_err(fault)
    }

    /// Reads a listing by its id, from the last shard that has it.
    pub(crate) fn listing(&self, id: &str) -> Result<Option<Listing>, BackendError> {
        for shard in self.shards.iter().rev() {
            if let Some(row) = shard.find_listing(id).map_err(|e| fault(e.into()))? {
                return listing::whole(shard, row).map(Some).map_err(|e| fault(e.into()));
            }
        }
        Ok(None)
    }

    /// Reads the thumbnail of a listing's photo, from the last shard that has it.
    pub(crate) fn picture(&self, id: &str, photo: &str) -> Result<Option<Vec<u8>>, BackendError> {
        for shard in self.shards.iter().rev().filter(|shard| shard.has_thumbnails()) {
            let Some(row) = shard.find_listing(id).map_err(|e| fault(e.into()))? else { continue };
            let listing = listing::whole(shard, row).map_err(|e| fault(e.into()))?;
            let Some(place) = listing.photos.iter().position(|name| name == photo) else { continue };
            let found = shard.photo_of(row, place).map_err(|e| fault(e.into()))?;
            if let Some(jpeg) = found.and_then(|photo| shard.thumbnail(photo)) {
                return Ok(Some(jpeg.to_vec()));
            }
        }
        Ok(None)
    }
}

fn fault(error: IndexError) -> BackendError {
    match error {
        IndexError::Filter(filter) => BackendError::Unfit(format!("filter: {filter}")),
        IndexError::ModelMismatch { shard, .. } => BackendError::WrongModel { catalog: shard },
        other => BackendError::Broken(other.to_string()),
    }
}
