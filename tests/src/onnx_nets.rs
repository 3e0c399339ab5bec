//! Small quantised networks in the QDQ form that quantisers write: each operator between DequantizeLinear and
//! QuantizeLinear, i8 weights with one scale per channel, u8 or i8 activations.

use magpie_core::model::Pack;
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};

use crate::default_pack;

/// The default number of values in an embedding.
pub const DIM: usize = 8;

/// A network under construction.
#[derive(Clone)]
pub struct Net {
    graph: GraphProto,
    size: [usize; 2],
    signed: bool,
    random: u64,
    names: usize,
}

/// A tensor of f32.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub(crate) name: String,
    channels: usize,
    /// Height and width; 1 and 1 for a vector.
    size: [usize; 2],
    /// The quantisation scale if the tensor is dequantised bytes, else 0.
    step: f32,
}

/// The window of a convolution or pooling.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Rows, and as many columns.
    pub kernel: usize,
    /// The stride in both directions.
    pub stride: i64,
    /// Padding above, left, below, right.
    pub pads: [i64; 4],
}

impl Window {
    fn attributes(&self) -> Vec<AttributeProto> {
        let kernel = [self.kernel as i64; 2];
        vec![ints("kernel_shape", &kernel), ints("strides", &[self.stride; 2]), ints("pads", &self.pads)]
    }

    fn moved(&self, size: [usize; 2]) -> [usize; 2] {
        let side = |i: usize| (size[i] as i64 + self.pads[i] + self.pads[i + 2] - self.kernel as i64) / self.stride + 1;
        [side(0) as usize, side(1) as usize]
    }
}

/// A window of this many rows and columns, padded so that an odd kernel at stride 1 keeps the size.
pub fn window(kernel: usize, stride: i64) -> Window {
    Window { kernel, stride, pads: [kernel as i64 / 2; 4] }
}

impl Net {
    /// A network for images of this height and width, and its quantised input.
    pub fn new(size: [usize; 2], signed: bool) -> (Net, Tensor) {
        let mut net = Net { graph: GraphProto::default(), size, signed, random: 1, names: 0 };
        net.graph.input = vec![value_info("image", &[1, 3, size[0] as i64, size[1] as i64])];
        let image = Tensor { name: "image".to_owned(), channels: 3, size, step: 0.0 };
        let image = net.quantised(&image, 2.0 / 255.0, 128);
        (net, image)
    }

    /// The next of a fixed sequence of pseudo-random numbers from -1 to 1.
    fn noise(&mut self) -> f32 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    fn fresh(&mut self, word: &str) -> String {
        self.names += 1;
        format!("{word}{}", self.names)
    }

    /// Adds a constant of these bytes and returns its name.
    pub fn constant(&mut self, kind: DataType, dims: &[usize], raw_data: Vec<u8>) -> String {
        let name = self.fresh("c");
        let dims = dims.iter().map(|&size| size as i64).collect();
        let tensor = TensorProto { name: name.clone(), data_type: kind as i32, dims, raw_data, ..Default::default() };
        self.graph.initializer.push(tensor);
        name
    }

    fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        self.constant(DataType::Float, dims, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn node(&mut self, op: &str, input: Vec<String>, attribute: Vec<AttributeProto>) -> String {
        let output = self.fresh("t");
        let name = format!("{op}_{output}");
        let (op_type, output_names) = (op.to_owned(), vec![output.clone()]);
        self.graph.node.push(NodeProto { input, output: output_names, name, op_type, attribute, ..Default::default() });
        output
    }

    /// An operator over tensors; the result has the size of the largest one.
    pub fn op(&mut self, op: &str, from: &[&Tensor], attributes: Vec<AttributeProto>) -> Tensor {
        let input = from.iter().map(|tensor| tensor.name.clone()).collect();
        let size = from.iter().map(|tensor| tensor.size).max().unwrap_or_default();
        Tensor { name: self.node(op, input, attributes), channels: from[0].channels, size, step: 0.0 }
    }

    /// The mean of all pixels, not requantised.
    pub fn mean(&mut self, x: &Tensor) -> Tensor {
        Tensor { size: [1, 1], ..self.op("GlobalAveragePool", &[x], vec![]) }
    }

    /// Max pooling, not requantised.
    pub fn max_pool(&mut self, x: &Tensor, window: Window) -> Tensor {
        Tensor { size: window.moved(x.size), ..self.op("MaxPool", &[x], window.attributes()) }
    }

    /// A clip to constant limits, not requantised.
    pub fn clip(&mut self, x: &Tensor, low: f32, high: f32) -> Tensor {
        let input = vec![x.name.clone(), self.floats(&[], &[low]), self.floats(&[], &[high])];
        Tensor { name: self.node("Clip", input, vec![]), step: 0.0, ..x.clone() }
    }

    /// QuantizeLinear and DequantizeLinear with scale `step`; `zero` is the zero point for u8.
    pub fn quantised(&mut self, x: &Tensor, step: f32, zero: u8) -> Tensor {
        let scale = self.floats(&[], &[step]);
        let kind = if self.signed { DataType::Int8 } else { DataType::Uint8 };
        let zero = self.constant(kind, &[], vec![if self.signed { zero ^ 128 } else { zero }]);
        let bytes = self.node("QuantizeLinear", vec![x.name.clone(), scale.clone(), zero.clone()], vec![]);
        let name = self.node("DequantizeLinear", vec![bytes, scale, zero], vec![]);
        Tensor { name, step, ..x.clone() }
    }

    /// Quantised from -2 to 2.
    pub fn both_signs(&mut self, x: &Tensor) -> Tensor {
        self.quantised(x, 4.0 / 255.0, 128)
    }

    /// ReLU, quantised from 0 to 2.
    pub fn relu(&mut self, x: &Tensor) -> Tensor {
        let x = self.op("Relu", &[x], vec![]);
        self.quantised(&x, 2.0 / 255.0, 0)
    }

    /// Dequantised weights with a scale for each output, and the dequantised bias; `step` is the scale of the input.
    fn filters(&mut self, dims: &[usize], axis: usize, step: f32) -> (String, String) {
        let (outputs, all) = (dims[axis], dims.iter().product::<usize>());
        let spread = 1.0 / (73.0 * ((all / outputs) as f32).sqrt());
        let weights = (0..all).map(|_| (self.noise() * 127.0) as i8 as u8).collect();
        let scales: Vec<f32> = (0..outputs).map(|_| spread * (1.0 + self.noise() / 4.0)).collect();
        let weights = self.constant(DataType::Int8, dims, weights);
        let scale = self.floats(&[outputs], &scales);
        let zero = self.constant(DataType::Int8, &[outputs], vec![0; outputs]);
        let weights = self.node("DequantizeLinear", vec![weights, scale, zero], vec![int("axis", axis as i64)]);
        let bias = scales.iter().flat_map(|scale| ((self.noise() * 0.3 / (step * scale)) as i32).to_le_bytes());
        let bias = bias.collect();
        let bias = self.constant(DataType::Int32, &[outputs], bias);
        let scale = self.floats(&[outputs], &scales.iter().map(|scale| scale * step).collect::<Vec<_>>());
        let zero = self.constant(DataType::Int32, &[outputs], vec![0; 4 * outputs]);
        (weights, self.node("DequantizeLinear", vec![bias, scale, zero], vec![int("axis", 0)]))
    }

    /// A dense convolution, not requantised.
    pub fn conv(&mut self, x: &Tensor, outputs: usize, window: Window) -> Tensor {
        let dims = [outputs, x.channels, window.kernel, window.kernel];
        self.convolution(x, dims, 1, window)
    }

    /// A convolution whose groups each read their own part of the channels, not requantised.
    pub fn grouped(&mut self, x: &Tensor, groups: usize, window: Window) -> Tensor {
        let dims = [x.channels, x.channels / groups, window.kernel, window.kernel];
        self.convolution(x, dims, groups, window)
    }

    /// A depthwise convolution, not requantised.
    pub fn depthwise(&mut self, x: &Tensor, window: Window) -> Tensor {
        let dims = [x.channels, 1, window.kernel, window.kernel];
        self.convolution(x, dims, x.channels, window)
    }

    fn convolution(&mut self, x: &Tensor, dims: [usize; 4], group: usize, window: Window) -> Tensor {
        let (weights, bias) = self.filters(&dims, 0, x.step);
        let mut attributes = window.attributes();
        attributes.push(int("group", group as i64));
        let name = self.node("Conv", vec![x.name.clone(), weights, bias], attributes);
        Tensor { name, channels: dims[0], size: window.moved(x.size), step: 0.0 }
    }

    /// A fully connected layer, not requantised.
    pub fn gemm(&mut self, x: &Tensor, outputs: usize) -> Tensor {
        let (weights, bias) = self.filters(&[outputs, x.channels], 0, x.step);
        let name = self.node("Gemm", vec![x.name.clone(), weights, bias], vec![int("transB", 1)]);
        Tensor { name, channels: outputs, size: [1, 1], step: 0.0 }
    }

    /// Like [`Net::gemm`], but as MatMul, which has no bias.
    pub fn matmul(&mut self, x: &Tensor, outputs: usize) -> Tensor {
        let (weights, bias) = self.filters(&[x.channels, outputs], 1, x.step);
        // The bias is not used.
        self.graph.node.retain(|node| node.output[0] != bias);
        let name = self.node("MatMul", vec![x.name.clone(), weights], vec![]);
        Tensor { name, channels: outputs, size: [1, 1], step: 0.0 }
    }

    /// The mean of all pixels as a quantised vector.
    pub fn pooled(&mut self, x: &Tensor) -> Tensor {
        let mean = self.mean(x);
        let mean = self.quantised(&mean, 2.0 / 255.0, 64);
        Tensor { name: self.op("Flatten", &[&mean], vec![]).name, ..mean }
    }

    /// The finished network file, with this tensor as its embedding.
    pub fn finish(mut self, x: &Tensor) -> Small {
        for name in self.graph.node.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output)) {
            if *name == x.name {
                "embedding".clone_into(name);
            }
        }
        let dims = [1, x.channels, x.size[0], x.size[1]].map(|size| size as i64);
        let is_vector = x.size == [1, 1];
        self.graph.output = vec![value_info("embedding", if is_vector { &dims[..2] } else { &dims })];
        let opset_import = vec![OperatorSetIdProto { version: 14, ..Default::default() }];
        let proto = ModelProto { ir_version: 8, graph: Some(self.graph), opset_import, ..Default::default() };
        Small { proto, size: self.size, dim: x.channels * x.size[0] * x.size[1] }
    }

    /// The finished network file, after a mean over the pixels and a fully connected layer.
    pub fn finish_pooled(mut self, x: &Tensor) -> Small {
        let mean = self.pooled(x);
        let vector = self.gemm(&mean, DIM);
        self.finish(&vector)
    }
}

/// A finished network for inputs of one size.
#[derive(Debug, Clone)]
pub struct Small {
    /// The file's content.
    pub proto: ModelProto,
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Number of values in the embedding.
    pub dim: usize,
}

impl Small {
    /// Sets the scale of the weights of one channel of a layer, and its bias with a scale of its own. `layer` counts the
    /// layers that have a bias.
    ///
    /// # Panics
    /// If there is no such layer or channel.
    pub fn set_channel(&mut self, layer: usize, channel: usize, factor: f32, bias: i32, bias_factor: f32) {
        let graph = self.proto.graph.as_mut().expect("a network has a graph");
        let layers = graph.node.iter().filter(|node| ["Conv", "Gemm"].contains(&node.op_type.as_str()));
        let inputs = layers.map(|node| &node.input[1..]).nth(layer).expect("the layer is there");
        let quantised = |name: &String| graph.node.iter().find(|node| node.output[0] == *name).expect("a producer");
        let [weights, bias_name] = [0, 1].map(|at| quantised(&inputs[at]).input.clone());
        let changes = [
            (&weights[1], factor.to_le_bytes()),
            (&bias_name[0], bias.to_le_bytes()),
            (&bias_name[1], bias_factor.to_le_bytes()),
        ];
        for (name, bytes) in changes {
            let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name == *name).expect("a constant");
            tensor.raw_data[4 * channel..][..4].copy_from_slice(&bytes);
        }
    }

    /// The network as a pack.
    pub fn pack(&self) -> Pack {
        pack(self.proto.encode_to_vec(), self.size, self.dim)
    }
}

/// A pack of any bytes as its network file, with a manifest that matches them.
///
/// # Panics
/// Never, since the manifest is made for the file.
pub fn pack(network: Vec<u8>, size: [usize; 2], dim: usize) -> Pack {
    let mut manifest = default_pack().manifest().clone();
    (manifest.input.height, manifest.input.width) = (size[0] as u32, size[1] as u32);
    manifest.input.name = "image".to_owned();
    manifest.embedding.output = "embedding".to_owned();
    manifest.embedding.dim = dim as u32;
    manifest.heads.clear();
    let hash = blake3::hash(&network);
    manifest.network.bytes = network.len() as u64;
    manifest.network.blake3 = hash.to_string();
    manifest.model_id = manifest.compute_model_id(&hash);
    Pack::from_bytes(&serde_json::to_vec(&manifest).expect("a manifest is JSON"), network).expect("the manifest fits")
}

fn value_info(name: &str, sizes: &[i64]) -> ValueInfoProto {
    let dimension = |&size: &i64| Dimension { value: Some(dimension::Value::DimValue(size)), ..Dimension::default() };
    let shape = TensorShapeProto { dim: sizes.iter().map(dimension).collect() };
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..Default::default() }
}

/// An integer attribute.
pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Int as i32, i, ..Default::default() }
}

/// A float attribute.
pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Float as i32, f, ..Default::default() }
}

/// An attribute that is a list of integers.
pub fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    let ints = ints.to_vec();
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Ints as i32, ints, ..Default::default() }
}
