#![doc = include_str!("../README.md")]

mod arena;
mod channels;
mod error;
mod factors;
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
pub use channels::{Channel, FittedChannel};
pub use error::{LayerError, PlanError};
pub use graph::{Filters, Geometry, Layer, LayerGraph, LayerKind, Scale, Shape, Value, is_sound};
pub use magpie_cpu::Isa;
use plan::ExecutionPlan;
pub use shapes::output_shapes;
use simd::Int8Kernels;

/// A planned network, ready to run. It is immutable, so any number of threads may share it.
pub struct Network {
    plan: ExecutionPlan,
    reports: Vec<LayerReport>,
}

/// A description of a layer, for reports.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerReport {
    /// The layer's name in the original file.
    pub name: String,
    /// The operation, see [`LayerKind::name`].
    pub kind: &'static str,
    /// Height, width and channels of the result.
    pub size: [usize; 3],
    /// The number of multiplications; 0 for layers without weights.
    pub products: u64,
}

/// The arena of a run. [`Network::scratch`] makes one; it may be reused for any number of runs of that network.
#[derive(Debug, Default)]
pub struct RunScratch(Aligned);

impl Network {
    /// Plans a graph for inputs of these shapes, an instruction set, and a number of threads that each run starts (at least
    /// 1, the caller's own). Layers are dropped one by one as they are packed, so that weights are hardly ever in memory
    /// twice.
    ///
    /// # Errors
    /// [`PlanError`] if a layer cannot be computed, if the arena would be too large, or if this CPU does not have the
    /// instruction set.
    pub fn plan(graph: LayerGraph, inputs: &[Shape], isa: Isa, threads: usize) -> Result<Network, PlanError> {
        let kernels = Int8Kernels::of(isa).ok_or(PlanError::MissingInstructionSet(isa))?;
        let shapes = shapes::shapes(&graph, inputs)?;
        let reports = graph.layers.iter().zip(&shapes).map(|(layer, shape)| report(layer, *shape)).collect();
        Ok(Network { plan: plan::plan(graph, inputs, kernels, threads.max(1))?, reports })
    }

    /// Allocates the arena for one run at a time.
    pub fn scratch(&self) -> RunScratch {
        RunScratch(Aligned::zeros(self.plan.checked.bytes()))
    }

    /// Runs the network on f32 inputs, each `[channels][height][width]`. The outputs are then in the scratch, see
    /// [`Network::output`]. With one thread nothing is allocated.
    ///
    /// # Panics
    /// If an input has another number of values than its planned shape, or if the scratch is too small because it is of
    /// another network.
    pub fn run(&self, inputs: &[&[f32]], scratch: &mut RunScratch) {
        self.plan.checked.run(inputs, &mut scratch.0, None);
    }

    /// As [`Network::run`], and calls `after` on this thread after each layer, with its index in [`Network::layers`].
    /// Threads then wait for each other after every layer.
    ///
    /// # Panics
    /// As [`Network::run`].
    pub fn run_watched(&self, inputs: &[&[f32]], scratch: &mut RunScratch, mut after: impl FnMut(usize)) {
        let layers = &self.plan.layers;
        self.plan.checked.run(inputs, &mut scratch.0, Some(&mut |step| after(layers[step])));
    }

    /// Output `at` of the last run with this scratch: f32 `[channels][height][width]`.
    ///
    /// # Panics
    /// If there is no such output, or if the scratch is of another network.
    pub fn output<'s>(&self, at: usize, scratch: &'s RunScratch) -> &'s [f32] {
        let (span, _) = self.plan.outputs[at];
        bytemuck::cast_slice(&scratch.0.bytes()[span.start..][..span.length])
    }

    /// The shapes of the outputs.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = Shape> {
        self.plan.outputs.iter().map(|(_, shape)| *shape)
    }

    /// All layers, in the order in which they run.
    pub fn layers(&self) -> &[LayerReport] {
        &self.reports
    }

    /// The size of the arena in bytes.
    pub fn scratch_bytes(&self) -> usize {
        self.plan.checked.bytes()
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let steps = self.plan.checked.steps().len();
        f.debug_struct("Network")
            .field("isa", &self.plan.checked.kernels().isa())
            .field("steps", &steps)
            .finish_non_exhaustive()
    }
}

fn report(layer: &Layer, shape: Shape) -> LayerReport {
    let pixels = (shape.size[0] * shape.size[1]) as u64;
    let products = layer.kind.filters().map_or(0, |filters| pixels.saturating_mul(filters.weights.len() as u64));
    LayerReport { name: layer.name.clone(), kind: layer.kind.name(), size: shape.size, products }
}
