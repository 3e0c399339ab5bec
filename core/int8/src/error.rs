//! Why a graph cannot be planned.

use magpie_cpu::Isa;

use super::graph::{Geometry, Shape};

/// Why a [`LayerGraph`](crate::LayerGraph) cannot be planned.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The instruction set that was asked for.
    #[error("this CPU does not have {0}")]
    MissingInstructionSet(Isa),
    /// One of the layers does not fit its inputs, or its results could leave their range.
    #[error("layer '{name}': {reason}")]
    Layer {
        /// The layer's name.
        name: String,
        /// What is wrong with it.
        reason: LayerError,
    },
    /// The arena would be larger than is allowed.
    #[error("the values of a run take too much memory: over {megabytes} MB at layer '{name}'")]
    TooLarge {
        /// The layer at which the limit was reached.
        name: String,
        /// The limit, in units of 2^20 bytes.
        megabytes: usize,
    },
    /// A run would take more work than is allowed.
    #[error("a run takes too many operations: over {billions} billion at layer '{name}'")]
    TooMuchWork {
        /// The layer at which the limit was reached.
        name: String,
        /// The limit, in units of 10^9 multiplications or comparisons.
        billions: u64,
    },
    /// The weights of all layers together are larger than is allowed. Layers that share weights count one by one.
    #[error("the weights of its layers take too much memory: over {megabytes} MB at layer '{name}'")]
    TooManyWeights {
        /// The layer at which the limit was reached.
        name: String,
        /// The limit, in units of 2^20 bytes.
        megabytes: usize,
    },
    /// An input's size is empty or too large.
    #[error("input {index} has the size {size:?}")]
    Input {
        /// The input's index.
        index: usize,
        /// Height, width and channels.
        size: [usize; 3],
    },
    /// An output names a value that no layer computes.
    #[error("an output is a value that is not there")]
    NoSuchOutput,
    /// An output names a value that was not dequantised.
    #[error("an output is a value of bytes, not of f32")]
    OutputOfBytes,
    /// The planned steps failed the check that they must pass before they may run.
    #[error("internal: {0}")]
    Internal(&'static str),
}

impl PlanError {
    /// Whether the network exceeds a limit on memory or work, so that running it in another way would not help.
    pub fn is_too_large(&self) -> bool {
        matches!(self, PlanError::TooLarge { .. } | PlanError::TooMuchWork { .. } | PlanError::TooManyWeights { .. })
    }
}

/// What is wrong with a layer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// It reads a value of a later layer, or its own.
    #[error("it reads a value that comes later")]
    LaterValue,
    /// It quantises an input that the network does not have.
    #[error("it reads an input that is not there")]
    NoSuchInput,
    /// The number of channels does not match the weights.
    #[error("it gets {found} channels, expected {expected}")]
    Channels {
        /// Channels of the value that it reads.
        found: usize,
        /// Channels that its weights are for.
        expected: usize,
    },
    /// The operation is not defined for the values that it reads.
    #[error("it cannot take values of the shapes {0:?}")]
    Operands(Vec<Shape>),
    /// The result would be empty or too large: height, width and channels.
    #[error("its result would be {0:?}")]
    Result([usize; 3]),
    /// The window is empty, or larger than is supported.
    #[error("its window is {0:?}")]
    Window(Geometry),
    /// The padded picture is smaller than the window, or the stride is zero.
    #[error("a window {geometry:?} does not fit {width} x {height} pixels")]
    WindowDoesNotFit {
        /// The window.
        geometry: Geometry,
        /// Width of the picture.
        width: usize,
        /// Height of the picture.
        height: usize,
    },
    /// A window of a max pooling layer would have nothing but padding.
    #[error("a window may lie outside the picture")]
    WindowOfPadding,
    /// The number of weights does not match the outputs.
    #[error("it has {weights} weights for {outputs} outputs of {depth} each")]
    Weights {
        /// Weights that there are.
        weights: usize,
        /// Outputs: entries of the bias.
        outputs: usize,
        /// Weights that each output needs.
        depth: usize,
    },
    /// There are no outputs, no weights, or another number of biases than of factors.
    #[error("{weights} weights for {outputs} outputs")]
    Filters {
        /// Weights that there are.
        weights: usize,
        /// Outputs: entries of the bias.
        outputs: usize,
    },
    /// The least byte of its range is above the largest.
    #[error("its range is {0:?}")]
    Range([u8; 2]),
    /// A scale is not [sound](crate::is_sound).
    #[error("a scale is zero, negative, not a number or far from one")]
    Scale,
    /// The ratio of an elementwise layer's scales is out of range.
    #[error("its scales differ by a factor of {0}")]
    ScaleRatio(f32),
    /// An accumulator or a result could overflow.
    #[error("sums may leave 32 bits")]
    Overflow,
    /// A bias, in units of the input's scale times the weights', is not below 2^30, or is not a number.
    #[error("a bias does not fit 32 bits in units of its scale")]
    Bias,
}
