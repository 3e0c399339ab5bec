//! Planning: from layers and the shapes of the inputs to steps over one arena.

use super::arena::{ArenaPlanner, Span};
use super::error::{LayerError, PlanError};
use super::factors::{multipliers, product_ratio, ratio};
use super::graph::{Filters, Geometry, Layer, LayerGraph, LayerKind, Scale, Shape};
use super::groups::groups;
use super::shapes::shapes;
use super::simd::{
    CheckedSteps, Int8Kernels, MAX_AVERAGED, Requantise, Step, StepGroup, WindowShape, patch_bytes, tail_bytes,
};
use super::weights::{PackedDepthwise, PackedMatrix, PackingInput};

/// The largest arena: some twenty times what a large network on a phone needs.
const MAX_BYTES: usize = 256 << 20;

/// The most bytes of weights: as much as the largest network file that is read. Weights are packed for each layer, also
/// where layers share them.
const MAX_WEIGHTS: usize = 512 << 20;

/// The most work of a run, in multiplications or comparisons of bytes: a hundred times that of ResNet-50, some seconds on a
/// phone.
const MAX_WORK: u64 = 400_000_000_000;

/// A planned network.
pub(crate) struct ExecutionPlan {
    pub(crate) checked: CheckedSteps,
    /// Where the outputs are after a run, and their shapes.
    pub(crate) outputs: Vec<(Span, Shape)>,
    /// The layer that each step computes.
    pub(crate) layers: Vec<usize>,
}

/// Plans the steps and their arena for one instruction set.
pub(crate) fn plan(
    graph: LayerGraph,
    inputs: &[Shape],
    kernels: &'static Int8Kernels,
    threads: usize,
) -> Result<ExecutionPlan, PlanError> {
    let values = inputs.iter().enumerate();
    let values = values.map(|(index, shape)| shape.values().ok_or(PlanError::Input { index, size: shape.size }));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let shapes = shapes(&graph, inputs)?;
    check_budgets(&graph, &shapes)?;
    let scales: Vec<Scale> = graph.layers.iter().map(|layer| layer.scale).collect();
    let mut last_use: Vec<usize> = (0..graph.layers.len()).collect();
    for (at, layer) in graph.layers.iter().enumerate() {
        for &value in &layer.from {
            last_use[value] = at;
        }
    }
    for &value in &graph.outputs {
        let last_use = last_use.get_mut(value).ok_or(PlanError::NoSuchOutput)?;
        if !gives_floats(&graph, value) {
            return Err(PlanError::OutputOfBytes);
        }
        *last_use = usize::MAX;
    }
    // A flattened value has the same span as the value that it is made from.
    for (at, layer) in graph.layers.iter().enumerate().rev() {
        if let (LayerKind::Flatten, [from]) = (&layer.kind, &layer.from[..]) {
            last_use[*from] = last_use[*from].max(last_use[at]);
        }
    }
    let mut memory = ArenaPlanner::default();
    let mut spans: Vec<Span> = Vec::new();
    let mut planned = PlannedSteps { steps: Vec::new(), layers: Vec::new(), groups: Vec::new() };
    let mut starts = groups(&graph, &shapes, threads).into_iter().peekable();
    let mut group = 0..0;
    for (at, layer) in graph.layers.into_iter().enumerate() {
        let given = shapes[at].values();
        debug_assert!(given.is_some(), "`shapes` refuses empty and oversized values");
        let given = given.unwrap_or(0);
        // All layers of a group run at the same time, so no span that one of them needs may be reused within the group.
        if let Some(next) = starts.next_if(|group| group.layers.start == at) {
            memory.free_before(at);
            planned.groups.push(StepGroup { steps: planned.steps.len()..planned.steps.len(), size: next.size });
            group = next.layers;
        }
        let span = match layer.kind {
            LayerKind::Flatten => spans[layer.from[0]],
            LayerKind::Dequantise | LayerKind::LinearFloats(_) => memory.take(4 * given, last_use[at]),
            _ => memory.take(given, last_use[at]),
        };
        spans.push(span);
        let in_group = layer.from.iter().any(|value| group.contains(value));
        let context = LayerContext { at, in_group, out: span, spans: &spans, shapes: &shapes, scales: &scales };
        let step = step(&layer, &context, &mut memory, kernels, threads);
        if let Some(step) = step.map_err(|reason| PlanError::Layer { name: layer.name.clone(), reason })? {
            planned.steps.push(step);
            planned.layers.push(at);
            planned.groups.last_mut().ok_or(PlanError::Internal("a step without a group"))?.steps.end += 1;
        }
        if memory.bytes > MAX_BYTES {
            return Err(PlanError::TooLarge { name: layer.name, megabytes: MAX_BYTES >> 20 });
        }
    }
    let outputs = graph.outputs.iter().map(|&value| (spans[value], shapes[value])).collect();
    let checked = CheckedSteps::new(kernels, planned.steps, planned.groups, values, memory.bytes, threads);
    let checked = checked.ok_or(PlanError::Internal("a step does not fit its memory"))?;
    Ok(ExecutionPlan { checked, outputs, layers: planned.layers })
}

/// Checks the weights and the work of all layers against their limits, before anything is packed.
fn check_budgets(graph: &LayerGraph, shapes: &[Shape]) -> Result<(), PlanError> {
    let (mut weights, mut work) = (0usize, 0u64);
    for (layer, shape) in graph.layers.iter().zip(shapes) {
        weights = weights.saturating_add(layer.kind.filters().map_or(0, |filters| filters.weights.len()));
        if weights > MAX_WEIGHTS {
            return Err(PlanError::TooManyWeights { name: layer.name.clone(), megabytes: MAX_WEIGHTS >> 20 });
        }
        let read = layer.from.iter().filter_map(|&value| shapes.get(value)?.values()).max().unwrap_or(0) as u64;
        let (pixels, written) = (shape.pixels() as u64, shape.values().unwrap_or(0) as u64);
        let own = match &layer.kind {
            LayerKind::MaxPool(Geometry { kernel: [height, width], .. }) => {
                written.saturating_mul((height * width) as u64)
            }
            kind => kind.filters().map_or(0, |filters| pixels.saturating_mul(filters.weights.len() as u64)),
        };
        work = work.saturating_add(own.max(read).max(written));
        if work > MAX_WORK {
            return Err(PlanError::TooMuchWork { name: layer.name.clone(), billions: MAX_WORK / 1_000_000_000 });
        }
    }
    Ok(())
}

/// Whether a value is f32. The value must exist.
fn gives_floats(graph: &LayerGraph, mut value: usize) -> bool {
    // Ends, because `shapes` checked that a layer reads earlier values.
    while let Some(Layer { kind: LayerKind::Flatten, from, .. }) = graph.layers.get(value) {
        value = from[0];
    }
    matches!(graph.layers.get(value), Some(Layer { kind: LayerKind::Dequantise | LayerKind::LinearFloats(_), .. }))
}

struct PlannedSteps {
    steps: Vec<Step>,
    layers: Vec<usize>,
    groups: Vec<StepGroup>,
}

/// What planning a layer needs to know about the graph.
struct LayerContext<'a> {
    /// The layer's index.
    at: usize,
    /// Whether it reads a value that other threads compute at the same time.
    in_group: bool,
    /// The span of its result.
    out: Span,
    /// Of all values up to this layer's.
    spans: &'a [Span],
    shapes: &'a [Shape],
    scales: &'a [Scale],
}

/// The step of a layer; `None` if there is nothing to do.
fn step(
    layer: &Layer,
    context: &LayerContext<'_>,
    memory: &mut ArenaPlanner,
    kernels: &'static Int8Kernels,
    threads: usize,
) -> Result<Option<Step>, LayerError> {
    // The rest of what `Layer::check` checks is checked where the factors are computed.
    if layer.range[0] > layer.range[1] {
        return Err(LayerError::Range(layer.range));
    }
    let layout = kernels.layout();
    let flip = if layout.signed { 128 } else { 0 };
    let &LayerContext { at, in_group, out, spans, shapes, scales } = context;
    let x = layer.from.first().map_or(out, |&value| spans[value]);
    let (from, shape) = layer.from.first().map_or((layer.scale, shapes[at]), |&value| (scales[value], shapes[value]));
    let to = Requantise {
        zero: i16::from(layer.scale.zero) - i16::from(flip),
        low: layer.range[0] ^ flip,
        high: layer.range[1] ^ flip,
    };
    let window = |geometry: &Geometry| WindowShape {
        height: shape.size[0],
        width: shape.size[1],
        out_height: shapes[at].size[0],
        out_width: shapes[at].size[1],
        kernel: geometry.kernel,
        stride: geometry.stride,
        padding: geometry.before,
    };
    let pack = |filters: &Filters, to: Option<Scale>| -> Result<PackedMatrix, LayerError> {
        let scale = multipliers(filters, from, to)?;
        let packing = PackingInput { weights: &filters.weights, bias: &filters.bias, scale: &scale, zero: from.zero };
        Ok(PackedMatrix::pack(&packing, filters.weights.len() / filters.bias.len(), layout))
    };
    Ok(Some(match &layer.kind {
        LayerKind::Flatten => return Ok(None),
        LayerKind::Quantise(input) => {
            Step::Quantise { input: *input, channels: shapes[at].channels(), scale: layer.scale.factor, to, out }
        }
        LayerKind::Dequantise => Step::Dequantise { x, channels: shape.channels(), from, out },
        LayerKind::Convolution(filters, g) if g.is_pointwise() => {
            let tail = in_group.then(|| memory.take(threads * tail_bytes(shape.channels()), at));
            Step::Product { matrix: pack(filters, Some(layer.scale))?, x, tail, to, out }
        }
        LayerKind::Convolution(filters, g) => {
            let matrix = pack(filters, Some(layer.scale))?;
            let patches = memory.take(threads * patch_bytes(matrix.quads()), at);
            let padding = from.zero ^ flip;
            Step::Dense { matrix, window: window(g), channels: shape.channels(), padding, x, patches, to, out }
        }
        LayerKind::Depthwise(filters, g) => {
            let scale = multipliers(filters, from, Some(layer.scale))?;
            let packing =
                PackingInput { weights: &filters.weights, bias: &filters.bias, scale: &scale, zero: from.zero };
            let kernels = kernels.for_channels(filters.bias.len());
            let filters = PackedDepthwise::pack(&packing, g.kernel, kernels.layout());
            Step::Depthwise { kernels, filters, window: window(g), x, to, out }
        }
        LayerKind::Linear(filters) => {
            Step::Product { matrix: pack(filters, Some(layer.scale))?, x, tail: None, to, out }
        }
        LayerKind::LinearFloats(filters) => Step::ProductFloats { matrix: pack(filters, None)?, x, out },
        LayerKind::Add => {
            let (a, b) = (layer.from[0], layer.from[1]);
            let part = |value: usize| {
                ratio(scales[value], layer.scale).map(|factor| Scale { factor, zero: scales[value].zero })
            };
            Step::Add { a: spans[a], b: spans[b], from: [part(a)?, part(b)?], to, out }
        }
        LayerKind::Multiply => {
            let (a, b) = (layer.from[0], layer.from[1]);
            let factor = product_ratio([scales[a], scales[b]], layer.scale)?;
            let zeros = [scales[a].zero, scales[b].zero];
            Step::Multiply { a: spans[a], b: spans[b], zeros, factor, to, out }
        }
        LayerKind::AveragePool => {
            let pixels = shape.pixels();
            if pixels > MAX_AVERAGED {
                return Err(LayerError::Overflow);
            }
            let factor = ratio(from, layer.scale)? / pixels as f32;
            let sums = memory.take(4 * shape.channels(), at);
            Step::AveragePool { x, zero: from.zero, factor, to, sums, out }
        }
        LayerKind::MaxPool(g) => Step::MaxPool { window: window(g), channels: shape.channels(), x, out },
        LayerKind::Table(table) => {
            let mut stored = Box::new([0; 256]);
            for (byte, value) in (0..=255u8).zip(table.iter()) {
                stored[usize::from(byte ^ flip)] = value ^ flip;
            }
            Step::Table { table: stored, x, out }
        }
    }))
}
