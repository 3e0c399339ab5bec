//! The wire format: JSON of requests, replies and problems.

use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::query::QueryCode;
use crate::Embedding;
use crate::ModelId;
use crate::error::FilterError;
use crate::listing::{Found, Listing};
use crate::search::{Filter, MAX_K, Per, SearchParams};

/// The path of the search endpoint (POST).
pub const SEARCH_PATH: &str = "/v1/search";

/// The header with the time that the client still waits, in milliseconds. It is a header so that all attempts have the
/// same body, and so that a server can reject a request before it reads the body.
pub const DEADLINE_HEADER: &str = "magpie-deadline-ms";

/// A search request. It never contains the photo.
///
/// A server rejects unknown fields, so that no part of a request is ignored silently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct SearchRequest {
    /// The model of the embedding: 64 hexadecimal digits.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub model_id: ModelId,
    /// Base64 of a scale (f32, little-endian) and one signed byte per coordinate.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub embedding: QueryCode,
    /// The number of listings, 1 to 10,000. A server may allow fewer.
    pub k: u32,
    /// A filter on listings, e.g. `category=Mugs and price<50`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The share of the nearest photos that the search should find, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f32>,
    /// Listings with a lower score are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f32>,
    /// A listing is left out if the cosine between its photo and the photo of a better one is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near_duplicates: Option<f32>,
    /// At most this many listings for each value of a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<WirePer>,
}

/// At most this many listings for each value of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WirePer {
    /// A filter column.
    pub column: String,
    /// The number of listings for each value.
    pub most: u32,
}

/// Why a request is invalid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFault {
    /// A number is out of its range.
    #[error("{field} is {found}, expected {expected}")]
    Range {
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// The valid range.
        expected: &'static str,
    },
    /// The filter does not parse.
    #[error("filter: {0}")]
    Filter(#[from] FilterError),
    /// All coordinates are zero.
    #[error("all coordinates of the embedding are zero")]
    NoDirection,
}

/// A validated request.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The dequantised embedding, with which both sides search.
    pub embedding: Embedding,
    /// The filter on listings.
    pub filter: Option<Filter>,
    /// The other parameters of the search.
    pub params: SearchParams,
}

impl SearchRequest {
    /// Makes a request with the parameters of a local search.
    pub fn new(embedding: &Embedding, filter: Option<&Filter>, params: &SearchParams) -> SearchRequest {
        let most = |per: &Per| u32::try_from(per.most).unwrap_or(u32::MAX);
        SearchRequest {
            model_id: embedding.model(),
            embedding: QueryCode::of(embedding),
            k: params.k.clamp(1, MAX_K) as u32,
            filter: filter.map(ToString::to_string),
            recall: Some(params.recall),
            min_score: params.min_score,
            near_duplicates: params.near_duplicates,
            per: params.per.as_ref().map(|per| WirePer { column: per.column.clone(), most: most(per) }),
        }
    }

    /// Returns the body of the request: JSON, the same bytes for every attempt.
    pub fn body(&self) -> String {
        let body = serde_json::to_string(self);
        debug_assert!(body.is_ok(), "numbers and strings can always be serialised");
        body.unwrap_or_default()
    }

    /// Checks the ranges and parses the filter.
    ///
    /// # Errors
    /// A [`RequestFault`] that names the field and its range.
    pub fn parse(&self) -> Result<Parsed, RequestFault> {
        let range = |field, found: &dyn fmt::Display, expected| RequestFault::Range {
            field,
            found: found.to_string(),
            expected,
        };
        if !(1..=MAX_K as u32).contains(&self.k) {
            return Err(range("k", &self.k, "1 to 10000"));
        }
        let mut params = SearchParams::new(self.k as usize);
        for (field, value) in [("min_score", self.min_score), ("near_duplicates", self.near_duplicates)] {
            if let Some(value) = value.filter(|value| !(-1.0..=1.0).contains(value)) {
                return Err(range(field, &value, "a cosine, -1 to 1"));
            }
        }
        if let Some(recall) = self.recall {
            params.recall = recall;
            if !(0.0..=1.0).contains(&recall) {
                return Err(range("recall", &recall, "0 to 1"));
            }
        }
        params.min_score = self.min_score;
        params.near_duplicates = self.near_duplicates;
        params.per = self.per.as_ref().map(|per| Per { column: per.column.clone(), most: per.most as usize });
        let filter = self.filter.as_deref().map(Filter::parse).transpose()?;
        let embedding = self.embedding.embedding(self.model_id).ok_or(RequestFault::NoDirection)?;
        Ok(Parsed { embedding, filter, params })
    }
}

/// A search reply. Unknown fields are ignored, so that a server may add some.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SearchReply {
    /// The model of the server's catalogue.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub model_id: ModelId,
    /// The catalogue's name.
    pub catalog: String,
    /// Best first; ties in the order of listing ids.
    pub listings: Vec<WireListing>,
    /// `false` where there are fewer listings than requested because the search gave up: others may meet the conditions.
    #[serde(default = "yes")]
    pub complete: bool,
    /// Why the search gave up; only where it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Servers that do not say so search until they have enough.
fn yes() -> bool {
    true
}

impl SearchReply {
    /// A complete reply.
    pub fn new(model_id: ModelId, catalog: String, listings: Vec<WireListing>) -> SearchReply {
        SearchReply { model_id, catalog, listings, complete: true, why: None }
    }
}

/// A listing in a reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WireListing {
    /// Cosine between the query and the photo, -1 to 1, whatever the server's search engine calls a score.
    pub score: f32,
    /// The catalogue's id of the listing.
    pub id: String,
    /// The name of the photo that was found.
    pub photo: String,
    /// The names of all photos of the listing.
    pub photos: Vec<String>,
    /// The listing's fields in the catalogue's order, e.g. `title`, `price`.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, String>))]
    pub fields: Fields,
}

impl From<Found> for WireListing {
    fn from(found: Found) -> Self {
        let Listing { id, photo, photos, fields } = found.listing;
        WireListing { score: found.score, id, photo, photos, fields: Fields(fields) }
    }
}

impl From<WireListing> for Found {
    fn from(wire: WireListing) -> Self {
        let listing = Listing { id: wire.id, photo: wire.photo, photos: wire.photos, fields: wire.fields.0 };
        Found::new(wire.score, listing)
    }
}

/// Names and values: a JSON object that keeps its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(pub Vec<(Arc<str>, String)>);

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(&**name, value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with string values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    pairs.push((name.into(), value));
                }
                Ok(Fields(pairs))
            }
        }
        from.deserialize_map(Pairs)
    }
}

/// Why a server rejects a request (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// The kind of problem, e.g. `/problems/wrong-model`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A summary of the kind of problem.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// What is wrong with this particular request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The problem of a request for another model (409), with the server's model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelProblem {
    /// The problem.
    #[serde(flatten)]
    pub problem: Problem,
    /// The model of the server's catalogue.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub model_id: ModelId,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: ModelId = ModelId([7; 32]);

    fn request() -> SearchRequest {
        let embedding = Embedding::new(&[0.5, -0.25, 0.125], MODEL).expect("finite");
        let filter = Filter::parse("category='Tea pots' and price<50").expect("a filter");
        let params = SearchParams::new(7).with_min_score(0.5).with_at_most_per("shop", 2);
        SearchRequest::new(&embedding, Some(&filter), &params)
    }

    #[test]
    fn a_request_has_the_parameters_of_the_local_search() {
        let request = request();
        let parsed =
            serde_json::from_str::<SearchRequest>(&request.body()).expect("just written").parse().expect("in range");
        assert_eq!(Some(parsed.embedding), request.embedding.embedding(MODEL));
        assert_eq!(parsed.filter.map(|f| f.to_string()), request.filter);
        let SearchParams { k, min_score, near_duplicates, recall, per, .. } = parsed.params;
        assert_eq!((k, min_score, near_duplicates, recall), (7, Some(0.5), None, SearchParams::default().recall));
        assert_eq!(per, Some(Per { column: "shop".to_owned(), most: 2 }));
    }

    #[test]
    fn values_out_of_range_and_unknown_fields_are_rejected() {
        let check = |change: &dyn Fn(&mut SearchRequest)| {
            let mut request = request();
            change(&mut request);
            request.parse().expect_err("out of range").to_string()
        };
        assert_eq!(check(&|r| r.k = 0), "k is 0, expected 1 to 10000");
        assert!(check(&|r| r.k = 10_001).starts_with("k is 10001"));
        assert!(check(&|r| r.min_score = Some(f32::NAN)).starts_with("min_score is NaN"));
        assert!(check(&|r| r.recall = Some(1.5)).starts_with("recall is 1.5"));
        assert!(check(&|r| r.filter = Some("price<".to_owned())).starts_with("filter: "));
        let mut json = serde_json::to_value(request()).expect("plain values");
        json["photo"] = "never".into();
        assert!(serde_json::from_value::<SearchRequest>(json).is_err());
    }
}
