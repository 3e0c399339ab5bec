//! Random damage to network files: to their bytes, and to the graph that they describe.

use magpie_core::vector::split_mix;
use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto};

/// A pseudo-random sequence, the same for the same seed.
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        split_mix(&mut self.0)
    }

    /// A number less than `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end.max(1) as u64) as usize
    }

    /// One of these values, or `None` for an empty slice.
    pub fn of<'a, T>(&mut self, values: &'a [T]) -> Option<&'a T> {
        let at = self.below(values.len());
        values.get(at)
    }

    fn of_mut<'a, T>(&mut self, values: &'a mut [T]) -> Option<&'a mut T> {
        let at = self.below(values.len());
        values.get_mut(at)
    }
}

/// Integers that programs may not expect.
const NUMBERS: [i64; 16] = [0, 1, -1, 2, 3, 4, 7, 12, 127, 128, 255, 4096, 1 << 20, 1 << 31, i64::MAX, i64::MIN];

const FLOATS: [f32; 9] = [0.0, -1.0, 1.0, 1e-30, 1e30, 1e-9, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE];

const OPERATORS: [&str; 24] = [
    "Conv",
    "Gemm",
    "MatMul",
    "Add",
    "Mul",
    "Relu",
    "Clip",
    "Sigmoid",
    "HardSwish",
    "HardSigmoid",
    "LeakyRelu",
    "Tanh",
    "GlobalAveragePool",
    "ReduceMean",
    "MaxPool",
    "AveragePool",
    "Flatten",
    "Reshape",
    "Squeeze",
    "Softplus",
    "QuantizeLinear",
    "DequantizeLinear",
    "Identity",
    "MagpieSubgraph",
];

/// A copy of the file, damaged in a few places.
pub fn mutated(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = file.to_vec();
    let by_bytes = random.below(4) == 0;
    if !by_bytes && let Ok(mut proto) = ModelProto::decode(file) {
        if let Some(graph) = &mut proto.graph {
            (0..=random.below(4)).for_each(|_| damage(graph, random));
        }
        bytes = proto.encode_to_vec();
    }
    if by_bytes || random.below(16) == 0 {
        for _ in 0..=random.below(4) {
            damage_bytes(&mut bytes, random);
        }
    }
    bytes
}

fn damage_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    let (at, to) = (random.below(bytes.len()), random.below(bytes.len()));
    let part = at.min(to)..at.max(to).min(at.min(to) + 64);
    match random.below(6) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(part)),
        2 => {
            let copy = bytes[part].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => {
            if let Some(byte) = random.of_mut(bytes) {
                *byte = random.draw() as u8;
            }
        }
    }
}

/// A random name, mostly one that occurs in the graph.
fn name(graph: &GraphProto, random: &mut Random) -> String {
    let tensor = random.of(&graph.initializer).map(|tensor| tensor.name.clone());
    let node = random.of(&graph.node);
    let output = node.and_then(|node| random.of(&node.output)).cloned();
    let input = node.and_then(|node| random.of(&node.input)).cloned();
    let fixed = random.of(&["", "image", "embedding", "nowhere", "MagpieSubgraph0"]).map(|name| (*name).to_owned());
    [tensor, output, input, fixed].get(random.below(4)).cloned().flatten().unwrap_or_default()
}

fn damage(graph: &mut GraphProto, random: &mut Random) {
    let other = name(graph, random);
    let number = random.of(&NUMBERS).copied().unwrap_or_default();
    let (a, b) = (random.below(graph.node.len()), random.below(graph.node.len()));
    let kind = random.below(14);
    if kind < 5 {
        damage_constant(graph, kind, number, random);
        return;
    }
    match kind {
        5 => graph.node.swap(a, b),
        6 => {
            let node = graph.node[a].clone();
            graph.node.insert(b, node);
        }
        7 => drop(graph.node.remove(a)),
        _ => {
            let types: Vec<String> = graph.node.iter().map(|node| node.op_type.clone()).collect();
            let copied = graph.node[b].attribute.clone();
            let node = &mut graph.node[a];
            match kind {
                8 => {
                    if let Some(input) = random.of_mut(&mut node.input) {
                        *input = other;
                    }
                }
                9 => {
                    if let Some(output) = random.of_mut(&mut node.output) {
                        *output = other;
                    }
                }
                10 => {
                    let operator = random.of(&OPERATORS).map(|name| (*name).to_owned());
                    node.op_type =
                        if random.below(2) == 0 { operator } else { random.of(&types).cloned() }.unwrap_or_default();
                }
                11 => node.input.push(other),
                12 => node.attribute = copied,
                _ => {
                    if let Some(attribute) = random.of_mut(&mut node.attribute) {
                        attribute.i = number;
                        match random.of_mut(&mut attribute.ints) {
                            Some(value) if random.below(4) > 0 => *value = number,
                            _ => attribute.ints.push(number),
                        }
                    }
                }
            }
        }
    }
    if graph.node.is_empty() {
        graph.node.push(tract_onnx::pb::NodeProto::default());
    }
}

fn damage_constant(graph: &mut GraphProto, kind: usize, number: i64, random: &mut Random) {
    let float = random.of(&FLOATS).copied().unwrap_or_default();
    let Some(tensor) = random.of_mut(&mut graph.initializer) else { return };
    match kind {
        0 => {
            if let Some(size) = random.of_mut(&mut tensor.dims) {
                *size = number;
            }
        }
        1 => {
            if let Some(four) = random.of_mut(tensor.raw_data.as_chunks_mut::<4>().0) {
                *four = float.to_le_bytes();
            }
        }
        2 => tensor.raw_data.truncate(number.unsigned_abs() as usize % (tensor.raw_data.len() + 1)),
        3 => tensor.data_type = random.below(20) as i32,
        _ => match random.below(3) {
            0 => tensor.dims.push(number),
            1 => drop(tensor.dims.pop()),
            _ => tensor.raw_data.fill(number as u8),
        },
    }
}
