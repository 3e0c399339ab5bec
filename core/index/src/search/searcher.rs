//! A search, from the query to its listings.

use super::filter::Filter;
use super::groups::Group;
use super::params::{MAX_K, SearchParams};
use super::part::Part;
use super::plan::QueryPlan;
use super::predicate::Predicate;
use super::results::{Candidate, ListingPlace, Ranking, Rules, order};
use super::scan::{ScanTarget, Scanner, Stop};
use super::stored::stored_vector;
use crate::embedding::Embedding;
use crate::error::{Error, Result, ShardError};
use crate::ids::PhotoRow;
use crate::shard::Shard;
use crate::vector::code::EncodedQuery;
use crate::vector::float::dot;
use crate::vector::layout::stride;
use crate::vector::{CodeKernels, Rotation};

/// Photos of a listing that [`Searcher::more_like`] searches with: each one takes a whole search.
const LIKE_PHOTOS: usize = 4;
/// Most passes of a search. The last one collects about a thousand times the photos of the first.
const MAX_PASSES: u32 = 4;
/// Buffers above this are not kept for the next search, in bytes.
const MAX_SCRATCH: usize = 8 << 20;

/// Buffers that one search leaves to the next: at most 8 MiB.
#[derive(Debug, Default)]
pub struct SearchScratch {
    rotation: Option<(u64, Rotation)>,
    rotated: Vec<f32>,
    query: EncodedQuery,
    scanner: Scanner,
    photos: Vec<Candidate>,
}

impl SearchScratch {
    /// The memory of the buffers that grow with the options of a search, in bytes.
    pub(super) fn size(&self) -> usize {
        self.scanner.size() + self.photos.capacity() * size_of::<Candidate>()
    }

    #[cfg(test)]
    pub(super) fn reserve(&mut self, photos: usize) {
        self.photos.reserve(photos);
    }

    /// Drops buffers that an unusual search has made large.
    fn trim(&mut self) {
        if self.size() > MAX_SCRATCH {
            self.scanner = Scanner::default();
            self.photos = Vec::new();
        }
    }
}

/// Searches a shard, or a [`Catalog`](crate::catalog::Catalog) of several, and reuses its buffers from search to search.
/// Each thread has its own.
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
pub struct Searcher<'a> {
    parts: Vec<Part<'a>>,
    kernels: CodeKernels,
    stop: Stop<'a>,
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
        Searcher::of_parts(vec![Part::whole(shard)], scratch)
    }

    /// Creates a searcher of parts with the same model, dimension and rotation; there is at least one.
    pub(crate) fn of_parts(parts: Vec<Part<'a>>, scratch: SearchScratch) -> Self {
        Searcher { parts, kernels: CodeKernels::best(), stop: Stop::default(), scratch }
    }

    /// Uses the kernels of another instruction set; results are the same.
    #[must_use]
    pub fn with_kernels(mut self, kernels: CodeKernels) -> Self {
        self.kernels = kernels;
        self
    }

    /// Ends searches with [`Error::Stopped`] soon after `wanted` returns `true`: a search calls it between its passes and
    /// between groups of lists.
    #[must_use]
    pub fn with_stop(mut self, wanted: &'a dyn Fn() -> bool) -> Self {
        self.stop = Stop(Some(wanted));
        self
    }

    /// The first shard that is searched.
    pub(crate) fn shard(&self) -> &'a Shard {
        self.parts[0].shard
    }

    /// Returns the buffers, for [`Searcher::with_scratch`].
    pub fn into_scratch(self) -> SearchScratch {
        self.scratch
    }

    /// Returns the listings most similar to the query, best first. There are `k` of them wherever `k` listings pass the
    /// filter and the other conditions, unless far too few of the photos nearest to the query meet them: see
    /// [`Ranking::complete`].
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] where the embedding and the shard come from different models, [`Error::Filter`] where
    /// the filter does not fit the shard's columns, [`Error::Shard`] where the shard is damaged, [`Error::Stopped`] where
    /// [`Searcher::with_stop`] asked for it.
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
        self.rank_with_first(query, filter, params, leading, &[])
    }

    /// As [`Searcher::rank`], but one of these listings comes first, whatever its score: the earliest of them that passes
    /// the filter. The others keep their order, and `k`, [`SearchParams::per`] and [`SearchParams::near_duplicates`] hold
    /// for all together; [`SearchParams::min_score`] does not apply to the first. Without such a listing the result is
    /// that of [`Searcher::rank`].
    ///
    /// # Errors
    /// As [`Searcher::search`], also where a listing does not exist.
    pub fn rank_with_first(
        &mut self,
        query: &Embedding,
        filter: Option<&Filter>,
        params: &SearchParams,
        leading: usize,
        first: &[ListingPlace],
    ) -> Result<Ranking> {
        let shard = self.shard();
        let header = shard.header();
        if query.model() != header.model_id {
            return Err(Error::ModelMismatch { model: query.model(), shard: header.model_id });
        }
        if query.dim() != header.dim as usize {
            let detail = format!("dimension {}, but the embeddings of its model have {}", header.dim, query.dim());
            return Err(ShardError::Invalid { part: "header".to_owned(), detail }.into());
        }
        let seed = shard.index().rotation_seed;
        let rotation = match self.scratch.rotation.take() {
            Some((kept, rotation)) if kept == seed && rotation.dim() == query.dim() => rotation,
            _ => Rotation::new(query.dim(), seed),
        };
        self.scratch.rotated.clear();
        self.scratch.rotated.extend(query.values());
        rotation.rotate(&mut self.scratch.rotated);
        self.scratch.rotation = Some((seed, rotation));
        self.search_rotated(filter, params, Special { exclude: None, first }, leading)
    }

    /// Returns the listings most similar to a listing of the shard, without that listing. Searches with its first four
    /// photos; the score of a result is its best with any of them.
    ///
    /// # Errors
    /// [`Error::Shard`] where the shard has no such listing or is damaged, [`Error::Filter`] where the filter does not
    /// fit the shard's columns.
    pub fn more_like(
        &mut self,
        listing: impl Into<ListingPlace>,
        filter: Option<&Filter>,
        params: &SearchParams,
    ) -> Result<Vec<Candidate>> {
        let place = listing.into();
        let shard = self.parts.get(place.part).ok_or_else(|| unknown_part(place.part))?.shard;
        let photos: Vec<PhotoRow> = shard.photos_of(place.listing)?.into_iter().take(LIKE_PHOTOS).collect();
        let mut all: Vec<Candidate> = Vec::new();
        for photo in photos {
            let mut vector = stored_vector(shard, photo)?;
            let length = dot(&vector, &vector).sqrt();
            if length > 0.0 {
                vector.iter_mut().for_each(|v| *v /= length);
            }
            self.scratch.rotated = vector;
            let special = Special { exclude: Some(place), first: &[] };
            all.extend(self.search_rotated(filter, params, special, 0)?.candidates);
        }
        order(&mut all, &self.parts)?;
        let rules = Rules::bind(&self.parts, params, params.k.min(MAX_K), Some(place))?;
        Ok(rules.apply(None, &all)?.kept)
    }

    /// Returns the rows of the photos nearest to a rotated query, before they are collapsed to listings.
    #[cfg(feature = "build")]
    pub(crate) fn nearest_photos(&mut self, rotated: &[f32], params: &SearchParams) -> Result<Vec<u32>> {
        let SearchScratch { query, scanner, .. } = &mut self.scratch;
        query.set(rotated, stride(rotated.len()));
        let plan = QueryPlan { take: params.k, ..QueryPlan::new(&self.parts, &[None], params, params.k) };
        let part = &self.parts[0];
        let target = ScanTarget { part, kernels: self.kernels, rotated, query, predicate: None, before: 0 };
        scanner.run(&[target], &plan, self.stop)?;
        Ok(scanner.found.iter().map(|found| found.photo.0).collect())
    }

    fn search_rotated(
        &mut self,
        filter: Option<&Filter>,
        params: &SearchParams,
        special: Special<'_>,
        leading: usize,
    ) -> Result<Ranking> {
        let result = self.search_passes(filter, params, special, leading);
        self.scratch.trim();
        result
    }

    fn search_passes(
        &mut self,
        filter: Option<&Filter>,
        params: &SearchParams,
        special: Special<'_>,
        leading: usize,
    ) -> Result<Ranking> {
        let parts = &*self.parts;
        let k = params.k.min(MAX_K);
        let rules = Rules::bind(parts, params, k, special.exclude)?;
        let leaders = rules.leading(leading.min(MAX_K));
        let wanted = k.max(leaders.k);
        // With a limit of 0 for each group, all groups are full at the start.
        let mut predicates =
            predicates(filter, &rules, &[], rules.groups.as_ref().is_some_and(|groups| groups.most == 0))?;
        if wanted == 0 {
            return Ok(Ranking { candidates: Vec::new(), leading: Vec::new(), complete: true, put_first: false });
        }
        let SearchScratch { rotated, query, scanner, photos, .. } = &mut self.scratch;
        query.set(rotated, stride(rotated.len()));
        let first = match special.first {
            [] => None,
            places => best_of(places, &targets(parts, &predicates, self.kernels, rotated, query), scanner)?,
        };
        let mut plan = QueryPlan::new(parts, &predicates, params, wanted);
        let mut led: Option<Vec<f32>> = None;
        photos.clear();
        // Whether this pass leaves out groups that are full, so that its photos add to those of the passes before.
        let mut adds = false;
        let mut pass = 1;
        loop {
            let targets = targets(parts, &predicates, self.kernels, rotated, query);
            let complete = scanner.run(&targets, &plan, self.stop)?;
            // The best `take` are in their final order, so their listings are the best ones.
            order(&mut scanner.found, parts)?;
            scanner.found.truncate(plan.take);
            if adds {
                photos.append(&mut scanner.found);
                order(photos, parts)?;
                photos.dedup_by_key(|photo| (photo.part, photo.photo));
            } else {
                std::mem::swap(photos, &mut scanner.found);
            }
            // Which of the best photos share a listing or a group is known only now. Where too few listings are left, the
            // search is repeated with a wider plan, but not for ever.
            let applied = rules.apply(first.as_ref(), photos)?;
            let last = pass == MAX_PASSES;
            // The second condition ends the loop on damaged shards, whose lists may hold fewer photos than the header
            // says.
            let everything = complete || plan.is_everything(parts);
            // The leading scores come from the first pass with enough of them, because the other options may take more
            // passes and the scores must not depend on those.
            if led.is_none() {
                let leading = leaders.apply(None, photos)?;
                let enough = everything || last || !leading.more;
                led = enough.then(|| leading.kept.iter().map(|candidate| candidate.score).collect());
            }
            if led.is_some() && (everything || last || !applied.more) {
                let (candidates, complete) = (applied.kept, everything || !applied.more);
                let put_first = first.is_some() && !candidates.is_empty();
                return Ok(Ranking { candidates, leading: led.unwrap_or_default(), complete, put_first });
            }
            adds = led.is_some() && !applied.full.is_empty();
            if adds {
                predicates = self::predicates(filter, &rules, &applied.full, true)?;
            }
            plan = QueryPlan::new(parts, &predicates, params, wanted).widened(pass, parts);
            pass += 1;
        }
    }
}

/// Listings that do not compete by their scores.
#[derive(Clone, Copy)]
struct Special<'s> {
    /// Left out.
    exclude: Option<ListingPlace>,
    /// One of them comes first.
    first: &'s [ListingPlace],
}

/// Returns the best photo of the first of these listings that passes the filter.
fn best_of(
    places: &[ListingPlace],
    targets: &[ScanTarget<'_>],
    scanner: &mut Scanner,
) -> Result<Option<Candidate>, ShardError> {
    for place in places {
        let target = targets.get(place.part).ok_or_else(|| unknown_part(place.part))?;
        let best = scanner.best_of(target, *place)?;
        if best.is_some() {
            return Ok(best);
        }
    }
    Ok(None)
}

fn unknown_part(part: usize) -> ShardError {
    ShardError::Invalid { part: "catalogue".to_owned(), detail: format!("no part {part}") }
}

/// Binds the filter to each part, and leaves out the groups that are full.
fn predicates<'a>(
    filter: Option<&Filter>,
    rules: &Rules<'a>,
    full: &[Group<'a>],
    leave_out: bool,
) -> Result<Vec<Option<Predicate<'a>>>> {
    let of = |(at, part): (usize, &Part<'a>)| {
        let filter = filter.map(|filter| Predicate::bind(filter, part)).transpose()?;
        let groups = rules.groups.as_ref().filter(|_| leave_out).and_then(|groups| groups.without(at, full));
        Ok(match (filter, groups) {
            (Some(filter), Some(groups)) => Some(Predicate::And(vec![filter, groups])),
            (filter, groups) => filter.or(groups),
        })
    };
    rules.parts.iter().enumerate().map(of).collect()
}

/// The parts of a search, as a scanner needs them.
fn targets<'s>(
    parts: &'s [Part<'s>],
    predicates: &'s [Option<Predicate<'s>>],
    kernels: CodeKernels,
    rotated: &'s [f32],
    query: &'s EncodedQuery,
) -> Vec<ScanTarget<'s>> {
    let mut before = 0u32;
    let target = |(part, predicate): (&'s Part<'s>, &'s Option<Predicate<'s>>)| {
        let target = ScanTarget { part, kernels, rotated, query, predicate: predicate.as_ref(), before };
        // A catalogue has at most `u32::MAX` photos.
        before = before.saturating_add(part.shard.header().photo_count);
        target
    };
    parts.iter().zip(predicates).map(target).collect()
}
