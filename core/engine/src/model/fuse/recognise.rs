//! Recognises quantised layers: operators between DequantizeLinear and QuantizeLinear nodes (QDQ format).

use std::collections::HashMap;

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::super::left::LeftReason;
use super::super::onnx::{self, TensorIndex};
use super::filters::{self, Scales};
use super::functions;
use magpie_int8::{Geometry, Layer, LayerKind, Scale, Value, is_sound};

/// The recognised layers in order, and the tensors that they produce.
#[derive(Default)]
pub(super) struct Recognised<'a> {
    pub(super) layers: Vec<Layer>,
    /// The stage of each layer: the largest number of times that a path to it leaves the recognised layers and returns.
    pub(super) stages: Vec<usize>,
    /// The f32 tensors that are the dequantised output of a layer.
    pub(super) real: HashMap<&'a str, Value>,
    /// The f32 tensors that a layer produces directly.
    pub(super) floats: HashMap<&'a str, Value>,
    /// The f32 tensors from outside that layers of kind [`LayerKind::Quantise`] read.
    pub(super) outside: Vec<&'a str>,
    /// Why nodes that looked like layers are left to tract.
    pub(super) refused: HashMap<usize, LeftReason>,
}

/// Visits every node once, in the order of the file, which ONNX requires to be topological.
pub(super) fn recognise<'a>(index: &'a TensorIndex<'a>) -> Recognised<'a> {
    let mut r = Recogniser { index, found: Recognised::default(), bytes: HashMap::new(), levels: HashMap::new() };
    for (at, node) in index.graph.node.iter().enumerate() {
        let done = match node.op_type.as_str() {
            "QuantizeLinear" => r.quantize(at, node),
            "DequantizeLinear" => r.dequantize(at, node),
            "Gemm" | "MatMul" => r.floats(at, node),
            "Flatten" | "Reshape" | "Squeeze" => r.flatten(node),
            _ => None,
        };
        if done.is_none() {
            r.pass(node);
        }
    }
    r.found
}

struct Recogniser<'a> {
    index: &'a TensorIndex<'a>,
    found: Recognised<'a>,
    /// The quantised tensors that are the output of a layer.
    bytes: HashMap<&'a str, Value>,
    /// For tensors of other nodes that depend on layers: one more than the largest stage of those layers.
    levels: HashMap<&'a str, usize>,
}

/// A node between DequantizeLinear and QuantizeLinear, without the activation function that may follow it.
struct Pattern {
    /// Its index in the graph.
    at: usize,
    /// The node in front of the QuantizeLinear: the same, or what follows it.
    last: usize,
    /// The clipping range of the activation function.
    range: [f32; 2],
    /// Whether its output of one pixel is flattened to a vector afterwards.
    flatten: bool,
}

impl<'a> Recogniser<'a> {
    fn refuse(&mut self, at: usize, reason: LeftReason) {
        self.found.refused.insert(at, reason);
    }

    fn push(
        &mut self,
        kind: LayerKind,
        name: &str,
        from: Vec<Value>,
        scale: Scale,
        range: [u8; 2],
        stage: usize,
    ) -> Value {
        let stage = from.iter().map(|&value| self.found.stages[value]).fold(stage, usize::max);
        self.found.layers.push(Layer { name: name.to_owned(), kind, from, scale, range });
        self.found.stages.push(stage);
        self.found.layers.len() - 1
    }

    /// Visits a node that is not recognised: its outputs get the level of its inputs.
    fn pass(&mut self, node: &'a NodeProto) {
        let level = |name: &String| {
            let stage = self.found.real.get(name.as_str()).or(self.found.floats.get(name.as_str()));
            let after = stage.map(|&value| self.found.stages[value] + 1);
            after.or(self.levels.get(name.as_str()).copied()).unwrap_or(0)
        };
        let level = node.input.iter().map(level).max().unwrap_or(0);
        for name in &node.output {
            self.levels.insert(name, level);
        }
    }

    /// Returns the scale of a per-tensor QuantizeLinear or DequantizeLinear node.
    fn scale(&self, node: &NodeProto) -> Option<Scale> {
        let factor = self.index.float(onnx::input(node, 1)?).filter(|&factor| is_sound(factor))?;
        let Some(zero) = onnx::input(node, 2) else { return Some(Scale { factor, zero: 0 }) };
        let shift = match self.index.kind(zero)? {
            DataType::Uint8 => 0,
            // int8 activations are uint8 ones with a shifted zero point.
            DataType::Int8 => 128,
            _ => return None,
        };
        match self.index.integers(zero)?[..] {
            [value] => Some(Scale { factor, zero: u8::try_from(value + shift).ok()? }),
            _ => None,
        }
    }

    fn dequantize(&mut self, at: usize, node: &'a NodeProto) -> Option<()> {
        let value = *self.bytes.get(onnx::input(node, 0)?)?;
        let [output] = &node.output[..] else { return None };
        if self.scale(node) != Some(self.found.layers[value].scale) {
            self.refuse(at, LeftReason::Scale);
            return None;
        }
        self.found.real.insert(output, value);
        Some(())
    }

    fn quantize(&mut self, at: usize, node: &'a NodeProto) -> Option<()> {
        let [output] = &node.output[..] else { return None };
        let Some(scale) = self.scale(node) else {
            self.refuse(at, LeftReason::Scale);
            return None;
        };
        let reads = |&consumer: &usize| {
            let consumer = &self.index.graph.node[consumer];
            consumer.op_type == "DequantizeLinear" && onnx::input(consumer, 0) == Some(output)
        };
        if self.index.is_output(output) || !self.index.consumers(output).iter().all(reads) {
            self.refuse(at, LeftReason::Bytes);
            return None;
        }
        let name = onnx::input(node, 0)?;
        let value = match self.found.real.get(name) {
            // The same value, possibly requantised to another scale.
            Some(&value) if self.found.layers[value].scale == scale => value,
            Some(&value) => {
                let from = self.found.layers[value].scale;
                let table = functions::table(from, scale, |x| x);
                self.push(LayerKind::Table(table), &node.name, vec![value], scale, [0, 255], 0)
            }
            None => match self.pattern(at, name).map(|pattern| (self.layer(&pattern, scale), pattern)) {
                Some((Ok(value), _)) => value,
                refused => {
                    if let Some((Err(reason), pattern)) = refused {
                        self.refuse(pattern.last, LeftReason::Part);
                        self.refuse(pattern.at, reason);
                    }
                    self.edge(name, scale)
                }
            },
        };
        self.bytes.insert(output, value);
        Some(())
    }

    /// Quantises a tensor that comes from outside.
    fn edge(&mut self, name: &'a str, scale: Scale) -> Value {
        let level = self.levels.get(name).copied();
        let level = level.or_else(|| self.found.floats.get(name).map(|&value| self.found.stages[value] + 1));
        let input = self.found.outside.iter().position(|&outside| outside == name).unwrap_or_else(|| {
            self.found.outside.push(name);
            self.found.outside.len() - 1
        });
        self.push(LayerKind::Quantise(input), name, vec![], scale, [0, 255], level.unwrap_or(0))
    }

    /// The node that produces a tensor whose only consumer is a QuantizeLinear node.
    fn pattern(&self, quantize: usize, name: &str) -> Option<Pattern> {
        let alone = |name: &str| self.index.consumers(name).len() == 1 && !self.index.is_output(name);
        let maker = |name: &str| self.index.producer(name).filter(|&at| at < quantize && alone(name));
        let nodes = &self.index.graph.node;
        let last = maker(name)?;
        let mut at = last;
        let (mut range, mut flatten) = ([f32::NEG_INFINITY, f32::INFINITY], false);
        let unquantised =
            |node: &NodeProto| onnx::input(node, 0).filter(|name| !self.found.real.contains_key(name)).and_then(maker);
        if self.gives_vector(&nodes[at]).is_some()
            && let Some(inner) = unquantised(&nodes[at])
            && matches!(nodes[inner].op_type.as_str(), "GlobalAveragePool" | "ReduceMean")
        {
            (at, flatten) = (inner, true);
        }
        // An activation function that is the only consumer of a result is fused as a clipping range.
        if let Some(limits) = functions::limits(&nodes[at], self.index)
            && let Some(inner) = unquantised(&nodes[at])
        {
            (at, range) = (inner, limits);
        }
        Some(Pattern { at, last, range, flatten })
    }

    /// Whether a node flattens a picture of one pixel to a vector.
    fn gives_vector(&self, node: &NodeProto) -> Option<()> {
        let axes = match onnx::input(node, 1) {
            Some(name) => self.index.integers(name)?,
            None => onnx::integers(node, "axes").unwrap_or_default().to_vec(),
        };
        let it_does = match node.op_type.as_str() {
            "Flatten" => onnx::integer(node, "axis", 1) == 1,
            "Reshape" => matches!(axes[..], [-1..=1, _]),
            "Squeeze" => matches!(axes[..], [2, 3] | [3, 2] | [-2, -1] | [-1, -2]),
            _ => false,
        };
        it_does.then_some(())
    }

    /// Flattens a picture of one pixel that is not requantised afterwards.
    fn flatten(&mut self, node: &'a NodeProto) -> Option<()> {
        self.gives_vector(node)?;
        let [output] = &node.output[..] else { return None };
        let x = *self.found.real.get(onnx::input(node, 0)?)?;
        self.is_one_pixel(x).then_some(())?;
        let scale = self.found.layers[x].scale;
        let value = self.push(LayerKind::Flatten, &node.name, vec![x], scale, [0, 255], 0);
        self.found.real.insert(output, value);
        Some(())
    }

    /// Adds the layer that a node computes, if all of its inputs are quantised.
    fn layer(&mut self, pattern: &Pattern, scale: Scale) -> Result<Value, LeftReason> {
        let Pattern { at, range, flatten, .. } = *pattern;
        let node = &self.index.graph.node[at];
        let byte = |x: f32| functions::byte(x, scale);
        let range = [byte(range[0]), byte(range[1])];
        let real = |at: usize| onnx::input(node, at).and_then(|name| self.found.real.get(name)).copied();
        let known = functions::is_known(&node.op_type);
        let x = real(0).ok_or(if known { LeftReason::Input } else { LeftReason::Operator })?;
        let from = self.found.layers[x].scale;
        let scales = Scales { from, to: Some((scale, range)) };
        let second = || real(1).ok_or(LeftReason::Input);
        let (kind, values) = match node.op_type.as_str() {
            "Conv" => (filters::convolution(self.index, node, scales)?, vec![x]),
            "Gemm" | "MatMul" => (LayerKind::Linear(filters::linear(self.index, node, scales)?), vec![x]),
            "Add" => (LayerKind::Add, vec![x, second()?]),
            "Mul" => self.product(x, second()?, scale, range),
            "GlobalAveragePool" => (LayerKind::AveragePool, vec![x]),
            "ReduceMean" if self.is_over_pixels(node) => (LayerKind::AveragePool, vec![x]),
            "MaxPool" if from != scale => return Err(LeftReason::Rescaled),
            "MaxPool" => (LayerKind::MaxPool(self.pooling(node).ok_or(LeftReason::Form)?), vec![x]),
            _ => match functions::of(node, self.index) {
                Some(function) => (LayerKind::Table(functions::table(from, scale, function)), vec![x]),
                None => return Err(if known { LeftReason::Form } else { LeftReason::Operator }),
            },
        };
        let flatten = flatten || (node.op_type == "ReduceMean" && onnx::integer(node, "keepdims", 1) == 0);
        let layer = Layer { name: node.name.clone(), kind, from: values, scale, range };
        layer.check(|value| self.found.layers[value].scale).map_err(LeftReason::Layer)?;
        let value = self.push(layer.kind, &node.name, layer.from, scale, range, 0);
        Ok(if flatten { self.push(LayerKind::Flatten, &node.name, vec![value], scale, range, 0) } else { value })
    }

    /// Whether a ReduceMean is over height and width.
    fn is_over_pixels(&self, node: &NodeProto) -> bool {
        let axes = match onnx::input(node, 1) {
            Some(name) => self.index.integers(name),
            None => onnx::integers(node, "axes").map(<[i64]>::to_vec),
        };
        matches!(axes.as_deref(), Some([2, 3] | [3, 2] | [-2, -1] | [-1, -2]))
    }

    /// The window of a MaxPool.
    fn pooling(&self, node: &NodeProto) -> Option<Geometry> {
        let size = onnx::integers(node, "kernel_shape")?;
        let plain = node.output.len() == 1 && onnx::integer(node, "ceil_mode", 0) == 0;
        plain.then(|| filters::geometry(node, [*size.first()?, *size.get(1)?]))?
    }

    /// A product. The product of a value and a function of the same value becomes a table too (hard-swish, SiLU).
    fn product(&self, a: Value, b: Value, to: Scale, range: [u8; 2]) -> (LayerKind, Vec<Value>) {
        for (x, y) in [(a, b), (b, a)] {
            let Layer { kind: LayerKind::Table(table), from, scale: scale_y, .. } = &self.found.layers[y] else {
                continue;
            };
            if from[..] == [x] {
                let scale_x = self.found.layers[x].scale;
                let factor = scale_x.factor * scale_y.factor / to.factor;
                let entry = |byte: usize| {
                    let (x, y) =
                        (byte as i32 - i32::from(scale_x.zero), i32::from(table[byte]) - i32::from(scale_y.zero));
                    let value = ((x * y) as f32 * factor).round_ties_even() as i32;
                    value.saturating_add(i32::from(to.zero)).clamp(i32::from(range[0]), i32::from(range[1])) as u8
                };
                return (LayerKind::Table(Box::new(std::array::from_fn(entry))), vec![x]);
            }
        }
        // A picture times one value per channel (squeeze and excite): the picture comes first.
        let is_one = |value: Value| self.is_one_pixel(value);
        (LayerKind::Multiply, if is_one(a) && !is_one(b) { vec![b, a] } else { vec![a, b] })
    }

    /// Whether a value is known to have one pixel: it is a mean, followed only by layers that preserve the size.
    fn is_one_pixel(&self, value: Value) -> bool {
        let layer = &self.found.layers[value];
        match (&layer.kind, &layer.from[..]) {
            (LayerKind::AveragePool | LayerKind::Flatten, _) => true,
            (LayerKind::Convolution(_, Geometry { kernel: [1, 1], .. }) | LayerKind::Table(_), [from]) => {
                self.is_one_pixel(*from)
            }
            _ => false,
        }
    }

    /// A fully connected layer whose f32 result is not requantised.
    fn floats(&mut self, at: usize, node: &'a NodeProto) -> Option<()> {
        let [output] = &node.output[..] else { return None };
        let quantised = |&at: &usize| {
            let consumer = &self.index.graph.node[at];
            consumer.op_type == "QuantizeLinear" || functions::limits(consumer, self.index).is_some()
        };
        let consumers = self.index.consumers(output);
        if consumers.len() == 1 && !self.index.is_output(output) && consumers.iter().all(quantised) {
            return None;
        }
        let x = *self.found.real.get(onnx::input(node, 0)?)?;
        let from = self.found.layers[x].scale;
        match filters::linear(self.index, node, Scales { from, to: None }) {
            Ok(filters) => {
                let value = self.push(LayerKind::LinearFloats(filters), &node.name, vec![x], from, [0, 255], 0);
                self.found.floats.insert(output, value);
                Some(())
            }
            Err(reason) => {
                self.refuse(at, reason);
                None
            }
        }
    }
}
