//! The shapes of all values of a graph.

use super::graph::{Filters, Geometry, Layer, LayerGraph, LayerKind, Shape};

/// Shapes of a graph's outputs for given shapes of its inputs.
///
/// # Errors
/// A text that names the layer whose shapes do not fit.
pub fn output_shapes(graph: &LayerGraph, inputs: &[Shape]) -> Result<Vec<Shape>, String> {
    let shapes = shapes(graph, inputs)?;
    graph
        .outputs
        .iter()
        .map(|&value| shapes.get(value).copied())
        .collect::<Option<_>>()
        .ok_or_else(|| "no such output".to_owned())
}

/// Shapes of all values, in the order of the layers.
///
/// # Errors
/// A text that names the layer whose shapes do not fit.
pub(super) fn shapes(graph: &LayerGraph, inputs: &[Shape]) -> Result<Vec<Shape>, String> {
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
        (LayerKind::Quantise(input), []) => *inputs.get(*input).ok_or("it reads an input that is not there")?,
        (LayerKind::Dequantise | LayerKind::Table(_), [x]) => *x,
        (LayerKind::Convolution(filters, geometry), [x]) => {
            let shape = moved(*x, geometry, filters.bias.len())?;
            let inside = geometry.kernel[0] * geometry.kernel[1];
            channels(filters.weights.len() / filters.bias.len().max(1) / inside, *x)?;
            exact(filters, inside * x.channels())?;
            shape
        }
        (LayerKind::Depthwise(filters, geometry), [x]) => {
            channels(filters.bias.len(), *x)?;
            let shape = moved(*x, geometry, x.channels())?;
            exact(filters, geometry.kernel[0] * geometry.kernel[1])?;
            shape
        }
        (LayerKind::Linear(filters) | LayerKind::LinearFloats(filters), [x]) if x.pixels() == 1 => {
            channels(filters.weights.len() / filters.bias.len().max(1), *x)?;
            exact(filters, x.channels())?;
            Shape { size: [1, 1, filters.bias.len()], ..*x }
        }
        (LayerKind::Add, [a, b]) if a == b => *a,
        (LayerKind::Multiply, [a, b]) if a == b || (b.pixels() == 1 && a.channels() == b.channels()) => *a,
        (LayerKind::AveragePool, [x]) => Shape { size: [1, 1, x.channels()], ..*x },
        (LayerKind::MaxPool(geometry), [x]) => {
            if (0..2).any(|i| geometry.before[i].max(geometry.after[i]) >= geometry.kernel[i]) {
                return Err("a window may lie outside of the picture".to_owned());
            }
            moved(*x, geometry, x.channels())?
        }
        (LayerKind::Flatten, [x]) if x.pixels() == 1 => Shape { vector: true, ..*x },
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
