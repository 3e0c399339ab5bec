//! From layers and the shapes of the inputs to steps over one memory, planned once.

use super::graph::{Filters, Geometry, Graph, Kind, Layer, MAX_VALUES, Scale, multipliers};
use super::groups::groups;
use super::simd::{Checked, Group, Kernels, Requantise, SLACK, Span, Step, Window, patch_bytes};
use super::weights::{Depthwise, Filters as Packing, Matrix};

/// Shape of a value: height, width, channels; and whether it is a vector (height and width 1, and not written).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows, columns, channels.
    pub size: [usize; 3],
    /// `[1, channels]` rather than `[1, channels, 1, 1]`.
    pub vector: bool,
}

impl Shape {
    /// Of an f32 tensor: `[1, channels, height, width]` or `[1, channels]`.
    pub fn of(tensor: &[usize]) -> Option<Shape> {
        let shape = match *tensor {
            [1, c, h, w] => Shape { size: [h, w, c], vector: false },
            [1, c] => Shape { size: [1, 1, c], vector: true },
            _ => return None,
        };
        shape.values().map(|_| shape)
    }

    /// As an f32 tensor's.
    pub fn tensor(self) -> Vec<usize> {
        let [h, w, c] = self.size;
        if self.vector { vec![1, c] } else { vec![1, c, h, w] }
    }

    fn pixels(self) -> usize {
        self.size[0] * self.size[1]
    }

    fn channels(self) -> usize {
        self.size[2]
    }

    /// `None` where there are none, or too many.
    fn values(self) -> Option<usize> {
        let values = self.size.iter().try_fold(1usize, |product, &n| product.checked_mul(n))?;
        (1..=MAX_VALUES).contains(&values).then_some(values)
    }
}

/// Most bytes that the values of one run may take: some twenty times what a large network of a phone needs.
const MAX_BYTES: usize = 256 << 20;

/// How the message begins where they would take more.
pub const TOO_LARGE: &str = "the values of a run take too much memory";

/// A planned network.
pub(super) struct Plan {
    pub(super) checked: Checked,
    /// Where the outputs lie when it has run, and their shapes.
    pub(super) outputs: Vec<(Span, Shape)>,
    /// For each step, the layer that it does.
    pub(super) layers: Vec<usize>,
}

/// Shapes of all values, in the order of the layers.
///
/// # Errors
/// A text that names the layer whose shapes do not fit.
pub(super) fn shapes(graph: &Graph, inputs: &[Shape]) -> Result<Vec<Shape>, String> {
    let mut shapes: Vec<Shape> = Vec::with_capacity(graph.layers.len());
    for layer in &graph.layers {
        let shape = shape(layer, inputs, &shapes).map_err(|detail| format!("layer '{}': {detail}", layer.name))?;
        shapes.push(shape);
    }
    Ok(shapes)
}

fn shape(layer: &Layer, inputs: &[Shape], before: &[Shape]) -> Result<Shape, String> {
    let from = layer.from.iter().map(|&value| before.get(value).copied()).collect::<Option<Vec<_>>>();
    let from = from.ok_or("it reads a value that comes later")?;
    let channels = |expected: usize, found: Shape| match found.channels() {
        found if found == expected => Ok(()),
        found => Err(format!("it gets {found} channels, expected {expected}")),
    };
    let found = match (&layer.kind, &from[..]) {
        (Kind::Quantise(input), []) => *inputs.get(*input).ok_or("it reads an input that is not there")?,
        (Kind::Dequantise | Kind::Table(_), [x]) => *x,
        (Kind::Convolution(filters, geometry), [x]) => {
            let shape = moved(*x, geometry, filters.bias.len())?;
            let inside = geometry.kernel[0] * geometry.kernel[1];
            channels(filters.weights.len() / filters.bias.len().max(1) / inside, *x)?;
            exact(filters, inside * x.channels())?;
            shape
        }
        (Kind::Depthwise(filters, geometry), [x]) => {
            channels(filters.bias.len(), *x)?;
            let shape = moved(*x, geometry, x.channels())?;
            exact(filters, geometry.kernel[0] * geometry.kernel[1])?;
            shape
        }
        (Kind::Linear(filters) | Kind::LinearFloats(filters), [x]) if x.pixels() == 1 => {
            channels(filters.weights.len() / filters.bias.len().max(1), *x)?;
            exact(filters, x.channels())?;
            Shape { size: [1, 1, filters.bias.len()], ..*x }
        }
        (Kind::Add, [a, b]) if a == b => *a,
        (Kind::Multiply, [a, b]) if a == b || (b.pixels() == 1 && a.channels() == b.channels()) => *a,
        (Kind::Average, [x]) => Shape { size: [1, 1, x.channels()], ..*x },
        (Kind::Largest(geometry), [x]) => {
            if (0..2).any(|i| geometry.before[i].max(geometry.after[i]) >= geometry.kernel[i]) {
                return Err("a window may lie outside of the picture".to_owned());
            }
            moved(*x, geometry, x.channels())?
        }
        (Kind::Flatten, [x]) if x.pixels() == 1 => Shape { vector: true, ..*x },
        _ => return Err(format!("it cannot take values of the shapes {from:?}")),
    };
    found.values().map(|_| found).ok_or_else(|| format!("its result would be {:?}", found.size))
}

/// As many weights an output as its window has.
fn exact(filters: &Filters, depth: usize) -> Result<(), String> {
    let (weights, outputs) = (filters.weights.len(), filters.bias.len());
    if outputs.checked_mul(depth) == Some(weights) {
        return Ok(());
    }
    Err(format!("it has {weights} weights for {outputs} outputs of {depth} each"))
}

/// Longest side of a window, of a step and of padding: beyond every network.
const MAX_WINDOW: usize = 1 << 12;

fn moved(x: Shape, geometry: &Geometry, channels: usize) -> Result<Shape, String> {
    let Geometry { kernel, stride, before, after } = geometry;
    let mut sizes = [kernel, stride, before, after].into_iter().flatten();
    if kernel.contains(&0) || sizes.any(|&size| size > MAX_WINDOW) {
        return Err(format!("its window is {geometry:?}"));
    }
    let size = |i: usize| -> Option<usize> {
        let padded = x.size[i].checked_add(geometry.before[i])?.checked_add(geometry.after[i])?;
        Some(padded.checked_sub(geometry.kernel[i])?.checked_div(geometry.stride[i])? + 1)
    };
    let (Some(height), Some(width)) = (size(0), size(1)) else {
        return Err(format!("a window {geometry:?} does not fit {} x {} pixels", x.size[1], x.size[0]));
    };
    Ok(Shape { size: [height, width, channels], vector: false })
}

/// Plans the steps and their memory.
///
/// # Errors
/// A text that names the layer that cannot be planned.
pub(super) fn plan(graph: Graph, inputs: &[Shape], kernels: &'static Kernels, threads: usize) -> Result<Plan, String> {
    let shapes = shapes(&graph, inputs)?;
    let scales: Vec<Scale> = graph.layers.iter().map(|layer| layer.scale).collect();
    let mut last_use: Vec<usize> = (0..graph.layers.len()).collect();
    for (at, layer) in graph.layers.iter().enumerate() {
        for &value in &layer.from {
            last_use[value] = at;
        }
    }
    for &value in &graph.outputs {
        if !gives_floats(&graph, value) {
            return Err("an output is a value of bytes, not of f32".to_owned());
        }
        *last_use.get_mut(value).ok_or("an output is a value that is not there")? = usize::MAX;
    }
    // A flattened value is the same bytes under another name.
    for (at, layer) in graph.layers.iter().enumerate().rev() {
        if let (Kind::Flatten, [from]) = (&layer.kind, &layer.from[..]) {
            last_use[*from] = last_use[*from].max(last_use[at]);
        }
    }
    let mut memory = Memory::default();
    let mut spans: Vec<Span> = Vec::new();
    let mut planned = Planned { steps: Vec::new(), layers: Vec::new(), groups: Vec::new() };
    let mut starts = groups(&graph, &shapes, threads).into_iter().peekable();
    for (at, layer) in graph.layers.into_iter().enumerate() {
        let given = shapes[at].values().unwrap_or(0);
        // While a group runs, all of its layers do: nothing that one of them needs makes room for another.
        if let Some(group) = starts.next_if(|group| group.layers.start == at) {
            memory.free_before(at);
            planned.groups.push(Group { steps: planned.steps.len()..planned.steps.len(), size: group.size });
        }
        let span = match layer.kind {
            Kind::Flatten => spans[layer.from[0]],
            Kind::Dequantise | Kind::LinearFloats(_) => memory.take(4 * given, last_use[at]),
            _ => memory.take(given, last_use[at]),
        };
        spans.push(span);
        let place = Place { at, out: span, spans: &spans, shapes: &shapes, scales: &scales };
        let step =
            step(&layer, &place, &mut memory, kernels, threads).map_err(|e| format!("layer '{}': {e}", layer.name))?;
        if let Some(step) = step {
            planned.steps.push(step);
            planned.layers.push(at);
            planned.groups.last_mut().ok_or("internal: a step without a group")?.steps.end += 1;
        }
        if memory.bytes > MAX_BYTES {
            return Err(format!("{TOO_LARGE}: over {} MB at layer '{}'", MAX_BYTES >> 20, layer.name));
        }
    }
    let outputs = graph.outputs.iter().map(|&value| (spans[value], shapes[value])).collect();
    let values = inputs.iter().map(|shape| shape.values().unwrap_or(0)).collect();
    let checked = Checked::new(kernels, planned.steps, planned.groups, values, memory.bytes, threads);
    let checked = checked.ok_or("internal: a step does not fit its memory")?;
    Ok(Plan { checked, outputs, layers: planned.layers })
}

/// Whether a value is f32: what callers get.
fn gives_floats(graph: &Graph, mut value: usize) -> bool {
    // A flattened value is that of a layer before it: `shapes` saw to that.
    while let Some(Layer { kind: Kind::Flatten, from, .. }) = graph.layers.get(value) {
        value = from[0];
    }
    matches!(graph.layers.get(value), Some(Layer { kind: Kind::Dequantise | Kind::LinearFloats(_), .. }))
}

struct Planned {
    steps: Vec<Step>,
    layers: Vec<usize>,
    groups: Vec<Group>,
}

/// Where a layer's values are.
struct Place<'a> {
    at: usize,
    out: Span,
    spans: &'a [Span],
    shapes: &'a [Shape],
    scales: &'a [Scale],
}

/// The step of a layer; none where there is nothing to do.
fn step(
    layer: &Layer,
    place: &Place<'_>,
    memory: &mut Memory,
    kernels: &'static Kernels,
    threads: usize,
) -> Result<Option<Step>, String> {
    let layout = kernels.layout;
    let flip = if layout.signed { 128 } else { 0 };
    let &Place { at, out, spans, shapes, scales } = place;
    let x = layer.from.first().map_or(out, |&value| spans[value]);
    let (from, shape) = layer.from.first().map_or((layer.scale, shapes[at]), |&value| (scales[value], shapes[value]));
    let to = Requantise {
        zero: i16::from(layer.scale.zero) - i16::from(flip),
        low: layer.range[0] ^ flip,
        high: layer.range[1] ^ flip,
    };
    let window = |geometry: &Geometry| Window {
        height: shape.size[0],
        width: shape.size[1],
        out_height: shapes[at].size[0],
        out_width: shapes[at].size[1],
        kernel: geometry.kernel,
        stride: geometry.stride,
        padding: geometry.before,
    };
    let pack = |filters: &Filters, to: Option<Scale>| -> Result<Matrix, String> {
        let scale = multipliers(filters, from, to)?;
        let packing = Packing { weights: &filters.weights, bias: &filters.bias, scale: &scale, zero: from.zero };
        Ok(Matrix::pack(&packing, filters.weights.len() / filters.bias.len(), layout))
    };
    // The scales of layers without weights: ratios that stay in the range of an i32.
    let ratio = |ratio: f32| match ratio {
        ratio if ratio.is_finite() && ratio > 0.0 && ratio < 1000.0 => Ok(ratio),
        ratio => Err(format!("its scales differ by a factor of {ratio}")),
    };
    let factor = layer.scale.factor;
    Ok(Some(match &layer.kind {
        Kind::Flatten => return Ok(None),
        Kind::Quantise(input) => {
            Step::Quantise { input: *input, channels: shapes[at].channels(), scale: factor, to, out }
        }
        Kind::Dequantise => Step::Dequantise { x, channels: shape.channels(), from, out },
        Kind::Convolution(filters, g) if is_plain(g) => {
            Step::Product { matrix: pack(filters, Some(layer.scale))?, x, to, out }
        }
        Kind::Convolution(filters, g) => {
            let matrix = pack(filters, Some(layer.scale))?;
            let patches = memory.take(threads * patch_bytes(matrix.quads), at);
            let padding = from.zero ^ flip;
            Step::Dense { matrix, window: window(g), channels: shape.channels(), padding, x, patches, to, out }
        }
        Kind::Depthwise(filters, g) => {
            let scale = multipliers(filters, from, Some(layer.scale))?;
            let packing = Packing { weights: &filters.weights, bias: &filters.bias, scale: &scale, zero: from.zero };
            let kernels = kernels.for_channels(filters.bias.len());
            let filters = Depthwise::pack(&packing, g.kernel, kernels.layout);
            Step::Depthwise { kernels, filters, window: window(g), x, to, out }
        }
        Kind::Linear(filters) => Step::Product { matrix: pack(filters, Some(layer.scale))?, x, to, out },
        Kind::LinearFloats(filters) => Step::Floats { matrix: pack(filters, None)?, x, out },
        Kind::Add => {
            let (a, b) = (layer.from[0], layer.from[1]);
            let part = |value: usize| {
                ratio(scales[value].factor / factor).map(|factor| Scale { factor, zero: scales[value].zero })
            };
            Step::Add { a: spans[a], b: spans[b], from: [part(a)?, part(b)?], to, out }
        }
        Kind::Multiply => {
            let (a, b) = (layer.from[0], layer.from[1]);
            let factor = ratio(scales[a].factor * scales[b].factor / factor)?;
            let zeros = [scales[a].zero, scales[b].zero];
            Step::Multiply { a: spans[a], b: spans[b], zeros, factor, to, out }
        }
        Kind::Average => {
            let pixels = shape.pixels();
            if pixels > 1 << 20 {
                return Err("sums may leave 32 bits".to_owned());
            }
            let factor = ratio(from.factor / factor)? / pixels as f32;
            let sums = memory.take(4 * shape.channels(), at);
            Step::Average { x, zero: from.zero, factor, to, sums, out }
        }
        Kind::Largest(g) => Step::Largest { window: window(g), channels: shape.channels(), x, out },
        Kind::Table(table) => {
            let mut stored = Box::new([0; 256]);
            for (byte, value) in (0..=255u8).zip(table.iter()) {
                stored[usize::from(byte ^ flip)] = value ^ flip;
            }
            Step::Table { table: stored, x, out }
        }
    }))
}

/// Whether every output pixel is made of the input pixel at the same place.
pub(super) fn is_plain(g: &Geometry) -> bool {
    g.kernel == [1, 1] && g.stride == [1, 1] && g.before == [0, 0] && g.after == [0, 0]
}

/// Spans that live at the same time do not overlap; others may.
#[derive(Default)]
struct Memory {
    /// Spans in use with the last layer that needs them, by start.
    used: Vec<(Span, usize)>,
    bytes: usize,
}

impl Memory {
    /// Forgets what no layer from `layer` on needs.
    fn free_before(&mut self, layer: usize) {
        self.used.retain(|(_, last)| *last >= layer);
    }

    /// The first gap that is large enough.
    fn take(&mut self, length: usize, last: usize) -> Span {
        let size = |length: usize| (length + SLACK).next_multiple_of(64);
        let mut start = 0;
        let mut place = self.used.len();
        for (at, (span, _)) in self.used.iter().enumerate() {
            if start + size(length) <= span.start {
                place = at;
                break;
            }
            start = span.start + size(span.length);
        }
        let span = Span { start, length };
        self.used.insert(place, (span, last));
        self.bytes = self.bytes.max(start + size(length));
        span
    }
}
