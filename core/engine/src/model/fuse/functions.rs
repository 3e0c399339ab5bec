//! Element-wise functions of one value: as a clipping range, or as a lookup table of 256 entries.

use tract_onnx::pb::NodeProto;

use super::super::onnx::{self, TensorIndex};
use magpie_int8::Scale;

/// Whether the kernels have an operator in some form.
pub(super) fn is_known(operator: &str) -> bool {
    const KNOWN: [&str; 18] = [
        "Add",
        "Clip",
        "Conv",
        "Flatten",
        "Gemm",
        "GlobalAveragePool",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "MatMul",
        "MaxPool",
        "Mul",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Squeeze",
        "Tanh",
    ];
    KNOWN.contains(&operator)
}

/// Returns the clipping range of an activation function: ReLU, ReLU6 and other clips.
pub(super) fn limits(node: &NodeProto, index: &TensorIndex<'_>) -> Option<[f32; 2]> {
    match node.op_type.as_str() {
        "Relu" => Some([0.0, f32::INFINITY]),
        "Clip" => {
            let limit = |at: usize, name: &str, default: f32| match onnx::input(node, at) {
                Some(input) => constant(index, input),
                None => Some(onnx::number(node, name, default)),
            };
            let (low, high) = (limit(1, "min", f32::NEG_INFINITY)?, limit(2, "max", f32::INFINITY)?);
            (low <= high).then_some([low, high])
        }
        _ => None,
    }
}

/// Returns a scalar constant, dequantised if necessary.
fn constant(index: &TensorIndex<'_>, name: &str) -> Option<f32> {
    index.float(name).or_else(|| {
        let node = &index.graph.node[index.producer(name)?];
        (node.op_type == "DequantizeLinear").then_some(())?;
        let (value, factor) = (index.integers(onnx::input(node, 0)?)?, index.float(onnx::input(node, 1)?)?);
        let zero = onnx::input(node, 2).map_or(Some(vec![0]), |zero| index.integers(zero))?;
        match (&value[..], &zero[..]) {
            ([value], [zero]) => Some((value - zero) as f32 * factor),
            _ => None,
        }
    })
}

/// Returns the function that a node computes.
pub(super) fn of(node: &NodeProto, index: &TensorIndex<'_>) -> Option<Box<dyn Fn(f32) -> f32>> {
    if let Some([low, high]) = limits(node, index) {
        return Some(Box::new(move |x| x.max(low).min(high)));
    }
    let (alpha, beta) = (onnx::number(node, "alpha", f32::NAN), onnx::number(node, "beta", 0.5));
    let alpha_or = |default: f32| if alpha.is_nan() { default } else { alpha };
    Some(match node.op_type.as_str() {
        "Sigmoid" => Box::new(|x| 1.0 / (1.0 + (-x).exp())),
        "HardSigmoid" => {
            let alpha = alpha_or(0.2);
            Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        "HardSwish" => Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        "LeakyRelu" => {
            let alpha = alpha_or(0.01);
            Box::new(move |x| if x < 0.0 { alpha * x } else { x })
        }
        "Tanh" => Box::new(f32::tanh),
        _ => return None,
    })
}

/// Tabulates a function: the quantised result for every quantised input.
pub(super) fn table(from: Scale, to: Scale, function: impl Fn(f32) -> f32) -> Box<[u8; 256]> {
    let real = |byte: usize| (byte as i32 - i32::from(from.zero)) as f32 * from.factor;
    Box::new(std::array::from_fn(|at| byte(function(real(at)), to)))
}

/// Quantises a value: `round(x / factor) + zero`, clamped to a byte.
pub(super) fn byte(x: f32, scale: Scale) -> u8 {
    // The cast saturates: infinite limits become the ends of the range.
    let value = (x / scale.factor).round_ties_even() as i32;
    value.saturating_add(i32::from(scale.zero)).clamp(0, 255) as u8
}
