//! Loads an ONNX file: `fuse` extracts quantised subgraphs, and tract runs the rest.

use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::{Framework, expand};

use super::fault::{ImportFault, NetworkFault, guarded};
use super::fuse::{self, Fused, SUBGRAPH, Subgraph};
use super::host::Hosted;
use super::left::{LeftNode, LeftReason};
use super::loaded::{LoadOptions, LoadReport, LoadedNetwork};
use super::manifest::Manifest;
use super::onnx::{check_scales, check_shared_weights, check_windows, read};
use super::signature::{expected_outputs, input_shape};
use super::tract_plan::{TractPlan, fault};
use magpie_int8::LayerGraph;

/// Loads an ONNX file.
pub(super) fn load(manifest: &Manifest, network: &[u8], options: &LoadOptions) -> Result<LoadedNetwork, NetworkFault> {
    let mut proto = checked(manifest, network)?;
    let (mut refused, mut left) = (None, None);
    if options.fuse {
        // If fusing fails, tract alone may still run the network.
        match guarded(|| fused(manifest, proto, options)) {
            Ok(Ok(loaded)) => return Ok(loaded),
            Ok(Err(nodes)) => left = Some(nodes),
            // Not retried on tract, which would need four times as much memory.
            Err(fault) if fault.is_too_large() => return Err(fault),
            Err(fault) => refused = Some(fault.to_string()),
        }
        proto = read(network)?;
    }
    let left = left.unwrap_or_else(|| {
        let reason = if options.fuse { LeftReason::Network } else { LeftReason::Unfused };
        let nodes = proto.graph.iter().flat_map(|graph| &graph.node);
        nodes.map(|node| LeftNode::new(&node.op_type, &node.name, reason.clone())).collect()
    });
    let plan = hosted(manifest, &proto, |_| ())?;
    let report = LoadReport { left, refused, ..LoadReport::new(options.isa, 1) };
    Ok(LoadedNetwork::hosted(plan, report))
}

/// Returns the layers of an ONNX file, with the outputs in the order of the manifest.
///
/// # Errors
/// If the project's own kernels do not support all of the network; the error names unsupported nodes.
pub(super) fn graph(manifest: &Manifest, network: &[u8]) -> Result<LayerGraph, NetworkFault> {
    guarded(|| {
        let Fused { mut subgraphs, left, .. } = fuse::fuse(checked(manifest, network)?)?;
        if let Some(subgraph) = whole(manifest, &mut subgraphs, &left)? {
            return Ok(std::mem::take(&mut subgraph.graph));
        }
        // The nodes around a layer say nothing that the layer itself does not say.
        let causes = left.iter().filter(|node| node.reason != LeftReason::Part).take(5);
        let examples = causes.map(|node| format!("{} '{}' ({})", node.operator, node.name, node.reason)).collect();
        Err(ImportFault::NeedsTract { count: left.len(), examples }.into())
    })
}

fn checked(manifest: &Manifest, network: &[u8]) -> Result<ModelProto, ImportFault> {
    let proto = read(network)?;
    check_input(manifest, &proto)?;
    Ok(proto)
}

fn check_input(manifest: &Manifest, proto: &ModelProto) -> Result<(), ImportFault> {
    let graph = proto.graph.as_ref().ok_or(ImportFault::NoGraph)?;
    let is_constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let inputs = graph.input.iter().map(|input| input.name.as_str()).filter(|name| !is_constant(name));
    let inputs: Vec<&str> = inputs.collect();
    check_windows(graph)?;
    check_scales(graph)?;
    check_shared_weights(graph)?;
    if inputs != [manifest.input.name.as_str()] {
        let found = inputs.into_iter().map(str::to_owned).collect();
        return Err(ImportFault::Inputs { found, expected: manifest.input.name.clone() });
    }
    Ok(())
}

/// Returns the subgraph that is the whole network, if there is one, with its outputs in the order of the manifest.
fn whole<'r>(
    manifest: &Manifest,
    subgraphs: &'r mut [Subgraph],
    left: &[LeftNode],
) -> Result<Option<&'r mut Subgraph>, ImportFault> {
    let [subgraph] = subgraphs else { return Ok(None) };
    if !left.is_empty() || subgraph.inputs != [manifest.input.name.as_str()] {
        return Ok(None);
    }
    let expected = expected_outputs(manifest);
    let outputs = expected.iter().map(|expected| {
        let at = subgraph.outputs.iter().position(|output| output == expected.name);
        at.map(|at| subgraph.graph.outputs[at]).ok_or_else(|| ImportFault::NoOutput(expected.name.to_owned()))
    });
    subgraph.graph.outputs = outputs.collect::<Result<_, _>>()?;
    Ok(Some(subgraph))
}

/// Loads the network onto the project's own kernels as far as possible. If they support none of its layers, returns the
/// nodes instead, with the reasons.
fn fused(
    manifest: &Manifest,
    proto: ModelProto,
    options: &LoadOptions,
) -> Result<Result<LoadedNetwork, Vec<LeftNode>>, NetworkFault> {
    let Fused { mut subgraphs, rest, left } = fuse::fuse(proto)?;
    if subgraphs.is_empty() {
        return Ok(Err(left));
    }
    if let Some(subgraph) = whole(manifest, &mut subgraphs, &left)? {
        return LoadedNetwork::fused(manifest, std::mem::take(&mut subgraph.graph), options).map(Ok);
    }
    let planned = Arc::new(Mutex::new(Vec::new()));
    let mut hosts: Vec<Hosted> = subgraphs
        .into_iter()
        .map(|subgraph| Hosted {
            subgraph: Arc::new(subgraph),
            isa: options.isa,
            threads: options.threads,
            planned: planned.clone(),
        })
        .collect();
    let plan = hosted(manifest, &rest, |model| {
        for node in model.nodes.iter_mut().filter(|node| node.name.starts_with(SUBGRAPH)) {
            if let Some(at) = hosts.iter().position(|host| host.subgraph.name == node.name) {
                node.op = expand(hosts.swap_remove(at));
            }
        }
    })?;
    // The report describes the networks that were planned while tract wired its graph.
    let planned = planned.lock().unwrap_or_else(PoisonError::into_inner);
    let report = LoadReport {
        fused: planned.iter().flat_map(|network| network.layers().to_vec()).collect(),
        left,
        scratch_bytes: planned.iter().map(|network| network.scratch_bytes()).sum(),
        ..LoadReport::new(options.isa, options.threads.max(1))
    };
    Ok(Ok(LoadedNetwork::hosted(plan, report)))
}

/// Builds tract's plan; `change` may insert custom operators before the graph is analysed.
fn hosted(
    manifest: &Manifest,
    proto: &ModelProto,
    change: impl FnOnce(&mut InferenceModel),
) -> Result<TractPlan, NetworkFault> {
    let mut model = onnx().model_for_proto_model(proto).map_err(fault)?;
    change(&mut model);
    model.set_input_fact(0, f32::fact(input_shape(manifest)).into()).map_err(fault)?;
    let found = model.output_outlets().map_err(fault)?.to_vec();
    let expected = expected_outputs(manifest);
    let outlets = expected
        .iter()
        .map(|expected| {
            let name = expected.name;
            let is_it = |o: &&OutletId| model.outlet_label(**o) == Some(name) || model.node(o.node).name == name;
            found.iter().find(is_it).copied().ok_or_else(|| ImportFault::NoOutput(name.to_owned()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    model.select_output_outlets(&outlets).map_err(fault)?;
    let model = model.into_optimized().map_err(fault)?;
    for (at, expected) in expected.iter().enumerate() {
        // A size that is known only at run time is checked after the run.
        let shape = model.output_fact(at).map_err(fault)?.shape.as_concrete();
        expected.check(shape.map_or(expected.values, |shape| shape.iter().product()))?;
    }
    Ok(TractPlan { plan: model.into_runnable().map_err(fault)?, input: input_shape(manifest) })
}
