//! Search requests in OpenSearch's query DSL.

use std::time::Duration;

use magpie_core::remote::Parsed;
use magpie_core::search::{Comparison, Filter, MAX_K};
use magpie_core::shard::ColumnKind;
use magpie_core::vector::Rotation;
use serde_json::{Value, json};

use super::schema::{IndexMeta, KIND, VECTOR, bytes, field};

/// Smallest number of candidate photos of a graph search: what 10 listings need for a recall above 0.95.
const LEAST_VIEW: usize = 100;
/// OpenSearch's limits on comparisons and nesting, minus a margin for the query around the filter.
const MOST_COMPARISONS: usize = 1000;
const DEEPEST: usize = 15;

/// A search request.
pub(super) struct KnnQuery<'a> {
    /// The catalogue of a nearest-neighbour search; `None` for a lookup by id.
    meta: Option<&'a IndexMeta>,
    query: Value,
    /// Document fields to return in addition to id, names and values.
    columns: Vec<String>,
    size: usize,
}

impl<'a> KnnQuery<'a> {
    /// Searches for the `size` listings nearest to the query that pass its filter.
    ///
    /// # Errors
    /// Why the filter or the group-by column does not fit the catalogue.
    pub(super) fn nearest(meta: &'a IndexMeta, query: &Parsed, size: usize) -> Result<KnnQuery<'a>, String> {
        let seed = meta.rotation_seed().unwrap_or(0);
        let mut rotated = query.embedding.values().to_vec();
        Rotation::new(rotated.len(), seed).turn(&mut rotated);
        // Candidates in each segment of a shard.
        let view = view(size, query.params.recall);
        let mut knn = json!({ "vector": bytes(&rotated), "k": view });
        if let Some(filter) = &query.filter {
            let mut left = MOST_COMPARISONS;
            let condition = condition(filter, meta, &mut left, DEEPEST)?;
            // Restricts the filter to listings: nested photos have no columns, so a negation would match all of them.
            knn["filter"] = json!({ "bool": { "filter": [{ "term": { KIND.0: KIND.1 } }, condition] } });
        }
        let columns = match &query.params.per {
            Some(per) => vec![field(column(meta, &per.column)?.0)],
            None => Vec::new(),
        };
        let source = if query.params.near_duplicates.is_some() { json!([VECTOR]) } else { json!(false) };
        let query = json!({ "nested": {
            "path": "photos", "score_mode": "max", "query": { "knn": { VECTOR: knn } },
            "inner_hits": { "size": 1, "_source": source },
        }});
        Ok(KnnQuery { meta: Some(meta), query, columns, size })
    }

    /// Looks up a listing by its id.
    pub(super) fn by_id(id: &str) -> KnnQuery<'static> {
        KnnQuery { meta: None, query: json!({ "ids": { "values": [id] } }), columns: Vec::new(), size: 1 }
    }

    /// Whether this is a nearest-neighbour search, whose hits have a score and a nearest photo.
    pub(super) fn is_nearest(&self) -> bool {
        self.meta.is_some()
    }

    /// The number of listings to return.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The body of the request; `left` becomes OpenSearch's timeout.
    pub(super) fn body(&self, left: Duration) -> Value {
        let fields = ["id", "names", "values"].map(str::to_owned);
        let source: Vec<&String> = fields.iter().chain(&self.columns).collect();
        let mut body = json!({
            "size": self.size, "_source": source, "query": self.query, "track_total_hits": false,
            "timeout": format!("{}ms", left.as_millis().max(1)),
        });
        if self.meta.is_some() {
            body["sort"] = json!(["_score", { "id": "asc" }]);
            body["track_scores"] = true.into();
        }
        body
    }
}

/// The number of candidate photos of a graph search. More than are wanted, because its last candidates are the least
/// reliable.
fn view(size: usize, recall: f32) -> usize {
    let factor = match recall {
        r if r >= 0.995 => 8,
        r if r >= 0.985 => 4,
        _ => 2,
    };
    (size * factor).max(LEAST_VIEW * factor / 2).min(MAX_K)
}

/// The position and kind of a column.
fn column(meta: &IndexMeta, name: &str) -> Result<(usize, ColumnKind), String> {
    let found = meta.columns.iter().enumerate().find(|(_, column)| column.name == name);
    found.map(|(at, column)| (at, column.kind)).ok_or_else(|| {
        let known: Vec<&str> = meta.columns.iter().map(|column| column.name.as_str()).collect();
        let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
        format!("filter: no column '{name}'; this catalogue can be filtered by {known}")
    })
}

/// Translates a filter. It means the same as in a shard: a listing without a value passes only `!=` and `not`.
fn condition(filter: &Filter, meta: &IndexMeta, left: &mut usize, depth: usize) -> Result<Value, String> {
    let Some(depth) = depth.checked_sub(1) else { return Err("filter: nested too deeply for this server".to_owned()) };
    let all = |parts: &[Filter], left: &mut usize| -> Result<Vec<Value>, String> {
        parts.iter().map(|part| condition(part, meta, left, depth)).collect()
    };
    match filter {
        Filter::And(parts) => Ok(json!({ "bool": { "filter": all(parts, left)? } })),
        Filter::Or(parts) => Ok(json!({ "bool": { "should": all(parts, left)?, "minimum_should_match": 1 } })),
        Filter::Not(part) => match &**part {
            Filter::Not(inner) => condition(inner, meta, left, depth + 1),
            part => Ok(not(condition(part, meta, left, depth)?)),
        },
        Filter::Compare { column: name, comparison, value } => {
            spend(left, 1)?;
            let (at, kind) = column(meta, name)?;
            compare(&field(at), name, kind, *comparison, value)
        }
        Filter::In { column: name, values } => {
            spend(left, values.len())?;
            let (at, kind) = column(meta, name)?;
            let values = values.iter().map(|value| typed(name, kind, value)).collect::<Result<Vec<_>, _>>()?;
            Ok(json!({ "terms": { field(at): values } }))
        }
        _ => Err("filter: not supported by this server's search engine".to_owned()),
    }
}

fn spend(left: &mut usize, comparisons: usize) -> Result<(), String> {
    let fewer = left.checked_sub(comparisons);
    *left = fewer.ok_or_else(|| format!("filter: more than {MOST_COMPARISONS} comparisons"))?;
    Ok(())
}

fn not(condition: Value) -> Value {
    json!({ "bool": { "must_not": [condition] } })
}

fn compare(field: &str, name: &str, kind: ColumnKind, comparison: Comparison, value: &str) -> Result<Value, String> {
    let typed = typed(name, kind, value)?;
    let range = match comparison {
        Comparison::Equal => return Ok(json!({ "term": { field: typed } })),
        Comparison::NotEqual => return Ok(not(json!({ "term": { field: typed } }))),
        Comparison::Less => "lt",
        Comparison::LessOrEqual => "lte",
        Comparison::Greater => "gt",
        Comparison::GreaterOrEqual => "gte",
    };
    if kind != ColumnKind::Number {
        let symbol = comparison.symbol();
        let detail = format!("holds words, which '{symbol}' cannot compare; use =, != or in");
        return Err(format!("filter: column '{name}' {detail}"));
    }
    Ok(json!({ "range": { field: { range: typed } } }))
}

/// Converts a value to the type of its column.
fn typed(name: &str, kind: ColumnKind, value: &str) -> Result<Value, String> {
    if kind != ColumnKind::Number {
        return Ok(value.into());
    }
    let number = value.parse().ok().filter(|number: &f64| number.is_finite());
    let fault = || format!("filter: column '{name}' holds numbers, '{}' is not a number", value.escape_debug());
    // OpenSearch distinguishes 0.0 and -0.0; adding 0.0 turns the latter into the former.
    number.map(|number| (number + 0.0).into()).ok_or_else(fault)
}
