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

impl Geometry {
    /// Whether every output pixel is made of the input pixel at the same place.
    pub(super) fn is_plain(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.before == [0, 0] && self.after == [0, 0]
    }
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

/// Checks one factor: a number that is neither zero nor so small or large that products of three leave f32.
pub fn is_sound(factor: f32) -> bool {
    (1e-12..1e12).contains(&factor)
}

/// Shape of a value: height, width, channels; and whether it is a vector (height and width 1, and not written).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows, columns, channels.
    pub size: [usize; 3],
    /// `[1, channels]` rather than `[1, channels, 1, 1]`.
    pub vector: bool,
}

impl Shape {
    /// Of an f32 tensor: `[1, channels, height, width]` or `[1, channels]`.
    pub fn of(tensor: &[usize]) -> Option<Shape> {
        let shape = match *tensor {
            [1, c, h, w] => Shape { size: [h, w, c], vector: false },
            [1, c] => Shape { size: [1, 1, c], vector: true },
            _ => return None,
        };
        shape.values().map(|_| shape)
    }

    /// As an f32 tensor's.
    pub fn tensor(self) -> Vec<usize> {
        let [h, w, c] = self.size;
        if self.vector { vec![1, c] } else { vec![1, c, h, w] }
    }

    pub(super) fn pixels(self) -> usize {
        self.size[0] * self.size[1]
    }

    pub(super) fn channels(self) -> usize {
        self.size[2]
    }

    /// `None` where there are none, or too many.
    pub(super) fn values(self) -> Option<usize> {
        let values = self.size.iter().try_fold(1usize, |product, &n| product.checked_mul(n))?;
        (1..=MAX_VALUES).contains(&values).then_some(values)
    }
}

/// Largest number of values between two layers: beyond every network that a phone runs.
const MAX_VALUES: usize = 1 << 26;
