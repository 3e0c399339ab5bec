//! A model pack that is incomplete, changed, foreign or hostile is refused with a reason and never crashes the app.

use std::fs;

use magpie_core::model::{Manifest, Model, Pack};
use magpie_core::recipe::InputTensor;
use magpie_core::{Error, ModelError};
use magpie_tests::cases;
use magpie_tests::{default_pack, repository};
use proptest::prelude::*;
use serde_json::{Value, json};

fn default_manifest() -> Value {
    let path = repository().join("models/packs/default/manifest.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Sets the manifest's length, hash and model id to those of the network.
fn fit(mut manifest: Manifest, network: &[u8]) -> Manifest {
    let hash = blake3::hash(network);
    manifest.network.bytes = network.len() as u64;
    manifest.network.blake3 = hash.to_string();
    manifest.model_id = manifest.compute_model_id(&hash);
    manifest
}

fn open(manifest: &Manifest, network: &[u8]) -> Result<Pack, ModelError> {
    model_error(Pack::from_bytes(&serde_json::to_vec(manifest).unwrap(), network.to_vec()))
}

fn model_error<T>(result: magpie_core::Result<T>) -> Result<T, ModelError> {
    result.map_err(|error| match error {
        Error::Model(error) => error,
        other => panic!("not a model error: {other}"),
    })
}

/// Loads and runs a pack, as an app does, and returns the dimension of the embedding.
fn use_pack(pack: &Pack) -> Result<usize, ModelError> {
    let model = model_error(Model::load(pack))?;
    let (width, height) = (pack.manifest().input.width, pack.manifest().input.height);
    let data = (0..3 * width * height).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    model_error(model.run(&InputTensor { width, height, data })).map(|output| output.embedding.dim())
}

/// The error text for the default pack's manifest with one value changed.
fn manifest_refusal(path: &str, value: Value) -> String {
    let mut manifest = default_manifest();
    *manifest.pointer_mut(path).unwrap() = value;
    let json = serde_json::to_vec(&manifest).unwrap();
    model_error(Pack::from_bytes(&json, default_pack().network().to_vec())).unwrap_err().to_string()
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = |expected: &str| match Pack::open(folder.path()) {
        Err(Error::Io { path, .. }) => assert!(path.ends_with(expected), "{}", path.display()),
        other => panic!("{other:?}"),
    };
    missing("manifest.json");
    fs::write(folder.path().join("manifest.json"), default_manifest().to_string()).unwrap();
    missing("model.onnx");
    fs::write(folder.path().join("model.onnx"), default_pack().network()).unwrap();
    Pack::open(folder.path()).unwrap();
}

#[test]
fn an_invalid_manifest_is_refused() {
    for text in ["", "not JSON", "[]", "{}", "{\"format\":\"one\"}", "{\"format\":1}", "\u{feff}{}", &"[".repeat(9999)]
    {
        let error = model_error(Pack::from_bytes(text.as_bytes(), vec![])).unwrap_err();
        assert!(matches!(error, ModelError::Manifest(_)), "{text}: {error}");
    }
}

#[test]
fn a_newer_pack_asks_for_an_update_of_the_app_whatever_else_it_holds() {
    let newer = json!({"format": 3, "networks": ["a", "b"]}).to_string();
    let error = model_error(Pack::from_bytes(newer.as_bytes(), vec![])).unwrap_err();
    assert_eq!(error, ModelError::TooNew { found: 3, known: 1 });
}

#[test]
fn wrong_values_are_named() {
    for (path, value, expected) in [
        ("/format", json!(0), "format"),
        ("/format", json!(-1), "u32"),
        ("/model_id", json!("00"), "64 hexadecimal digits"),
        ("/input/width", json!(0), "input.width"),
        ("/input/height", json!(100_000), "input.height"),
        ("/input/std/1", json!(0.0), "input.std"),
        ("/input/mean/2", json!(1e39), "input.mean"),
        ("/input/fit", json!("stretch"), "fit"),
        ("/input/filter", json!("nearest"), "nearest"),
        ("/input/channels", json!("yuv"), "yuv"),
        ("/embedding/dim", json!(0), "embedding.dim"),
        ("/embedding/dim", json!(4097), "embedding.dim"),
        ("/heads/0/labels", json!([]), "category"),
        ("/network/bytes", json!(7), "length"),
        ("/network/blake3", json!("0".repeat(64)), "BLAKE3"),
        ("/model_id", json!("0".repeat(64)), "model id"),
        // Parts of the recipe: the id no longer matches.
        ("/input/filter", json!("bicubic"), "model id"),
        ("/embedding/output", json!("category"), "model id"),
    ] {
        let error = manifest_refusal(path, value);
        assert!(error.contains(expected), "{path}: {error}");
    }
}

#[test]
fn the_network_files_name_cannot_lead_out_of_the_pack() {
    for name in ["", ".", "..", "../model.onnx", "/etc/hostname", "a/../../model.onnx", "sub/model.onnx"] {
        let error = manifest_refusal("/network/file", json!(name));
        assert!(error.contains("network.file"), "'{name}': {error}");
    }
}

#[test]
fn a_changed_network_is_refused() {
    let mut network = default_pack().network().to_vec();
    let middle = network.len() / 2;
    network[middle] ^= 1;
    let error = open(default_pack().manifest(), &network).unwrap_err();
    assert!(matches!(error, ModelError::Changed { what: "its BLAKE3", .. }), "{error}");
    let error = open(default_pack().manifest(), &network[..middle]).unwrap_err();
    assert!(matches!(error, ModelError::Changed { what: "its length", .. }), "{error}");
}

#[test]
fn a_file_that_is_not_a_network_is_refused_on_loading() {
    let half = &default_pack().network()[..default_pack().network().len() / 2];
    for network in [&b""[..], b"PK\x03\x04 a zip file", &[0xff; 4096], half] {
        let pack = open(&fit(default_pack().manifest().clone(), network), network).unwrap();
        let error = use_pack(&pack).unwrap_err();
        assert!(matches!(error, ModelError::Load(_)), "{error}");
    }
}

#[test]
fn a_manifest_that_describes_another_network_is_refused() {
    let refusal = |change: fn(&mut Manifest)| {
        let network = default_pack().network();
        let mut manifest = default_pack().manifest().clone();
        change(&mut manifest);
        use_pack(&open(&fit(manifest, network), network).unwrap()).unwrap_err().to_string()
    };
    assert!(refusal(|m| m.embedding.output = "features".to_owned()).contains("no output 'features'"));
    assert!(refusal(|m| m.heads[1].output = "hue".to_owned()).contains("no output 'hue'"));
    assert!(refusal(|m| m.input.name = "pixels".to_owned()).contains("'pixels'"));
    assert!(refusal(|m| m.embedding.dim = 64).contains("128 values, expected 64"));
    assert!(refusal(|m| m.heads[2].labels.push("more".to_owned())).contains("labels"));
}

#[test]
fn two_heads_may_read_one_output() {
    let network = tiny_network();
    let mut manifest = tiny_manifest(&network);
    let labels = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    let (name, output) = ("x".to_owned(), "embedding".to_owned());
    let head = magpie_core::model::HeadSpec { name, output, labels, temperature: None, threshold: None };
    manifest.heads = vec![head.clone(), head];
    assert_eq!(use_pack(&open(&manifest, &network).unwrap()), Ok(4));
}

/// A minimal network, so that thousands load in a second: the mean of each channel, then a 3 x 4 matrix.
fn tiny_network() -> Vec<u8> {
    fn int(tag: u8, value: u8) -> Vec<u8> {
        vec![tag << 3, value]
    }
    fn field(tag: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
        let (body, mut field) = (body.as_ref(), vec![tag << 3 | 2]);
        let mut len = body.len();
        while len > 127 {
            field.push(len as u8 | 0x80);
            len >>= 7;
        }
        field.push(len as u8);
        field.extend(body);
        field
    }
    let value = |name: &str, dims: &[u8]| {
        let dims = dims.iter().map(|&dim| field(1, int(1, dim))).collect::<Vec<_>>().concat();
        let tensor = [int(1, 1), field(2, dims)].concat();
        [field(1, name), field(2, field(1, tensor))].concat()
    };
    let node = |inputs: &[&str], output: &str, op: &str| {
        let inputs = inputs.iter().map(|input| field(1, input)).collect::<Vec<_>>().concat();
        field(1, [inputs, field(2, output), field(3, output), field(4, op)].concat())
    };
    let weights: Vec<u8> = (1u8..=12).flat_map(|i| (f32::from(i) - 6.5).to_le_bytes()).collect();
    let weights = [int(1, 3), int(1, 4), int(2, 1), field(8, "weights"), field(9, weights)].concat();
    let graph = [
        node(&["image"], "pooled", "GlobalAveragePool"),
        node(&["pooled"], "flat", "Flatten"),
        node(&["flat", "weights"], "embedding", "Gemm"),
        field(2, "tiny"),
        field(5, weights),
        field(11, value("image", &[1, 3, 8, 8])),
        field(12, value("embedding", &[1, 4])),
    ];
    [int(1, 8), field(7, graph.concat()), field(8, [field(1, ""), int(2, 13)].concat())].concat()
}

fn tiny_manifest(network: &[u8]) -> Manifest {
    let mut manifest = default_pack().manifest().clone();
    (manifest.input.width, manifest.input.height) = (8, 8);
    manifest.input.name = "image".to_owned();
    manifest.embedding.output = "embedding".to_owned();
    manifest.embedding.dim = 4;
    manifest.heads.clear();
    fit(manifest, network)
}

#[test]
fn any_small_network_that_a_user_brings_works() {
    let network = tiny_network();
    assert_eq!(use_pack(&open(&tiny_manifest(&network), &network).unwrap()), Ok(4));
}

/// Changes some bytes of a network, fits the manifest to them, and loads and runs the result.
fn load_changed(network: &[u8], manifest: &Manifest, changes: &[(prop::sample::Index, u8)]) {
    let mut network = network.to_vec();
    for (at, value) in changes {
        let at = at.index(network.len());
        network[at] = *value;
    }
    let _ = use_pack(&open(&fit(manifest.clone(), &network), &network).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(2000)))]

    #[test]
    fn a_changed_small_network_never_crashes(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let network = tiny_network();
        load_changed(&network, &tiny_manifest(&network), &changes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(16)))]

    /// Few cases, since each takes about half a second.
    #[test]
    fn a_changed_network_never_crashes(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 40..60),
    ) {
        load_changed(default_pack().network(), default_pack().manifest(), &changes);
    }
}
