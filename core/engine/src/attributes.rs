//! Attributes of a photo: what the network predicts in addition to the embedding.

use serde::Serialize;

/// A predicted attribute of a photo, e.g. its colour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attribute {
    /// Name of the head, e.g. `colour`.
    pub name: String,
    /// The most probable label, e.g. `green`; `None` where its probability is below the head's threshold.
    pub label: Option<String>,
    /// Probability of the most probable label, 0 to 1, also where `label` is `None`. Calibrated where the manifest has
    /// a temperature for the head.
    pub probability: f32,
}

/// The attributes of a photo, in the order of the manifest's heads.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Attributes(pub Vec<Attribute>);

impl Attributes {
    /// Returns the attribute called `name`.
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.iter().find(|attribute| attribute.name == name)
    }
}
