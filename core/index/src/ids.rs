//! Identifiers and row numbers as types of their own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Identifies a network with its preprocessing recipe: the BLAKE3 hash of both.
///
/// Embeddings of different models are not comparable, so shards and requests carry this id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub [u8; 32]);

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelId({self})")
    }
}

impl FromStr for ModelId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("a model id has 64 hexadecimal digits, found '{}'", text.escape_debug());
        if text.len() != 64 || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err(expected());
        }
        let mut id = [0; 32];
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| expected())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| expected())?;
        }
        Ok(ModelId(id))
    }
}

impl Serialize for ModelId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Identifies a catalogue: the first 16 bytes of the BLAKE3 hash of its name, the same in all its shards.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CatalogId(pub [u8; 16]);

impl CatalogId {
    /// Returns the id of the catalogue called `name`.
    pub fn of(name: &str) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..16]);
        CatalogId(id)
    }
}

impl fmt::Display for CatalogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CatalogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CatalogId({self})")
    }
}

/// Row of a photo in one shard, `0..photo_count`. Meaningless in other shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhotoRow(pub u32);

/// Row of a listing in one shard, `0..listing_count`. Rows are in the order of listing ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListingRow(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_ids_round_trip_through_text_and_other_text_is_rejected() {
        let id = ModelId(*blake3::hash(b"x").as_bytes());
        assert_eq!(id.to_string().parse::<ModelId>(), Ok(id));
        for bad in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert!(bad.parse::<ModelId>().is_err(), "{bad}");
        }
    }
}
