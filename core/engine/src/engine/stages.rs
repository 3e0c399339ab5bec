//! The times of the stages of searches.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::error::Result;

/// The wall-clock time of each stage of a search.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stages {
    /// Decoding the photo; zero for a camera frame.
    #[serde(rename = "decode_ms", serialize_with = "as_ms")]
    pub decode: Duration,
    /// Cropping, resizing, rotating and normalising.
    #[serde(rename = "prepare_ms", serialize_with = "as_ms")]
    pub prepare: Duration,
    /// Running the network.
    #[serde(rename = "network_ms", serialize_with = "as_ms")]
    pub network: Duration,
    /// Finding the nearest listings.
    #[serde(rename = "search_ms", serialize_with = "as_ms")]
    pub search: Duration,
    /// Reading the metadata of the listings found.
    #[serde(rename = "listings_ms", serialize_with = "as_ms")]
    pub listings: Duration,
}

impl Stages {
    /// Returns the stages with their names, in order.
    pub fn named(&self) -> [(&'static str, Duration); 5] {
        [
            ("decode", self.decode),
            ("prepare", self.prepare),
            ("network", self.network),
            ("search", self.search),
            ("listings", self.listings),
        ]
    }

    /// The sum of all stages.
    pub fn total(&self) -> Duration {
        self.named().into_iter().map(|(_, time)| time).sum()
    }
}

/// Serialises a time as milliseconds, rounded to microseconds.
pub(crate) fn as_ms<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e3)
}
