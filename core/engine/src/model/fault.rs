//! Why a network cannot be loaded or run. [`ModelError`](crate::error::ModelError) carries the text of it to callers.

use std::panic::{AssertUnwindSafe, catch_unwind};

use magpie_cpu::Isa;
use magpie_int8::PlanError;
use magpie_int8::stored::StoredError;

/// Why a network cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub(super) enum NetworkFault {
    #[error("this CPU does not have {0}")]
    MissingIsa(Isa),
    #[error("a compiled network runs on the project's own kernels only")]
    NotFused,
    #[cfg(not(feature = "onnx"))]
    #[error(
        "this build reads compiled networks only: compile the pack with `magpie model compile`, or build with the \
         feature `onnx`"
    )]
    NoOnnx,
    #[error("its input is too large")]
    InputTooLarge,
    #[error("it has {found} outputs, expected {expected}")]
    OutputCount { found: usize, expected: usize },
    #[error("its output '{name}' has {found} values, expected {expected}{unit}")]
    OutputSize { name: String, found: usize, expected: usize, unit: &'static str },
    /// The project's own kernels cannot run the layers.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The layers cannot be stored, or what was stored cannot be read.
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Import(#[from] ImportFault),
    /// tract failed, or a subgraph that it hosts.
    #[cfg(feature = "onnx")]
    #[error("{text}")]
    Tract { text: String, too_large: bool },
    #[error("internal failure: {0}")]
    Panic(String),
}

/// Why an ONNX file cannot be imported.
#[cfg(feature = "onnx")]
#[derive(Debug, thiserror::Error)]
pub(super) enum ImportFault {
    #[error("{0}")]
    Decode(#[from] prost::DecodeError),
    #[error("it has no graph")]
    NoGraph,
    #[error("its inputs are {found:?}, the manifest has one called '{expected}'")]
    Inputs { found: Vec<String>, expected: String },
    #[error("it has no output '{0}'")]
    NoOutput(String),
    #[error("node '{node}' has {attribute} of {sizes:?}")]
    Window { node: String, attribute: &'static str, sizes: Vec<i64> },
    #[error("node '{node}' has {groups} groups")]
    Groups { node: String, groups: i64 },
    #[error("node '{node}' has a scale of {scale}")]
    Scale { node: String, scale: f32 },
    #[error("its layers take {found} bytes of weights, its file has {stored}: too many of them share weights")]
    SharedWeights { found: usize, stored: usize },
    #[error("layer '{0}' reads a value that its subgraph does not have")]
    MissingValue(String),
    #[error("{count} of its nodes need tract, e.g. {}", examples.join(", "))]
    NeedsTract { count: usize, examples: Vec<String> },
}

#[cfg(feature = "onnx")]
impl NetworkFault {
    /// Whether a run exceeds a limit of the project's own kernels on memory or work.
    pub(super) fn is_too_large(&self) -> bool {
        match self {
            NetworkFault::Plan(error) => error.is_too_large(),
            NetworkFault::Tract { too_large, .. } => *too_large,
            _ => false,
        }
    }
}

/// Turns a panic into an error: tract is written for trusted networks and may panic on others.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, NetworkFault>) -> Result<T, NetworkFault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(NetworkFault::Panic(text.unwrap_or("unknown").to_owned()))
    })
}
