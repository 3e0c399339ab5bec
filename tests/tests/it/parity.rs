//! The phone computes the same pixels and embeddings from a photo as the training code: every pack's golden cases.
//!
//! A case is a folder `golden/<case>/` with `photo.png` or `photo.jpg`, `input.png` (the pixels at the network's size,
//! as Pillow made them) and `expected.json`. To add a case, add a folder.

use std::path::{Path, PathBuf};

use magpie_core::image::{DecodeLimits, InputRgb, Region, decode, normalise};
use magpie_core::model::{Model, Output, Pack};
use magpie_core::{Embedding, engine};
use magpie_tests::{folders, pack_folders};

/// For PNG, in levels: Pillow and the core round intermediate rows to fixed-point numbers of different widths.
const PNG_LEVELS: u8 = 1;

/// For JPEG, in levels: two decoders round differently in the IDCT and the colour conversion, and the resize averages
/// most of that out. Measured: at most 2 levels, 0.13 on average.
const JPEG_LEVELS: u8 = 4;
const JPEG_MEAN_LEVELS: f64 = 0.5;

/// The same int8 network on two runtimes: a value halfway between two steps may round either way. Measured: 0.99992.
const NETWORK_COSINE: f32 = 0.9995;

/// From photo to embedding: some pixels differ by a level, which changes some roundings. Measured: 0.9971 for a
/// picture smaller than the input, 0.9984 or more for the others.
const WHOLE_COSINE: f32 = 0.995;

struct Case {
    folder: PathBuf,
    photo: Vec<u8>,
    is_jpeg: bool,
    input: InputRgb,
    region: Option<Region>,
    expected: serde_json::Value,
}

impl Case {
    fn read(folder: PathBuf) -> Case {
        let jpeg = folder.join("photo.jpg");
        let is_jpeg = jpeg.is_file();
        let photo = std::fs::read(if is_jpeg { jpeg } else { folder.join("photo.png") }).unwrap();
        let input = image::open(folder.join("input.png")).unwrap().into_rgb8();
        let input = InputRgb { width: input.width(), height: input.height(), rgb: input.into_raw() };
        let expected: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        let region = match expected["crop"].as_array() {
            None => None,
            Some(crop) => {
                let side = |at: usize| u32::try_from(crop[at].as_u64().unwrap()).unwrap();
                Some(Region { x: side(0), y: side(1), width: side(2), height: side(3) })
            }
        };
        Case { folder, photo, is_jpeg, input, region, expected }
    }

    fn embedding(&self, model: &Model) -> Embedding {
        let values = self.expected["embedding"].as_array().unwrap();
        let values: Vec<f32> = values.iter().map(|v| v.as_f64().unwrap() as f32).collect();
        Embedding::new(&values, model.id()).unwrap()
    }

    /// Runs the network on the golden input, without decoding and resizing.
    fn run(&self, model: &Model) -> Output {
        model.run(&normalise(&self.input, &model.manifest().input)).unwrap()
    }
}

/// Runs the check on every case of every pack. A pack without a case is a failure, because nothing would test it.
fn each_case(check: impl Fn(&Model, &Case)) {
    let packs = pack_folders();
    assert!(!packs.is_empty(), "no model pack");
    for pack in packs {
        let cases = folders(&pack.join("golden"));
        assert!(!cases.is_empty(), "{} has no golden case", pack.display());
        let model = load(&pack);
        cases.into_iter().for_each(|folder| check(&model, &Case::read(folder)));
    }
}

fn load(pack: &Path) -> Model {
    Model::load(&Pack::open(pack).unwrap()).unwrap()
}

#[test]
fn network_inputs_are_those_of_training() {
    each_case(|model, case| {
        let recipe = &model.manifest().input;
        let photo = decode(&case.photo, case.region, recipe, &DecodeLimits::default()).unwrap();
        let input = photo.input_rgb(case.region, recipe).unwrap();
        assert_eq!((input.width, input.height), (case.input.width, case.input.height));
        let differences: Vec<u8> = input.rgb.iter().zip(&case.input.rgb).map(|(a, b)| a.abs_diff(*b)).collect();
        let largest = differences.iter().copied().max().unwrap();
        let mean = differences.iter().map(|&d| f64::from(d)).sum::<f64>() / differences.len() as f64;
        let name = case.folder.display();
        println!("{name}: largest {largest}, mean {mean:.4}");
        if case.is_jpeg {
            let near = mean <= JPEG_MEAN_LEVELS && largest <= JPEG_LEVELS;
            assert!(near, "{name}: {mean} levels on average, {largest} somewhere");
        } else {
            assert!(largest <= PNG_LEVELS, "{name}: {largest} levels somewhere");
        }
    });
}

#[test]
fn the_network_gives_the_embedding_of_training() {
    each_case(|model, case| {
        let cosine = case.run(model).embedding.cosine(&case.embedding(model)).unwrap();
        println!("{}: cosine {cosine:.6}", case.folder.display());
        assert!(cosine >= NETWORK_COSINE, "{}: cosine {cosine}", case.folder.display());
    });
}

#[test]
fn a_photo_gives_the_embedding_of_training() {
    each_case(|model, case| {
        let output = engine::embed(model, &case.photo, case.region, &DecodeLimits::default()).unwrap();
        let cosine = output.embedding.cosine(&case.embedding(model)).unwrap();
        println!("{}: cosine {cosine:.6}", case.folder.display());
        assert!(cosine >= WHOLE_COSINE, "{}: cosine {cosine}", case.folder.display());
    });
}

#[test]
fn attributes_and_their_probabilities_are_those_of_training() {
    each_case(|model, case| {
        let attributes = case.run(model).attributes;
        let expected = case.expected["attributes"].as_object().unwrap();
        assert_eq!(attributes.0.len(), expected.len(), "heads of the manifest and of the case");
        for (name, expected) in expected {
            let found = attributes.get(name).unwrap();
            let probability = expected["probability"].as_f64().unwrap();
            // `None` if the head is not sure.
            let label = expected["label"].as_str();
            let difference = (f64::from(found.probability) - probability).abs();
            let shown = format!("{} {name}: {label:?} {probability}, found {found:?}", case.folder.display());
            println!("{shown}");
            assert!(difference <= 0.02, "{shown}");
            // Two labels that are about equally likely may swap, and a head close to its threshold may cross it. A
            // clear label must be the same.
            let head = model.manifest().heads.iter().find(|head| head.name == *name).unwrap();
            let barely = (probability - f64::from(head.threshold.unwrap_or(0.0))).abs() <= 0.02;
            assert!(found.label.as_deref() == label || probability < 0.35 || barely, "{shown}");
        }
    });
}

/// Golden photos are small. A phone's photo is decoded at a reduced size, which must not change the embedding.
#[test]
fn a_large_jpeg_gives_the_embedding_of_its_pixels() {
    let model = magpie_tests::default_model();
    let pack = &pack_folders()[0];
    for folder in folders(&pack.join("golden")).into_iter().take(4) {
        let case = Case::read(folder);
        let small = image::load_from_memory(&magpie_tests::pictures::png(
            image::RgbImage::from_raw(case.input.width, case.input.height, case.input.rgb.clone()).unwrap(),
        ));
        let large = small.unwrap().resize_exact(1600, 1200, image::imageops::FilterType::CatmullRom).into_rgb8();
        for progressive in [false, true] {
            let style = magpie_tests::pictures::JpegStyle { progressive, orientation: 0 };
            let jpeg = magpie_tests::pictures::jpeg(&large, style);
            let recipe = &model.manifest().input;
            let photo = decode(&jpeg, None, recipe, &DecodeLimits::default()).unwrap();
            assert!(photo.decoded_size().0 < 1600, "decoded at full size: this tests nothing");
            let of = |bytes: &[u8]| engine::embed(model, bytes, None, &DecodeLimits::default()).unwrap().embedding;
            let cosine = of(&jpeg).cosine(&of(&magpie_tests::pictures::png(large.clone()))).unwrap();
            println!("{}: cosine {cosine:.6}", case.folder.display());
            assert!(cosine >= WHOLE_COSINE, "{}: cosine {cosine}", case.folder.display());
        }
    }
}
