//! Measures on the new shard how many lists a search has to probe, and how many photos to re-rank, for a recall.

use std::collections::HashSet;

use crate::error::Result;
use crate::ids::PhotoRow;
use crate::search::{SearchParams, Searcher, stored_vector};
use crate::shard::{Budget, RECALLS, Shard};
use crate::vector::float::dot;

/// Number of queries. With 10 nearest photos each, recall is measured on 2000 photos.
const QUERIES: usize = 200;
/// Nearest photos that a search should find.
const K: usize = 10;
/// Numbers of re-ranked photos that are tried. On real embeddings 200 lost 0.001 to 0.002 of recall and 400 nothing
/// (ADR 0005), so there is no use in more.
const RERANKS: [u32; 4] = [64, 100, 200, 400];
/// Cosine of a query and the photo that it is derived from. Queries with 0.87 needed as many lists as photos that are
/// not in the catalogue, at 100 thousand photos and at a million; photos of the catalogue itself needed a third of
/// them.
const COSINE: f32 = 0.87;
/// The cost of re-ranking a photo, in photos that are estimated by the scan. Only ranks budgets that reach the same
/// recall: a re-ranked photo takes a code of one byte per coordinate from a random place, an estimate one bit in
/// sequence.
const RERANK_COST: u64 = 20;

/// Measures the budgets of a new shard. Each query is a photo moved some way towards another one: near the catalogue,
/// but not in it.
pub(super) fn measure(shard: &Shard, progress: &dyn Fn(f32)) -> Result<[Budget; RECALLS.len()]> {
    let (photos, lists) = (shard.header().photo_count, shard.index().lists);
    if lists <= 1 {
        return Ok([Budget::default(); RECALLS.len()]);
    }
    let mut searcher = Searcher::new(shard);
    let mut cases = Vec::new();
    for at in 0..QUERIES {
        progress(at as f32 / QUERIES as f32);
        let Some(query) = query(shard, at)? else { continue };
        let truth: HashSet<u32> = searcher.nearest_photos(&query, &params(lists, 0))?.into_iter().collect();
        cases.push((query, truth));
    }
    let mut measured = Vec::new();
    let mut probes = 4.min(lists);
    loop {
        let mut recall = 0.0;
        for rerank in RERANKS {
            let (mut found, mut all) = (0, 0);
            for (query, truth) in &cases {
                let nearest = searcher.nearest_photos(query, &params(probes, rerank))?;
                found += nearest.iter().filter(|row| truth.contains(row)).count();
                all += truth.len();
            }
            recall = found as f32 / all.max(1) as f32;
            let cost = u64::from(probes) * u64::from(photos / lists) + u64::from(rerank) * RERANK_COST;
            measured.push((cost, recall, Budget { probes, rerank: rerank.min(photos) }));
        }
        if probes == lists || RECALLS.last().is_some_and(|&most| recall >= most) {
            break;
        }
        probes = (probes + (probes / 3).max(1)).min(lists);
    }
    measured.sort_by_key(|(cost, ..)| *cost);
    let cheapest = |target: f32| measured.iter().find(|(_, recall, _)| *recall >= target);
    Ok(RECALLS.map(|target| cheapest(target).map_or(Budget::default(), |(_, _, budget)| *budget)))
}

/// Returns a rotated query of unit length: a photo moved towards another one by the angle of [`COSINE`].
fn query(shard: &Shard, at: usize) -> Result<Option<Vec<f32>>> {
    let photos = u64::from(shard.header().photo_count);
    let one = at as u64 * photos / QUERIES as u64;
    // Steps of the golden ratio reach all parts of the catalogue.
    let other = (one + at as u64 * (photos as f64 * 0.618) as u64 + photos / 3) % photos;
    let [query, away] = [one, other].map(|row| stored_vector(shard, PhotoRow(row as u32)));
    let (mut query, mut away) = (query?, away?);
    if normalise(&mut query).is_none() {
        return Ok(None);
    }
    let along = dot(&query, &away);
    away.iter_mut().zip(&query).for_each(|(a, q)| *a -= along * q);
    // Where the two photos are the same, the query stays the photo.
    if normalise(&mut away).is_some() {
        let sine = (1.0 - COSINE * COSINE).sqrt();
        query.iter_mut().zip(&away).for_each(|(q, a)| *q = COSINE * *q + sine * a);
    }
    Ok(Some(query))
}

/// Scales a vector to unit length; `None` where it is too short for that.
fn normalise(vector: &mut [f32]) -> Option<()> {
    let length = dot(vector, vector).sqrt();
    (length > 1e-6).then(|| vector.iter_mut().for_each(|v| *v /= length))
}

fn params(probes: u32, rerank: u32) -> SearchParams {
    SearchParams {
        k: K,
        recall: if rerank == 0 { 1.0 } else { 0.9 },
        probes: Some(probes as usize),
        rerank: Some(rerank as usize),
        ..SearchParams::default()
    }
}
