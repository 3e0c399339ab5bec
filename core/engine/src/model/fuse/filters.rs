//! Reads weights, bias and window of convolutions and fully connected layers.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;

use super::super::left::LeftReason;
use super::super::onnx::{self, TensorIndex};
use magpie_int8::{Channel, Filters, FittedChannel, Geometry, LayerKind, Scale};

/// The scales around a layer.
#[derive(Clone, Copy)]
pub(super) struct Scales {
    /// Of its input.
    pub(super) from: Scale,
    /// Of its result, with the range that it is clamped to; `None` if the result stays f32.
    pub(super) to: Option<(Scale, [u8; 2])>,
}

pub(super) fn convolution(index: &TensorIndex<'_>, node: &NodeProto, scales: Scales) -> Result<LayerKind, LeftReason> {
    // ONNX defines at most three inputs.
    if node.input.len() > 3 {
        return Err(LeftReason::Form);
    }
    let raw = RawWeights::of(index, node, 0)?;
    let [outputs, depth, height, width] = raw.sizes[..] else { return Err(LeftReason::Weights) };
    let geometry = geometry(node, [height as i64, width as i64]).ok_or(LeftReason::Form)?;
    let group = onnx::integer(node, "group", 1);
    let is_depthwise = usize::try_from(group) == Ok(outputs) && depth == 1;
    if !is_depthwise && group != 1 {
        return Err(LeftReason::Groups(group));
    }
    let RawWeights { mut weights, factors, .. } = raw;
    // `[output][input][row][column]` to `[output][row][column][input]`.
    let size = height * width;
    if size > 1 && !is_depthwise {
        let filters = weights.chunks_exact((depth * size).max(1));
        let transposed = filters.flat_map(|filter| (0..size).flat_map(move |at| filter[at..].iter().step_by(size)));
        weights = Arc::new(transposed.copied().collect());
    }
    let filters = fitted(index, node, weights, factors, scales)?;
    Ok(if is_depthwise { LayerKind::Depthwise(filters, geometry) } else { LayerKind::Convolution(filters, geometry) })
}

pub(super) fn linear(index: &TensorIndex<'_>, node: &NodeProto, scales: Scales) -> Result<Filters, LeftReason> {
    let is_plain = node.input.len() <= 3
        && onnx::number(node, "alpha", 1.0) == 1.0
        && onnx::number(node, "beta", 1.0) == 1.0
        && onnx::integer(node, "transA", 0) == 0;
    if !is_plain {
        return Err(LeftReason::Form);
    }
    let axis = if onnx::integer(node, "transB", 0) == 1 { 0 } else { 1 };
    let RawWeights { mut weights, factors, sizes } = RawWeights::of(index, node, axis)?;
    let [rows, columns] = sizes[..] else { return Err(LeftReason::Weights) };
    if axis == 1 {
        let transposed = (0..columns).flat_map(|column| weights[column..].iter().step_by(columns).take(rows));
        weights = Arc::new(transposed.copied().collect());
    }
    fitted(index, node, weights, factors, scales)
}

/// Weights as they are in the file.
struct RawWeights {
    weights: Arc<Vec<i8>>,
    sizes: Vec<usize>,
    /// One for each output.
    factors: Vec<f32>,
}

impl RawWeights {
    /// The weights of a node, whose outputs are along `axis`.
    fn of(index: &TensorIndex<'_>, node: &NodeProto, axis: usize) -> Result<RawWeights, LeftReason> {
        let read = || {
            let name = onnx::input(node, 1)?;
            let values = onnx::input(&index.graph.node[index.producer(name)?], 0)?;
            let (sizes, weights) = (onnx::sizes(index.constant(values)?)?, index.weights(values)?);
            let outputs = *sizes.get(axis)?;
            // A tensor without weights may claim any number of outputs.
            let factors = (!weights.is_empty()).then(|| constant(index, name, axis as i64, outputs))??.1;
            Some(RawWeights { weights, sizes, factors })
        };
        read().ok_or(LeftReason::Weights)
    }
}

/// A quantised constant: the name of its integer tensor, and a scale factor for each output along `axis`.
fn constant<'a>(index: &TensorIndex<'a>, name: &str, axis: i64, outputs: usize) -> Option<(&'a str, Vec<f32>)> {
    let node = &index.graph.node[index.producer(name)?];
    if node.op_type != "DequantizeLinear" {
        return None;
    }
    let (values, factors) = (onnx::input(node, 0)?, index.floats(onnx::input(node, 1)?)?);
    let values = index.constant(values)?.name.as_str();
    if let Some(zero) = onnx::input(node, 2)
        && index.integers(zero)?.iter().any(|&zero| zero != 0)
    {
        return None;
    }
    match factors.len() {
        1 => Some((values, vec![factors[0]; outputs])),
        n if n == outputs && onnx::integer(node, "axis", 1) == axis => Some((values, factors)),
        _ => None,
    }
}

/// Brings the channels of a layer into the range of the kernels. Those that give the same result for every input get weights
/// of zero if the kernels could not compute them as they are.
fn fitted(
    index: &TensorIndex<'_>,
    node: &NodeProto,
    mut weights: Arc<Vec<i8>>,
    mut factors: Vec<f32>,
    scales: Scales,
) -> Result<Filters, LeftReason> {
    let given = biases(index, node, &factors, scales.from).ok_or(LeftReason::Bias)?;
    let depth = weights.len() / factors.len().max(1);
    if depth == 0 || weights.len() != depth * factors.len() {
        return Err(LeftReason::Weights);
    }
    let mut bias = Vec::with_capacity(factors.len());
    for (channel, given) in given.into_iter().enumerate() {
        let row = channel * depth..(channel + 1) * depth;
        let GivenBias { units, real } = given;
        let stated = Channel { weights: &weights[row.clone()], factor: factors[channel], bias: units, real_bias: real };
        let fitted = stated.fit(scales.from, scales.to).map_err(|reason| LeftReason::Channel { channel, reason })?;
        match fitted {
            FittedChannel::Unchanged { bias: own } => bias.push(own),
            FittedChannel::Constant { bias: own, factor } => {
                // Copies the weights if the tensor is still needed as it is in the file.
                Arc::make_mut(&mut weights)[row].fill(0);
                factors[channel] = factor;
                bias.push(own);
            }
        }
    }
    Ok(Filters { weights, bias, factors })
}

/// The bias of a channel as the file states it.
struct GivenBias {
    /// In units of the input's factor times the weights' factor, rounded.
    units: f64,
    /// As a real number, by the bias's own factor and by that product.
    real: [f64; 2],
}

/// The bias of each channel (third input).
fn biases(index: &TensorIndex<'_>, node: &NodeProto, factors: &[f32], from: Scale) -> Option<Vec<GivenBias>> {
    let none = || factors.iter().map(|_| GivenBias { units: 0.0, real: [0.0; 2] }).collect();
    let Some(name) = onnx::input(node, 2) else { return Some(none()) };
    let steps = factors.iter().map(|&factor| f64::from(from.factor) * f64::from(factor));
    if let Some(values) = index.floats(name) {
        let values = (values.len() == factors.len()).then_some(values)?.into_iter().map(f64::from);
        let given = |(value, step): (f64, f64)| GivenBias { units: (value / step).round_ties_even(), real: [value; 2] };
        return Some(values.zip(steps).map(given).collect());
    }
    let (values, own) = constant(index, name, 0, factors.len())?;
    let values = index.integers(values)?;
    if values.len() != factors.len() {
        return None;
    }
    let values = values.into_iter().zip(own).zip(steps);
    let given = values.map(|((value, own), step)| {
        let (value, own) = (value as f64, f64::from(own));
        let ratio = own / step;
        // The bias has the product of the two factors, rounded to f32, as its factor.
        if (ratio - 1.0).abs() < 1e-4 {
            GivenBias { units: value, real: [value * own, value * step] }
        } else {
            GivenBias { units: (value * ratio).round_ties_even(), real: [value * own; 2] }
        }
    });
    Some(given.collect())
}

/// Returns window, stride and padding of a node.
pub(super) fn geometry(node: &NodeProto, kernel: [i64; 2]) -> Option<Geometry> {
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
