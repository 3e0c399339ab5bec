//! A quantised network that is damaged, absurd or hostile is a clear error or is run as tract would run it. It does not
//! take the app down, not its memory and not its time.
#![allow(missing_docs, clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use std::process::Command;
use std::time::{Duration, Instant};

use magpie_core::model::{LoadOptions, Model, Pack};
use magpie_core::recipe::InputTensor;
use magpie_tests::memory::{Counting, measured};
use magpie_tests::net_kinds;
use magpie_tests::onnx_nets::{DIM, Net, Small, int, ints, pack, window};
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, StringStringEntryProto, TensorProto};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most that loading and running a small file may take, however it was damaged.
const PEAK: usize = 512 << 20;
const TIME: Duration = Duration::from_secs(20);

/// What comes of a pack: an embedding as the network gives it, or a text.
fn outcome(pack: &Pack, fuse: bool) -> Result<Vec<f32>, String> {
    let mut options = LoadOptions::default();
    options.fuse = fuse;
    let model = Model::load_with(pack, &options).map_err(|e| e.to_string())?;
    let (width, height) = (pack.manifest().input.width, pack.manifest().input.height);
    let data = (0..3 * width * height).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    let mut session = model.session();
    session.run(&InputTensor { width, height, data }).map_err(|e| e.to_string())?;
    Ok(session.raw(0).to_vec())
}

/// Loads and runs it with and without the project's own kernels, within bounds, and compares.
fn check(what: &str, net: &Small) -> Result<(), String> {
    let started = Instant::now();
    let pack = net.pack();
    let ((own, tract), used) = measured(|| (outcome(&pack, true), outcome(&pack, false)));
    let shown = |outcome: &Result<Vec<f32>, String>| match outcome {
        Ok(_) => "runs".to_owned(),
        Err(text) => text.lines().next().unwrap_or_default().chars().take(90).collect(),
    };
    println!("{what}: {} | tract: {} | {} KB", shown(&own), shown(&tract), used.peak / 1000);
    if used.peak > PEAK || started.elapsed() > TIME {
        return Err(format!("{what}: {} MB, {:?}", used.peak >> 20, started.elapsed()));
    }
    match (own, tract) {
        (Err(text), _) if text.is_empty() => Err(format!("{what}: an error without a text")),
        (Err(text), Ok(_)) => Err(format!("{what}: tract runs it, we do not: {text}")),
        (Ok(own), Ok(tract)) => {
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 0.05 * b.abs().max(1.0);
            let same = own.len() == tract.len() && own.iter().zip(&tract).all(near);
            if same { Ok(()) } else { Err(format!("{what}: {own:?}, tract says {tract:?}")) }
        }
        _ => Ok(()),
    }
}

fn check_all(nets: impl IntoIterator<Item = (String, Small)>) {
    let wrong: Vec<String> = nets.into_iter().filter_map(|(what, net)| check(&what, &net).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The networks that are damaged, each in many places.
fn victims() -> Vec<(&'static str, Small)> {
    let named = ["unsigned", "unknown_operator", "matmul", "max_pool"];
    let cases = net_kinds::all().into_iter().filter(|case| named.contains(&case.name));
    cases.map(|case| (case.name, case.net)).collect()
}

fn graph(net: &mut Small) -> &mut GraphProto {
    net.proto.graph.as_mut().unwrap()
}

/// Damages each part of each victim that `parts` counts, one at a time.
fn each(
    what: &str,
    parts: impl Fn(&GraphProto) -> usize,
    damage: impl Fn(&mut GraphProto, usize),
) -> Vec<(String, Small)> {
    let mut damaged = Vec::new();
    for (name, net) in victims() {
        for at in 0..parts(net.proto.graph.as_ref().unwrap()) {
            let mut net = net.clone();
            damage(graph(&mut net), at);
            damaged.push((format!("{name}, {what} {at}"), net));
        }
    }
    damaged
}

fn constants(graph: &GraphProto) -> usize {
    graph.initializer.len()
}

fn nodes(graph: &GraphProto) -> usize {
    graph.node.len()
}

fn is_scale(tensor: &TensorProto) -> bool {
    tensor.data_type == DataType::Float as i32
}

#[test]
fn scales_that_are_none() {
    for value in [f32::NAN, 0.0, -0.5, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE / 2.0, f32::MAX, 1e-30] {
        check_all(each(&format!("scale {value}"), constants, |graph, at| {
            let tensor = &mut graph.initializer[at];
            if is_scale(tensor) {
                tensor.raw_data.as_chunks_mut::<4>().0[0] = value.to_le_bytes();
            }
        }));
    }
}

#[test]
fn constants_of_the_wrong_length() {
    for (what, damage) in [
        ("shortened", (|tensor| tensor.raw_data.truncate(tensor.raw_data.len() - 1)) as fn(&mut TensorProto)),
        ("lengthened", |tensor| tensor.raw_data.push(1)),
        ("longer by a value", |tensor| tensor.raw_data.extend([1; 4])),
        ("emptied", |tensor| tensor.raw_data.clear()),
        ("without values", |tensor| {
            tensor.raw_data.clear();
            tensor.dims = vec![0];
        }),
        ("of another type", |tensor| tensor.data_type = DataType::Double as i32),
        ("of no type", |tensor| tensor.data_type = 9999),
        ("of text", |tensor| tensor.data_type = DataType::String as i32),
        ("as a vector of one more", |tensor| tensor.dims = vec![tensor.dims.iter().product::<i64>() + 1]),
        ("flattened", |tensor| tensor.dims = vec![tensor.dims.iter().product::<i64>()]),
        ("nested", |tensor| tensor.dims.insert(0, 1)),
        ("elsewhere", |tensor| {
            let entry = StringStringEntryProto { key: "location".to_owned(), value: "../../etc/hostname".to_owned() };
            (tensor.external_data, tensor.data_location) = (vec![entry], Some(1));
            tensor.raw_data.clear();
        }),
        ("here and elsewhere", |tensor| tensor.data_location = Some(1)),
    ] {
        check_all(each(what, constants, |graph, at| damage(&mut graph.initializer[at])));
    }
}

#[test]
fn constants_of_absurd_sizes() {
    for dims in [vec![-1], vec![i64::MAX], vec![i64::MIN, 2], vec![1 << 32, 1 << 32], vec![1 << 40, 0], vec![1 << 45]] {
        check_all(each(&format!("sizes {dims:?} of"), constants, |graph, at| {
            graph.initializer[at].dims.clone_from(&dims);
        }));
    }
}

#[test]
fn missing_inputs_and_outputs() {
    check_all(each("without the last input", nodes, |graph, at| drop(graph.node[at].input.pop())));
    check_all(each("without inputs", nodes, |graph, at| graph.node[at].input.clear()));
    check_all(each("with an empty input", nodes, |graph, at| graph.node[at].input[0].clear()));
    check_all(each("with an unknown input", nodes, |graph, at| "nowhere".clone_into(&mut graph.node[at].input[0])));
    check_all(each("without outputs", nodes, |graph, at| graph.node[at].output.clear()));
    check_all(each("with one more output", nodes, |graph, at| graph.node[at].output.push("more".to_owned())));
    check_all(each("left out:", nodes, |graph, at| drop(graph.node.remove(at))));
    check_all(each("constant left out:", constants, |graph, at| drop(graph.initializer.remove(at))));
}

#[test]
fn graphs_that_are_none() {
    check_all(each("reads itself", nodes, |graph, at| {
        let node = &mut graph.node[at];
        node.input[0] = node.output[0].clone();
    }));
    check_all(each("reads the last", nodes, |graph, at| graph.node[at].input[0] = "embedding".to_owned()));
    check_all(each("gives what the first gives", nodes, |graph, at| {
        let first = graph.node[0].output.clone();
        graph.node[at].output = first;
    }));
    check_all(each("has the input's name", nodes, |graph, at| graph.node[at].output = vec!["image".to_owned()]));
    check_all(each("twice:", nodes, |graph, at| graph.node.insert(at, graph.node[at].clone())));
    check_all(each("is called as a region", nodes, |graph, at| graph.node[at].name = "MagpieRegion0".to_owned()));
    check_all(each("is a region", nodes, |graph, at| graph.node[at].op_type = "MagpieRegion".to_owned()));
    check_all(each("order from", nodes, |graph, at| graph.node[at..].reverse()));
    check_all(each("is a graph's output too", nodes, |graph, at| {
        let mut output = graph.output[0].clone();
        output.name = graph.node[at].output[0].clone();
        graph.output.push(output);
    }));
    check_all(each("a constant called as a region", constants, |graph, at| {
        let name = std::mem::replace(&mut graph.initializer[at].name, "MagpieRegion0".to_owned());
        for input in graph.node.iter_mut().flat_map(|node| &mut node.input).filter(|input| **input == name) {
            "MagpieRegion0".clone_into(input);
        }
    }));
}

#[test]
fn attributes_of_absurd_values() {
    let set = |node: &mut NodeProto, attribute: AttributeProto| {
        node.attribute.retain(|other| other.name != attribute.name);
        node.attribute.push(attribute);
    };
    let windows = |graph: &GraphProto| graph.node.len();
    let is_window = |node: &NodeProto| matches!(node.op_type.as_str(), "Conv" | "MaxPool");
    for value in [-1, 0, 3, 100, 1 << 31, i64::MAX, i64::MIN] {
        for name in ["strides", "pads", "kernel_shape", "dilations"] {
            let count = if name == "pads" { 4 } else { 2 };
            check_all(each(&format!("{name} of {value},"), windows, |graph, at| {
                let node = &mut graph.node[at];
                if is_window(node) {
                    set(node, ints(name, &vec![value; count]));
                }
            }));
        }
        for name in ["group", "axis", "transA", "transB", "ceil_mode"] {
            check_all(each(&format!("{name} of {value},"), nodes, |graph, at| {
                let node = &mut graph.node[at];
                if node.attribute.iter().any(|attribute| attribute.name == name) || is_window(node) {
                    set(node, int(name, value));
                }
            }));
        }
    }
    for count in [0, 1, 3, 5] {
        for name in ["strides", "pads", "kernel_shape"] {
            check_all(each(&format!("{count} {name},"), windows, |graph, at| {
                if is_window(&graph.node[at]) {
                    set(&mut graph.node[at], ints(name, &vec![1; count]));
                }
            }));
        }
    }
}

#[test]
fn zero_points_that_are_wrong() {
    check_all(each("zero point of 32 bits", constants, |graph, at| {
        let tensor = &mut graph.initializer[at];
        if tensor.data_type == DataType::Uint8 as i32 {
            (tensor.data_type, tensor.raw_data) = (DataType::Int32 as i32, vec![255, 255, 255, 127]);
        }
    }));
    check_all(each("another zero point", constants, |graph, at| {
        let tensor = &mut graph.initializer[at];
        if tensor.data_type == DataType::Uint8 as i32 || tensor.data_type == DataType::Int8 as i32 {
            tensor.raw_data.fill(127);
        }
    }));
    check_all(each("a largest bias", constants, |graph, at| {
        let tensor = &mut graph.initializer[at];
        if tensor.data_type == DataType::Int32 as i32 {
            tensor.raw_data.fill(127);
        }
    }));
}

/// Runs a test in a process of its own, since it may end the process: a stack that is full, or no memory, is no panic.
fn apart(test: &str, work: impl FnOnce()) {
    if std::env::var("MAGPIE_APART").is_ok_and(|name| name == test) {
        return work();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--include-ignored"]).env("MAGPIE_APART", test);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    println!("{said}");
    assert!(output.status.success(), "{test}: {}", output.status);
}

#[test]
fn a_network_of_a_hundred_thousand_layers_is_no_danger_to_the_stack() {
    apart("a_network_of_a_hundred_thousand_layers_is_no_danger_to_the_stack", || {
        let (mut net, image) = Net::new([4, 4], false);
        let mut x = net.mean(&image);
        x = net.both_signs(&x);
        for _ in 0..100_000 {
            x = net.op("Tanh", &[&x], vec![]);
            x = net.both_signs(&x);
        }
        // Whether this is a vector of one pixel is asked of all layers before it.
        x = net.op("Flatten", &[&x], vec![]);
        let pack = net.finish(&x).pack();
        println!("{} KB", pack.network().len() / 1000);
        let started = Instant::now();
        let (own, used) = measured(|| outcome(&pack, true));
        println!("{own:?}, {:?}, {} MB", started.elapsed(), used.peak >> 20);
        assert!(started.elapsed() < 6 * TIME);
    });
}

/// A chain of layers, each of which asks about all before it, takes time in proportion to its length.
#[test]
fn a_long_network_loads_in_time() {
    let (mut net, image) = Net::new([4, 4], false);
    let mut x = net.mean(&image);
    x = net.both_signs(&x);
    for _ in 0..3000 {
        let y = net.op("Sigmoid", &[&x], vec![]);
        let y = net.both_signs(&y);
        let product = net.op("Mul", &[&x, &y], vec![]);
        x = net.quantised(&product, 4.1 / 255.0, 120);
    }
    let x = net.op("Flatten", &[&x], vec![]);
    let pack = net.finish(&x).pack();
    let started = Instant::now();
    outcome(&pack, true).unwrap();
    println!("{:?} for {} KB", started.elapsed(), pack.network().len() / 1000);
    assert!(started.elapsed() < TIME);
}

#[test]
fn a_small_file_cannot_ask_for_gigabytes() {
    apart("a_small_file_cannot_ask_for_gigabytes", || {
        // Each layer's result is the largest that is allowed, and all of them are kept for the sums at the end.
        let (mut net, image) = Net::new([8, 8], false);
        let wide = magpie_tests::onnx_nets::Window { kernel: 1, stride: 1, pads: [2000; 4] };
        let x = net.conv(&image, 4, wide);
        let x = net.both_signs(&x);
        let mut all = vec![x];
        for at in 1..60 {
            let x = net.op("Tanh", &[&all[at - 1]], vec![]);
            let x = net.both_signs(&x);
            all.push(x);
        }
        let mut x = all[0].clone();
        for other in &all[1..] {
            x = net.op("Add", &[&x, other], vec![]);
            x = net.both_signs(&x);
        }
        let few = magpie_tests::onnx_nets::Window { kernel: 1, stride: 1000, pads: [0; 4] };
        let x = net.conv(&x, 4, few);
        let x = net.both_signs(&x);
        let pack = net.finish_pooled(&x).pack();
        println!("{} KB", pack.network().len() / 1000);
        let (own, used) = measured(|| outcome(&pack, true));
        println!("{:?}, {} MB", own.map(|_| ()), used.peak >> 20);
        assert!(used.peak <= PEAK, "{} MB for a file of {} KB", used.peak >> 20, pack.network().len() / 1000);
    });
}

#[test]
fn sizes_of_terabytes_are_no_danger() {
    let shapes: [&[i64]; 3] = [&[1 << 40], &[1 << 20, 1 << 20], &[i64::MAX, 1]];
    for (at, shape) in shapes.iter().enumerate() {
        let test = "sizes_of_terabytes_are_no_danger";
        if std::env::var("MAGPIE_SHAPE").is_ok_and(|name| name != at.to_string()) {
            continue;
        }
        apart(test, || {
            let (mut net, image) = Net::new([8, 8], false);
            let sizes = shape.iter().flat_map(|size| size.to_le_bytes()).collect();
            let sizes = net.constant(DataType::Int64, &[shape.len()], sizes);
            let x = net.conv(&image, 8, window(3, 1));
            let mut net = net.finish_pooled(&x);
            let mut node = NodeProto { input: vec![sizes], output: vec!["embedding".to_owned()], ..Default::default() };
            "ConstantOfShape".clone_into(&mut node.op_type);
            graph(&mut net).node.pop();
            graph(&mut net).node.push(node);
            println!("{:?}", check("filled", &net));
        });
    }
}

#[test]
fn a_file_of_any_bytes_is_no_network() {
    for network in [&b""[..], &[0; 1], &[0xff; 64], b"\x3a\x00", b"\x08\x08\x3a\x02\x0a\x00"] {
        let error = outcome(&pack(network.to_vec(), [8, 8], DIM), true).unwrap_err();
        assert!(!error.is_empty());
    }
    // A graph in a graph in a graph: the parser's stack.
    let mut nested = Vec::new();
    for _ in 0..5000 {
        let attribute = AttributeProto { name: "body".to_owned(), ..Default::default() };
        let mut bytes = attribute.encode_to_vec();
        // Field 6, a graph, of field 1, a node, of field 5, an attribute.
        for tag in [5u64, 1, 6] {
            let mut field = Vec::new();
            prost::encoding::encode_varint(tag << 3 | 2, &mut field);
            prost::encoding::encode_varint(nested.len() as u64, &mut field);
            field.extend(&nested);
            nested = field;
        }
        nested.append(&mut bytes);
    }
    assert!(outcome(&pack(nested, [8, 8], DIM), true).is_err());
}
