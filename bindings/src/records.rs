//! What crosses: flat records, and their conversion from and to the core's types.

use std::time::Duration;

use magpie_core::attributes;
use magpie_core::bench;
use magpie_core::confidence;
use magpie_core::engine::{self, Stages};
use magpie_core::image::Region;
use magpie_core::listing::Found;
use magpie_core::remote::Sourced;
use magpie_core::search::{Filter, Per, SearchParams};

use crate::Cancellation;
use crate::error::MagpieError;
use crate::server::{Asked, Source};

/// What to open.
#[derive(Debug, Clone, uniffi::Record)]
pub struct OpenOptions {
    /// Folder of the model pack: `manifest.json` and the network that it names.
    pub model_folder: String,
    /// The catalogue shard.
    pub catalog_file: String,
    /// Threads that work on one run of the network. More than one helps networks of 224 pixels and more.
    #[uniffi(default = 1)]
    pub threads: u32,
    /// Reads the catalogue into memory instead of mapping it: for a file that others may shorten meanwhile.
    #[uniffi(default = false)]
    pub in_memory: bool,
}

/// What was opened.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct EngineInfo {
    /// Version of this library.
    pub version: String,
    /// Name of the model.
    pub model: String,
    /// Identifies network and preprocessing: 64 hexadecimal digits.
    pub model_id: String,
    /// Width of the network's input in pixels.
    pub input_width: u32,
    /// Height of the network's input in pixels.
    pub input_height: u32,
    /// The instruction set that the network runs on.
    pub instructions: String,
    /// Name of the catalogue.
    pub catalog: String,
    /// Listings in it.
    pub listings: u64,
    /// Photos of them.
    pub photos: u64,
    /// Names of a listing's fields.
    pub fields: Vec<String>,
    /// Whether it has thumbnails.
    pub has_thumbnails: bool,
    /// What a filter can name.
    pub columns: Vec<Column>,
    /// How long opening took, in milliseconds.
    pub open_ms: f64,
}

/// A column that filters can name.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Whether it holds numbers, which can be compared, rather than words.
    pub is_number: bool,
}

/// A part of the upright photo or frame, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct Crop {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width, at least 1.
    pub width: u32,
    /// Height, at least 1.
    pub height: u32,
}

/// At most so many listings for each value of a column.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Group {
    /// A filter column.
    pub column: String,
    /// Listings for each of its values.
    pub most: u32,
}

/// What to search for beside the photo.
#[derive(Debug, Clone, uniffi::Record)]
pub struct SearchOptions {
    /// Listings wanted, at most 10,000.
    #[uniffi(default = 10)]
    pub k: u32,
    /// Which listings count, in the filter language: `category=Mugs and price<50`.
    #[uniffi(default = None)]
    pub filter: Option<String>,
    /// The part that shows the thing; all by default.
    #[uniffi(default = None)]
    pub crop: Option<Crop>,
    /// The share of the nearest photos that the search should find, 0 to 1; the core's default where there is none.
    #[uniffi(default = None)]
    pub recall: Option<f32>,
    /// Listings below this cosine are left out.
    #[uniffi(default = None)]
    pub min_score: Option<f32>,
    /// Listings whose photo is this near, as a cosine, to that of a better one are left out; 0.97 is about the same
    /// photo.
    #[uniffi(default = None)]
    pub near_duplicates: Option<f32>,
    /// At most so many listings for each value of a column.
    #[uniffi(default = None)]
    pub group: Option<Group>,
}

/// A listing that was found.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Listing {
    /// The catalogue's id of the listing.
    pub id: String,
    /// Cosine between the query and the photo that was found, -1 to 1.
    pub score: f32,
    /// Name of the photo that was found.
    pub photo: String,
    /// Names of all its photos.
    pub photos: Vec<String>,
    /// Its fields in the catalogue's order; the value is empty where it has none.
    pub fields: Vec<Field>,
    /// Who found it.
    pub source: Source,
}

/// A field of a listing.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Field {
    /// Its name, e.g. `title`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What the network says of a photo, e.g. that its colour is green.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Attribute {
    /// Which attribute, e.g. `colour`.
    pub name: String,
    /// The most probable label, e.g. `green`; none where the network is not sure enough of it to say it.
    pub label: Option<String>,
    /// Probability of the most probable label, said or not, 0 to 1.
    pub probability: f32,
}

/// How far a search's first listing can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, uniffi::Record)]
pub struct Confidence {
    /// Probability that the first listing is right, 0 to 1; 0 where nothing was found.
    pub probability: f32,
    /// Whether that is enough, by the model's threshold. If not, there is no good match.
    pub enough: bool,
}

/// Wall-clock time of each stage of a search, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, uniffi::Record)]
pub struct StageTimes {
    /// Bytes to pixels; 0 for a frame.
    pub decode_ms: f64,
    /// Crop, resize, turn.
    pub prepare_ms: f64,
    /// The network.
    pub network_ms: f64,
    /// Nearest listings.
    pub search_ms: f64,
    /// Texts of the listings found.
    pub listings_ms: f64,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct SearchResults {
    /// Best first; ties in the order of listing ids.
    pub listings: Vec<Listing>,
    /// How far the first can be trusted; none where the model is not calibrated, or a server found another first one.
    pub confidence: Option<Confidence>,
    /// What the network says of the photo.
    pub attributes: Vec<Attribute>,
    /// How long each stage took on the phone.
    pub times: StageTimes,
    /// Whether a server was asked, and how that ended; none where none was named.
    pub asked: Option<Asked>,
}

/// A photo as a point on the unit sphere.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Embedding {
    /// The coordinates.
    pub values: Vec<f32>,
    /// The model that made it; embeddings of different models cannot be compared.
    pub model_id: String,
}

/// Percentiles of one stage.
#[derive(Debug, Clone, PartialEq, serde::Serialize, uniffi::Record)]
pub struct StageTime {
    /// `decode`, `prepare`, `network`, `search`, `listings`, or `together`.
    pub stage: String,
    /// Median, in milliseconds.
    pub p50_ms: f64,
    /// Nine in ten took no longer, in milliseconds.
    pub p90_ms: f64,
    /// 99 in a hundred took no longer, in milliseconds.
    pub p99_ms: f64,
}

/// What a benchmark measured.
#[derive(Debug, Clone, PartialEq, serde::Serialize, uniffi::Record)]
pub struct Benchmark {
    /// Searches that were measured.
    pub runs: u32,
    /// Percentiles of each stage, and of all together.
    pub stages: Vec<StageTime>,
    /// How long opening the engine took, in milliseconds.
    pub open_ms: f64,
    /// Physical memory of the process after the searches, in bytes, where the system tells.
    pub resident_bytes: Option<u64>,
    /// The instruction set that the network runs on.
    pub instructions: String,
    /// Photos in the catalogue.
    pub photos: u64,
    /// All of this as one line of JSON.
    #[serde(skip)]
    pub json: String,
}

pub(crate) fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl From<Crop> for Region {
    fn from(crop: Crop) -> Region {
        let Crop { x, y, width, height } = crop;
        Region { x, y, width, height }
    }
}

impl SearchOptions {
    /// In the core's terms.
    pub(crate) fn read(self, cancel: Option<&Cancellation>) -> Result<engine::SearchOptions, MagpieError> {
        let mut options = engine::SearchOptions::default();
        let params: &mut SearchParams = &mut options.search;
        params.k = self.k as usize;
        params.recall = self.recall.unwrap_or(params.recall);
        params.min_score = self.min_score;
        params.near_duplicates = self.near_duplicates;
        params.per = self.group.map(|Group { column, most }| Per { column, most: most as usize });
        options.region = self.crop.map(Region::from);
        let filter = self.filter.as_deref().map(Filter::parse).transpose();
        options.filter = filter.map_err(magpie_core::Error::from)?;
        options.cancel = cancel.map(Cancellation::flag).unwrap_or_default();
        Ok(options)
    }
}

impl From<Found> for Listing {
    fn from(found: Found) -> Listing {
        let Found { score, listing } = found;
        let fields = listing.fields.into_iter().map(|(name, value)| Field { name, value }).collect();
        let source = Source::Shard;
        Listing { id: listing.id, score, photo: listing.photo, photos: listing.photos, fields, source }
    }
}

impl From<Sourced> for Listing {
    fn from(sourced: Sourced) -> Listing {
        Listing { source: sourced.source.into(), ..sourced.found.into() }
    }
}

impl From<attributes::Attribute> for Attribute {
    fn from(attribute: attributes::Attribute) -> Attribute {
        let attributes::Attribute { name, label, probability } = attribute;
        Attribute { name, label, probability }
    }
}

impl From<confidence::Confidence> for Confidence {
    fn from(confidence: confidence::Confidence) -> Confidence {
        let confidence::Confidence { probability, enough } = confidence;
        Confidence { probability, enough }
    }
}

impl From<Stages> for StageTimes {
    fn from(stages: Stages) -> StageTimes {
        StageTimes {
            decode_ms: ms(stages.decode),
            prepare_ms: ms(stages.prepare),
            network_ms: ms(stages.network),
            search_ms: ms(stages.search),
            listings_ms: ms(stages.listings),
        }
    }
}

impl From<engine::SearchResults> for SearchResults {
    fn from(results: engine::SearchResults) -> SearchResults {
        SearchResults {
            listings: results.listings.into_iter().map(Listing::from).collect(),
            confidence: results.confidence.map(Confidence::from),
            attributes: results.attributes.0.into_iter().map(Attribute::from).collect(),
            times: results.stages.into(),
            asked: None,
        }
    }
}

impl From<&magpie_core::Embedding> for Embedding {
    fn from(embedding: &magpie_core::Embedding) -> Embedding {
        Embedding { values: embedding.values().to_vec(), model_id: embedding.model().to_string() }
    }
}

impl From<bench::StageTimes> for StageTime {
    fn from(times: bench::StageTimes) -> StageTime {
        let bench::StageTimes { stage, p50, p90, p99 } = times;
        StageTime { stage: stage.to_owned(), p50_ms: ms(p50), p90_ms: ms(p90), p99_ms: ms(p99) }
    }
}
