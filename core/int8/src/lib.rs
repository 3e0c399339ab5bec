//! Quantised convolutional networks on the CPU: bytes in, bytes out, 32-bit sums between.
//!
//! Activations are u8 with one scale and zero point a value, weights are i8 with one scale an output channel, as in
//! *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference* (Jacob et al. 2018)
//! and ONNX's QuantizeLinear. Sums are exact; one multiplication in f32, rounded half to even, brings them back to
//! bytes. So every instruction set gives the same bytes. Pictures are kept as rows of pixels with their channels side by
//! side (NHWC); f32 inputs and outputs are planes, as in ONNX (NCHW).
//!
//! A [`LayerGraph`] says what to compute. [`Network::plan`] packs its weights for the CPU and lays all values out in one
//! memory. A [`RunScratch`] is that memory: one for each run that goes on at a time.

mod arena;
mod error;
mod graph;
mod groups;
mod layout;
mod plan;
mod saturating;
mod shapes;
mod simd;
pub mod stored;
#[cfg(test)]
mod tests;
mod weights;

use arena::Aligned;
pub use error::{LayerError, PlanError};
pub use graph::{Filters, Geometry, Layer, LayerGraph, LayerKind, Scale, Shape, Value, is_sound};
use magpie_cpu::Isa;
use plan::ExecutionPlan;
pub use shapes::output_shapes;
use simd::Int8Kernels;

/// A quantised network, ready to run. It does not change: any number of threads may share it.
pub struct Network {
    plan: ExecutionPlan,
    reports: Vec<LayerReport>,
}

/// A layer, for reports.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerReport {
    /// What it was called in the file.
    pub name: String,
    /// What it does.
    pub kind: &'static str,
    /// Height, width and channels of its result.
    pub size: [usize; 3],
    /// Multiplications; 0 for layers without weights.
    pub products: u64,
}

/// The memory of a run.
#[derive(Debug, Default)]
pub struct RunScratch(Aligned);

impl Network {
    /// Packs the weights for an instruction set and plans the memory, for inputs of these shapes. The layers are let go one
    /// by one as they are packed, so that weights are hardly ever in memory twice.
    ///
    /// # Errors
    /// A text that says which layer cannot be done, or that this CPU has no such instructions.
    pub fn plan(graph: LayerGraph, inputs: &[Shape], isa: Isa, threads: usize) -> Result<Network, PlanError> {
        let kernels = Int8Kernels::of(isa).ok_or(PlanError::MissingInstructionSet(isa))?;
        let shapes = shapes::shapes(&graph, inputs)?;
        let reports = graph.layers.iter().zip(&shapes).map(|(layer, shape)| report(layer, *shape)).collect();
        Ok(Network { plan: plan::plan(graph, inputs, kernels, threads.max(1))?, reports })
    }

    /// Memory for one run at a time.
    pub fn scratch(&self) -> RunScratch {
        RunScratch(Aligned::zeros(self.plan.checked.bytes()))
    }

    /// Runs it. Nothing is allocated with one thread.
    ///
    /// # Panics
    /// Where an input has another number of values than was planned, or the scratch is another network's.
    pub fn run(&self, inputs: &[&[f32]], scratch: &mut RunScratch) {
        self.plan.checked.run(inputs, &mut scratch.0, None);
    }

    /// As [`Network::run`], and calls `after` with the index of each layer of [`Network::layers`] that was done.
    pub fn run_watched(&self, inputs: &[&[f32]], scratch: &mut RunScratch, mut after: impl FnMut(usize)) {
        let layers = &self.plan.layers;
        self.plan.checked.run(inputs, &mut scratch.0, Some(&mut |step| after(layers[step])));
    }

    /// Output `at` of the last run: planes of f32.
    pub fn output<'s>(&self, at: usize, scratch: &'s RunScratch) -> &'s [f32] {
        let (span, _) = self.plan.outputs[at];
        bytemuck::cast_slice(&scratch.0.bytes()[span.start..][..span.length])
    }

    /// The outputs' shapes.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = Shape> {
        self.plan.outputs.iter().map(|(_, shape)| *shape)
    }

    /// All layers.
    pub fn layers(&self) -> &[LayerReport] {
        &self.reports
    }

    /// The instruction set that it was packed for.
    pub fn isa(&self) -> Isa {
        self.plan.checked.kernels().isa()
    }

    /// Bytes that a run needs.
    pub fn scratch_bytes(&self) -> usize {
        self.plan.checked.bytes()
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let steps = self.plan.checked.steps().len();
        f.debug_struct("Network").field("isa", &self.isa()).field("steps", &steps).finish_non_exhaustive()
    }
}

fn report(layer: &Layer, shape: Shape) -> LayerReport {
    let pixels = (shape.size[0] * shape.size[1]) as u64;
    let products = match &layer.kind {
        LayerKind::Convolution(f, _)
        | LayerKind::Depthwise(f, _)
        | LayerKind::Linear(f)
        | LayerKind::LinearFloats(f) => pixels * f.weights.len() as u64,
        _ => 0,
    };
    LayerReport { name: layer.name.clone(), kind: layer.kind.name(), size: shape.size, products }
}
