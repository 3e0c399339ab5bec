//! Takes the quantised layers out of an ONNX graph, so that the project's own kernels run them.
//!
//! Layers that can run one after the other without leaving the recognised part form a region. In the graph that is
//! left, a region is one node with f32 inputs and outputs, which tract hosts; where nothing is left, the region is the
//! network.

mod functions;
mod recognise;

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use super::onnx::{Index, Weights};
use magpie_int8::{Layer, LayerGraph, LayerKind, Value};
use recognise::{Recognised, recognise};

/// The operator name of a region's node.
pub(super) const REGION: &str = "MagpieRegion";

/// Layers that run together.
#[derive(Debug)]
pub(super) struct Region {
    /// Name of its node.
    pub(super) name: String,
    /// f32 tensors that it reads.
    pub(super) inputs: Vec<String>,
    /// f32 tensors that it gives, in the order of the graph's outputs.
    pub(super) outputs: Vec<String>,
    pub(super) graph: LayerGraph,
}

/// A graph in two parts.
pub(super) struct Fused {
    pub(super) regions: Vec<Region>,
    /// What is left, with a node for each region.
    pub(super) rest: ModelProto,
    /// Nodes that are left: operator and name.
    pub(super) left: Vec<(String, String)>,
}

/// Takes out what is recognised. `rest` is all of the graph where nothing is.
pub(super) fn fuse(mut proto: ModelProto) -> Fused {
    let Some(graph) = &mut proto.graph else { return Fused { regions: Vec::new(), rest: proto, left: Vec::new() } };
    let weights = Weights::take(graph);
    let graph = &*graph;
    let index = Index::without(&weights, graph);
    let found = recognise(&index);
    let mut parts = Parts { index: &index, found: &found, outputs: HashMap::new(), kept: HashSet::new() };
    parts.collect();
    let Parts { mut outputs, kept, .. } = parts;
    let mut stages: Vec<usize> = outputs.keys().copied().collect();
    stages.sort_unstable();
    let wanted: Vec<Vec<&str>> = stages.iter().map(|stage| outputs.remove(stage).unwrap_or_default()).collect();
    let mut kept: Vec<usize> = kept.into_iter().collect();
    kept.sort_unstable();
    if stages.is_empty() {
        let left = graph.node.iter().map(|node| (node.op_type.clone(), node.name.clone())).collect();
        if let Some(graph) = &mut proto.graph {
            weights.give_back(graph);
        }
        return Fused { regions: Vec::new(), rest: proto, left };
    }
    let left = kept.iter().map(|&at| (graph.node[at].op_type.clone(), graph.node[at].name.clone())).collect();
    let mut plans: Vec<(Plan, usize)> = Vec::new();
    for (stage, wanted) in stages.iter().zip(&wanted) {
        plans.push((Plan::of(&found, *stage, wanted), *stage));
    }
    let rest = rest(graph, &weights, &kept, &plans);
    let mut layers: Vec<Option<Layer>> = found.layers.into_iter().map(Some).collect();
    let regions = plans.into_iter().map(|(plan, stage)| plan.region(stage, &mut layers)).collect();
    proto.graph = Some(rest);
    Fused { regions, rest: proto, left }
}

/// What is needed of the graph, from its outputs back.
struct Parts<'a> {
    index: &'a Index<'a>,
    found: &'a Recognised<'a>,
    /// For each stage, the tensors that are wanted of it.
    outputs: HashMap<usize, Vec<&'a str>>,
    /// Nodes that stay.
    kept: HashSet<usize>,
}

impl<'a> Parts<'a> {
    fn collect(&mut self) {
        let mut seen = HashSet::new();
        let mut wanted: Vec<&str> = self.index.graph.output.iter().rev().map(|output| output.name.as_str()).collect();
        while let Some(name) = wanted.pop() {
            if !seen.insert(name) {
                continue;
            }
            if let Some(&value) = self.found.real.get(name).or(self.found.floats.get(name)) {
                let stage = self.found.stages[value];
                if !self.outputs.contains_key(&stage) {
                    wanted.extend(reads(self.found, stage));
                }
                self.outputs.entry(stage).or_default().push(name);
            } else if let Some(at) = self.index.producer(name)
                && self.kept.insert(at)
            {
                wanted
                    .extend(self.index.graph.node[at].input.iter().map(String::as_str).filter(|name| !name.is_empty()));
            }
        }
    }
}

/// The f32 tensors that a stage reads.
fn reads<'a>(found: &Recognised<'a>, stage: usize) -> Vec<&'a str> {
    let mut names = Vec::new();
    let mut add = |name: &'a str| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    for (layer, _) in found.layers.iter().zip(&found.stages).filter(|(_, found)| **found == stage) {
        if let LayerKind::Quantise(input) = layer.kind {
            add(found.outside[input]);
        }
        for &value in layer.from.iter().filter(|&&value| found.stages[value] != stage) {
            // Layers read a value by a tensor that is its bytes dequantised; any of them will do.
            if let Some(name) = found.real.iter().filter(|(_, real)| **real == value).map(|(name, _)| *name).min() {
                add(name);
            }
        }
    }
    names
}

/// How a region is to be made of layers.
struct Plan {
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// Values of earlier stages, and the inputs that they come in by.
    imports: HashMap<Value, usize>,
    /// Layers of the stage.
    members: Vec<Value>,
    /// Numbers of the region's inputs, by the recogniser's.
    outside: HashMap<usize, usize>,
    /// The values wanted, and whether they are bytes.
    wanted: Vec<(Value, bool)>,
}

impl Plan {
    fn of(found: &Recognised<'_>, stage: usize, wanted: &[&str]) -> Plan {
        let inputs = reads(found, stage);
        let position = |name: &str| inputs.iter().position(|input| *input == name);
        let outside = found.outside.iter().enumerate().filter_map(|(at, name)| position(name).map(|to| (at, to)));
        let members: Vec<Value> = (0..found.layers.len()).filter(|&value| found.stages[value] == stage).collect();
        let mut imports = HashMap::new();
        for &value in members.iter().flat_map(|&member| &found.layers[member].from) {
            if found.stages[value] != stage
                && let Some(at) = inputs.iter().position(|name| found.real.get(name) == Some(&value))
            {
                imports.insert(value, at);
            }
        }
        Plan {
            outside: outside.collect(),
            inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
            outputs: wanted.iter().map(|name| (*name).to_owned()).collect(),
            imports,
            members,
            wanted: wanted
                .iter()
                .filter_map(|name| {
                    let real = found.real.get(name).map(|&value| (value, true));
                    real.or(found.floats.get(name).map(|&value| (value, false)))
                })
                .collect(),
        }
    }

    /// Takes the layers.
    fn region(self, stage: usize, layers: &mut [Option<Layer>]) -> Region {
        let mut graph = LayerGraph::default();
        let mut local: HashMap<Value, Value> = HashMap::new();
        let mut imports: Vec<(&Value, &usize)> = self.imports.iter().collect();
        imports.sort();
        for (&value, &input) in imports {
            // Already taken by its own region, which comes first; its scale is with the layers that were given.
            if let Some(scale) = self.scale_of(value, layers) {
                local.insert(value, graph.layers.len());
                let (name, kind) = (self.inputs[input].clone(), LayerKind::Quantise(input));
                graph.layers.push(Layer { name, kind, from: vec![], scale, range: [0, 255] });
            }
        }
        for &member in &self.members {
            let Some(mut layer) = layers[member].take() else { continue };
            if let LayerKind::Quantise(input) = &mut layer.kind {
                *input = self.outside.get(input).copied().unwrap_or(usize::MAX);
            }
            let scale = layer.scale;
            layer.from = layer.from.iter().map(|value| local.get(value).copied().unwrap_or(usize::MAX)).collect();
            local.insert(member, graph.layers.len());
            graph.layers.push(layer);
            // What later regions read of it.
            layers[member] =
                Some(Layer { name: String::new(), kind: LayerKind::Dequantise, from: vec![], scale, range: [0, 255] });
        }
        for ((value, is_bytes), name) in self.wanted.iter().zip(&self.outputs) {
            let mut at = local.get(value).copied().unwrap_or(usize::MAX);
            if *is_bytes && at < graph.layers.len() {
                let scale = graph.layers[at].scale;
                let (name, from) = (name.clone(), vec![at]);
                graph.layers.push(Layer { name, kind: LayerKind::Dequantise, from, scale, range: [0, 255] });
                at = graph.layers.len() - 1;
            }
            graph.outputs.push(at);
        }
        Region { name: region_name(stage), inputs: self.inputs, outputs: self.outputs, graph }
    }

    fn scale_of(&self, value: Value, layers: &[Option<Layer>]) -> Option<magpie_int8::Scale> {
        layers[value].as_ref().map(|layer| layer.scale)
    }
}

fn region_name(stage: usize) -> String {
    format!("{REGION}{stage}")
}

/// The graph without what was taken out.
fn rest(graph: &GraphProto, weights: &Weights, kept: &[usize], plans: &[(Plan, usize)]) -> GraphProto {
    let mut rest = GraphProto { name: graph.name.clone(), ..GraphProto::default() };
    let regions = plans.iter().map(|(plan, stage)| NodeProto {
        input: plan.inputs.clone(),
        output: plan.outputs.clone(),
        name: region_name(*stage),
        op_type: REGION.to_owned(),
        ..NodeProto::default()
    });
    rest.node = regions.chain(kept.iter().map(|&at| graph.node[at].clone())).collect();
    let needed: HashSet<&str> = rest.node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    let is_needed = |name: &str| needed.contains(name);
    let initializers = graph.initializer.iter().filter(|tensor| is_needed(&tensor.name));
    rest.initializer = initializers.map(|tensor| weights.whole(tensor)).collect();
    let is_input = |name: &str| !graph.initializer.iter().any(|tensor| tensor.name == name) || is_needed(name);
    rest.input = graph.input.iter().filter(|input| is_input(&input.name)).cloned().collect();
    rest.output = graph.output.clone();
    rest
}
