//! A damaged quantised network is a clear error or runs as it does on tract.

use magpie_tests::onnx_nets::{Small, int, ints};
use magpie_tests::treatment::check_all;
use magpie_tests::{full, net_kinds};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, StringStringEntryProto, TensorProto};

/// The networks that are damaged in many places.
fn victims() -> Vec<(&'static str, Small)> {
    let named = ["unsigned", "unknown_operator", "matmul", "max_pool"];
    let cases = net_kinds::all().into_iter().filter(|case| named.contains(&case.name));
    cases.map(|case| (case.name, case.net)).collect()
}

fn graph(net: &mut Small) -> &mut GraphProto {
    net.proto.graph.as_mut().unwrap()
}

/// Damages the parts of each victim, one at a time; `parts` counts them. Unless [`full`], keeps a tenth of the results.
fn each(
    what: &str,
    parts: impl Fn(&GraphProto) -> usize,
    damage: impl Fn(&mut GraphProto, usize),
) -> Vec<(String, Small)> {
    let mut damaged = Vec::new();
    for (name, net) in victims() {
        for at in 0..parts(net.proto.graph.as_ref().unwrap()) {
            let mut other = net.clone();
            damage(graph(&mut other), at);
            if other.proto != net.proto {
                damaged.push((format!("{name}, {what} {at}"), other));
            }
        }
    }
    if full() {
        return damaged;
    }
    // The first place depends on the kind of damage, so that each kind hits different places.
    let first = what.bytes().map(usize::from).sum::<usize>() % damaged.len().clamp(1, 10);
    damaged.into_iter().skip(first).step_by(10).collect()
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
fn invalid_scales() {
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
fn constants_of_wrong_length_type_or_location() {
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
fn constants_of_absurd_shapes() {
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
fn malformed_graphs() {
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
    check_all(each("is called as a region", nodes, |graph, at| graph.node[at].name = "MagpieSubgraph0".to_owned()));
    check_all(each("is a region", nodes, |graph, at| graph.node[at].op_type = "MagpieSubgraph".to_owned()));
    check_all(each("order from", nodes, |graph, at| graph.node[at..].reverse()));
    check_all(each("is a graph's output too", nodes, |graph, at| {
        let mut output = graph.output[0].clone();
        output.name = graph.node[at].output[0].clone();
        graph.output.push(output);
    }));
    check_all(each("a constant called as a region", constants, |graph, at| {
        let name = std::mem::replace(&mut graph.initializer[at].name, "MagpieSubgraph0".to_owned());
        for input in graph.node.iter_mut().flat_map(|node| &mut node.input).filter(|input| **input == name) {
            "MagpieSubgraph0".clone_into(input);
        }
    }));
}

#[test]
fn attributes_with_absurd_values() {
    let set = |node: &mut NodeProto, attribute: AttributeProto| {
        node.attribute.retain(|other| other.name != attribute.name);
        node.attribute.push(attribute);
    };
    let windows = |graph: &GraphProto| graph.node.len();
    let is_window = |node: &NodeProto| matches!(node.op_type.as_str(), "Conv" | "MaxPool");
    for value in [-1, 0, 3, 100, 1 << 20, 1 << 31, i64::MAX, i64::MIN] {
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
fn wrong_zero_points_and_biases() {
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

/// tract does not read a surplus input as the bias. Our kernels must agree or leave the layer to tract.
#[test]
fn too_many_inputs() {
    check_all(each("one more input of", nodes, |graph, at| {
        let first = graph.node[at].input[0].clone();
        graph.node[at].input.push(first);
    }));
}
