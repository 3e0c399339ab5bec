//! Search options that OpenSearch cannot apply: minimum score, group-by limits, near-duplicates. They are applied to
//! its results here, with the same meaning as in a shard.

use std::collections::HashMap;

use magpie_core::listing::Found;
use magpie_core::search::{MAX_K, SearchParams};

use super::reply::Hit;
use super::schema::{IndexMeta, field};

/// The number of listings to request first. Options that drop listings need more: requesting more at once is cheaper
/// than a second request.
pub(super) fn look_at(params: &SearchParams) -> usize {
    let spare = if params.per.is_some() || params.near_duplicates.is_some() { 4 } else { 1 };
    params.k.max(1).saturating_mul(spare).min(MAX_K)
}

/// Applies the options to the listings, best first. Also returns whether more listings could add results.
pub(super) fn apply(hits: Vec<Hit>, meta: &IndexMeta, params: &SearchParams) -> (Vec<Found>, bool) {
    let least = params.min_score.unwrap_or(f32::NEG_INFINITY);
    let per = params.per.as_ref().and_then(|per| {
        let at = meta.columns.iter().position(|column| column.name == per.column)?;
        Some((field(at), per.most))
    });
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<Found> = Vec::new();
    let mut originals: Vec<Vec<i8>> = Vec::new();
    for mut hit in hits {
        if kept.len() == params.k || hit.score < least {
            return (kept, false);
        }
        let value = per.as_ref().and_then(|(field, most)| Some((hit.columns.get(field)?.to_string(), *most)));
        if value.as_ref().is_some_and(|(value, most)| counts.get(value).copied().unwrap_or(0) >= *most) {
            continue;
        }
        if let (Some(limit), Some(vector)) = (params.near_duplicates, hit.vector.take()) {
            if originals.iter().any(|kept| cosine(kept, &vector) >= limit) {
                continue;
            }
            originals.push(vector);
        }
        if let Some((value, _)) = value {
            *counts.entry(value).or_default() += 1;
        }
        kept.push(hit.found(meta));
    }
    let more = kept.len() < params.k;
    (kept, more)
}

fn cosine(a: &[i8], b: &[i8]) -> f32 {
    let product = |a: &[i8], b: &[i8]| -> i64 { a.iter().zip(b).map(|(x, y)| i64::from(*x) * i64::from(*y)).sum() };
    let lengths = (product(a, a) as f64 * product(b, b) as f64).sqrt().max(f64::MIN_POSITIVE);
    (product(a, b) as f64 / lengths) as f32
}
