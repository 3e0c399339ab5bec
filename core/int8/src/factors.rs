//! The factors with which layers requantise, and whether they keep sums and results within 32 bits.

use super::error::LayerError;
use super::graph::{Filters, Layer, LayerKind, Scale, Value, is_sound};
use super::simd::MAX_RATIO;

/// The bound for accumulators and for rounded results, which fits an i32 with room to spare.
pub(crate) const MAX_SUM: f64 = (1u32 << 30) as f64;

impl Layer {
    /// Checks what planning a layer checks before it knows any shape: that its range is not empty, and that its scales and
    /// weights keep sums and results within 32 bits. `scale_of` gives the scale of an earlier value.
    ///
    /// # Errors
    /// What planning would refuse the layer for.
    pub fn check(&self, scale_of: impl Fn(Value) -> Scale) -> Result<(), LayerError> {
        if self.range[0] > self.range[1] {
            return Err(LayerError::Range(self.range));
        }
        let to = self.scale;
        match (&self.kind, &self.from[..]) {
            (
                LayerKind::Convolution(filters, _) | LayerKind::Depthwise(filters, _) | LayerKind::Linear(filters),
                [x],
            ) => multipliers(filters, scale_of(*x), Some(to)).map(|_| ()),
            (LayerKind::LinearFloats(filters), [x]) => multipliers(filters, scale_of(*x), None).map(|_| ()),
            (LayerKind::Add, [a, b]) => {
                ratio(scale_of(*a), to)?;
                ratio(scale_of(*b), to).map(|_| ())
            }
            (LayerKind::Multiply, [a, b]) => product_ratio([scale_of(*a), scale_of(*b)], to).map(|_| ()),
            (LayerKind::AveragePool, [x]) => ratio(scale_of(*x), to).map(|_| ()),
            _ => Ok(()),
        }
    }
}

/// The factor from accumulator to output step of each output. Checks that no accumulator and no result can overflow.
pub(crate) fn multipliers(filters: &Filters, from: Scale, to: Option<Scale>) -> Result<Vec<f32>, LayerError> {
    let Filters { weights, bias, factors } = filters;
    let depth = weights.len() / bias.len().max(1);
    if bias.is_empty() || depth == 0 || weights.len() != depth * bias.len() || factors.len() != bias.len() {
        return Err(LayerError::Filters { weights: weights.len(), outputs: bias.len() });
    }
    let channels = weights.chunks_exact(depth).zip(bias).zip(factors);
    channels.map(|((row, &bias), &factor)| multiplier(row, bias, factor, from, to)).collect()
}

/// The factor from accumulator to output step of one output.
pub(crate) fn multiplier(
    weights: &[i8],
    bias: i32,
    factor: f32,
    from: Scale,
    to: Option<Scale>,
) -> Result<f32, LayerError> {
    if ![factor, from.factor, to.map_or(1.0, |to| to.factor)].into_iter().all(is_sound) {
        return Err(LayerError::Scale);
    }
    // In this order, which rounds as ONNX Runtime does.
    let multiplier = from.factor * factor / to.map_or(1.0, |to| to.factor);
    let sum = 255.0 * magnitude(weights);
    // Twice, because the zero point is folded into the bias.
    let largest = 2.0 * sum + f64::from(bias).abs();
    if largest >= MAX_SUM || (to.is_some() && largest * f64::from(multiplier) >= MAX_SUM) {
        return Err(LayerError::Overflow);
    }
    Ok(multiplier)
}

/// The sum of the weights' absolute values.
pub(crate) fn magnitude(weights: &[i8]) -> f64 {
    weights.iter().map(|&w| u64::from(w.unsigned_abs())).sum::<u64>() as f64
}

/// The factor from the steps of a value to those of a sum or mean.
pub(crate) fn ratio(from: Scale, to: Scale) -> Result<f32, LayerError> {
    in_range(from.factor / to.factor)
}

/// The factor from the product of the steps of two values to the steps of their product.
pub(crate) fn product_ratio(from: [Scale; 2], to: Scale) -> Result<f32, LayerError> {
    in_range(from[0].factor * from[1].factor / to.factor)
}

fn in_range(ratio: f32) -> Result<f32, LayerError> {
    if ratio > 0.0 && ratio < MAX_RATIO { Ok(ratio) } else { Err(LayerError::ScaleRatio(ratio)) }
}
