//! The flat records that cross, and their conversion from and to the core's types.

use std::time::Duration;

pub use magpie_core::attributes::Attribute;
use magpie_core::bench;
pub use magpie_core::confidence::Confidence;
use magpie_core::engine::{self, Stages};
pub use magpie_core::image::Region as Crop;
use magpie_core::listing::Found;
use magpie_core::remote::Sourced;
use magpie_core::search::{Filter, Per, SearchParams};

use crate::Cancellation;
use crate::error::MagpieError;
use crate::server::{Asked, Source};

/// What to open, and how.
#[derive(Debug, Clone, uniffi::Record)]
pub struct OpenOptions {
    /// Folder of the model pack: `manifest.json` and the network that it names.
    pub model_folder: String,
    /// The catalogue shard.
    pub catalog_file: String,
    /// Number of threads for one run of the network. More than one helps networks with inputs of 224 pixels and more.
    #[uniffi(default = 1)]
    pub threads: u32,
    /// Reads the catalogue into memory instead of mapping it: needed if another process may shorten the file meanwhile.
    #[uniffi(default = false)]
    pub in_memory: bool,
}

/// The opened model and catalogue.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct EngineInfo {
    /// Version of this library.
    pub version: String,
    /// Name of the model.
    pub model: String,
    /// Identifies network and preprocessing: 64 hexadecimal digits.
    pub model_id: String,
    /// Width of the network's input, in pixels.
    pub input_width: u32,
    /// Height of the network's input, in pixels.
    pub input_height: u32,
    /// The instruction set that the network uses.
    pub instructions: String,
    /// Name of the catalogue.
    pub catalog: String,
    /// Number of listings in the catalogue.
    pub listings: u64,
    /// Number of photos in the catalogue.
    pub photos: u64,
    /// Names of the listings' fields.
    pub fields: Vec<String>,
    /// Whether the catalogue contains thumbnails.
    pub has_thumbnails: bool,
    /// The columns that a filter can name.
    pub columns: Vec<Column>,
    /// How long opening took, in milliseconds.
    pub open_ms: f64,
}

/// A column that a filter can name.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// Whether it holds numbers, which can be compared by size, rather than words.
    pub is_number: bool,
}

/// A part of the upright photo or frame, in pixels from the top left.
#[uniffi::remote(Record)]
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

/// A limit of listings per value of a column.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Group {
    /// A filter column.
    pub column: String,
    /// The largest number of listings per value.
    pub most: u32,
}

/// What to search for, besides the photo.
#[derive(Debug, Clone, uniffi::Record)]
pub struct SearchOptions {
    /// Number of listings to return, at most 10,000.
    #[uniffi(default = 10)]
    pub k: u32,
    /// A condition on the listings, in the filter language: `category=Mugs and price<50`.
    #[uniffi(default = None)]
    pub filter: Option<String>,
    /// The part of the photo that shows the object; none for all of it.
    #[uniffi(default = None)]
    pub crop: Option<Crop>,
    /// The share of the true nearest photos that the search should find, 0 to 1; none for the core's default.
    #[uniffi(default = None)]
    pub recall: Option<f32>,
    /// Leaves out listings with a lower cosine.
    #[uniffi(default = None)]
    pub min_score: Option<f32>,
    /// Leaves out a listing if the cosine between its photo and that of a better listing is at least this; 0.97 is
    /// about the same photo.
    #[uniffi(default = None)]
    pub near_duplicates: Option<f32>,
    /// Returns at most a given number of listings per value of a column.
    #[uniffi(default = None)]
    pub group: Option<Group>,
}

/// A listing found by a search.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Listing {
    /// The catalogue's id of the listing.
    pub id: String,
    /// Cosine between the query and the matching photo, -1 to 1.
    pub score: f32,
    /// Name of the matching photo.
    pub photo: String,
    /// Names of all photos of the listing.
    pub photos: Vec<String>,
    /// All fields in the catalogue's order; a value is empty if the listing has none.
    pub fields: Vec<Field>,
    /// Who found the listing.
    pub source: Source,
    /// Whether it comes first because the user has corrected a photo like this one, whatever its score.
    pub corrected: bool,
}

/// A field of a listing.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Field {
    /// The field's name, such as `title`.
    pub name: String,
    /// The field's value.
    pub value: String,
}

/// Something that the network recognises in a photo, such as its colour.
#[uniffi::remote(Record)]
pub struct Attribute {
    /// The attribute, such as `colour`.
    pub name: String,
    /// The most probable label, such as `green`; none if its probability is below the model's threshold.
    pub label: Option<String>,
    /// Probability of the most probable label, 0 to 1, given even if there is no label.
    pub probability: f32,
}

/// How far a search's first listing can be trusted.
#[uniffi::remote(Record)]
pub struct Confidence {
    /// Probability that the first listing is right, 0 to 1; 0 if nothing was found.
    pub probability: f32,
    /// Whether the probability reaches the model's threshold. If not, there is no good match.
    pub enough: bool,
}

/// Wall-clock time of each stage of a search, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, uniffi::Record)]
pub struct StageTimes {
    /// Decoding the photo; 0 for a frame.
    pub decode_ms: f64,
    /// Cropping, resizing and rotating.
    pub prepare_ms: f64,
    /// Running the network.
    pub network_ms: f64,
    /// Finding the nearest listings.
    pub search_ms: f64,
    /// Reading the texts of the listings found.
    pub listings_ms: f64,
}

/// The results of a search.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct SearchResults {
    /// Best first; ties are ordered by listing id.
    pub listings: Vec<Listing>,
    /// How far the first listing can be trusted; none if the model is not calibrated, if the first listing is
    /// corrected, or if a server found a different first listing.
    pub confidence: Option<Confidence>,
    /// What the network recognises in the photo.
    pub attributes: Vec<Attribute>,
    /// How long each stage took on the phone.
    pub times: StageTimes,
    /// Whether a server was asked, and with what outcome; none if the search was given no server.
    pub asked: Option<Asked>,
    /// Whether a part of the photo's file was missing or invalid, so that the results may be worse.
    pub photo_incomplete: bool,
}

/// The embedding of a photo, a vector of unit length.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Embedding {
    /// The coordinates.
    pub values: Vec<f32>,
    /// The model that computed it; embeddings of different models cannot be compared.
    pub model_id: String,
}

/// Percentiles of the time of one stage.
#[derive(Debug, Clone, PartialEq, serde::Serialize, uniffi::Record)]
pub struct StageTime {
    /// `decode`, `prepare`, `network`, `search`, `listings`, or `together`.
    pub stage: String,
    /// Median, in milliseconds.
    pub p50_ms: f64,
    /// 90th percentile, in milliseconds.
    pub p90_ms: f64,
    /// 99th percentile, in milliseconds.
    pub p99_ms: f64,
}

/// The measurements of a benchmark.
#[derive(Debug, Clone, PartialEq, serde::Serialize, uniffi::Record)]
pub struct Benchmark {
    /// Number of measured searches.
    pub runs: u32,
    /// Percentiles of each stage and of their total.
    pub stages: Vec<StageTime>,
    /// How long opening the engine took, in milliseconds.
    pub open_ms: f64,
    /// Resident memory of the process after the searches, in bytes; none if the system does not report it.
    pub resident_bytes: Option<u64>,
    /// The instruction set that the network uses.
    pub instructions: String,
    /// Number of photos in the catalogue.
    pub photos: u64,
    /// All of this as one line of JSON.
    #[serde(skip)]
    pub json: String,
}

pub(crate) fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl SearchOptions {
    /// Converts to the core's options.
    pub(crate) fn read(self, cancel: Option<&Cancellation>) -> Result<engine::SearchOptions, MagpieError> {
        let mut options = engine::SearchOptions::default();
        let params: &mut SearchParams = &mut options.search;
        params.k = self.k as usize;
        params.recall = self.recall.unwrap_or(params.recall);
        params.min_score = self.min_score;
        params.near_duplicates = self.near_duplicates;
        params.per = self.group.map(|Group { column, most }| Per { column, most: most as usize });
        options.region = self.crop;
        let filter = self.filter.as_deref().map(Filter::parse).transpose();
        options.filter = filter.map_err(magpie_core::Error::from)?;
        options.cancel = cancel.map(Cancellation::flag).unwrap_or_default();
        Ok(options)
    }
}

impl From<Found> for Listing {
    fn from(found: Found) -> Listing {
        let Found { score, listing, corrected } = found;
        let fields = listing.fields.into_iter().map(|(name, value)| Field { name: name.to_string(), value }).collect();
        let source = Source::Shard;
        Listing { id: listing.id, score, photo: listing.photo, photos: listing.photos, fields, source, corrected }
    }
}

impl From<Sourced> for Listing {
    fn from(sourced: Sourced) -> Listing {
        Listing { source: sourced.source.into(), ..sourced.found.into() }
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
            confidence: results.confidence,
            attributes: results.attributes.0,
            times: results.stages.into(),
            asked: None,
            photo_incomplete: results.photo_incomplete,
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
