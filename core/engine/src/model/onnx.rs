//! Reads the graph of an ONNX file, which is not trusted.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::fault::ImportFault;

/// Decodes an ONNX file. Not done by tract's reader, which copies the bytes first.
pub(super) fn read(bytes: &[u8]) -> Result<ModelProto, ImportFault> {
    Ok(ModelProto::decode(bytes)?)
}

/// TakenWeights of quantised layers, moved out of a graph's tensors: layers share them without copies.
pub(super) struct TakenWeights(HashMap<String, Arc<Vec<i8>>>);

impl TakenWeights {
    /// Takes the data of all int8 tensors with more than one dimension whose length matches their shape.
    pub(super) fn take(graph: &mut GraphProto) -> TakenWeights {
        let mut taken = HashMap::new();
        for tensor in &mut graph.initializer {
            let are_weights = tensor.dims.len() > 1 && kind(tensor) == Some(DataType::Int8);
            if are_weights && length(tensor) == Some(tensor.raw_data.len()) {
                let bytes = std::mem::take(&mut tensor.raw_data);
                taken.insert(tensor.name.clone(), Arc::new(bytemuck::allocation::cast_vec(bytes)));
            }
        }
        TakenWeights(taken)
    }

    /// Copies the data back into the tensors.
    pub(super) fn give_back(&self, graph: &mut GraphProto) {
        for tensor in &mut graph.initializer {
            if let Some(weights) = self.0.get(&tensor.name) {
                tensor.raw_data = bytemuck::cast_slice(weights).to_vec();
            }
        }
    }

    /// Returns a copy of a tensor with its data.
    pub(super) fn whole(&self, tensor: &TensorProto) -> TensorProto {
        let mut tensor = tensor.clone();
        if let Some(weights) = self.0.get(&tensor.name) {
            tensor.raw_data = bytemuck::cast_slice(weights).to_vec();
        }
        tensor
    }
}

/// Rejects absurdly large windows: tract iterates over their positions one by one and would not return.
pub(super) fn check_windows(graph: &GraphProto) -> Result<(), ImportFault> {
    const NAMES: [&str; 6] = ["kernel_shape", "strides", "pads", "dilations", "output_padding", "output_shape"];
    for node in &graph.node {
        for name in NAMES {
            let sizes = integers(node, name).unwrap_or_default();
            if sizes.iter().any(|size| size.unsigned_abs() > 1 << 12) || sizes.len() > 16 {
                let (node, sizes) = (node.name.clone(), sizes.to_vec());
                return Err(ImportFault::Window { node, attribute: name, sizes });
            }
        }
        let groups = integer(node, "group", 1);
        if groups.unsigned_abs() > 1 << 16 {
            return Err(ImportFault::Groups { node: node.name.clone(), groups });
        }
    }
    Ok(())
}

/// Rejects invalid quantisation scales (not finite, negative, or zero where values are quantised): they make all
/// outputs meaningless.
pub(super) fn check_scales(graph: &GraphProto) -> Result<(), ImportFault> {
    let index = TensorIndex::of(graph);
    for node in &graph.node {
        let quantises = node.op_type == "QuantizeLinear";
        if !quantises && node.op_type != "DequantizeLinear" {
            continue;
        }
        // Other scales than f32 constants are not recognised, and left to tract.
        let Some(scales) = input(node, 1).and_then(|name| index.floats(name)) else { continue };
        // A DequantizeLinear of a channel of zeros may have a scale of zero.
        let wrong = |scale: &f32| !scale.is_finite() || *scale < 0.0 || (quantises && *scale == 0.0);
        if let Some(scale) = scales.into_iter().find(wrong) {
            return Err(ImportFault::Scale { node: node.name.clone(), scale });
        }
    }
    Ok(())
}

/// Rejects networks whose layers share weights so often that copies of them, which each layer gets, would take far more
/// memory than the file.
pub(super) fn check_shared_weights(graph: &GraphProto) -> Result<(), ImportFault> {
    /// Factor and bytes that sharing may add.
    const MOST: (usize, usize) = (4, 64 << 20);
    let index = TensorIndex::of(graph);
    let bytes = |tensor: &TensorProto| {
        let floats = tensor.float_data.len().saturating_mul(4);
        tensor.raw_data.len().max(tensor.int32_data.len()).max(floats)
    };
    let weights = |node: &NodeProto| {
        let name = input(node, 1)?;
        index.constant(name).or_else(|| index.constant(input(&graph.node[index.producer(name)?], 0)?))
    };
    let layers = graph.node.iter().filter(|node| matches!(node.op_type.as_str(), "Conv" | "Gemm" | "MatMul"));
    let found = layers.filter_map(weights).fold(0usize, |sum, tensor| sum.saturating_add(bytes(tensor)));
    let stored = index.constants.values().fold(0usize, |sum, tensor| sum.saturating_add(bytes(tensor)));
    if found > stored.saturating_mul(MOST.0).saturating_add(MOST.1) {
        return Err(ImportFault::SharedWeights { found, stored });
    }
    Ok(())
}

/// Looks up tensors and nodes of a graph by name.
pub(super) struct TensorIndex<'a> {
    pub(super) graph: &'a GraphProto,
    constants: HashMap<&'a str, &'a TensorProto>,
    producers: HashMap<&'a str, usize>,
    consumers: HashMap<&'a str, Vec<usize>>,
    weights: Option<&'a TakenWeights>,
}

impl<'a> TensorIndex<'a> {
    pub(super) fn of(graph: &'a GraphProto) -> TensorIndex<'a> {
        TensorIndex::new(graph, None)
    }

    /// The index of a graph whose weights were taken out.
    pub(super) fn without(weights: &'a TakenWeights, graph: &'a GraphProto) -> TensorIndex<'a> {
        TensorIndex::new(graph, Some(weights))
    }

    fn new(graph: &'a GraphProto, weights: Option<&'a TakenWeights>) -> TensorIndex<'a> {
        let constants = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let mut index = TensorIndex { graph, constants, producers: HashMap::new(), consumers: HashMap::new(), weights };
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

    /// Returns the node that produces a tensor.
    pub(super) fn producer(&self, name: &str) -> Option<usize> {
        self.producers.get(name).copied()
    }

    /// Returns the nodes that read a tensor.
    pub(super) fn consumers(&self, name: &str) -> &[usize] {
        self.consumers.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a tensor is an output of the graph.
    pub(super) fn is_output(&self, name: &str) -> bool {
        self.graph.output.iter().any(|output| output.name == name)
    }

    pub(super) fn constant(&self, name: &str) -> Option<&'a TensorProto> {
        self.constants.get(name).copied()
    }

    /// Returns the values of an f32 constant.
    pub(super) fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let tensor = self.constant(name)?;
        let values = match kind(tensor)? {
            DataType::Float if tensor.raw_data.is_empty() => tensor.float_data.clone(),
            DataType::Float => raw(tensor, f32::from_le_bytes)?,
            _ => return None,
        };
        fits(tensor, values)
    }

    /// Returns the value of an f32 constant with one element.
    pub(super) fn float(&self, name: &str) -> Option<f32> {
        match self.floats(name)?[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Returns the values of an integer constant.
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

    /// Returns the values of an int8 constant: shared if they were taken out, otherwise copied.
    pub(super) fn weights(&self, name: &str) -> Option<Arc<Vec<i8>>> {
        let tensor = self.constant(name)?;
        (kind(tensor)? == DataType::Int8).then_some(())?;
        // In a malformed file, another tensor may have the same name.
        let is_it = |weights: &&Arc<Vec<i8>>| length(tensor) == Some(weights.len());
        if let Some(taken) = self.weights.and_then(|weights| weights.0.get(name)).filter(is_it) {
            return Some(taken.clone());
        }
        let values = self.integers(name)?.into_iter();
        values.map(|value| i8::try_from(value).ok()).collect::<Option<_>>().map(Arc::new)
    }

    /// Returns the element type of a constant.
    pub(super) fn kind(&self, name: &str) -> Option<DataType> {
        kind(self.constant(name)?)
    }
}

/// Returns the shape of a tensor.
pub(super) fn sizes(tensor: &TensorProto) -> Option<Vec<usize>> {
    tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect()
}

fn kind(tensor: &TensorProto) -> Option<DataType> {
    // External data is not supported.
    let inside = tensor.external_data.is_empty() && tensor.data_location.unwrap_or(0) == 0;
    DataType::try_from(tensor.data_type).ok().filter(|_| inside)
}

fn raw<T, const N: usize>(tensor: &TensorProto, read: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (values, rest) = tensor.raw_data.as_chunks::<N>();
    rest.is_empty().then(|| values.iter().map(|bytes| read(*bytes)).collect())
}

/// Returns the values if their number matches the tensor's shape.
fn fits<T>(tensor: &TensorProto, values: Vec<T>) -> Option<Vec<T>> {
    (length(tensor)? == values.len()).then_some(values)
}

/// The number of values by a tensor's shape; `None` if it overflows.
fn length(tensor: &TensorProto) -> Option<usize> {
    sizes(tensor)?.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a tract_onnx::pb::AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// Returns an integer attribute of a node.
pub(super) fn integer(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

/// Returns a float attribute of a node.
pub(super) fn number(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).map_or(default, |attribute| attribute.f)
}

/// Returns an attribute of a node that is a list of integers.
pub(super) fn integers<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    attribute(node, name).map(|attribute| attribute.ints.as_slice())
}

/// Returns a string attribute of a node.
pub(super) fn word<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [u8]> {
    attribute(node, name).map(|attribute| attribute.s.as_slice())
}

/// Returns the tensor name of a node's input; `None` if the input is omitted.
pub(super) fn input(node: &NodeProto, at: usize) -> Option<&str> {
    node.input.get(at).map(String::as_str).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_share_weights_too_often_are_refused_before_any_is_copied() {
        let tensor = TensorProto { name: "w".to_owned(), raw_data: vec![1; 1 << 20], ..Default::default() };
        let input = |name: &str| vec!["x".to_owned(), name.to_owned()];
        let scaled = NodeProto {
            op_type: "DequantizeLinear".to_owned(),
            input: vec!["w".to_owned()],
            output: vec!["real".to_owned()],
            ..Default::default()
        };
        let check = |layers: usize, weights: &str| {
            let layer = NodeProto { op_type: "Conv".to_owned(), input: input(weights), ..Default::default() };
            let mut node = vec![scaled.clone()];
            node.extend(std::iter::repeat_n(layer, layers));
            check_shared_weights(&GraphProto { node, initializer: vec![tensor.clone()], ..Default::default() })
        };
        for weights in ["w", "real"] {
            check(40, weights).expect("a network that shares weights");
            let refused = check(5000, weights).expect_err("5 GB of one megabyte");
            assert!(matches!(refused, ImportFault::SharedWeights { stored: 1_048_576, .. }), "{refused}");
        }
    }
}
