//! The layout of an index, shared by loading and searching.
//!
//! Columns are named `c0`, `c1` and so on: names from a catalogue are never used as field names.

use magpie_core::ModelId;
use magpie_core::shard::{ColumnKind, Shard};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::backend::ColumnInfo;

/// The version of this layout.
const FORMAT: u32 = 1;
/// The field of the nested photos' vectors.
pub(super) const VECTOR: &str = "photos.vector";
/// A field and its value in every listing; nested photos do not have it.
pub(super) const KIND: (&str, &str) = ("kind", "listing");
/// Longest id of a document, in bytes: OpenSearch's limit.
pub(super) const LONGEST_ID: usize = 512;

/// The description of an index, stored in `_meta` of its mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct IndexMeta {
    pub(super) format: u32,
    pub(super) catalog: String,
    pub(super) model_id: ModelId,
    pub(super) dim: u32,
    pub(super) sequence: u64,
    /// The seed of the rotation of the vectors, in hexadecimal: not every JSON parser can read 64-bit numbers.
    pub(super) rotation: String,
    /// The number of distinct listings.
    pub(super) listings: u64,
    pub(super) photos: u64,
    /// The names of a listing's fields, in the order of its values.
    pub(super) fields: Vec<String>,
    /// The filter columns; the field of column `n` is `c{n}`.
    pub(super) columns: Vec<ColumnInfo>,
    /// How many records, in the order of [`super::records`], are certainly in the index: where a load resumes.
    pub(super) loaded: u64,
}

impl IndexMeta {
    /// Describes an empty index for these shards, which belong to one catalogue and model.
    ///
    /// # Errors
    /// The shards have different fields or columns.
    pub(super) fn of(shards: &[Shard], listings: u64, photos: u64) -> Result<IndexMeta, String> {
        let first = shards.first().ok_or("no shard is given")?;
        let columns = |shard: &Shard| -> Vec<ColumnInfo> {
            shard.columns().map(|(name, kind)| ColumnInfo { name: name.to_owned(), kind }).collect()
        };
        for shard in shards {
            if shard.fields() != first.fields() || columns(shard) != columns(first) {
                return Err("the shards have different fields or filter columns".to_owned());
            }
        }
        let header = first.header();
        Ok(IndexMeta {
            format: FORMAT,
            catalog: first.catalog().to_owned(),
            model_id: header.model_id,
            dim: header.dim,
            sequence: shards.iter().map(|shard| shard.header().sequence).max().unwrap_or(0),
            rotation: format!("{:016x}", first.index().rotation_seed),
            listings,
            photos,
            fields: first.fields().to_vec(),
            columns: columns(first),
            loaded: 0,
        })
    }

    /// The seed of the rotation to apply to queries.
    pub(super) fn rotation_seed(&self) -> Option<u64> {
        u64::from_str_radix(&self.rotation, 16).ok()
    }

    /// The mapping of an index.
    pub(super) fn mapping(&self) -> Value {
        // Stored to be returned, not indexed.
        let kept = json!({ "type": "object", "enabled": false });
        let method = json!({
            "name": "hnsw", "engine": "lucene", "space_type": "cosinesimil",
            "parameters": { "m": 16, "ef_construction": 128 },
        });
        let vector = json!({ "type": "knn_vector", "dimension": self.dim, "data_type": "byte", "method": method });
        let mut properties = Map::new();
        properties.insert("id".to_owned(), json!({ "type": "keyword" }));
        properties.insert(KIND.0.to_owned(), json!({ "type": "keyword" }));
        properties.insert("names".to_owned(), kept.clone());
        properties.insert("values".to_owned(), kept);
        properties.insert("photos".to_owned(), json!({ "type": "nested", "properties": { "vector": vector } }));
        for (at, column) in self.columns.iter().enumerate() {
            let kind = match column.kind {
                ColumnKind::Number => "double",
                _ => "keyword",
            };
            properties.insert(field(at), json!({ "type": kind }));
        }
        json!({ "dynamic": "strict", "_meta": self, "properties": properties })
    }
}

/// The name of a column's field.
pub(super) fn field(column: usize) -> String {
    format!("c{column}")
}

/// Scalar-quantises a vector to one signed byte per coordinate. The scale is dropped, because only the direction
/// matters.
pub(super) fn bytes(vector: &[f32]) -> Vec<i8> {
    let largest = vector.iter().fold(0f32, |max, v| max.max(v.abs())).max(f32::MIN_POSITIVE);
    vector.iter().map(|v| (v / largest * 127.0).round() as i8).collect()
}

/// Parses the response to `GET /index`, which must describe exactly one index: its name, `_meta` and number of shards.
pub(super) fn described(reply: &[u8]) -> Result<(String, IndexMeta, usize), String> {
    #[derive(Deserialize)]
    struct DescribedIndex {
        mappings: DescribedMappings,
        settings: DescribedSettings,
    }
    #[derive(Deserialize)]
    struct DescribedMappings {
        #[serde(rename = "_meta")]
        meta: IndexMeta,
    }
    #[derive(Deserialize)]
    struct DescribedSettings {
        index: IndexSettings,
    }
    #[derive(Deserialize)]
    struct IndexSettings {
        number_of_shards: String,
    }
    let foreign = |e: serde_json::Error| format!("the index was not loaded by this program: {e}");
    let indexes: std::collections::BTreeMap<String, DescribedIndex> = serde_json::from_slice(reply).map_err(foreign)?;
    let count = indexes.len();
    let mut indexes = indexes.into_iter();
    let (Some((name, DescribedIndex { mappings: DescribedMappings { meta }, settings })), None) =
        (indexes.next(), indexes.next())
    else {
        return Err(format!("{count} indexes have this name, expected one"));
    };
    if meta.format != FORMAT {
        return Err(format!("the index {name} has the layout {}, expected {FORMAT}", meta.format));
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.chars().all(plain) || meta.rotation_seed().is_none() || meta.dim == 0 {
        return Err(format!("the index '{}' was not loaded by this program", name.escape_debug()));
    }
    Ok((name, meta, settings.index.number_of_shards.parse().unwrap_or(1)))
}
