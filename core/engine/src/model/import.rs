//! Loads an ONNX file: `fuse` extracts quantised subgraphs, and tract runs the rest.

use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::{Framework, expand};

use super::fuse::{self, Fused, REGION, Region};
use super::host::Hosted;
use super::manifest::Manifest;
use super::network::{LoadOptions, LoadReport, Loaded, guarded, input_shape, wanted};
use super::onnx::{check_scales, check_windows, read};
use magpie_int8::{Graph, TOO_LARGE};

/// A network that tract runs.
pub(super) struct Imported {
    plan: Arc<TypedRunnableModel>,
    input: [usize; 4],
}

impl Imported {
    /// Runs the network on `[1, 3, height, width]` values; the outputs are in the order of the manifest.
    pub(super) fn run(&self, input: &[f32]) -> Result<Vec<Vec<f32>>, String> {
        let tensor = Tensor::from_shape(&self.input, input).map_err(text)?;
        let outputs = self.plan.run(tvec!(tensor.into())).map_err(text)?;
        outputs.iter().map(|output| values(output).map_err(text)).collect()
    }
}

/// Loads an ONNX file.
pub(super) fn load(manifest: &Manifest, network: &[u8], options: &LoadOptions) -> Result<Loaded, String> {
    let mut proto = checked(manifest, network)?;
    let mut refused = None;
    if options.fuse {
        // If fusing fails, tract alone may still run the network.
        match guarded(|| fused(manifest, proto, options)) {
            Ok(Some(loaded)) => return Ok(loaded),
            Ok(None) => {}
            // Not retried on tract, which would need four times as much memory.
            Err(reason) if reason.contains(TOO_LARGE) => return Err(reason),
            Err(reason) => refused = Some(reason),
        }
        proto = read(network)?;
    }
    let left = proto.graph.iter().flat_map(|graph| &graph.node);
    let left = left.map(|node| (node.op_type.clone(), node.name.clone())).collect();
    let imported = hosted(manifest, &proto, |_| Ok(()))?;
    let report = LoadReport { isa: options.isa, threads: 1, fused: Vec::new(), left, refused, scratch_bytes: 0 };
    Ok(Loaded::hosted(imported, report))
}

/// Returns the layers of an ONNX file, with the outputs in the order of the manifest.
///
/// # Errors
/// If the project's own kernels do not support all of the network; the error names unsupported nodes.
pub(super) fn graph(manifest: &Manifest, network: &[u8]) -> Result<Graph, String> {
    guarded(|| {
        let Fused { mut regions, left, .. } = fuse::fuse(checked(manifest, network)?);
        if let Some(region) = whole(manifest, &mut regions, &left)? {
            return Ok(std::mem::take(&mut region.graph));
        }
        let names: Vec<String> = left.iter().take(5).map(|(kind, name)| format!("{kind} '{name}'")).collect();
        Err(format!("{} of its nodes need tract, e.g. {}", left.len(), names.join(", ")))
    })
}

fn checked(manifest: &Manifest, network: &[u8]) -> Result<ModelProto, String> {
    let proto = read(network)?;
    check_input(manifest, &proto)?;
    Ok(proto)
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

/// Returns the subgraph that is the whole network, if there is one, with its outputs in the order of the manifest.
fn whole<'r>(
    manifest: &Manifest,
    regions: &'r mut [Region],
    left: &[(String, String)],
) -> Result<Option<&'r mut Region>, String> {
    let [region] = regions else { return Ok(None) };
    if !left.is_empty() || region.inputs != [manifest.input.name.as_str()] {
        return Ok(None);
    }
    let wanted = wanted(manifest);
    let outputs = wanted.iter().map(|wanted| {
        let at = region.outputs.iter().position(|output| output == wanted.name);
        at.map(|at| region.graph.outputs[at]).ok_or_else(|| format!("it has no output '{}'", wanted.name))
    });
    region.graph.outputs = outputs.collect::<Result<_, _>>()?;
    Ok(Some(region))
}

/// Loads the network onto the project's own kernels as far as possible; `None` if they support none of its layers.
fn fused(manifest: &Manifest, proto: ModelProto, options: &LoadOptions) -> Result<Option<Loaded>, String> {
    let Fused { mut regions, rest, left } = fuse::fuse(proto);
    if regions.is_empty() {
        return Ok(None);
    }
    if let Some(region) = whole(manifest, &mut regions, &left)? {
        return Loaded::fused(manifest, std::mem::take(&mut region.graph), options).map(Some);
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
    let imported = hosted(manifest, &rest, |model| {
        for node in model.nodes.iter_mut().filter(|node| node.name.starts_with(REGION)) {
            if let Some(at) = hosts.iter().position(|host| host.region.name == node.name) {
                node.op = expand(hosts.swap_remove(at));
            }
        }
        Ok(())
    })?;
    // The report describes the networks that were planned while tract wired its graph.
    let planned = planned.lock().unwrap_or_else(PoisonError::into_inner);
    let report = LoadReport {
        isa: options.isa,
        threads: options.threads.max(1),
        fused: planned.iter().flat_map(|network| network.layers().to_vec()).collect(),
        left,
        refused: None,
        scratch_bytes: planned.iter().map(|network| network.scratch_bytes()).sum(),
    };
    Ok(Some(Loaded::hosted(imported, report)))
}

/// Builds tract's plan; `change` may insert custom operators before the graph is analysed.
fn hosted(
    manifest: &Manifest,
    proto: &ModelProto,
    change: impl FnOnce(&mut InferenceModel) -> Result<(), String>,
) -> Result<Imported, String> {
    let mut model = onnx().model_for_proto_model(proto).map_err(text)?;
    change(&mut model)?;
    model.set_input_fact(0, f32::fact(input_shape(manifest)).into()).map_err(text)?;
    let found = model.output_outlets().map_err(text)?.to_vec();
    let wanted = wanted(manifest);
    let outlets = wanted
        .iter()
        .map(|wanted| {
            let name = wanted.name;
            let is_it = |o: &&OutletId| model.outlet_label(**o) == Some(name) || model.node(o.node).name == name;
            found.iter().find(is_it).copied().ok_or_else(|| format!("it has no output '{name}'"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    model.select_output_outlets(&outlets).map_err(text)?;
    let model = model.into_optimized().map_err(text)?;
    for (at, wanted) in wanted.iter().enumerate() {
        // A size that is known only at run time is checked after the run.
        let shape = model.output_fact(at).map_err(text)?.shape.as_concrete();
        wanted.check(shape.map_or(wanted.values, |shape| shape.iter().product()))?;
    }
    Ok(Imported { plan: model.into_runnable().map_err(text)?, input: input_shape(manifest) })
}

fn values(tensor: &Tensor) -> TractResult<Vec<f32>> {
    let tensor = tensor.cast_to::<f32>()?;
    Ok(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

fn text(error: TractError) -> String {
    format!("{error:#}")
}
