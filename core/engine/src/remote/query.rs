//! The wire format of an embedding: scalar-quantised to int8 with one scale, in base64.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use magpie_index::MAX_DIM;

use crate::{Embedding, ModelId};

/// The size of the scale, which precedes the coordinates, in bytes.
const SCALE: usize = 4;

/// An embedding, scalar-quantised to one byte per coordinate. 128 coordinates take 176 characters of base64.
///
/// To get the same ranking on the phone and on a server, search both with [`QueryCode::embedding`], which is the same
/// on both sides to the bit, and not with the original embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryCode {
    scale: f32,
    values: Box<[i8]>,
}

impl QueryCode {
    /// Quantises an embedding.
    pub fn of(embedding: &Embedding) -> QueryCode {
        // An embedding has unit length: the largest coordinate is not zero.
        let largest = embedding.values().iter().fold(0f32, |max, v| max.max(v.abs()));
        let scale = largest / 127.0;
        let values = embedding.values().iter().map(|v| (v / scale).round().clamp(-127.0, 127.0) as i8).collect();
        QueryCode { scale, values }
    }

    /// The number of coordinates.
    pub fn dim(&self) -> usize {
        self.values.len()
    }

    /// Returns the dequantised embedding, scaled to unit length. `None` if all coordinates are zero.
    pub fn embedding(&self, model: ModelId) -> Option<Embedding> {
        let values: Vec<f32> = self.values.iter().map(|&v| f32::from(v) * self.scale).collect();
        Embedding::new(&values, model)
    }
}

/// Base64 of the scale (`f32`, little-endian), followed by the coordinates (`i8`).
impl fmt::Display for QueryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.scale.to_le_bytes().to_vec();
        bytes.extend(self.values.iter().map(|&v| v as u8));
        f.write_str(&STANDARD.encode(bytes))
    }
}

impl FromStr for QueryCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let most = SCALE + MAX_DIM as usize;
        // Checked before decoding: the text may have any length.
        if text.len() > most.div_ceil(3) * 4 {
            return Err(format!("an embedding of {} characters exceeds the largest dimension, {MAX_DIM}", text.len()));
        }
        let bytes = STANDARD.decode(text).map_err(|e| format!("the embedding is not base64: {e}"))?;
        let Some((scale, values)) = bytes.split_first_chunk::<SCALE>().filter(|(_, values)| !values.is_empty()) else {
            return Err(format!("an embedding of {} bytes has no coordinates", bytes.len()));
        };
        let scale = f32::from_le_bytes(*scale);
        // The range of scales of unit vectors; a larger one could overflow.
        if !(scale > 1e-9 && scale <= 1.0) {
            return Err(format!("the embedding's scale is {scale}, expected more than 0 and at most 1"));
        }
        Ok(QueryCode { scale, values: values.iter().map(|&byte| byte as i8).collect() })
    }
}

impl Serialize for QueryCode {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for QueryCode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MODEL: ModelId = ModelId([7; 32]);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(256)))]

        #[test]
        fn a_query_survives_the_round_trip_and_is_the_same_on_both_sides(
            values in prop::collection::vec(-1f32..1.0, 1..300),
        ) {
            let Some(embedding) = Embedding::new(&values, MODEL) else { return Ok(()) };
            let sent = QueryCode::of(&embedding);
            let got: QueryCode = sent.to_string().parse().expect("just written");
            prop_assert_eq!(&got, &sent);
            let (here, there) = (sent.embedding(MODEL).expect("not zero"), got.embedding(MODEL).expect("not zero"));
            prop_assert_eq!(&here, &there);
            let cosine = embedding.cosine(&here).expect("one model");
            prop_assert!(cosine > 0.9995, "{cosine}");
        }

        #[test]
        fn any_text_is_parsed_or_rejected(text in ".{0,60}") {
            let _ = text.parse::<QueryCode>().map(|code| code.embedding(MODEL));
        }
    }

    #[test]
    fn the_length_is_that_of_the_protocol() {
        let embedding = Embedding::new(&[0.1; 128], MODEL).expect("finite");
        assert_eq!(QueryCode::of(&embedding).to_string().len(), 176);
    }

    #[test]
    fn texts_other_than_embeddings_are_rejected() {
        let encode = |scale: f32, values: &[u8]| STANDARD.encode([&scale.to_le_bytes()[..], values].concat());
        for bad in ["", "AAAA", "not base64!", &encode(f32::NAN, &[1]), &encode(0.0, &[1]), &encode(2.0, &[1])] {
            assert!(bad.parse::<QueryCode>().is_err(), "{bad}");
        }
        let long = encode(0.1, &vec![1; MAX_DIM as usize]);
        assert!(long.parse::<QueryCode>().is_ok() && format!("{long}AAAA").parse::<QueryCode>().is_err());
        let zero: QueryCode = encode(0.1, &[0; 8]).parse().expect("a code of zeros");
        assert_eq!(zero.embedding(MODEL), None);
    }
}
