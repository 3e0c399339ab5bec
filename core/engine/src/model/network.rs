//! A loaded network: it runs on the project's own kernels as far as they support its layers, otherwise on tract.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::compiled;
#[cfg(feature = "onnx")]
use super::import::{self, Imported};
use super::manifest::Manifest;
use super::pack::{Form, Pack};
use magpie_cpu::Isa;
use magpie_int8::{Graph, LayerReport, Network, Scratch, Shape};

/// Options of loading a network.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The instruction set of the project's own kernels; by default the best one of this CPU.
    pub isa: Isa,
    /// Threads of one run; 1 by default. Every run starts its threads anew, so that more pay off for large networks only.
    pub threads: usize,
    /// Whether quantised layers run on the project's own kernels (the default) or on tract like all others.
    pub fuse: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions { isa: Isa::best(), threads: 1, fuse: true }
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
    /// The nodes that run on tract: operator and name.
    pub left: Vec<(String, String)>,
    /// Why no layer was fused although quantised layers were found.
    pub refused: Option<String>,
    /// Bytes of scratch memory that the fused layers need in one run.
    pub scratch_bytes: usize,
}

/// An output that the manifest promises.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) values: usize,
    /// The unit of the values, for error messages.
    unit: &'static str,
}

/// A loaded network. It is immutable and may be shared by any number of threads.
pub(super) struct Loaded {
    runner: Runner,
    pub(super) report: LoadReport,
}

enum Runner {
    /// All of the network is one subgraph.
    Fused(Box<Network>),
    /// tract runs the network, with subgraphs as custom operators.
    #[cfg(feature = "onnx")]
    Hosted(Imported),
}

/// The memory of one run.
#[derive(Debug, Default)]
pub(super) struct Memory {
    scratch: Option<Scratch>,
    /// The outputs of a run on tract.
    outputs: Vec<Vec<f32>>,
}

impl Loaded {
    pub(super) fn load(pack: &Pack, options: &LoadOptions) -> Result<Loaded, String> {
        let manifest = pack.manifest();
        guarded(|| {
            if !options.isa.is_available() {
                return Err(format!("this CPU does not have {}", options.isa));
            }
            match pack.form() {
                Form::Compiled if !options.fuse => {
                    Err("a compiled network runs on the project's own kernels only".to_owned())
                }
                Form::Compiled => Loaded::fused(manifest, compiled::graph(pack.network())?, options),
                #[cfg(feature = "onnx")]
                Form::Onnx => import::load(manifest, pack.network(), options),
                #[cfg(not(feature = "onnx"))]
                Form::Onnx => {
                    let advice = "compile the pack with `magpie model compile`, or build with the feature `onnx`";
                    Err(format!("this build reads compiled networks only: {advice}"))
                }
            }
        })
    }

    /// A network that consists of one subgraph, whose outputs are in the order of the manifest.
    pub(super) fn fused(manifest: &Manifest, graph: Graph, options: &LoadOptions) -> Result<Loaded, String> {
        let shape = Shape::of(&input_shape(manifest)).ok_or("its input is too large")?;
        let wanted = wanted(manifest);
        if graph.outputs.len() != wanted.len() {
            return Err(format!("it has {} outputs, expected {}", graph.outputs.len(), wanted.len()));
        }
        let network = Network::plan(graph, &[shape], options.isa, options.threads)?;
        for (wanted, shape) in wanted.iter().zip(network.outputs()) {
            wanted.check(shape.tensor().iter().product())?;
        }
        let report = LoadReport {
            isa: options.isa,
            threads: options.threads.max(1),
            fused: network.layers().to_vec(),
            left: Vec::new(),
            refused: None,
            scratch_bytes: network.scratch_bytes(),
        };
        Ok(Loaded { runner: Runner::Fused(Box::new(network)), report })
    }

    /// A network that tract runs.
    #[cfg(feature = "onnx")]
    pub(super) fn hosted(imported: Imported, report: LoadReport) -> Loaded {
        Loaded { runner: Runner::Hosted(imported), report }
    }

    /// Runs the network on `[1, 3, height, width]` values of f32 and leaves the outputs in `memory`.
    pub(super) fn run(&self, input: &[f32], memory: &mut Memory) -> Result<(), String> {
        guarded(|| match &self.runner {
            Runner::Fused(network) => {
                let scratch = memory.scratch.get_or_insert_with(|| network.scratch());
                network.run(&[input], scratch);
                Ok(())
            }
            #[cfg(feature = "onnx")]
            Runner::Hosted(imported) => {
                memory.outputs = imported.run(input)?;
                Ok(())
            }
        })
    }

    /// As [`Loaded::run`], and calls `after` with the number of each fused layer when it is done.
    pub(super) fn watch(&self, input: &[f32], memory: &mut Memory, after: impl FnMut(usize)) -> Result<(), String> {
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
    pub(super) fn output<'m>(&self, at: usize, memory: &'m Memory) -> &'m [f32] {
        match (&self.runner, &memory.scratch) {
            (Runner::Fused(network), Some(scratch)) => network.output(at, scratch),
            _ => memory.outputs.get(at).map_or(&[], Vec::as_slice),
        }
    }
}

/// The shape of the input: `[1, 3, height, width]`.
pub(super) fn input_shape(manifest: &Manifest) -> [usize; 4] {
    [1, 3, manifest.input.height as usize, manifest.input.width as usize]
}

/// The outputs that the manifest promises: the embedding, then the heads.
pub(super) fn wanted(manifest: &Manifest) -> Vec<Wanted<'_>> {
    let embedding = &manifest.embedding;
    let embedding = Wanted { name: &embedding.output, values: embedding.dim as usize, unit: "" };
    let heads = manifest.heads.iter();
    let heads = heads.map(|head| Wanted { name: &head.output, values: head.labels.len(), unit: " labels" });
    std::iter::once(embedding).chain(heads).collect()
}

impl Wanted<'_> {
    pub(super) fn check(&self, found: usize) -> Result<(), String> {
        let &Wanted { name, values, unit } = self;
        if found == values {
            return Ok(());
        }
        Err(format!("its output '{name}' has {found} values, expected {values}{unit}"))
    }
}

/// Turns a panic into an error: tract is written for trusted networks and may panic on others.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("internal failure: {}", text.unwrap_or("unknown")))
    })
}
