//! Partitions an ONNX graph: quantised layers, which the project's own kernels run, and the rest.
//!
//! A subgraph consists of recognised layers that can run in sequence without a node of the rest in between. In the
//! graph of the rest, it is one node with f32 inputs and outputs, which tract hosts. If there is no rest, the subgraph
//! is the whole network.

mod filters;
mod functions;
mod recognise;

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use super::fault::ImportFault;
use super::left::{LeftNode, LeftReason};
use super::onnx::{self, TakenWeights, TensorIndex};
use magpie_int8::{Layer, LayerGraph, LayerKind, Value};
use recognise::{Recognised, recognise};

/// The operator of a subgraph's node.
pub(super) const SUBGRAPH: &str = "MagpieSubgraph";

/// Layers that run together.
#[derive(Debug)]
pub(super) struct Subgraph {
    /// The name of its node.
    pub(super) name: String,
    /// The f32 tensors that it reads.
    pub(super) inputs: Vec<String>,
    /// The f32 tensors that it produces, in the order of the graph's outputs.
    pub(super) outputs: Vec<String>,
    pub(super) graph: LayerGraph,
}

/// A partitioned graph.
pub(super) struct Fused {
    pub(super) subgraphs: Vec<Subgraph>,
    /// The rest of the graph, with one node for each subgraph.
    pub(super) rest: ModelProto,
    /// The nodes of the rest, without those of subgraphs.
    pub(super) left: Vec<LeftNode>,
}

/// Extracts the recognised layers. If there are none, `rest` is the whole graph.
///
/// # Errors
/// If a layer reads a value that its subgraph does not have, which takes a malformed graph.
pub(super) fn fuse(mut proto: ModelProto) -> Result<Fused, ImportFault> {
    let Some(graph) = &mut proto.graph else { return Err(ImportFault::NoGraph) };
    let weights = TakenWeights::take(graph);
    let graph = &*graph;
    let index = TensorIndex::without(&weights, graph);
    let found = recognise(&index);
    let mut parts = Parts { index: &index, found: &found, outputs: HashMap::new(), kept: HashSet::new() };
    parts.collect();
    let Parts { outputs, kept, .. } = parts;
    let mut stages: Vec<(usize, Vec<StageOutput<'_>>)> = outputs.into_iter().collect();
    stages.sort_unstable_by_key(|(stage, _)| *stage);
    let mut kept: Vec<usize> = kept.into_iter().collect();
    kept.sort_unstable();
    let left = |at: usize| {
        let node = &graph.node[at];
        LeftNode::new(&node.op_type, &node.name, reason(&found, at, node))
    };
    if stages.is_empty() {
        let left = (0..graph.node.len()).map(left).collect();
        if let Some(graph) = &mut proto.graph {
            weights.give_back(graph);
        }
        return Ok(Fused { subgraphs: Vec::new(), rest: proto, left });
    }
    let left = kept.iter().map(|&at| left(at)).collect();
    let plans: Vec<(FusionPlan, usize)> =
        stages.iter().map(|(stage, outputs)| (FusionPlan::of(&found, *stage, outputs), *stage)).collect();
    let rest = rest(graph, &weights, &kept, &plans);
    let mut layers = found.layers;
    let subgraphs =
        plans.into_iter().map(|(plan, stage)| plan.subgraph(stage, &mut layers)).collect::<Result<_, _>>()?;
    proto.graph = Some(rest);
    Ok(Fused { subgraphs, rest: proto, left })
}

/// Why a node is not among the recognised layers.
fn reason(found: &Recognised<'_>, at: usize, node: &NodeProto) -> LeftReason {
    if let Some(reason) = found.refused.get(&at) {
        return reason.clone();
    }
    let is_quantised = |at: usize| onnx::input(node, at).is_some_and(|name| found.real.contains_key(name));
    match node.op_type.as_str() {
        "QuantizeLinear" | "DequantizeLinear" | "Constant" => LeftReason::Part,
        operator if !functions::is_known(operator) => LeftReason::Operator,
        "Add" | "Mul" if !is_quantised(1) => LeftReason::Input,
        _ if !is_quantised(0) => LeftReason::Input,
        "Flatten" | "Reshape" | "Squeeze" => LeftReason::Form,
        _ => LeftReason::Result,
    }
}

/// A tensor of a stage that is read elsewhere.
struct StageOutput<'a> {
    name: &'a str,
    value: Value,
    /// Whether the layers hold it quantised.
    quantised: bool,
}

/// The needed part of the graph, found by walking back from its outputs.
struct Parts<'a> {
    index: &'a TensorIndex<'a>,
    found: &'a Recognised<'a>,
    /// For each stage, its tensors that are read elsewhere.
    outputs: HashMap<usize, Vec<StageOutput<'a>>>,
    /// Nodes that stay in the rest.
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
            let quantised = self.found.real.get(name);
            if let Some(&value) = quantised.or(self.found.floats.get(name)) {
                let stage = self.found.stages[value];
                if !self.outputs.contains_key(&stage) {
                    wanted.extend(reads(self.found, stage));
                }
                let output = StageOutput { name, value, quantised: quantised.is_some() };
                self.outputs.entry(stage).or_default().push(output);
            } else if let Some(at) = self.index.producer(name)
                && self.kept.insert(at)
            {
                wanted
                    .extend(self.index.graph.node[at].input.iter().map(String::as_str).filter(|name| !name.is_empty()));
            }
        }
    }
}

/// Returns the f32 tensors that a stage reads.
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
            // Any tensor that holds the dequantised value will do; the least name makes the choice deterministic.
            if let Some(name) = found.real.iter().filter(|(_, real)| **real == value).map(|(name, _)| *name).min() {
                add(name);
            }
        }
    }
    names
}

/// How a subgraph is made from the layers of a stage.
struct FusionPlan {
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// Values of earlier stages, and the inputs that carry them.
    imports: HashMap<Value, usize>,
    /// The layers of the stage.
    members: Vec<Value>,
    /// Maps the recogniser's input numbers to the subgraph's.
    outside: HashMap<usize, usize>,
    /// The output values, and whether they are quantised.
    values: Vec<(Value, bool)>,
}

impl FusionPlan {
    fn of(found: &Recognised<'_>, stage: usize, outputs: &[StageOutput<'_>]) -> FusionPlan {
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
        FusionPlan {
            outside: outside.collect(),
            inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
            outputs: outputs.iter().map(|output| output.name.to_owned()).collect(),
            imports,
            members,
            values: outputs.iter().map(|output| (output.value, output.quantised)).collect(),
        }
    }

    /// Moves the layers into a subgraph.
    fn subgraph(self, stage: usize, layers: &mut [Layer]) -> Result<Subgraph, ImportFault> {
        let mut graph = LayerGraph::default();
        let mut local: HashMap<Value, Value> = HashMap::new();
        let mut imports: Vec<(&Value, &usize)> = self.imports.iter().collect();
        imports.sort();
        for (&value, &input) in imports {
            // The layer itself was moved into an earlier subgraph; a placeholder with its scale remains.
            let scale = layers[value].scale;
            local.insert(value, graph.layers.len());
            let (name, kind) = (self.inputs[input].clone(), LayerKind::Quantise(input));
            graph.layers.push(Layer { name, kind, from: vec![], scale, range: [0, 255] });
        }
        for &member in &self.members {
            // A placeholder with the scale, for later subgraphs that read the value.
            let scale = layers[member].scale;
            let kind = LayerKind::Dequantise;
            let placeholder = Layer { name: String::new(), kind, from: vec![], scale, range: [0, 255] };
            let mut layer = std::mem::replace(&mut layers[member], placeholder);
            let missing = |name: &str| ImportFault::MissingValue(name.to_owned());
            if let LayerKind::Quantise(input) = &mut layer.kind {
                *input = *self.outside.get(input).ok_or_else(|| missing(&layer.name))?;
            }
            let from = layer.from.iter().map(|value| local.get(value).copied().ok_or_else(|| missing(&layer.name)));
            layer.from = from.collect::<Result<_, _>>()?;
            local.insert(member, graph.layers.len());
            graph.layers.push(layer);
        }
        for (&(value, quantised), name) in self.values.iter().zip(&self.outputs) {
            let mut at = *local.get(&value).ok_or_else(|| ImportFault::MissingValue(name.clone()))?;
            if quantised {
                let scale = graph.layers[at].scale;
                let (name, from) = (name.clone(), vec![at]);
                graph.layers.push(Layer { name, kind: LayerKind::Dequantise, from, scale, range: [0, 255] });
                at = graph.layers.len() - 1;
            }
            graph.outputs.push(at);
        }
        Ok(Subgraph { name: subgraph_name(stage), inputs: self.inputs, outputs: self.outputs, graph })
    }
}

fn subgraph_name(stage: usize) -> String {
    format!("{SUBGRAPH}{stage}")
}

/// Builds the graph of the rest.
fn rest(graph: &GraphProto, weights: &TakenWeights, kept: &[usize], plans: &[(FusionPlan, usize)]) -> GraphProto {
    let mut rest = GraphProto { name: graph.name.clone(), ..GraphProto::default() };
    let subgraphs = plans.iter().map(|(plan, stage)| NodeProto {
        input: plan.inputs.clone(),
        output: plan.outputs.clone(),
        name: subgraph_name(*stage),
        op_type: SUBGRAPH.to_owned(),
        ..NodeProto::default()
    });
    rest.node = subgraphs.chain(kept.iter().map(|&at| graph.node[at].clone())).collect();
    let needed: HashSet<&str> = rest.node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    let is_needed = |name: &str| needed.contains(name);
    let initializers = graph.initializer.iter().filter(|tensor| is_needed(&tensor.name));
    rest.initializer = initializers.map(|tensor| weights.whole(tensor)).collect();
    let is_input = |name: &str| !graph.initializer.iter().any(|tensor| tensor.name == name) || is_needed(name);
    rest.input = graph.input.iter().filter(|input| is_input(&input.name)).cloned().collect();
    rest.output = graph.output.clone();
    rest
}
