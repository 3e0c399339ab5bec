//! Channels with extreme scales run on the project's own kernels where their result is certain. What is left to tract is
//! reported with the reason.

use magpie_core::model::{LeftReason, LoadReport, Model};
use magpie_tests::onnx_nets::{Net, Small, Tensor, Window, float, int, ints, window};
use tract_onnx::pb::NodeProto;

use crate::fused_network::{MAX_DISTANCE, distance, load, noise, raw, tract_output};

/// The step of the inputs and results of [`picture`]'s layers.
const STEP: f32 = 2.0 / 255.0;

/// A dense, a depthwise and a pointwise convolution of eight channels; the output is a feature map of 9 x 9 pixels.
fn picture() -> Small {
    let (mut net, image) = Net::new([9, 9], false);
    let mut x = net.conv(&image, 8, window(3, 1));
    x = net.relu(&x);
    x = net.depthwise(&x, window(3, 1));
    x = net.relu(&x);
    x = net.conv(&x, 8, window(1, 1));
    x = net.relu(&x);
    net.finish(&x)
}

#[test]
fn channels_whose_scale_is_tiny_run_on_our_own_kernels() {
    // Factor of the weights, bias, factor of the bias. Biases of 0.7 are in the middle of the range.
    let tiny = f32::from_bits(1);
    let channels = [
        (1e-10, 70, 0.01),
        (1e-10, i32::MAX, 1e-10 * STEP),
        (1e-38, i32::MAX, 1e-38 * STEP),
        (tiny, i32::MIN, 0.001),
        (0.0, 70, 0.01),
        (f32::MIN_POSITIVE, -70, 0.01),
        (0.004, i32::MAX, 0.004 * STEP),
        (0.004, i32::MIN, 0.004 * STEP),
    ];
    for layer in 0..3 {
        for (at, (factor, bias, bias_factor)) in channels.into_iter().enumerate() {
            let mut net = picture();
            net.set_channel(layer, at, factor, bias, bias_factor);
            let (name, pack) = (format!("layer {layer}, {factor} {bias} {bias_factor}"), net.pack());
            let model = Model::load(&pack).unwrap();
            let LoadReport { refused, left, .. } = model.report();
            assert_eq!((refused, &left[..], model.report().convolutions()), (&None, &[][..], [3, 3]), "{name}");
            let (own, tract) = (raw(&model, &[noise(&pack)]).remove(0), tract_output(&net));
            assert!(distance(&own, &tract) <= MAX_DISTANCE, "{name}");
            if layer == 2 {
                // The output shows the channel itself, which is the same everywhere.
                let [own, tract] = [&own, &tract].map(|output| &output[81 * at..][..81]);
                assert_eq!(own, tract, "{name}");
                assert!(own.iter().all(|value| *value == own[0]), "{name}");
            }
            // The compiled form has them too.
            assert!(pack.compiled().is_ok(), "{name}");
        }
    }
    // All at once.
    let mut net = picture();
    for (at, (factor, bias, bias_factor)) in channels.into_iter().enumerate() {
        net.set_channel(2, at, factor, bias, bias_factor);
    }
    let pack = net.pack();
    assert_eq!(raw(&load(&pack, |_| ()), &[noise(&pack)]).remove(0), tract_output(&net));
}

/// The bias, 2^31 - 1 steps of the two scales, lies halfway between two results: the weights decide.
#[test]
fn a_channel_that_is_too_large_but_not_constant_leaves_its_layer_to_tract() {
    let mut net = picture();
    let factor = 21.5 / (1u32 << 31) as f32;
    net.set_channel(1, 5, factor, i32::MAX, factor * STEP);
    let pack = net.pack();
    let model = Model::load(&pack).unwrap();
    assert_eq!(model.report().convolutions(), [2, 3]);
    let why: Vec<_> =
        model.report().left.iter().map(|node| (node.operator.as_str(), node.reason.to_string())).collect();
    let (bias, part) =
        ("channel 5: a bias does not fit 32 bits in units of its scale", "it belongs to a node on tract");
    let expected = [("DequantizeLinear", part), ("DequantizeLinear", part), ("Conv", bias), ("Relu", part)]
        .map(|(op, why)| (op, why.to_owned()));
    assert_eq!(why, expected);
    let own = raw(&model, &[noise(&pack)]).remove(0);
    assert!(distance(&own, &tract_output(&net)) <= MAX_DISTANCE);
    let error = pack.compiled().unwrap_err().to_string();
    assert!(error.contains("need tract") && error.contains(bias), "{error}");
}

type Build = fn(&mut Net, &Tensor) -> Tensor;
type Edit = fn(&mut NodeProto);
/// What [`network`] needs, and what is left to tract.
type Row<'a> = (Build, &'a str, Edit, &'a [(&'a str, LeftReason)]);

/// A convolution, what `build` makes of its result, and a usual end. `edit` gets the last node with this operator.
fn network(build: Build, operator: &str, edit: Edit) -> Small {
    let (mut net, image) = Net::new([8, 8], false);
    let x = net.conv(&image, 8, window(3, 1));
    let x = net.relu(&x);
    let x = build(&mut net, &x);
    // Back to a usual scale, so that the output is not all zero.
    let x = net.op("Sigmoid", &[&x], vec![]);
    let x = net.both_signs(&x);
    let mut net = net.finish_pooled(&x);
    let nodes = &mut net.proto.graph.as_mut().unwrap().node;
    nodes.iter_mut().rfind(|node| node.op_type == operator).map(edit);
    net
}

/// The operators that are left to tract, each with the reason, without what only belongs to one of them.
fn causes(net: &Small) -> Vec<(String, LeftReason)> {
    let pack = net.pack();
    let model = Model::load(&pack).unwrap();
    let report = model.report();
    assert!(report.refused.is_none() && !report.fused.is_empty(), "{report:?}");
    let own = raw(&model, &[noise(&pack)]).remove(0);
    assert!(distance(&own, &tract_output(net)) <= MAX_DISTANCE, "{report:?}");
    let causes = report.left.iter().filter(|node| node.reason != LeftReason::Part);
    causes.map(|node| (node.operator.clone(), node.reason.clone())).collect()
}

fn softplus(net: &mut Net, x: &Tensor) -> Tensor {
    let x = net.op("Softplus", &[x], vec![]);
    net.both_signs(&x)
}

#[test]
fn every_layer_that_is_left_to_tract_has_a_reason() {
    use LeftReason::{Form, Groups, Input, Operator, Rescaled, Result, Scale};
    let dilated: Build = |net, x| {
        let x = net.conv(x, 8, Window { pads: [2; 4], ..window(3, 1) });
        net.both_signs(&x)
    };
    let grouped: Build = |net, x| {
        let x = net.grouped(x, 2, window(3, 1));
        net.both_signs(&x)
    };
    let used_twice: Build = |net, x| {
        let x = net.conv(x, 8, window(1, 1));
        let (a, b) = (net.both_signs(&x), softplus(net, &x));
        let sum = net.op("Add", &[&a, &b], vec![]);
        net.both_signs(&sum)
    };
    let mixed_sum: Build = |net, x| {
        let other = net.op("Softplus", &[x], vec![]);
        let sum = net.op("Add", &[x, &other], vec![]);
        net.both_signs(&sum)
    };
    let pooled: Build = |net, x| {
        let x = net.max_pool(x, window(3, 1));
        net.relu(&x)
    };
    let rescaled: Build = |net, x| {
        let x = net.max_pool(x, window(3, 1));
        net.both_signs(&x)
    };
    let huge_step: Build = |net, x| {
        let x = net.conv(x, 8, window(1, 1));
        net.quantised(&x, 1e13, 0)
    };
    let as_it_is: Edit = |_| ();
    let cases: [Row<'_>; 9] = [
        (dilated, "Conv", |node| node.attribute.push(ints("dilations", &[2, 2])), &[("Conv", Form)]),
        (grouped, "Conv", as_it_is, &[("Conv", Groups(2))]),
        (softplus, "", as_it_is, &[("Softplus", Operator)]),
        (used_twice, "", as_it_is, &[("Conv", Result), ("Softplus", Operator)]),
        (mixed_sum, "", as_it_is, &[("Softplus", Operator), ("Add", Input)]),
        (pooled, "MaxPool", |node| node.attribute.push(int("ceil_mode", 1)), &[("MaxPool", Form)]),
        (rescaled, "", as_it_is, &[("MaxPool", Rescaled)]),
        (|_, x| x.clone(), "Gemm", |node| node.attribute.push(float("alpha", 2.0)), &[("Gemm", Form)]),
        (huge_step, "", as_it_is, &[("Conv", Result), ("QuantizeLinear", Scale), ("Sigmoid", Input)]),
    ];
    for (build, operator, edit, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|(operator, why)| ((*operator).to_owned(), why.clone())).collect();
        assert_eq!(causes(&network(build, operator, edit)), expected);
    }
}

/// Scales with which a result may overflow 32 bits.
#[test]
fn scales_that_our_kernels_refuse_leave_only_their_layer_to_tract() {
    let tiny: Build = |net, x| {
        let x = net.conv(x, 8, window(3, 1));
        net.quantised(&x, 1e-9, 0)
    };
    let sum: Build = |net, x| {
        let x = net.conv(x, 8, window(3, 1));
        let large = net.both_signs(&x);
        let small = net.quantised(&large, 1e-5, 0);
        let x = net.op("Add", &[&small, &small], vec![]);
        net.quantised(&x, 1e-9, 0)
    };
    let product: Build = |net, x| {
        let x = net.op("Mul", &[x, x], vec![]);
        net.quantised(&x, 1e-9, 0)
    };
    let mean: Build = |net, x| {
        let x = net.mean(x);
        net.quantised(&x, 1e-9, 0)
    };
    for (operator, why, build) in [
        ("Conv", "channel 0: sums may leave 32 bits", tiny),
        ("Add", "scales differ", sum),
        ("Mul", "scales differ", product),
        ("GlobalAveragePool", "scales differ", mean),
    ] {
        let found = causes(&network(build, "", |_| ()));
        let is_it = matches!(&found[..], [(left, reason)] if left == operator && reason.to_string().contains(why));
        assert!(is_it, "{operator}: {found:?}");
    }
}

/// A sum of a feature map and a single pixel. That the sizes differ shows only when the network is planned.
#[test]
fn a_network_that_our_kernels_refuse_runs_on_tract_and_the_report_says_why() {
    let broadcast: Build = |net, x| {
        let mean = net.mean(x);
        let mean = net.relu(&mean);
        let x = net.op("Add", &[x, &mean], vec![]);
        net.both_signs(&x)
    };
    let net = network(broadcast, "", |_| ());
    let (pack, tract) = (net.pack(), tract_output(&net));
    let model = load(&pack, |_| ());
    let report = model.report();
    assert!(report.refused.as_deref().is_some_and(|why| why.contains("cannot take values")), "{:?}", report.refused);
    assert!(report.fused.is_empty() && report.left.len() > 5, "{report:?}");
    assert!(report.left.iter().all(|node| node.reason == LeftReason::Network));
    assert_eq!(report.convolutions(), [0, 1]);
    assert_eq!(raw(&model, &[noise(&pack)]).remove(0), tract);

    let unfused = load(&pack, |options| options.fuse = false);
    assert!(unfused.report().left.iter().all(|node| node.reason == LeftReason::Unfused));
}

#[test]
fn weights_that_claim_more_outputs_than_memory_holds_are_not_believed() {
    let mut net = picture();
    let graph = net.proto.graph.as_mut().unwrap();
    let conv = graph.node.iter().find(|node| node.op_type == "Conv").unwrap();
    let weights = graph.node.iter().find(|node| node.output[0] == conv.input[1]).unwrap().input.clone();
    for (at, dims, bytes) in [(0, vec![1 << 40, 0, 3, 3], 0), (1, vec![1], 4)] {
        let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name == weights[at]).unwrap();
        tensor.dims = dims;
        tensor.raw_data.truncate(bytes);
    }
    // tract refuses it as well.
    Model::load(&net.pack()).unwrap_err();
}
