//! Parses and checks the responses to searches.

use std::collections::HashSet;

use magpie_core::listing::{Found, Listing};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::query::KnnQuery;
use super::schema::IndexMeta;
use crate::backend::BackendError;

/// A listing that OpenSearch found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hit {
    /// Cosine between the query and the nearest photo; 0 in a lookup by id.
    pub(super) score: f32,
    id: String,
    photo: usize,
    names: Vec<String>,
    values: Vec<String>,
    /// The values of the requested columns, by field.
    pub(super) columns: Map<String, Value>,
    /// The vector of the nearest photo, if it was requested.
    pub(super) vector: Option<Vec<i8>>,
}

impl Hit {
    pub(super) fn found(self, meta: &IndexMeta) -> Found {
        let photo = self.names.get(self.photo).cloned().unwrap_or_default();
        let fields = meta.fields.iter().map(|name| name.as_str().into()).zip(self.values).collect();
        Found::new(self.score, Listing { id: self.id, photo, photos: self.names, fields })
    }
}

#[derive(Deserialize)]
struct SearchResponse {
    timed_out: bool,
    #[serde(rename = "_shards")]
    shards: ShardCounts,
    hits: Hits<HitDocument>,
}

#[derive(Deserialize)]
struct ShardCounts {
    failed: u32,
}

#[derive(Deserialize)]
struct Hits<T> {
    hits: Vec<T>,
}

#[derive(Deserialize)]
struct HitDocument {
    #[serde(rename = "_score")]
    score: Option<f32>,
    #[serde(rename = "_source")]
    source: HitSource,
    inner_hits: Option<InnerHits>,
}

#[derive(Deserialize)]
struct HitSource {
    id: String,
    names: Vec<String>,
    values: Vec<String>,
    #[serde(flatten)]
    columns: Map<String, Value>,
}

#[derive(Deserialize)]
struct InnerHits {
    photos: PhotoHits,
}

#[derive(Deserialize)]
struct PhotoHits {
    hits: Hits<PhotoHit>,
}

#[derive(Deserialize)]
struct PhotoHit {
    #[serde(rename = "_nested")]
    nested: NestedOffset,
    #[serde(rename = "_source")]
    source: Option<PhotoSource>,
}

#[derive(Deserialize)]
struct NestedOffset {
    offset: usize,
}

#[derive(Deserialize)]
struct PhotoSource {
    vector: Vec<i8>,
}

/// Parses the listings of a response, best first; ties are ordered by id.
///
/// # Errors
/// [`BackendError::Late`] if the search timed out, [`BackendError::Upstream`] if the response is incomplete or invalid.
pub(super) fn hits(reply: &[u8], meta: &IndexMeta, request: &KnnQuery<'_>) -> Result<Vec<Hit>, BackendError> {
    let size = request.size();
    let invalid = |detail: String| BackendError::Upstream(format!("OpenSearch's response: {detail}"));
    let SearchResponse { timed_out, shards, hits } =
        serde_json::from_slice(reply).map_err(|e| invalid(e.to_string()))?;
    if timed_out {
        return Err(BackendError::Late);
    }
    if shards.failed > 0 || hits.hits.len() > size {
        return Err(invalid(format!("{} shards failed, {} listings of {size}", shards.failed, hits.hits.len())));
    }
    let mut hits =
        hits.hits.into_iter().map(|document| hit(document, meta, request.is_nearest())).collect::<Result<Vec<_>, _>>();
    if let Ok(hits) = &mut hits {
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        let mut ids = HashSet::new();
        if let Some(twice) = hits.iter().find(|hit| !ids.insert(hit.id.as_str())) {
            return Err(invalid(format!("the listing '{}' occurs twice", twice.id.escape_debug())));
        }
    }
    hits.map_err(invalid)
}

fn hit(document: HitDocument, meta: &IndexMeta, nearest: bool) -> Result<Hit, String> {
    let HitDocument { score, source: HitSource { id, names, values, columns }, inner_hits } = document;
    if values.len() != meta.fields.len() || names.is_empty() {
        return Err(format!("{} values and {} photos for {} fields", values.len(), names.len(), meta.fields.len()));
    }
    if !nearest {
        return Ok(Hit { score: 0.0, id, photo: 0, names, values, columns, vector: None });
    }
    let nearest = inner_hits.and_then(|inner| inner.photos.hits.hits.into_iter().next());
    let nearest = nearest.ok_or("a listing without its nearest photo")?;
    // Lucene's score of a cosine c is (1 + c) / 2.
    let score =
        score.filter(|score| (-0.001..=1.001).contains(score)).map(|score| (2.0 * score - 1.0).clamp(-1.0, 1.0));
    let score = score.ok_or("a score is missing or out of range")?;
    let photo = nearest.nested.offset;
    let vector = nearest.source.map(|source| source.vector);
    if photo >= names.len() || vector.as_ref().is_some_and(|vector| vector.len() != meta.dim as usize) {
        return Err(format!("photo {photo} of {}, or a vector of another dimension", names.len()));
    }
    Ok(Hit { score, id, photo, names, values, columns, vector })
}
