//! A search from the query to its listings.

use super::filter::Filter;
use super::params::{MAX_K, SearchParams};
use super::plan::Plan;
use super::predicate::Predicate;
use super::results::{Candidate, Ranking, Rules};
use super::scan::{Scanner, Target};
use crate::embedding::Embedding;
use crate::error::{Error, Result, ShardError};
use crate::ids::{ListingRow, PhotoRow};
use crate::shard::Shard;
use crate::vector::code::Query;
use crate::vector::sign::{self, BLOCK};
use crate::vector::{Kernels, Rotation, stride};

/// Photos of a listing that [`Searcher::more_like`] searches with.
const LIKE_PHOTOS: usize = 4;

/// Memory that searches use again and again. Its size depends on what is asked for, and on the square root of the
/// catalogue's size; not on the catalogue.
#[derive(Debug, Default)]
pub struct Scratch {
    rotation: Option<(u64, Rotation)>,
    turned: Vec<f32>,
    query: Query,
    scanner: Scanner,
    photos: Vec<Candidate>,
}

/// Searches one shard, again and again without taking new memory. One thread has one of these.
#[derive(Debug)]
pub struct Searcher<'a> {
    shard: &'a Shard,
    kernels: Kernels,
    scratch: Scratch,
}

/// The `k` listings most like the query, best first; fewer only where fewer listings pass the filter.
///
/// `k` above [`MAX_K`] is taken as [`MAX_K`]. [`Searcher::search`] takes more wishes and is quicker when repeated.
///
/// # Errors
/// As [`Searcher::search`].
pub fn search(shard: &Shard, query: &Embedding, filter: Option<&Filter>, k: usize) -> Result<Vec<Candidate>> {
    Searcher::new(shard).search(query, filter, &SearchParams { k, ..SearchParams::default() })
}

impl<'a> Searcher<'a> {
    /// Searches this shard with the widest instructions that the CPU has.
    pub fn new(shard: &'a Shard) -> Self {
        Searcher::with_scratch(shard, Scratch::default())
    }

    /// As [`Searcher::new`], with memory from an earlier searcher, of any shard.
    pub fn with_scratch(shard: &'a Shard, scratch: Scratch) -> Self {
        Searcher { shard, kernels: Kernels::best(), scratch }
    }

    /// Uses other kernels; results are the same.
    #[must_use]
    pub fn with_kernels(mut self, kernels: Kernels) -> Self {
        self.kernels = kernels;
        self
    }

    /// What is searched.
    pub fn shard(&self) -> &'a Shard {
        self.shard
    }

    /// Gives the memory back.
    pub fn into_scratch(self) -> Scratch {
        self.scratch
    }

    /// The listings most like the query, best first. Where `k` listings pass the filter and the other wishes, `k` are
    /// returned.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] where the embedding is of another model than the shard's, [`Error::Filter`] where the
    /// shard has no such column, [`Error::Shard`] where the shard is damaged.
    pub fn search(
        &mut self,
        query: &Embedding,
        filter: Option<&Filter>,
        params: &SearchParams,
    ) -> Result<Vec<Candidate>> {
        Ok(self.rank(query, filter, params, 0)?.candidates)
    }

    /// As [`Searcher::search`], with the scores of the best `leading` listings that pass the filter, best first: what a
    /// [confidence](crate::confidence) goes by. They do not depend on how many listings are asked for, as long as it is no
    /// more than `leading` (a search for more looks farther, and may see what the other missed), nor on
    /// [`SearchParams::min_score`] and [`SearchParams::per`]. With [`SearchParams::near_duplicates`], a listing that
    /// repeats a better one is none of them. There are fewer only where fewer listings pass.
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
        self.scratch.turned.clear();
        self.scratch.turned.extend(query.values());
        rotation.turn(&mut self.scratch.turned);
        self.scratch.rotation = Some((seed, rotation));
        self.search_turned(filter, params, None, leading)
    }

    /// The listings most like another listing of the shard, which is not among them. Searches with the first photos of
    /// the listing; the best score of any of them counts.
    ///
    /// # Errors
    /// [`Error::Shard`] where there is no such listing or the shard is damaged, [`Error::Filter`] where the shard has
    /// no such column.
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
            let mut vector = stored_vector(shard, photo);
            let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
            if length > 0.0 {
                vector.iter_mut().for_each(|v| *v /= length);
            }
            self.scratch.turned = vector;
            all.extend(self.search_turned(filter, params, Some(listing), 0)?.candidates);
        }
        all.sort_by(Candidate::rank);
        let rules = Rules::bind(shard, params, params.k.min(MAX_K), Some(listing))?;
        Ok(rules.apply(&all).0)
    }

    /// Rows of the photos nearest to a turned query: what a search makes listings of.
    #[cfg(feature = "build")]
    pub(crate) fn nearest_photos(&mut self, turned: &[f32], params: &SearchParams) -> Result<Vec<u32>, ShardError> {
        let shard = self.shard;
        let Scratch { query, scanner, .. } = &mut self.scratch;
        query.set(turned, stride(turned.len()));
        let plan = Plan { take: params.k, ..Plan::new(shard, None, params, params.k) };
        scanner.run(&Target { shard, kernels: self.kernels, turned, query, predicate: None }, &plan)?;
        Ok(scanner.best.best().iter().map(|item| item.row()).collect())
    }

    fn search_turned(
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
        let Scratch { turned, query, scanner, photos, .. } = &mut self.scratch;
        query.set(turned, stride(turned.len()));
        let target = Target { shard, kernels: self.kernels, turned, query, predicate: predicate.as_ref() };
        let mut plan = Plan::new(shard, predicate.as_ref(), params, k.max(leaders.k));
        let mut led: Option<Vec<f32>> = None;
        loop {
            let complete = scanner.run(&target, &plan)?;
            photos.clear();
            for item in scanner.best.best() {
                let photo = PhotoRow(item.row());
                photos.push(Candidate { score: item.score(), listing: shard.listing_of(photo)?, photo });
            }
            photos.sort_unstable_by(Candidate::rank);
            // Which of the best photos share a listing is known only now. The best `take` are in the final order, so
            // their listings are the best ones; too few of them means: look further.
            let (candidates, more) = rules.apply(photos);
            // The last is for damaged shards, which may have fewer photos in their lists than they say.
            let everything = complete || plan.is_everything(shard);
            // Those of the first look that has enough of them: what else is asked for may take another look.
            if led.is_none() {
                let (best, more) = leaders.apply(photos);
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

/// The vector of a photo as the shard keeps it: turned by the rotation of
/// [`Index::rotation_seed`](crate::shard::Index::rotation_seed), and about of unit length, or shorter where the shard was
/// built with local scaling.
pub fn stored_vector(shard: &Shard, photo: PhotoRow) -> Vec<f32> {
    let (dim, stride, index) = (shard.header().dim as usize, shard.stride(), shard.index());
    let row = photo.0 as usize;
    let list = shard.list_starts().partition_point(|&start| start <= photo.0).saturating_sub(1);
    let centre = shard.centroids().get(list * stride..).unwrap_or_default();
    let code = shard.codes().get(row * stride..).unwrap_or_default();
    let block = shard.scan_blocks().get(row / BLOCK * shard.block_len()..).unwrap_or_default();
    let mut signs = vec![0; stride / 32];
    sign::take(block.get(..sign::signs_len(dim)).unwrap_or_default(), row % BLOCK, &mut signs);
    let scale = f32::from(shard.code_scales().get(row).copied().unwrap_or(0)) * index.scale_unit;
    let coordinate = |(at, (&centre, &byte)): (usize, (&i8, &u8))| {
        let size = f32::from(2 * u16::from(byte) + 1) * scale;
        let positive = signs[at / 32] >> (at % 32) & 1 == 1;
        f32::from(centre) * index.centroid_unit + if positive { size } else { -size }
    };
    let mut vector: Vec<f32> = centre.iter().zip(code).take(dim).enumerate().map(coordinate).collect();
    vector.resize(dim, 0.0);
    vector
}
