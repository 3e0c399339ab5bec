//! A pack's network, ready to run: on the project's own kernels where they know its layers, on tract where not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::{Framework, expand};

use super::fuse::{self, Fused, REGION, Region};
use super::host::Hosted;
use super::manifest::Manifest;
use super::onnx::{check_scales, check_windows, read};
use crate::cpu::Isa;
use crate::int8::{LayerReport, Network, Scratch, Shape, TOO_LARGE};

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
struct Wanted<'a> {
    name: &'a str,
    values: usize,
    /// What the values are, for messages.
    unit: &'static str,
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
    Hosted(Arc<TypedRunnableModel>, [usize; 4]),
}

/// Memory for one run at a time.
#[derive(Debug, Default)]
pub(super) struct Memory {
    scratch: Option<Scratch>,
    /// The outputs, where tract ran it.
    outputs: Vec<Vec<f32>>,
}

impl Loaded {
    pub(super) fn load(manifest: &Manifest, network: &[u8], options: &LoadOptions) -> Result<Loaded, String> {
        guarded(|| {
            if !options.isa.is_available() {
                return Err(format!("this CPU does not have {}", options.isa));
            }
            let mut proto = read(network)?;
            check_input(manifest, &proto)?;
            let mut refused = None;
            if options.fuse {
                // A failure of ours must not cost what tract can do without us.
                match guarded(|| fused(manifest, proto, options)) {
                    Ok(Some(loaded)) => return Ok(loaded),
                    Ok(None) => {}
                    // tract would take four times as much.
                    Err(reason) if reason.contains(TOO_LARGE) => return Err(reason),
                    Err(reason) => refused = Some(reason),
                }
                proto = read(network)?;
            }
            let left = proto.graph.iter().flat_map(|graph| &graph.node);
            let left = left.map(|node| (node.op_type.clone(), node.name.clone())).collect();
            let plan = hosted(manifest, &proto, |_| Ok(()))?;
            let report =
                LoadReport { isa: options.isa, threads: 1, fused: Vec::new(), left, refused, scratch_bytes: 0 };
            Ok(Loaded { runner: Runner::Hosted(plan, input_shape(manifest)), report })
        })
    }

    /// Runs it on planes of f32; the outputs are then in the memory.
    pub(super) fn run(&self, input: &[f32], memory: &mut Memory) -> Result<(), String> {
        guarded(|| match &self.runner {
            Runner::Fused(network) => {
                let scratch = memory.scratch.get_or_insert_with(|| network.scratch());
                network.run(&[input], scratch);
                Ok(())
            }
            Runner::Hosted(plan, shape) => {
                let tensor = Tensor::from_shape(shape, input).map_err(text)?;
                let outputs = plan.run(tvec!(tensor.into())).map_err(text)?;
                memory.outputs = outputs.iter().map(|output| values(output).map_err(text)).collect::<Result<_, _>>()?;
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
            Runner::Hosted(..) => self.run(input, memory),
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
fn input_shape(manifest: &Manifest) -> [usize; 4] {
    [1, 3, manifest.input.height as usize, manifest.input.width as usize]
}

/// The embedding, then the heads.
fn wanted(manifest: &Manifest) -> Vec<Wanted<'_>> {
    let embedding = &manifest.embedding;
    let embedding = Wanted { name: &embedding.output, values: embedding.dim as usize, unit: "" };
    let heads = manifest.heads.iter();
    let heads = heads.map(|head| Wanted { name: &head.output, values: head.labels.len(), unit: " labels" });
    std::iter::once(embedding).chain(heads).collect()
}

fn check_input(manifest: &Manifest, proto: &ModelProto) -> Result<(), String> {
    let graph = proto.graph.as_ref().ok_or("it has no graph")?;
    let is_constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let inputs = graph.input.iter().map(|input| input.name.as_str()).filter(|name| !is_constant(name));
    let inputs: Vec<&str> = inputs.collect();
    check_windows(graph)?;
    check_scales(graph)?;
    if inputs != [manifest.input.name.as_str()] {
        let expected = &manifest.input.name;
        return Err(format!("its inputs are {inputs:?}, the manifest has one called '{expected}'"));
    }
    Ok(())
}

/// The network on the project's own kernels; `None` where they know none of its layers.
fn fused(manifest: &Manifest, proto: ModelProto, options: &LoadOptions) -> Result<Option<Loaded>, String> {
    let Fused { mut regions, rest, left } = fuse::fuse(proto);
    let mut report = LoadReport {
        isa: options.isa,
        threads: options.threads.max(1),
        fused: Vec::new(),
        left,
        refused: None,
        scratch_bytes: 0,
    };
    let wanted = wanted(manifest);
    if regions.is_empty() {
        return Ok(None);
    }
    if let [region] = &mut regions[..]
        && report.left.is_empty()
        && region.inputs == [manifest.input.name.as_str()]
    {
        let network = whole(manifest, region, &wanted, options)?;
        report.fused = network.layers().to_vec();
        report.scratch_bytes = network.scratch_bytes();
        return Ok(Some(Loaded { runner: Runner::Fused(Box::new(network)), report }));
    }
    let planned = Arc::new(Mutex::new(Vec::new()));
    let mut hosts: Vec<Hosted> = regions
        .into_iter()
        .map(|region| Hosted {
            region: Arc::new(region),
            isa: options.isa,
            threads: options.threads,
            planned: planned.clone(),
        })
        .collect();
    let plan = hosted(manifest, &rest, |model| {
        for node in model.nodes.iter_mut().filter(|node| node.name.starts_with(REGION)) {
            if let Some(at) = hosts.iter().position(|host| host.region.name == node.name) {
                node.op = expand(hosts.swap_remove(at));
            }
        }
        Ok(())
    })?;
    // tract asks more than once while it optimises: the last plan of each region counts.
    let planned = planned.lock().unwrap_or_else(PoisonError::into_inner);
    report.fused = planned.iter().flat_map(|network| network.layers().to_vec()).collect();
    report.scratch_bytes = planned.iter().map(|network| network.scratch_bytes()).sum();
    Ok(Some(Loaded { runner: Runner::Hosted(plan, input_shape(manifest)), report }))
}

/// A region that is the whole network, with its outputs in the order of the manifest.
fn whole(
    manifest: &Manifest,
    region: &mut Region,
    wanted: &[Wanted<'_>],
    options: &LoadOptions,
) -> Result<Network, String> {
    let outputs = wanted.iter().map(|Wanted { name, .. }| {
        let at = region.outputs.iter().position(|output| output == name);
        at.map(|at| region.graph.outputs[at]).ok_or_else(|| format!("it has no output '{name}'"))
    });
    region.graph.outputs = outputs.collect::<Result<_, _>>()?;
    let shape = Shape::of(&input_shape(manifest)).ok_or("its input is too large")?;
    let network = Network::plan(&region.graph, &[shape], options.isa, options.threads)?;
    for (wanted, shape) in wanted.iter().zip(network.outputs()) {
        wanted.check(shape.tensor().iter().product())?;
    }
    Ok(network)
}

impl Wanted<'_> {
    fn check(&self, found: usize) -> Result<(), String> {
        let &Wanted { name, values, unit } = self;
        if found == values {
            return Ok(());
        }
        Err(format!("its output '{name}' has {found} values, expected {values}{unit}"))
    }
}

/// A plan of tract's; `change` may put operators into the graph before it is analysed.
fn hosted(
    manifest: &Manifest,
    proto: &ModelProto,
    change: impl FnOnce(&mut InferenceModel) -> Result<(), String>,
) -> Result<Arc<TypedRunnableModel>, String> {
    let mut model = onnx().model_for_proto_model(proto).map_err(text)?;
    change(&mut model)?;
    model.set_input_fact(0, f32::fact(input_shape(manifest)).into()).map_err(text)?;
    let found = model.output_outlets().map_err(text)?.to_vec();
    let wanted = wanted(manifest);
    let outlets = wanted
        .iter()
        .map(|Wanted { name, .. }| {
            let is_it = |o: &&OutletId| model.outlet_label(**o) == Some(name) || model.node(o.node).name == *name;
            found.iter().find(is_it).copied().ok_or_else(|| format!("it has no output '{name}'"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    model.select_output_outlets(&outlets).map_err(text)?;
    let model = model.into_optimized().map_err(text)?;
    for (at, wanted) in wanted.iter().enumerate() {
        // A size that only a run can tell is checked after the run.
        let shape = model.output_fact(at).map_err(text)?.shape.as_concrete();
        wanted.check(shape.map_or(wanted.values, |shape| shape.iter().product()))?;
    }
    model.into_runnable().map_err(text)
}

fn values(tensor: &Tensor) -> TractResult<Vec<f32>> {
    let tensor = tensor.cast_to::<f32>()?;
    Ok(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

fn text(error: TractError) -> String {
    format!("{error:#}")
}

/// tract is written for networks that one trusts: on others it may panic as well as fail. Both become a message.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("internal failure: {}", text.unwrap_or("unknown")))
    })
}
