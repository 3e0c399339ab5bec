//! A loaded network: it runs on the project's own kernels as far as they support its layers, otherwise on tract.

use super::fault::{NetworkFault, guarded};
use super::left::LeftNode;
use super::manifest::Manifest;
use super::signature::{expected_outputs, input_shape};
#[cfg(feature = "onnx")]
use super::tract_plan::TractPlan;
use magpie_cpu::Isa;
use magpie_int8::{LayerGraph, LayerReport, Network, RunScratch, Shape};

/// Options of loading a network.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The instruction set of the project's own kernels; by default the best one of this CPU.
    pub isa: Isa,
    /// Threads of one run; 1 by default. Every run starts its threads anew, so that more pay off for large networks
    /// only.
    pub threads: usize,
    /// Whether quantised layers run on the project's own kernels (the default) or on tract like all others.
    pub fuse: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions { isa: Isa::best(), threads: 1, fuse: true }
    }
}

impl LoadOptions {
    /// Sets the instruction set of the project's own kernels.
    #[must_use]
    pub fn with_isa(mut self, isa: Isa) -> LoadOptions {
        self.isa = isa;
        self
    }

    /// Sets the number of threads of one run.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> LoadOptions {
        self.threads = threads;
        self
    }

    /// Sets whether quantised layers run on the project's own kernels or on tract.
    #[must_use]
    pub fn with_fuse(mut self, fuse: bool) -> LoadOptions {
        self.fuse = fuse;
        self
    }
}

/// Describes how a network was loaded.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoadReport {
    /// The instruction set of the project's own kernels.
    pub isa: Isa,
    /// Threads of one run.
    pub threads: usize,
    /// The layers that run on the project's own kernels.
    pub fused: Vec<LayerReport>,
    /// The nodes that run on tract, and why.
    pub left: Vec<LeftNode>,
    /// Why no layer was fused although quantised layers were found. Every node of `left` then has the reason
    /// [`LeftReason::Network`](super::LeftReason::Network).
    pub refused: Option<String>,
    /// Bytes of scratch memory that the fused layers need in one run.
    pub scratch_bytes: usize,
}

impl LoadReport {
    /// A report without any layers, e.g. for a test of code that prints it.
    pub fn new(isa: Isa, threads: usize) -> LoadReport {
        LoadReport { isa, threads, fused: Vec::new(), left: Vec::new(), refused: None, scratch_bytes: 0 }
    }

    /// How many convolutions run on the project's own kernels, and how many there are.
    pub fn convolutions(&self) -> [usize; 2] {
        let is_own = |layer: &&LayerReport| matches!(layer.kind, "convolution" | "depthwise" | "pointwise");
        let is_left = |node: &&LeftNode| matches!(node.operator.as_str(), "Conv" | "ConvInteger" | "QLinearConv");
        let own = self.fused.iter().filter(is_own).count();
        [own, own + self.left.iter().filter(is_left).count()]
    }
}

/// A loaded network. It is immutable and may be shared by any number of threads.
pub(super) struct LoadedNetwork {
    runner: Runner,
    pub(super) report: LoadReport,
}

enum Runner {
    /// All of the network is one subgraph.
    Fused(Box<Network>),
    /// tract runs the network, with subgraphs as custom operators.
    #[cfg(feature = "onnx")]
    Hosted(TractPlan),
}

/// The memory of one run.
#[derive(Debug, Default)]
pub(super) struct RunMemory {
    scratch: Option<RunScratch>,
    /// The outputs of a run on tract.
    outputs: Vec<Vec<f32>>,
}

impl LoadedNetwork {
    /// A network that consists of one subgraph, whose outputs are in the order of the manifest.
    pub(super) fn fused(
        manifest: &Manifest,
        graph: LayerGraph,
        options: &LoadOptions,
    ) -> Result<LoadedNetwork, NetworkFault> {
        let shape = Shape::of(&input_shape(manifest)).ok_or(NetworkFault::InputTooLarge)?;
        let expected = expected_outputs(manifest);
        if graph.outputs.len() != expected.len() {
            return Err(NetworkFault::OutputCount { found: graph.outputs.len(), expected: expected.len() });
        }
        let network = Network::plan(graph, &[shape], options.isa, options.threads)?;
        for (expected, shape) in expected.iter().zip(network.outputs()) {
            expected.check(shape.tensor().iter().product())?;
        }
        let report = LoadReport {
            fused: network.layers().to_vec(),
            scratch_bytes: network.scratch_bytes(),
            ..LoadReport::new(options.isa, options.threads.max(1))
        };
        Ok(LoadedNetwork { runner: Runner::Fused(Box::new(network)), report })
    }

    /// A network that tract runs.
    #[cfg(feature = "onnx")]
    pub(super) fn hosted(plan: TractPlan, report: LoadReport) -> LoadedNetwork {
        LoadedNetwork { runner: Runner::Hosted(plan), report }
    }

    /// Runs the network on `[1, 3, height, width]` values of f32 and leaves the outputs in `memory`.
    pub(super) fn run(&self, input: &[f32], memory: &mut RunMemory) -> Result<(), NetworkFault> {
        guarded(|| match &self.runner {
            Runner::Fused(network) => {
                let scratch = memory.scratch.get_or_insert_with(|| network.scratch());
                network.run(&[input], scratch);
                Ok(())
            }
            #[cfg(feature = "onnx")]
            Runner::Hosted(plan) => {
                memory.outputs = plan.run(input)?;
                Ok(())
            }
        })
    }

    /// As [`LoadedNetwork::run`], and calls `after` with the number of each fused layer when it is done.
    pub(super) fn watch(
        &self,
        input: &[f32],
        memory: &mut RunMemory,
        after: impl FnMut(usize),
    ) -> Result<(), NetworkFault> {
        match &self.runner {
            Runner::Fused(network) => {
                let scratch = memory.scratch.get_or_insert_with(|| network.scratch());
                network.run_watched(&[input], scratch, after);
                Ok(())
            }
            #[cfg(feature = "onnx")]
            Runner::Hosted(_) => self.run(input, memory),
        }
    }

    /// Returns output `at` of the last run.
    pub(super) fn output<'m>(&self, at: usize, memory: &'m RunMemory) -> &'m [f32] {
        match (&self.runner, &memory.scratch) {
            (Runner::Fused(network), Some(scratch)) => network.output(at, scratch),
            _ => memory.outputs.get(at).map_or(&[], Vec::as_slice),
        }
    }
}
