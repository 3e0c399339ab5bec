//! A quantised network as layers over values: what to compute, not how.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How the bytes of a value map to real numbers: `(byte - zero) * factor`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The step from one byte to the next: positive and finite, see [`is_sound`].
    pub factor: f32,
    /// The zero point: the byte that means 0.
    pub zero: u8,
}

/// A value of the network, named by the index of the layer that computes it.
pub type Value = usize;

/// A quantised network. The layers run in order, and a layer reads only values of earlier layers.
#[derive(Debug, Default, Clone)]
pub struct LayerGraph {
    /// All layers.
    pub layers: Vec<Layer>,
    /// The values that the caller gets. Each comes from a layer that gives f32.
    pub outputs: Vec<Value>,
}

/// A layer of a [`LayerGraph`].
#[derive(Debug, Clone)]
pub struct Layer {
    /// The layer's name in the original file, for messages and reports.
    pub name: String,
    /// The operation.
    pub kind: LayerKind,
    /// The values that it reads.
    pub from: Vec<Value>,
    /// Scale and zero point of its result; ignored where the result is f32.
    pub scale: Scale,
    /// The least and the largest byte of the result: results are clamped to it, which is how an activation function such
    /// as ReLU is fused into the layer.
    pub range: [u8; 2],
}

/// The operation of a [`Layer`].
///
/// Values have the shape `[height, width, channels]` (NHWC with a batch of one). Unless stated otherwise a layer reads one
/// value of bytes and gives a value of bytes.
#[derive(Debug, Clone)]
pub enum LayerKind {
    /// Quantises the network's input of this index, f32 `[1, channels, height, width]` or `[1, channels]`. Reads no value.
    Quantise(usize),
    /// Dequantises bytes to f32 of the same shape.
    Dequantise,
    /// Dense convolution with weights `[output][row][column][input]`.
    Convolution(Filters, Geometry),
    /// Depthwise convolution with weights `[channel][row][column]`.
    Depthwise(Filters, Geometry),
    /// Fully connected layer over one pixel, with weights `[output][input]`.
    Linear(Filters),
    /// As [`LayerKind::Linear`], but the results stay f32: `accumulator * scale`, not requantised.
    LinearFloats(Filters),
    /// Sum of two values of one shape.
    Add,
    /// Product of two values of one shape. The second may also be a single pixel, which scales every pixel of the first.
    Multiply,
    /// Mean over all pixels: `[1, 1, channels]`.
    AveragePool,
    /// Maximum over a window. Padding does not take part.
    MaxPool(Geometry),
    /// A function of one byte, as a lookup table.
    Table(Box<[u8; 256]>),
    /// Turns a single pixel `[1, channels, 1, 1]` into a vector `[1, channels]`. The bytes stay as they are.
    Flatten,
}

/// Weights of a convolution or of a fully connected layer.
#[derive(Debug, Clone)]
pub struct Filters {
    /// Quantised weights without a zero point, in the order that the [`LayerKind`] states. Shared, because they are most of
    /// a network's memory.
    pub weights: Arc<Vec<i8>>,
    /// One value per output, in units of the input's factor times the output's entry in `factors`.
    pub bias: Vec<i32>,
    /// The scale of the weights, one per output: a real weight is `weight * factor`.
    pub factors: Vec<f32>,
}

/// The window of a convolution or pooling layer. Each pair is vertical first, then horizontal; all are in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geometry {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Distance between neighbouring windows.
    pub stride: [usize; 2],
    /// Padding above and to the left.
    pub before: [usize; 2],
    /// Padding below and to the right.
    pub after: [usize; 2],
}

impl Geometry {
    /// Whether every output pixel depends only on the input pixel at the same position.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.before == [0, 0] && self.after == [0, 0]
    }
}

impl LayerKind {
    /// The weights of a layer that has some.
    pub(crate) fn filters(&self) -> Option<&Filters> {
        match self {
            LayerKind::Convolution(filters, _)
            | LayerKind::Depthwise(filters, _)
            | LayerKind::Linear(filters)
            | LayerKind::LinearFloats(filters) => Some(filters),
            _ => None,
        }
    }

    /// A word for the operation, for reports.
    pub fn name(&self) -> &'static str {
        match self {
            LayerKind::Quantise(_) => "quantise",
            LayerKind::Dequantise => "dequantise",
            LayerKind::Convolution(_, Geometry { kernel: [1, 1], .. }) => "pointwise",
            LayerKind::Convolution(..) => "convolution",
            LayerKind::Depthwise(..) => "depthwise",
            LayerKind::Linear(_) | LayerKind::LinearFloats(_) => "fully connected",
            LayerKind::Add => "add",
            LayerKind::Multiply => "multiply",
            LayerKind::AveragePool => "average pool",
            LayerKind::MaxPool(_) => "max pool",
            LayerKind::Table(_) => "table",
            LayerKind::Flatten => "flatten",
        }
    }
}

/// Whether a factor can be used for quantisation: positive, and so far from zero and infinity that a product of three of
/// them stays a normal f32.
pub fn is_sound(factor: f32) -> bool {
    (1e-12..1e12).contains(&factor)
}

/// The shape of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Height, width and channels. A vector has a height and a width of 1.
    pub size: [usize; 3],
    /// Whether the f32 tensor of this shape is `[1, channels]` instead of `[1, channels, 1, 1]`.
    pub vector: bool,
}

impl Shape {
    /// The shape of an f32 tensor `[1, channels, height, width]` or `[1, channels]`. `None` for other tensors, for empty
    /// ones, and for more than 2^26 values.
    pub fn of(tensor: &[usize]) -> Option<Shape> {
        let shape = match *tensor {
            [1, c, h, w] => Shape { size: [h, w, c], vector: false },
            [1, c] => Shape { size: [1, 1, c], vector: true },
            _ => return None,
        };
        shape.values().map(|_| shape)
    }

    /// The sizes of the f32 tensor of this shape: `[1, channels, height, width]` or `[1, channels]`.
    pub fn tensor(self) -> Vec<usize> {
        let [h, w, c] = self.size;
        if self.vector { vec![1, c] } else { vec![1, c, h, w] }
    }

    pub(crate) fn pixels(self) -> usize {
        self.size[0] * self.size[1]
    }

    pub(crate) fn channels(self) -> usize {
        self.size[2]
    }

    /// The number of values; `None` for none or more than [`MAX_VALUES`].
    pub(crate) fn values(self) -> Option<usize> {
        let values = self.size.iter().try_fold(1usize, |product, &n| product.checked_mul(n))?;
        (1..=MAX_VALUES).contains(&values).then_some(values)
    }
}

/// The most values that a tensor between two layers may have: far above any network that runs on a phone.
const MAX_VALUES: usize = 1 << 26;
