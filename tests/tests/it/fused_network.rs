//! A quantised network agrees with tract and gives the same bits on every instruction set. Operators that the project's
//! own kernels do not support are left to tract.

use magpie_core::cpu::Isa;
use magpie_core::image::{InputRgb, normalise};
use magpie_core::model::{LoadOptions, Model, Pack};
use magpie_core::recipe::InputTensor;
use magpie_tests::net_kinds::{self, Case};
use magpie_tests::onnx_nets::Small;
use magpie_tests::{default_pack, folders, repository};

/// The default pack compared with tract. Both round at the same places; tract computes in f32 between them.
const PACK_COSINE: f32 = 0.998;

/// Largest distance from tract, relative to the vector's length: some values differ by one quantisation step.
pub(crate) const MAX_DISTANCE: f32 = 0.02;

/// The share of a feature map's values that may differ by a step from tract's, which rounds products of f32.
const MAX_STEP_SHARE: f32 = 0.01;

/// Kinds of layers that only change the form of a value.
const FORMS: [&str; 3] = ["quantise", "dequantise", "flatten"];

pub(crate) fn load(pack: &Pack, change: impl FnOnce(&mut LoadOptions)) -> Model {
    let mut options = LoadOptions::default();
    change(&mut options);
    Model::load_with(pack, &options).unwrap()
}

fn golden_inputs() -> Vec<InputTensor> {
    let recipe = &default_pack().manifest().input;
    let cases = folders(&repository().join("models/packs/default/golden"));
    assert!(!cases.is_empty());
    let read = |folder: std::path::PathBuf| {
        let input = image::open(folder.join("input.png")).unwrap().into_rgb8();
        normalise(&InputRgb { width: input.width(), height: input.height(), rgb: input.into_raw() }, recipe)
    };
    cases.into_iter().map(read).collect()
}

/// Pseudo-random values from -1 to 1, so that a shifted window changes the result.
pub(crate) fn noise(pack: &Pack) -> InputTensor {
    let (width, height) = (pack.manifest().input.width, pack.manifest().input.height);
    let value = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    InputTensor { width, height, data: (0..3 * width * height).map(value).collect() }
}

/// All raw outputs of the network, joined, for each input.
pub(crate) fn raw(model: &Model, inputs: &[InputTensor]) -> Vec<Vec<f32>> {
    let mut session = model.session();
    let outputs = 1 + model.manifest().heads.len();
    let mut run = |input| {
        session.run_raw(input).unwrap();
        (0..outputs).flat_map(|at| session.raw(at).to_vec()).collect::<Vec<f32>>()
    };
    inputs.iter().map(&mut run).collect()
}

/// The distance between two vectors, relative to the length of the second.
pub(crate) fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
    let between = squares(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    (between / squares(&mut expected.iter().copied())).sqrt()
}

pub(crate) fn tract_output(net: &Small) -> Vec<f32> {
    let pack = net.pack();
    raw(&load(&pack, |options| options.fuse = false), &[noise(&pack)]).remove(0)
}

#[test]
fn the_default_pack_runs_entirely_on_our_own_kernels() {
    let model = Model::load(default_pack()).unwrap();
    let report = model.report();
    assert_eq!(report.refused, None);
    assert_eq!(report.left, []);
    assert_eq!(report.isa, Isa::best());
    assert!(report.fused.len() > 30 && report.scratch_bytes > 0, "{report:?}");
}

#[test]
fn every_instruction_set_gives_the_default_packs_outputs_bit_for_bit() {
    let inputs = golden_inputs();
    let expected = raw(&load(default_pack(), |options| options.isa = Isa::Scalar), &inputs);
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            let model = load(default_pack(), |options| (options.isa, options.threads) = (isa, threads));
            assert_eq!((model.report().isa, model.report().threads), (isa, threads));
            assert!(raw(&model, &inputs) == expected, "{isa}, {threads} threads");
        }
    }
}

#[test]
fn the_default_pack_gives_what_plain_tract_gives() {
    let inputs = golden_inputs();
    let (own, tract) = (load(default_pack(), |_| ()), load(default_pack(), |options| options.fuse = false));
    assert!(tract.report().fused.is_empty() && !tract.report().left.is_empty());
    for input in &inputs {
        let (own, tract) = (own.run(input).unwrap(), tract.run(input).unwrap());
        let cosine = own.embedding.cosine(&tract.embedding).unwrap();
        println!("cosine {cosine:.6}");
        assert!(cosine >= PACK_COSINE, "cosine {cosine}");
        for (own, tract) in own.attributes.0.iter().zip(&tract.attributes.0) {
            // tract computes in float, and a head's probability is steep where it is not sure.
            assert!((own.probability - tract.probability).abs() < 0.1, "{own:?} {tract:?}");
            // Two labels that are about equally likely may change places, and one near its head's threshold may be said by
            // one of the two only.
            let one_says_nothing = own.label.is_none() != tract.label.is_none();
            assert!(own.label == tract.label || one_says_nothing || tract.probability < 0.5, "{own:?} {tract:?}");
        }
    }
}

/// Checks which layers are fused, the distance from tract, and that all instruction sets agree bit for bit.
fn check(case: &Case) {
    let Case { name, net, .. } = case;
    let (pack, tract) = (net.pack(), tract_output(net));
    let model = load(&pack, |_| ());
    let report = model.report();
    assert_eq!(report.refused, None, "{name}");
    let sorted = |mut words: Vec<&str>| {
        words.sort_unstable();
        words.join(", ")
    };
    let fused = report.fused.iter().map(|layer| layer.kind).filter(|kind| !FORMS.contains(kind)).collect();
    assert_eq!(sorted(fused), sorted(case.fused.clone()), "fused of {name}");
    let left = report.left.iter().map(|node| node.operator.as_str()).collect();
    assert_eq!(sorted(left), sorted(case.left.clone()), "left of {name}");
    let inputs = [noise(&pack)];
    let expected = raw(&load(&pack, |options| options.isa = Isa::Scalar), &inputs);
    let distance = distance(&expected[0], &tract);
    println!("{name}: distance {distance:.5} from tract");
    assert!(distance <= MAX_DISTANCE, "{name}: distance {distance}: {:?} {tract:?}", expected[0]);
    for isa in Isa::available() {
        for threads in [1, 2] {
            let model = load(&pack, |options| (options.isa, options.threads) = (isa, threads));
            assert!(raw(&model, &inputs) == expected, "{name}: {isa}, {threads} threads");
        }
    }
}

#[test]
fn every_kind_of_quantised_network_gives_what_tract_gives() {
    let cases = net_kinds::all();
    let failed: Vec<&str> = cases
        .iter()
        .filter(|case| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(case))).is_err())
        .map(|case| case.name)
        .collect();
    assert!(failed.is_empty(), "{failed:?}: see above");
}

/// A mean over pixels would hide a wrong pixel, so here every pixel is compared.
#[test]
fn every_pixel_of_every_kind_of_network_agrees_with_tract() {
    let mut failed = Vec::new();
    for (case, picture) in net_kinds::all().iter().filter_map(|case| Some((case, case.picture.as_ref()?))) {
        let (pack, tract) = (picture.pack(), tract_output(picture));
        let model = load(&pack, |_| ());
        assert!(model.report().refused.is_none() && !model.report().fused.is_empty(), "{}", case.name);
        let own = raw(&model, &[noise(&pack)]).remove(0);
        let mut values = tract.clone();
        values.sort_by(f32::total_cmp);
        values.dedup();
        assert!(values.len() > 16, "{} has too few distinct values: {values:?}", case.name);
        let step = values.windows(2).map(|pair| pair[1] - pair[0]).fold(f32::INFINITY, f32::min);
        let steps: Vec<f32> = own.iter().zip(&tract).map(|(a, b)| ((a - b) / step).abs().round()).collect();
        let largest = steps.iter().copied().fold(0.0, f32::max);
        let share = steps.iter().filter(|&&steps| steps > 0.0).count() as f32 / steps.len() as f32;
        println!("{}: {} of values differ, by {largest} steps at most", case.name, share);
        if largest > 1.0 || share > MAX_STEP_SHARE {
            failed.push(case.name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}: see above");
}

#[test]
fn an_instruction_set_that_the_cpu_lacks_is_refused_by_name() {
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
        let options = LoadOptions::default().with_isa(isa);
        let error = Model::load_with(default_pack(), &options).unwrap_err().to_string();
        assert!(error.contains(isa.name()), "{error}");
    }
}
