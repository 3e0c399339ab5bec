//! The nodes of an ONNX network that are left to tract, and why.

use magpie_int8::LayerError;

/// A node that runs on tract.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LeftNode {
    /// Its operator in ONNX.
    pub operator: String,
    /// Its name in the file.
    pub name: String,
    /// Why the project's own kernels do not run it.
    pub reason: LeftReason,
}

impl LeftNode {
    /// A node and its reason, e.g. for a test of code that prints them.
    pub fn new(operator: &str, name: &str, reason: LeftReason) -> LeftNode {
        LeftNode { operator: operator.to_owned(), name: name.to_owned(), reason }
    }
}

/// Why a node is left to tract.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LeftReason {
    /// [`LoadOptions::fuse`](super::LoadOptions::fuse) is off.
    #[error("all layers were to run on tract")]
    Unfused,
    /// The kernels refused the network as a whole, see [`LoadReport::refused`](super::LoadReport::refused).
    #[error("the kernels refused another layer of the network")]
    Network,
    /// The kernels do not have the operator.
    #[error("the kernels do not have this operator")]
    Operator,
    /// An input is not the dequantised result of another layer or of a QuantizeLinear.
    #[error("an input is not quantised")]
    Input,
    /// Something other than one QuantizeLinear reads the result.
    #[error("its result is used before it is quantised")]
    Result,
    /// The quantised bytes are read by something other than a DequantizeLinear.
    #[error("its bytes are used without being dequantised")]
    Bytes,
    /// It quantises or dequantises for a node on tract, or is an activation function behind one.
    #[error("it belongs to a node on tract")]
    Part,
    /// Scale and zero point of a QuantizeLinear or DequantizeLinear are of a form that the kernels do not have.
    #[error("its scale is not one f32 of a usual size with a zero point of 8 bits")]
    Scale,
    /// Scale and zero point of the result are not those of the input.
    #[error("its result has another scale than its input")]
    Rescaled,
    /// The weights are not int8 constants with one scale, or one for each output, and zero points of zero.
    #[error("its weights are not int8 constants of a usual shape, with zero points of zero")]
    Weights,
    /// The bias is not a constant with one value for each output.
    #[error("its bias is not a constant with a value for each output")]
    Bias,
    /// Convolution with groups of several channels.
    #[error("it has {0} groups, the kernels do one, or one for each channel")]
    Groups(i64),
    /// Attributes or operands ask for something that the kernels do not do: dilation, automatic padding, other axes.
    #[error("the kernels do not do this form of the operator")]
    Form,
    /// The kernels cannot compute the layer with these scales.
    #[error("{0}")]
    Layer(LayerError),
    /// The kernels cannot compute a channel, and its result is not the same for all inputs.
    #[error("channel {channel}: {reason}")]
    Channel {
        /// The output's index.
        channel: usize,
        /// What is wrong with it.
        reason: LayerError,
    },
}
