//! Recognises quantised layers: operators between DequantizeLinear and QuantizeLinear nodes (QDQ format).

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::super::onnx::{self, TensorIndex};
use super::functions;
use magpie_int8::{Filters, Geometry, Layer, LayerKind, Scale, Value, is_sound};

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
}

/// Visits every node once, in the order of the file, which ONNX requires to be topological.
pub(super) fn recognise<'a>(index: &'a TensorIndex<'a>) -> Recognised<'a> {
    let mut r = Recogniser { index, found: Recognised::default(), bytes: HashMap::new(), levels: HashMap::new() };
    for (at, node) in index.graph.node.iter().enumerate() {
        let done = match node.op_type.as_str() {
            "QuantizeLinear" => r.quantize(at, node),
            "DequantizeLinear" => r.dequantize(node),
            "Gemm" | "MatMul" => r.floats(node),
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
struct Pattern<'a> {
    node: &'a NodeProto,
    /// The clipping range of the activation function.
    range: [f32; 2],
    /// Whether its output of one pixel is flattened to a vector afterwards.
    flatten: bool,
}

impl<'a> Recogniser<'a> {
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

    /// A quantised constant: the name of its integer tensor, and a scale factor for each output along `axis`.
    fn constant(&self, name: &str, axis: i64, outputs: usize) -> Option<(&'a str, Vec<f32>)> {
        let node = &self.index.graph.node[self.index.producer(name)?];
        if node.op_type != "DequantizeLinear" {
            return None;
        }
        let (values, factors) = (onnx::input(node, 0)?, self.index.floats(onnx::input(node, 1)?)?);
        let values = self.index.constant(values)?.name.as_str();
        if let Some(zero) = onnx::input(node, 2)
            && self.index.integers(zero)?.iter().any(|&zero| zero != 0)
        {
            return None;
        }
        match factors.len() {
            1 => Some((values, vec![factors[0]; outputs])),
            n if n == outputs && onnx::integer(node, "axis", 1) == axis => Some((values, factors)),
            _ => None,
        }
    }

    fn dequantize(&mut self, node: &'a NodeProto) -> Option<()> {
        let value = *self.bytes.get(onnx::input(node, 0)?)?;
        let [output] = &node.output[..] else { return None };
        (self.scale(node)? == self.found.layers[value].scale).then(|| {
            self.found.real.insert(output, value);
        })
    }

    fn quantize(&mut self, at: usize, node: &'a NodeProto) -> Option<()> {
        let [output] = &node.output[..] else { return None };
        let scale = self.scale(node)?;
        let reads = |&consumer: &usize| {
            let consumer = &self.index.graph.node[consumer];
            consumer.op_type == "DequantizeLinear" && onnx::input(consumer, 0) == Some(output)
        };
        if self.index.is_output(output) || !self.index.consumers(output).iter().all(reads) {
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
            None => match self.pattern(at, name).and_then(|pattern| self.layer(&pattern, scale)) {
                Some(value) => value,
                None => self.edge(name, scale),
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
    fn pattern(&self, quantize: usize, name: &str) -> Option<Pattern<'a>> {
        let alone = |name: &str| self.index.consumers(name).len() == 1 && !self.index.is_output(name);
        let maker = |name: &str| self.index.producer(name).filter(|&at| at < quantize && alone(name));
        let mut node = &self.index.graph.node[maker(name)?];
        let (mut range, mut flatten) = ([f32::NEG_INFINITY, f32::INFINITY], false);
        let unquantised =
            |node: &NodeProto| onnx::input(node, 0).filter(|name| !self.found.real.contains_key(name)).and_then(maker);
        if self.gives_vector(node).is_some()
            && let Some(inner) = unquantised(node)
            && matches!(self.index.graph.node[inner].op_type.as_str(), "GlobalAveragePool" | "ReduceMean")
        {
            (node, flatten) = (&self.index.graph.node[inner], true);
        }
        // An activation function that is the only consumer of a result is fused as a clipping range.
        if let Some(limits) = functions::limits(node, self.index)
            && let Some(inner) = unquantised(node)
        {
            (node, range) = (&self.index.graph.node[inner], limits);
        }
        Some(Pattern { node, range, flatten })
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
    fn layer(&mut self, pattern: &Pattern<'a>, scale: Scale) -> Option<Value> {
        let Pattern { node, range, flatten } = *pattern;
        let byte = |x: f32| functions::byte(x, scale);
        let range = [byte(range[0]), byte(range[1])];
        let real = |at: usize| onnx::input(node, at).and_then(|name| self.found.real.get(name)).copied();
        let x = real(0)?;
        let from = self.found.layers[x].scale;
        let one = |kind: LayerKind| Some((kind, vec![x]));
        let (kind, values) = match node.op_type.as_str() {
            "Conv" => one(self.convolution(node, from)?),
            "Gemm" | "MatMul" => one(LayerKind::Linear(self.linear(node, from)?)),
            "Add" => Some((LayerKind::Add, vec![x, real(1)?])),
            "Mul" => Some(self.product(x, real(1)?, scale, range)),
            "GlobalAveragePool" => one(LayerKind::AveragePool),
            "ReduceMean" => {
                let axes = match onnx::input(node, 1) {
                    Some(name) => self.index.integers(name)?,
                    None => onnx::integers(node, "axes")?.to_vec(),
                };
                // Over height and width.
                let is_picture = matches!(axes[..], [2, 3] | [3, 2] | [-2, -1] | [-1, -2]);
                is_picture.then_some((LayerKind::AveragePool, vec![x]))
            }
            "MaxPool" if from == scale && node.output.len() == 1 => {
                let size = onnx::integers(node, "kernel_shape")?;
                (onnx::integer(node, "ceil_mode", 0) == 0).then_some(())?;
                one(LayerKind::MaxPool(geometry(node, [*size.first()?, *size.get(1)?])?))
            }
            _ => {
                let function = functions::of(node, self.index)?;
                one(LayerKind::Table(functions::table(from, scale, function)))
            }
        }?;
        let flatten = flatten || (node.op_type == "ReduceMean" && onnx::integer(node, "keepdims", 1) == 0);
        let value = self.push(kind, &node.name, values, scale, range, 0);
        Some(if flatten { self.push(LayerKind::Flatten, &node.name, vec![value], scale, range, 0) } else { value })
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

    fn convolution(&self, node: &NodeProto, from: Scale) -> Option<LayerKind> {
        // ONNX defines at most three inputs.
        (node.input.len() <= 3).then_some(())?;
        let name = onnx::input(node, 1)?;
        let outputs = self.outputs(name, 0)?;
        let (values, factors) = self.constant(name, 0, outputs)?;
        let [_, depth, height, width] = onnx::sizes(self.index.constant(values)?)?[..] else { return None };
        let mut weights = self.index.weights(values)?;
        let g = geometry(node, [height as i64, width as i64])?;
        let bias = self.bias(node, &factors, from)?;
        let group = usize::try_from(onnx::integer(node, "group", 1)).ok()?;
        if group == outputs && depth == 1 {
            return Some(LayerKind::Depthwise(Filters { weights, bias, factors }, g));
        }
        // `[output][input][row][column]` to `[output][row][column][input]`.
        let size = height * width;
        if size > 1 {
            let filters = weights.chunks_exact((depth * size).max(1));
            let transposed = filters.flat_map(|filter| (0..size).flat_map(move |at| filter[at..].iter().step_by(size)));
            weights = Arc::new(transposed.copied().collect());
        }
        (group == 1).then_some(LayerKind::Convolution(Filters { weights, bias, factors }, g))
    }

    fn linear(&self, node: &NodeProto, from: Scale) -> Option<Filters> {
        let is_plain = node.input.len() <= 3
            && onnx::number(node, "alpha", 1.0) == 1.0
            && onnx::number(node, "beta", 1.0) == 1.0
            && onnx::integer(node, "transA", 0) == 0;
        is_plain.then_some(())?;
        let name = onnx::input(node, 1)?;
        let axis = if onnx::integer(node, "transB", 0) == 1 { 0 } else { 1 };
        let outputs = self.outputs(name, axis)?;
        let (values, factors) = self.constant(name, axis as i64, outputs)?;
        let [rows, columns] = onnx::sizes(self.index.constant(values)?)?[..] else { return None };
        let mut weights = self.index.weights(values)?;
        if axis == 1 {
            let transposed = (0..columns).flat_map(|column| weights[column..].iter().step_by(columns).take(rows));
            weights = Arc::new(transposed.copied().collect());
        }
        Some(Filters { weights, bias: self.bias(node, &factors, from)?, factors })
    }

    /// A fully connected layer whose f32 result is not requantised.
    fn floats(&mut self, node: &'a NodeProto) -> Option<()> {
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
        let kind = LayerKind::LinearFloats(self.linear(node, from)?);
        let value = self.push(kind, &node.name, vec![x], from, [0, 255], 0);
        self.found.floats.insert(output, value);
        Some(())
    }

    /// The number of outputs of a layer: the size of its quantised weights along an axis.
    fn outputs(&self, name: &str, axis: usize) -> Option<usize> {
        let node = &self.index.graph.node[self.index.producer(name)?];
        onnx::sizes(self.index.constant(onnx::input(node, 0)?)?)?.get(axis).copied()
    }

    /// The bias (third input), in units of the input's factor times the weights' factor.
    fn bias(&self, node: &NodeProto, factors: &[f32], from: Scale) -> Option<Vec<i32>> {
        let Some(name) = onnx::input(node, 2) else { return Some(vec![0; factors.len()]) };
        let steps = factors.iter().map(|&factor| f64::from(from.factor) * f64::from(factor));
        let whole = |value: f64| {
            let value = value.round_ties_even();
            (value.abs() < f64::from(1 << 30)).then_some(value as i32)
        };
        if let Some(values) = self.index.floats(name) {
            return (values.len() == factors.len())
                .then(|| values.iter().zip(steps).map(|(&value, step)| whole(f64::from(value) / step)).collect())?;
        }
        let (values, given) = self.constant(name, 0, factors.len())?;
        let values = self.index.integers(values)?;
        if values.len() != factors.len() {
            return None;
        }
        let values = values.into_iter().zip(given).zip(steps);
        values
            .map(|((value, given), step)| {
                let ratio = f64::from(given) / step;
                // The bias has the product of the two factors, rounded to f32, as its factor.
                if (ratio - 1.0).abs() < 1e-4 { whole(value as f64) } else { whole(value as f64 * ratio) }
            })
            .collect()
    }
}

/// Returns window, stride and padding of a node.
fn geometry(node: &NodeProto, kernel: [i64; 2]) -> Option<Geometry> {
    let plain = matches!(onnx::word(node, "auto_pad"), None | Some(b"" | b"NOTSET"))
        && onnx::integers(node, "dilations").is_none_or(|dilations| dilations.iter().all(|&d| d == 1));
    plain.then_some(())?;
    // No real network has larger windows; larger ones could overflow the computation of sizes.
    let small = |&value: &i64| usize::try_from(value).ok().filter(|&value| value <= 1 << 12);
    let list = |name: &str, default: &[i64]| -> Option<Vec<usize>> {
        onnx::integers(node, name).unwrap_or(default).iter().map(small).collect()
    };
    let kernel: Vec<usize> = kernel.iter().map(small).collect::<Option<_>>()?;
    match (&kernel[..], &list("strides", &[1, 1])?[..], &list("pads", &[0; 4])?[..]) {
        (&[h, w], &[y, x], &[top, left, bottom, right]) if h > 0 && w > 0 && y > 0 && x > 0 => {
            Some(Geometry { kernel: [h, w], stride: [y, x], before: [top, left], after: [bottom, right] })
        }
        _ => None,
    }
}
