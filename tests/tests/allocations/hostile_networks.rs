//! A hostile network file cannot exhaust the app's memory, time or stack.

use magpie_tests::memory::measured;
use magpie_tests::onnx_nets::{DIM, Net, Small, Window, pack, window};
use magpie_tests::treatment::{PEAK, TIME, check_all, in_own_process, outcome};
use magpie_tests::{repository, thread_time};
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto};

#[test]
fn a_network_of_a_hundred_thousand_layers_does_not_overflow_the_stack() {
    in_own_process("hostile_networks::a_network_of_a_hundred_thousand_layers_does_not_overflow_the_stack", || {
        let (mut net, image) = Net::new([4, 4], false);
        let mut x = net.mean(&image);
        x = net.both_signs(&x);
        for _ in 0..100_000 {
            x = net.op("Tanh", &[&x], vec![]);
            x = net.both_signs(&x);
        }
        // To know whether this is a vector of one pixel, the loader asks all layers before it.
        x = net.op("Flatten", &[&x], vec![]);
        let pack = net.finish(&x).pack();
        println!("{} KB", pack.network().len() / 1000);
        let before = thread_time();
        let (own, used) = measured(|| outcome(&pack, true));
        let time = thread_time() - before;
        println!("{own:?}, {time:?}, {} MB", used.peak >> 20);
        assert!(time < 6 * TIME);
    });
}

/// Loading a chain of layers, each of which asks about all layers before it, takes linear time.
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
    let before = thread_time();
    outcome(&pack, true).unwrap();
    let time = thread_time() - before;
    println!("{time:?} for {} KB", pack.network().len() / 1000);
    assert!(time < TIME);
}

/// A network whose layers all have the largest result allowed, each kept alive until the sums at the end.
fn greedy(last: &str) -> Small {
    let (mut net, image) = Net::new([8, 8], false);
    let x = net.conv(&image, 4, Window { kernel: 1, stride: 1, pads: [2000; 4] });
    let mut all = vec![net.both_signs(&x)];
    for at in 1..60 {
        let x = net.op("Tanh", &[&all[at - 1]], vec![]);
        all.push(net.both_signs(&x));
    }
    let mut x = all[0].clone();
    for other in &all[1..] {
        x = net.op("Add", &[&x, other], vec![]);
        x = net.both_signs(&x);
    }
    let x = net.conv(&x, 4, Window { kernel: 2, stride: 1000, pads: [0; 4] });
    let x = net.both_signs(&x);
    let x = net.op(last, &[&x], vec![]);
    let x = net.both_signs(&x);
    net.finish_pooled(&x)
}

/// Checks the peak memory of a [`greedy`] network. The last operator decides whether tract is needed too.
fn ask_for_gigabytes(last: &str) {
    let pack = greedy(last).pack();
    let (own, used) = measured(|| outcome(&pack, true));
    println!("{:?}, {} MB for {} KB", own.map(|_| ()), used.peak >> 20, pack.network().len() / 1000);
    assert!(used.peak <= PEAK, "{} MB", used.peak >> 20);
}

#[test]
fn a_small_file_cannot_ask_for_gigabytes() {
    in_own_process("hostile_networks::a_small_file_cannot_ask_for_gigabytes", || ask_for_gigabytes("Tanh"));
}

#[test]
fn a_small_file_with_an_unknown_operator_cannot_ask_for_gigabytes() {
    in_own_process("hostile_networks::a_small_file_with_an_unknown_operator_cannot_ask_for_gigabytes", || {
        ask_for_gigabytes("Softplus")
    });
}

/// Inputs in `tests/fuzz/found` with which the fuzzer once crashed the process or exceeded its time or memory.
#[test]
fn findings_of_the_fuzzer_stay_fixed() {
    in_own_process("hostile_networks::findings_of_the_fuzzer_stay_fixed", || {
        let folder = repository().join("tests/fuzz/found");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 7, "{files:?}");
        check_all(files.iter().map(|file| {
            let proto = ModelProto::decode(&*std::fs::read(file).unwrap()).unwrap();
            (file.file_stem().unwrap().display().to_string(), Small { proto, size: [12, 12], dim: DIM })
        }));
    });
}

#[test]
fn shapes_of_terabytes_are_harmless() {
    in_own_process("hostile_networks::shapes_of_terabytes_are_harmless", || {
        let shapes: [&[i64]; 3] = [&[1 << 40], &[1 << 20, 1 << 20], &[i64::MAX, 1]];
        check_all(shapes.map(|shape| {
            let (mut net, image) = Net::new([8, 8], false);
            let sizes = shape.iter().flat_map(|size| size.to_le_bytes()).collect();
            let input = vec![net.constant(DataType::Int64, &[shape.len()], sizes)];
            let x = net.conv(&image, 8, window(3, 1));
            let mut net = net.finish_pooled(&x);
            let nodes = &mut net.proto.graph.as_mut().unwrap().node;
            let output = nodes.pop().unwrap().output;
            nodes.push(NodeProto { input, output, op_type: "ConstantOfShape".to_owned(), ..Default::default() });
            (format!("{shape:?}"), net)
        }));
    });
}

#[test]
fn files_of_arbitrary_bytes_are_refused() {
    for network in [&b""[..], &[0; 1], &[0xff; 64], b"\x3a\x00", b"\x08\x08\x3a\x02\x0a\x00"] {
        let error = outcome(&pack(network.to_vec(), [8, 8], DIM), true).unwrap_err();
        assert!(!error.is_empty());
    }
    // Deeply nested graphs must not overflow the parser's stack.
    let mut nested = Vec::new();
    for _ in 0..5000 {
        let attribute = AttributeProto { name: "body".to_owned(), ..Default::default() };
        let mut bytes = attribute.encode_to_vec();
        // An attribute (field 5 of a node) of a node (field 1 of a graph) of a graph (field 6 of an attribute).
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
