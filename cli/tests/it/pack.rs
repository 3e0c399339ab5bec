//! The shipped pack with another confidence calibration.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Copies the shipped pack into a folder, with this `confidence` in its manifest; returns the folder.
pub(crate) fn with_confidence(folder: &Path, confidence: Value) -> String {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/packs/default");
    let mut manifest: Value = serde_json::from_slice(&fs::read(pack.join("manifest.json")).unwrap()).unwrap();
    manifest["confidence"] = confidence;
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    fs::copy(pack.join("model.onnx"), folder.join("model.onnx")).unwrap();
    PathBuf::from(folder).to_str().unwrap().to_owned()
}

/// Returns roughly the shipped network's calibration, but with this bias; -7 is realistic.
pub(crate) fn calibration(bias: f32) -> Value {
    json!({
        "kind": "logistic-1", "weights": {"score": 6.6, "margin": 3.4, "contrast": 7.3}, "bias": bias,
        "background": 0.12, "threshold": 0.5, "data": "numbers for tests",
    })
}
