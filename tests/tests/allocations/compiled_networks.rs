//! A compiled network gives the same outputs as its ONNX file, and damaged ones are refused.

use std::fs;
use std::path::Path;

use magpie_core::cpu::Isa;
use magpie_core::model::{Form, LoadOptions, Model, Pack};
use magpie_core::recipe::InputTensor;
use magpie_core::{Error, ModelError};
use magpie_tests::mutation::Random;
use magpie_tests::treatment::{PEAK, outcome};
use magpie_tests::{cases, default_pack, memory, net_kinds, repository};

/// Offset of the layers.
const HEADER: usize = 80;

fn input(pack: &Pack, random: &mut Random) -> InputTensor {
    let recipe = &pack.manifest().input;
    let values = 3 * recipe.width * recipe.height;
    let data = (0..values).map(|_| random.below(2000) as f32 / 500.0 - 2.0).collect();
    InputTensor { width: recipe.width, height: recipe.height, data }
}

fn manifest(pack: &Pack) -> Vec<u8> {
    serde_json::to_vec(pack.manifest()).unwrap()
}

/// The file with the checksum of its layers recomputed.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = *blake3::hash(&bytes[HEADER..]).as_bytes();
    bytes[48..HEADER].copy_from_slice(&checksum);
    bytes
}

fn refused(pack: &Pack, bytes: Vec<u8>) -> String {
    match Pack::from_bytes(&manifest(pack), bytes) {
        Err(Error::Model(error @ (ModelError::Changed { .. } | ModelError::Load(_)))) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn outputs_equal_those_of_the_onnx_file_bit_for_bit() {
    let pack = default_pack();
    let bytes = pack.compiled().unwrap();
    assert_eq!(bytes, pack.compiled().unwrap(), "compiling a pack twice gives different bytes");
    let compiled = Pack::from_bytes(&manifest(pack), bytes).unwrap();
    assert_eq!((pack.form(), compiled.form()), (Form::Onnx, Form::Compiled));
    for isa in [Isa::best(), Isa::Scalar] {
        let options = LoadOptions::default().with_isa(isa);
        let [onnx, own] = [pack, &compiled].map(|pack| Model::load_with(pack, &options).unwrap());
        assert_eq!(own.report(), onnx.report());
        let input = input(pack, &mut Random::new(7));
        assert_eq!(own.run(&input).unwrap(), onnx.run(&input).unwrap(), "{isa}");
    }
}

#[test]
fn every_kind_of_layer_survives_compilation() {
    let mut compiled = 0;
    for case in net_kinds::all() {
        let pack = case.net.pack();
        let model = Model::load(&pack).unwrap();
        let bytes = match pack.compiled() {
            Ok(bytes) => bytes,
            Err(error) => {
                assert!(!model.report().left.is_empty(), "{}: {error}", case.name);
                assert!(error.to_string().contains("need tract"), "{error}");
                continue;
            }
        };
        compiled += 1;
        let own = Model::load(&Pack::from_bytes(&manifest(&pack), bytes).unwrap()).unwrap();
        let input = input(&pack, &mut Random::new(compiled));
        assert_eq!(own.run(&input).unwrap(), model.run(&input).unwrap(), "{}", case.name);
    }
    assert!(compiled > 5, "{compiled} kinds were compiled");
}

#[test]
fn a_folder_prefers_the_compiled_network_and_needs_no_onnx_file() {
    let pack = default_pack();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let open = || Pack::open(folder.path());
    fs::write(file("manifest.json"), manifest(pack)).unwrap();
    fs::write(file(Pack::COMPILED_FILE), pack.compiled().unwrap()).unwrap();
    assert_eq!(open().unwrap().form(), Form::Compiled);

    // One of another model is an error, unless the folder has the ONNX file too.
    let mut other = pack.compiled().unwrap();
    other[16] ^= 1;
    fs::write(file(Pack::COMPILED_FILE), other).unwrap();
    assert!(open().unwrap_err().to_string().contains("the model id it was compiled from"));
    fs::copy(default_onnx(), file("model.onnx")).unwrap();
    assert_eq!(open().unwrap().form(), Form::Onnx);
}

fn default_onnx() -> impl AsRef<Path> {
    repository().join("models/packs/default/model.onnx")
}

#[test]
fn errors_name_the_damage() {
    let pack = default_pack();
    let good = pack.compiled().unwrap();
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        refused(pack, bytes)
    };
    assert!(changed(8).contains("has format 65"));
    assert!(changed(20).contains("the model id"));
    for at in [48, HEADER, HEADER + 5000, good.len() - 1] {
        assert!(changed(at).contains("the checksum of its layers"), "{at}");
    }
    assert!(refused(pack, good[..40].to_vec()).contains("is not a compiled network"));
    assert!(refused(pack, good[..good.len() - 1].to_vec()).contains("checksum"));
}

#[test]
fn forged_layers_with_a_valid_checksum_are_refused_or_harmless() {
    let kinds: Vec<_> = net_kinds::all().into_iter().map(|case| case.net.pack()).collect();
    let seeds: Vec<(&Pack, Vec<u8>)> = kinds.iter().filter_map(|pack| Some((pack, pack.compiled().ok()?))).collect();
    let mut random = Random::new(2);
    let mut loaded = 0;
    let rounds = cases(3000) as usize;
    for round in 0..rounds {
        let (pack, good) = &seeds[round % seeds.len()];
        let mut bytes = good.clone();
        let json = u32::from_le_bytes(bytes[HEADER..HEADER + 4].try_into().unwrap()) as usize;
        for _ in 0..=random.below(3) {
            // Mostly digits in the JSON list of layers: sizes, offsets, inputs.
            let digits: Vec<usize> = (HEADER + 4..HEADER + 4 + json).filter(|&at| bytes[at].is_ascii_digit()).collect();
            match random.below(4) {
                0 => {
                    let at = HEADER + random.below(bytes.len() - HEADER);
                    bytes[at] = random.draw() as u8;
                }
                1 => bytes.truncate(HEADER + 4 + random.below(bytes.len() - HEADER)),
                _ => {
                    if let Some(&at) = random.of(&digits).filter(|&&at| at < bytes.len()) {
                        bytes[at] = b'0' + random.below(10) as u8;
                    }
                }
            }
            if bytes.len() < HEADER + 4 + json {
                break;
            }
        }
        let Ok(compiled) = Pack::from_bytes(&manifest(pack), sealed(bytes)) else { panic!("the checksum is valid") };
        let (outcome, used) = memory::measured(|| outcome(&compiled, true));
        loaded += usize::from(outcome.is_ok());
        assert!(used.peak < PEAK, "round {round}: {} bytes", used.peak);
    }
    assert!((rounds / 30..rounds - rounds / 30).contains(&loaded), "{loaded} of {rounds} still load");
}
