//! A pack's network, ready to run: on the project's own kernels where they know its layers, on tract where not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::compiled;
#[cfg(feature = "onnx")]
use super::import::{self, Imported};
use super::manifest::Manifest;
use super::pack::{Form, Pack};
use magpie_cpu::Isa;
use magpie_int8::{LayerGraph, LayerReport, Network, PlanError, RunScratch, Shape};

/// How a network is to be run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The instruction set; the best that the CPU has by default.
    pub isa: Isa,
    /// Threads that work on one run; 1 by default. More help large networks only, and each run starts them anew.
    pub threads: usize,
    /// Whether quantised layers run on the project's own kernels, as by default, or on tract like all others.
    pub fuse: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions { isa: Isa::best(), threads: 1, fuse: true }
    }
}

/// How a network was loaded.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoadReport {
    /// The instruction set of the project's own kernels.
    pub isa: Isa,
    /// Threads that work on one run.
    pub threads: usize,
    /// Layers that the project's own kernels run.
    pub fused: Vec<LayerReport>,
    /// Nodes that tract runs: operator and name.
    pub left: Vec<(String, String)>,
    /// Why nothing was fused although quantised layers were found.
    pub refused: Option<String>,
    /// Bytes that the fused layers' values take in one run.
    pub scratch_bytes: usize,
}

/// An output that the manifest names.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) values: usize,
    /// What the values are, for messages.
    unit: &'static str,
}

/// Why a network cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadFailure {
    /// Our kernels would need too much memory for its values.
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    Other(String),
}

impl From<String> for LoadFailure {
    fn from(message: String) -> LoadFailure {
        LoadFailure::Other(message)
    }
}

impl From<PlanError> for LoadFailure {
    fn from(error: PlanError) -> LoadFailure {
        match error {
            PlanError::TooLarge { .. } => LoadFailure::TooLarge(error.to_string()),
            _ => LoadFailure::Other(error.to_string()),
        }
    }
}

/// A network that is loaded. It does not change: any number of threads may share it.
pub(super) struct Loaded {
    runner: Runner,
    pub(super) report: LoadReport,
}

enum Runner {
    /// All of it is one region.
    Fused(Box<Network>),
    /// tract runs it.
    #[cfg(feature = "onnx")]
    Hosted(Imported),
}

/// Memory for one run at a time.
#[derive(Debug, Default)]
pub(super) struct Memory {
    scratch: Option<RunScratch>,
    /// The outputs, where tract ran it.
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
                Form::Compiled => {
                    Loaded::fused(manifest, compiled::graph(pack.network())?, options).map_err(|e| e.to_string())
                }
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

    /// A graph that is the whole network, with its outputs in the order of the manifest.
    pub(super) fn fused(manifest: &Manifest, graph: LayerGraph, options: &LoadOptions) -> Result<Loaded, LoadFailure> {
        let shape = Shape::of(&input_shape(manifest)).ok_or_else(|| "its input is too large".to_owned())?;
        let wanted = wanted(manifest);
        if graph.outputs.len() != wanted.len() {
            return Err(format!("it has {} outputs, expected {}", graph.outputs.len(), wanted.len()).into());
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

    /// Runs it on planes of f32; the outputs are then in the memory.
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

    /// Runs it and calls `after` when each layer of the report was done.
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

    /// Output `at` of the last run.
    pub(super) fn output<'m>(&self, at: usize, memory: &'m Memory) -> &'m [f32] {
        match (&self.runner, &memory.scratch) {
            (Runner::Fused(network), Some(scratch)) => network.output(at, scratch),
            _ => memory.outputs.get(at).map_or(&[], Vec::as_slice),
        }
    }
}

/// `[1, 3, height, width]`.
pub(super) fn input_shape(manifest: &Manifest) -> [usize; 4] {
    [1, 3, manifest.input.height as usize, manifest.input.width as usize]
}

/// The embedding, then the heads.
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

/// tract is written for networks that one trusts: on others it may panic as well as fail. Both become a message.
pub(super) fn guarded<T, E: From<String>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("internal failure: {}", text.unwrap_or("unknown")).into())
    })
}
