//! A search, from the query to its listings.

use super::filter::Filter;
use super::params::{MAX_K, SearchParams};
use super::plan::QueryPlan;
use super::predicate::Predicate;
use super::results::{Candidate, Ranking, Rules};
use super::scan::{ScanTarget, Scanner};
use super::stored::stored_vector;
use crate::embedding::Embedding;
use crate::error::{Error, Result, ShardError};
use crate::ids::{ListingRow, PhotoRow};
use crate::shard::Shard;
use crate::vector::code::EncodedQuery;
use crate::vector::float::dot;
use crate::vector::layout::stride;
use crate::vector::{CodeKernels, Rotation};

/// Photos of a listing that [`Searcher::more_like`] searches with: each one takes a whole search.
const LIKE_PHOTOS: usize = 4;

/// Buffers that one search leaves to the next. Their size depends on the options of the searches and grows with the
/// square root of the number of photos.
#[derive(Debug, Default)]
pub struct SearchScratch {
    rotation: Option<(u64, Rotation)>,
    rotated: Vec<f32>,
    query: EncodedQuery,
    scanner: Scanner,
    photos: Vec<Candidate>,
}

/// Searches one shard and reuses its buffers from search to search. Each thread has its own.
///
/// ```no_run
/// use magpie_index::search::{Filter, SearchParams, Searcher};
/// # fn run(shard: &magpie_index::shard::Shard, queries: &[magpie_index::Embedding]) -> magpie_index::Result<()> {
/// let mut searcher = Searcher::new(shard);
/// let filter = Filter::parse("category = Mugs and price < 50")?;
/// let params = SearchParams::new(20).with_min_score(0.4).with_at_most_per("shop", 3);
/// for query in queries {
///     for found in searcher.search(query, Some(&filter), &params)? {
///         println!("{:.3} listing {} photo {}", found.score, found.listing.0, found.photo.0);
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Searcher<'a> {
    shard: &'a Shard,
    kernels: CodeKernels,
    scratch: SearchScratch,
}

/// Returns the `k` listings most similar to the query, best first; fewer only where fewer listings pass the filter.
///
/// `k` is capped at [`MAX_K`]. [`Searcher::search`] has more options and is quicker when repeated.
///
/// # Errors
/// As [`Searcher::search`].
pub fn search(shard: &Shard, query: &Embedding, filter: Option<&Filter>, k: usize) -> Result<Vec<Candidate>> {
    Searcher::new(shard).search(query, filter, &SearchParams { k, ..SearchParams::default() })
}

impl<'a> Searcher<'a> {
    /// Creates a searcher with the best instruction set of this CPU.
    pub fn new(shard: &'a Shard) -> Self {
        Searcher::with_scratch(shard, SearchScratch::default())
    }

    /// As [`Searcher::new`], with the buffers of an earlier searcher of any shard.
    pub fn with_scratch(shard: &'a Shard, scratch: SearchScratch) -> Self {
        Searcher { shard, kernels: CodeKernels::best(), scratch }
    }

    /// Uses the kernels of another instruction set; results are the same.
    #[must_use]
    pub fn with_kernels(mut self, kernels: CodeKernels) -> Self {
        self.kernels = kernels;
        self
    }

    /// The shard that is searched.
    pub fn shard(&self) -> &'a Shard {
        self.shard
    }

    /// Returns the buffers, for [`Searcher::with_scratch`].
    pub fn into_scratch(self) -> SearchScratch {
        self.scratch
    }

    /// Returns the listings most similar to the query, best first. There are `k` of them wherever `k` listings pass the
    /// filter and the other conditions.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] where the embedding and the shard come from different models, [`Error::Filter`] where
    /// the filter does not fit the shard's columns, [`Error::Shard`] where the shard is damaged.
    pub fn search(
        &mut self,
        query: &Embedding,
        filter: Option<&Filter>,
        params: &SearchParams,
    ) -> Result<Vec<Candidate>> {
        Ok(self.rank(query, filter, params, 0)?.candidates)
    }

    /// As [`Searcher::search`], and also returns the scores of the best `leading` listings that pass the filter, best
    /// first: the input of a confidence. They do not depend on [`SearchParams::min_score`] and [`SearchParams::per`],
    /// nor on `k` as long as it is at most `leading` (a search for more scans more, and may find what the other
    /// missed). With [`SearchParams::near_duplicates`] they omit near-duplicates of better listings. There are fewer
    /// than `leading` only where fewer listings pass.
    ///
    /// # Errors
    /// As [`Searcher::search`].
    pub fn rank(
        &mut self,
        query: &Embedding,
        filter: Option<&Filter>,
        params: &SearchParams,
        leading: usize,
    ) -> Result<Ranking> {
        let header = self.shard.header();
        if query.model() != header.model_id {
            return Err(Error::ModelMismatch { model: query.model(), shard: header.model_id });
        }
        if query.dim() != header.dim as usize {
            let detail = format!("dimension {}, but the embeddings of its model have {}", header.dim, query.dim());
            return Err(ShardError::Invalid { part: "header".to_owned(), detail }.into());
        }
        let seed = self.shard.index().rotation_seed;
        let rotation = match self.scratch.rotation.take() {
            Some((kept, rotation)) if kept == seed && rotation.dim() == query.dim() => rotation,
            _ => Rotation::new(query.dim(), seed),
        };
        self.scratch.rotated.clear();
        self.scratch.rotated.extend(query.values());
        rotation.rotate(&mut self.scratch.rotated);
        self.scratch.rotation = Some((seed, rotation));
        self.search_rotated(filter, params, None, leading)
    }

    /// Returns the listings most similar to a listing of the shard, without that listing. Searches with its first four
    /// photos; the score of a result is its best with any of them.
    ///
    /// # Errors
    /// [`Error::Shard`] where the shard has no such listing or is damaged, [`Error::Filter`] where the filter does not
    /// fit the shard's columns.
    pub fn more_like(
        &mut self,
        listing: ListingRow,
        filter: Option<&Filter>,
        params: &SearchParams,
    ) -> Result<Vec<Candidate>> {
        let shard = self.shard;
        let photos: Vec<PhotoRow> = shard.photos_of(listing)?.into_iter().take(LIKE_PHOTOS).collect();
        let mut all: Vec<Candidate> = Vec::new();
        for photo in photos {
            let mut vector = stored_vector(shard, photo)?;
            let length = dot(&vector, &vector).sqrt();
            if length > 0.0 {
                vector.iter_mut().for_each(|v| *v /= length);
            }
            self.scratch.rotated = vector;
            all.extend(self.search_rotated(filter, params, Some(listing), 0)?.candidates);
        }
        all.sort_by(Candidate::rank);
        let rules = Rules::bind(shard, params, params.k.min(MAX_K), Some(listing))?;
        Ok(rules.apply(&all)?.0)
    }

    /// Returns the rows of the photos nearest to a rotated query, before they are collapsed to listings.
    #[cfg(feature = "build")]
    pub(crate) fn nearest_photos(&mut self, rotated: &[f32], params: &SearchParams) -> Result<Vec<u32>, ShardError> {
        let shard = self.shard;
        let SearchScratch { query, scanner, .. } = &mut self.scratch;
        query.set(rotated, stride(rotated.len()));
        let plan = QueryPlan { take: params.k, ..QueryPlan::new(shard, None, params, params.k) };
        scanner.run(&ScanTarget { shard, kernels: self.kernels, rotated, query, predicate: None }, &plan)?;
        Ok(scanner.best.best().iter().map(|item| item.row()).collect())
    }

    fn search_rotated(
        &mut self,
        filter: Option<&Filter>,
        params: &SearchParams,
        exclude: Option<ListingRow>,
        leading: usize,
    ) -> Result<Ranking> {
        let shard = self.shard;
        let predicate = filter.map(|filter| Predicate::bind(filter, shard)).transpose()?;
        let k = params.k.min(MAX_K);
        let rules = Rules::bind(shard, params, k, exclude)?;
        let leaders = rules.leading(leading.min(MAX_K));
        if k.max(leaders.k) == 0 {
            return Ok(Ranking::default());
        }
        let SearchScratch { rotated, query, scanner, photos, .. } = &mut self.scratch;
        query.set(rotated, stride(rotated.len()));
        let target = ScanTarget { shard, kernels: self.kernels, rotated, query, predicate: predicate.as_ref() };
        let mut plan = QueryPlan::new(shard, predicate.as_ref(), params, k.max(leaders.k));
        let mut led: Option<Vec<f32>> = None;
        loop {
            let complete = scanner.run(&target, &plan)?;
            photos.clear();
            for item in scanner.best.best() {
                let photo = PhotoRow(item.row());
                photos.push(Candidate { score: item.score(), listing: shard.listing_of(photo)?, photo });
            }
            photos.sort_unstable_by(Candidate::rank);
            // Which of the best photos share a listing is known only now. The best `take` are in their final order, so
            // their listings are the best ones; where those are too few, the search is repeated with a wider plan.
            let (candidates, more) = rules.apply(photos)?;
            // The second condition ends the loop on damaged shards, whose lists may hold fewer photos than the header
            // says.
            let everything = complete || plan.is_everything(shard);
            // The leading scores come from the first pass with enough of them, because the other options may take more
            // passes and the scores must not depend on those.
            if led.is_none() {
                let (best, more) = leaders.apply(photos)?;
                led = (everything || !more).then(|| best.iter().map(|candidate| candidate.score).collect());
            }
            match led.take() {
                Some(leading) if everything || !more => return Ok(Ranking { candidates, leading }),
                undecided => led = undecided,
            }
            plan = plan.wider();
        }
    }
}
