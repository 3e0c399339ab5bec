//! A quantised network as layers over values: what is to be computed, not yet how.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What the bytes of a value mean: `(byte - zero) * factor`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The step from one byte to the next: positive and finite.
    pub factor: f32,
    /// The byte that means 0.
    pub zero: u8,
}

/// A value of the network, by the layer that makes it.
pub type Value = usize;

/// Layers in the order in which they run: a layer reads values of layers before it.
#[derive(Debug, Default, Clone)]
pub struct Graph {
    /// All layers.
    pub layers: Vec<Layer>,
    /// Values that the caller gets: of layers that give f32.
    pub outputs: Vec<Value>,
}

/// One layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// What it was called in the file, for messages.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// What it reads.
    pub from: Vec<Value>,
    /// What its bytes mean; of no importance where it gives f32.
    pub scale: Scale,
    /// Least and largest byte that it gives: an activation function, by saturation.
    pub range: [u8; 2],
}

/// What a layer does.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Input number so and so, f32 `[1, channels, height, width]` or `[1, channels]`, to bytes.
    Quantise(usize),
    /// Bytes to f32 of the same shape.
    Dequantise,
    /// Dense convolution: weights `[output][row][column][input]`.
    Convolution(Filters, Geometry),
    /// Depthwise convolution: weights `[channel][row][column]`.
    Depthwise(Filters, Geometry),
    /// Fully connected: weights `[output][input]`.
    Linear(Filters),
    /// As [`Kind::Linear`], and the results stay f32.
    LinearFloats(Filters),
    /// Sum of two values of one shape.
    Add,
    /// Product of two values; the second may have one pixel only.
    Multiply,
    /// Mean over all pixels.
    Average,
    /// Maximum over a window; what is outside of the picture does not count.
    Largest(Geometry),
    /// A function of one value, as a table of all bytes.
    Table(Box<[u8; 256]>),
    /// One pixel to a vector.
    Flatten,
}

/// Weights of a convolution or fully connected layer.
#[derive(Debug, Clone)]
pub struct Filters {
    /// Whole numbers: a weight is `weights * factor of its output`. Shared, as they are most of a network.
    pub weights: Arc<Vec<i8>>,
    /// One an output, in steps of the input's factor times the output's weight factor.
    pub bias: Vec<i32>,
    /// One an output.
    pub factors: Vec<f32>,
}

/// How a window moves: rows first, then columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geometry {
    /// Size of the window.
    pub kernel: [usize; 2],
    /// How far it moves.
    pub stride: [usize; 2],
    /// Rows above, columns to the left.
    pub before: [usize; 2],
    /// Rows below, columns to the right.
    pub after: [usize; 2],
}

impl Kind {
    /// A word for reports.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Quantise(_) => "quantise",
            Kind::Dequantise => "dequantise",
            Kind::Convolution(_, Geometry { kernel: [1, 1], .. }) => "pointwise",
            Kind::Convolution(..) => "convolution",
            Kind::Depthwise(..) => "depthwise",
            Kind::Linear(_) | Kind::LinearFloats(_) => "fully connected",
            Kind::Add => "add",
            Kind::Multiply => "multiply",
            Kind::Average => "average pool",
            Kind::Largest(_) => "max pool",
            Kind::Table(_) => "table",
            Kind::Flatten => "flatten",
        }
    }
}

/// Largest number of values between two layers: beyond every network that a phone runs.
pub(super) const MAX_VALUES: usize = 1 << 26;

/// Largest accumulator and largest rounded result: both fit an i32 with room to spare.
const MAX_SUM: f64 = (1u32 << 30) as f64;

/// Checks one factor: a number that is neither zero nor so small or large that products of three leave f32.
pub fn is_sound(factor: f32) -> bool {
    (1e-12..1e12).contains(&factor)
}

/// From accumulator to output step for each output of a layer, and a check that no accumulator and no result can leave
/// its range.
///
/// # Errors
/// A text that says what is out of range.
pub(super) fn multipliers(filters: &Filters, from: Scale, to: Option<Scale>) -> Result<Vec<f32>, String> {
    let Filters { weights, bias, factors } = filters;
    let depth = weights.len() / bias.len().max(1);
    if bias.is_empty() || depth == 0 || weights.len() != depth * bias.len() || factors.len() != bias.len() {
        return Err(format!("{} weights for {} outputs", weights.len(), bias.len()));
    }
    let mut multipliers = Vec::with_capacity(bias.len());
    for ((row, &bias), &factor) in weights.chunks_exact(depth).zip(bias).zip(factors) {
        if ![factor, from.factor, to.map_or(1.0, |to| to.factor)].into_iter().all(is_sound) {
            return Err("a scale is zero, negative, not a number or far from one".to_owned());
        }
        // In this order, so that it rounds as ONNX Runtime does.
        let multiplier = from.factor * factor / to.map_or(1.0, |to| to.factor);
        let sum: f64 = row.iter().map(|&w| 255.0 * f64::from(w).abs()).sum::<f64>();
        // Twice: the zero point is folded into the bias.
        let largest = 2.0 * sum + f64::from(bias).abs();
        if largest >= MAX_SUM || (to.is_some() && largest * f64::from(multiplier) >= MAX_SUM) {
            return Err("sums may leave 32 bits".to_owned());
        }
        multipliers.push(multiplier);
    }
    Ok(multipliers)
}
