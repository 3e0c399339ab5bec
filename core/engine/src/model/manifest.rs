//! `manifest.json` of a model pack: it describes the network's input and outputs.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::ModelId;
use crate::confidence::{Calibration, CalibrationKind, OutOfRange};
use crate::error::ModelError;
use crate::recipe::Recipe;
use magpie_index::MAX_DIM;

/// The manifest format that is written, and the newest that is read.
pub const MANIFEST_FORMAT: u32 = 1;

/// Largest number of labels of all heads together.
const MAX_LABELS: usize = 100_000;

/// The specification of the input: the preprocessing recipe.
pub type InputSpec = Recipe;

/// A model pack's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format, at most [`MANIFEST_FORMAT`].
    pub format: u32,
    /// A display name.
    pub name: String,
    /// The id of the model, see [`Manifest::compute_model_id`].
    pub model_id: ModelId,
    /// The network file.
    pub network: NetworkSpec,
    /// The input, and how a picture is turned into it.
    pub input: InputSpec,
    /// The embedding output.
    pub embedding: EmbeddingSpec,
    /// Attribute classifiers.
    #[serde(default)]
    pub heads: Vec<HeadSpec>,
    /// The calibration of a search's confidence. `None` if there is none, or if its kind is unknown to this version.
    #[serde(default, deserialize_with = "known")]
    pub confidence: Option<Calibration>,
}

/// Ignores a calibration of a later kind: the pack is usable without it.
fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Calibration>, D::Error> {
    let Some(value) = Option::<Value>::deserialize(from)? else { return Ok(None) };
    if let Some(Value::String(kind)) = value.get("kind")
        && CalibrationKind::deserialize(value["kind"].clone()).is_err()
    {
        log::warn!("the pack's confidence has the unknown kind '{}' and is ignored", kind.escape_debug());
        return Ok(None);
    }
    serde_json::from_value(value).map(Some).map_err(|e| D::Error::custom(format!("confidence: {e}")))
}

/// The network file of a pack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The file name, in the pack's folder.
    pub file: String,
    /// The length in bytes.
    pub bytes: u64,
    /// The BLAKE3 hash in hexadecimal.
    pub blake3: String,
}

/// The embedding output of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingSpec {
    /// The name of the output.
    pub output: String,
    /// The number of values. The output need not be of unit length.
    pub dim: u32,
}

/// An attribute classifier of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadSpec {
    /// The name of the attribute, e.g. `colour`.
    pub name: String,
    /// The name of the output, which has one logit for each label.
    pub output: String,
    /// The labels, in the order of the logits.
    pub labels: Vec<String>,
    /// The logits are divided by this before the softmax, so that probabilities are calibrated; 0.01 to 100, by default
    /// 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// The least probability at which the label is reported; 0 to 1, by default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
}

/// Which field of a manifest is wrong.
#[derive(Debug, thiserror::Error)]
enum ManifestFault {
    #[error("format is 0, expected 1 to {MANIFEST_FORMAT}")]
    Format,
    #[error("network.file is '{}', expected a plain file name", _0.escape_debug())]
    NetworkFile(String),
    #[error("{0}")]
    Input(String),
    #[error("embedding.dim is {0}, expected 1 to {MAX_DIM}")]
    Dim(u32),
    #[error("head '{}' has no labels", head.escape_debug())]
    NoLabels { head: String },
    #[error("{field} of head '{}' is {value}, expected {least} to {most}", head.escape_debug())]
    Head { head: String, field: &'static str, value: f32, least: f32, most: f32 },
    #[error("the heads have {0} labels, expected at most {MAX_LABELS}")]
    TooManyLabels(usize),
    #[error(transparent)]
    Confidence(#[from] OutOfRange),
}

impl Manifest {
    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// [`ModelError::TooNew`] if its format is newer than [`MANIFEST_FORMAT`], otherwise [`ModelError::Manifest`],
    /// which names the field.
    pub fn parse(json: &[u8]) -> Result<Manifest, ModelError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let wrong = |e: serde_json::Error| ModelError::Manifest(e.to_string());
        // The format comes first: a newer manifest may lack fields of this version.
        let Format { format } = serde_json::from_slice(json).map_err(wrong)?;
        if format > MANIFEST_FORMAT {
            return Err(ModelError::TooNew { found: format, known: MANIFEST_FORMAT });
        }
        let manifest: Manifest = serde_json::from_slice(json).map_err(wrong)?;
        manifest.check().map_err(|fault| ModelError::Manifest(fault.to_string()))?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestFault> {
        if self.format == 0 {
            return Err(ManifestFault::Format);
        }
        // The name is joined to the pack's folder and must not lead out of it.
        let mut parts = std::path::Path::new(&self.network.file).components();
        if !matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None)) {
            return Err(ManifestFault::NetworkFile(self.network.file.clone()));
        }
        self.input.check().map_err(|fault| ManifestFault::Input(fault.to_string()))?;
        if !(1..=MAX_DIM).contains(&self.embedding.dim) {
            return Err(ManifestFault::Dim(self.embedding.dim));
        }
        if let Some(head) = self.heads.iter().find(|head| head.labels.is_empty()) {
            return Err(ManifestFault::NoLabels { head: head.name.clone() });
        }
        for head in &self.heads {
            let numbers = [("temperature", head.temperature, 0.01, 100.0), ("threshold", head.threshold, 0.0, 1.0)];
            for (field, value, least, most) in numbers {
                // Written as "not contained", so that NaN is rejected too.
                if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                    return Err(ManifestFault::Head { head: head.name.clone(), field, value, least, most });
                }
            }
        }
        let labels: usize = self.heads.iter().map(|head| head.labels.len()).sum();
        if labels > MAX_LABELS {
            return Err(ManifestFault::TooManyLabels(labels));
        }
        Ok(self.confidence.as_ref().map_or(Ok(()), Calibration::check)?)
    }

    /// Computes the model id of network and recipe: BLAKE3 over these fields, each preceded by its length as `u32`
    /// (all numbers little-endian): `magpie-model-1`, BLAKE3 of the network file, input name, width and height as
    /// `u32`, fit, filter, channels, mean and std as three `f32` each, embedding output, its dimension as `u32`.
    ///
    /// Heads, their temperatures and thresholds, and the calibration of the confidence do not contribute: they do not
    /// change the embeddings, so that a recalibrated pack can still search the catalogues that it built.
    pub fn compute_model_id(&self, network: &blake3::Hash) -> ModelId {
        let mut hasher = blake3::Hasher::new();
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u32).to_le_bytes());
            hasher.update(bytes);
        };
        let floats = |values: [f32; 3]| values.map(f32::to_le_bytes).concat();
        field(b"magpie-model-1");
        field(network.as_bytes());
        field(self.input.name.as_bytes());
        field(&[self.input.width, self.input.height].map(u32::to_le_bytes).concat());
        field(self.input.fit.to_string().as_bytes());
        field(self.input.filter.name().as_bytes());
        field(self.input.channels.name().as_bytes());
        field(&floats(self.input.mean));
        field(&floats(self.input.std));
        field(self.embedding.output.as_bytes());
        field(&self.embedding.dim.to_le_bytes());
        ModelId(*hasher.finalize().as_bytes())
    }

    /// Checks that `network` is the file that this manifest describes.
    pub(super) fn check_network(&self, network: &[u8]) -> Result<(), ModelError> {
        let changed = |what, expected: String, found: String| Err(ModelError::Changed { what, expected, found });
        if network.len() as u64 != self.network.bytes {
            return changed("its length", self.network.bytes.to_string(), network.len().to_string());
        }
        let hash = blake3::hash(network);
        if hash.to_hex().as_str() != self.network.blake3 {
            return changed("its BLAKE3", self.network.blake3.clone(), hash.to_hex().to_string());
        }
        let id = self.compute_model_id(&hash);
        if id != self.model_id {
            return changed("the model id", self.model_id.to_string(), id.to_string());
        }
        Ok(())
    }
}
