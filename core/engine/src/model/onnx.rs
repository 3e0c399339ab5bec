//! An ONNX file's graph, read with the care that a file from elsewhere needs.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};

/// Reads the file. tract's own reader would copy it first.
pub(super) fn read(bytes: &[u8]) -> Result<ModelProto, String> {
    ModelProto::decode(bytes).map_err(|e| e.to_string())
}

/// Weights of quantised layers, taken out of a graph's tensors: layers share them, and nothing is copied.
pub(super) struct Weights(HashMap<String, Arc<Vec<i8>>>);

impl Weights {
    /// Takes all tensors of signed bytes with more than one dimension that are as long as they say.
    pub(super) fn take(graph: &mut GraphProto) -> Weights {
        let mut taken = HashMap::new();
        for tensor in &mut graph.initializer {
            let are_weights = tensor.dims.len() > 1 && kind(tensor) == Some(DataType::Int8);
            if are_weights && length(tensor) == Some(tensor.raw_data.len()) {
                let bytes = std::mem::take(&mut tensor.raw_data);
                taken.insert(tensor.name.clone(), Arc::new(bytemuck::allocation::cast_vec(bytes)));
            }
        }
        Weights(taken)
    }

    /// Puts all of them back where they were.
    pub(super) fn give_back(&self, graph: &mut GraphProto) {
        for tensor in &mut graph.initializer {
            if let Some(weights) = self.0.get(&tensor.name) {
                tensor.raw_data = bytemuck::cast_slice(weights).to_vec();
            }
        }
    }

    /// A tensor as it was before.
    pub(super) fn whole(&self, tensor: &TensorProto) -> TensorProto {
        let mut tensor = tensor.clone();
        if let Some(weights) = self.0.get(&tensor.name) {
            tensor.raw_data = bytemuck::cast_slice(weights).to_vec();
        }
        tensor
    }
}

/// Refuses windows that no network has: tract counts their places one by one, and would not come back.
pub(super) fn check_windows(graph: &GraphProto) -> Result<(), String> {
    const NAMES: [&str; 6] = ["kernel_shape", "strides", "pads", "dilations", "output_padding", "output_shape"];
    for node in &graph.node {
        for name in NAMES {
            let sizes = integers(node, name).unwrap_or_default();
            if sizes.iter().any(|size| size.unsigned_abs() > 1 << 12) || sizes.len() > 16 {
                return Err(format!("node '{}' has {name} of {sizes:?}", node.name));
            }
        }
        if integer(node, "group", 1).unsigned_abs() > 1 << 16 {
            return Err(format!("node '{}' has {} groups", node.name, integer(node, "group", 1)));
        }
    }
    Ok(())
}

/// Refuses scales that are no scales: what comes of them is nothing that anybody wanted.
pub(super) fn check_scales(graph: &GraphProto) -> Result<(), String> {
    let index = Index::of(graph);
    for node in &graph.node {
        let quantises = node.op_type == "QuantizeLinear";
        if !quantises && node.op_type != "DequantizeLinear" {
            continue;
        }
        let scales = input(node, 1).and_then(|name| index.floats(name)).unwrap_or_default();
        // A channel of zeros may have a scale of zero where it is read.
        let wrong = |scale: &f32| !scale.is_finite() || *scale < 0.0 || (quantises && *scale == 0.0);
        if let Some(scale) = scales.into_iter().find(wrong) {
            return Err(format!("node '{}' has a scale of {scale}", node.name));
        }
    }
    Ok(())
}

/// Tensors and nodes of a graph by name.
pub(super) struct Index<'a> {
    pub(super) graph: &'a GraphProto,
    constants: HashMap<&'a str, &'a TensorProto>,
    producers: HashMap<&'a str, usize>,
    consumers: HashMap<&'a str, Vec<usize>>,
    weights: Option<&'a Weights>,
}

impl<'a> Index<'a> {
    pub(super) fn of(graph: &'a GraphProto) -> Index<'a> {
        Index::new(graph, None)
    }

    /// Of a graph whose weights were taken out.
    pub(super) fn without(weights: &'a Weights, graph: &'a GraphProto) -> Index<'a> {
        Index::new(graph, Some(weights))
    }

    fn new(graph: &'a GraphProto, weights: Option<&'a Weights>) -> Index<'a> {
        let constants = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let mut index = Index { graph, constants, producers: HashMap::new(), consumers: HashMap::new(), weights };
        for (at, node) in graph.node.iter().enumerate() {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                index.producers.insert(name, at);
            }
            for name in node.input.iter().filter(|name| !name.is_empty()) {
                index.consumers.entry(name).or_default().push(at);
            }
            if let ("Constant", [output]) = (node.op_type.as_str(), &node.output[..])
                && let Some(tensor) = attribute(node, "value").and_then(|attribute| attribute.t.as_ref())
            {
                index.constants.insert(output, tensor);
            }
        }
        index
    }

    /// The node that makes a tensor.
    pub(super) fn producer(&self, name: &str) -> Option<usize> {
        self.producers.get(name).copied()
    }

    /// The nodes that read a tensor.
    pub(super) fn consumers(&self, name: &str) -> &[usize] {
        self.consumers.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the graph gives this tensor.
    pub(super) fn is_output(&self, name: &str) -> bool {
        self.graph.output.iter().any(|output| output.name == name)
    }

    pub(super) fn constant(&self, name: &str) -> Option<&'a TensorProto> {
        self.constants.get(name).copied()
    }

    /// The values of a constant of f32.
    pub(super) fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let tensor = self.constant(name)?;
        let values = match kind(tensor)? {
            DataType::Float if tensor.raw_data.is_empty() => tensor.float_data.clone(),
            DataType::Float => raw(tensor, f32::from_le_bytes)?,
            _ => return None,
        };
        fits(tensor, values)
    }

    /// The value of a constant of one f32.
    pub(super) fn float(&self, name: &str) -> Option<f32> {
        match self.floats(name)?[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// The values of a constant of whole numbers.
    pub(super) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let tensor = self.constant(name)?;
        let kind = kind(tensor)?;
        let values = match kind {
            DataType::Int64 if tensor.raw_data.is_empty() => tensor.int64_data.clone(),
            DataType::Int64 => raw(tensor, i64::from_le_bytes)?,
            DataType::Int8 | DataType::Uint8 | DataType::Int32 if tensor.raw_data.is_empty() => {
                tensor.int32_data.iter().map(|&value| i64::from(value)).collect()
            }
            DataType::Int32 => raw(tensor, |bytes| i64::from(i32::from_le_bytes(bytes)))?,
            DataType::Int8 => tensor.raw_data.iter().map(|&byte| i64::from(byte as i8)).collect(),
            DataType::Uint8 => tensor.raw_data.iter().map(|&byte| i64::from(byte)).collect(),
            _ => return None,
        };
        fits(tensor, values)
    }

    /// A constant of signed bytes: weights that were taken out, or else a copy.
    pub(super) fn weights(&self, name: &str) -> Option<Arc<Vec<i8>>> {
        let tensor = self.constant(name)?;
        (kind(tensor)? == DataType::Int8).then_some(())?;
        // Another tensor may have the same name in a file that is wrong.
        let is_it = |weights: &&Arc<Vec<i8>>| length(tensor) == Some(weights.len());
        if let Some(taken) = self.weights.and_then(|weights| weights.0.get(name)).filter(is_it) {
            return Some(taken.clone());
        }
        let values = self.integers(name)?.into_iter();
        values.map(|value| i8::try_from(value).ok()).collect::<Option<_>>().map(Arc::new)
    }

    /// The type of a constant.
    pub(super) fn kind(&self, name: &str) -> Option<DataType> {
        kind(self.constant(name)?)
    }
}

/// The sizes of a tensor.
pub(super) fn sizes(tensor: &TensorProto) -> Option<Vec<usize>> {
    tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect()
}

fn kind(tensor: &TensorProto) -> Option<DataType> {
    // Data in another file is not read.
    let inside = tensor.external_data.is_empty() && tensor.data_location.unwrap_or(0) == 0;
    DataType::try_from(tensor.data_type).ok().filter(|_| inside)
}

fn raw<T, const N: usize>(tensor: &TensorProto, read: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (values, rest) = tensor.raw_data.as_chunks::<N>();
    rest.is_empty().then(|| values.iter().map(|bytes| read(*bytes)).collect())
}

/// The values, where there are as many as the sizes say.
fn fits<T>(tensor: &TensorProto, values: Vec<T>) -> Option<Vec<T>> {
    (length(tensor)? == values.len()).then_some(values)
}

/// The number of values that the sizes of a tensor say.
fn length(tensor: &TensorProto) -> Option<usize> {
    sizes(tensor)?.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a tract_onnx::pb::AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// A whole number of a node.
pub(super) fn integer(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

/// A number of a node.
pub(super) fn number(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).map_or(default, |attribute| attribute.f)
}

/// A list of whole numbers of a node.
pub(super) fn integers<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    attribute(node, name).map(|attribute| attribute.ints.as_slice())
}

/// A word of a node.
pub(super) fn word<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [u8]> {
    attribute(node, name).map(|attribute| attribute.s.as_slice())
}

/// The name of a node's input; inputs that are left out have none.
pub(super) fn input(node: &NodeProto, at: usize) -> Option<&str> {
    node.input.get(at).map(String::as_str).filter(|name| !name.is_empty())
}
