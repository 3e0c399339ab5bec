//! Shape inference.

use super::error::{LayerError, PlanError};
use super::graph::{Filters, Geometry, Layer, LayerGraph, LayerKind, Shape};

/// The shapes of a graph's outputs, for given shapes of its inputs.
///
/// # Errors
/// [`PlanError::Layer`] if the shapes do not fit a layer, [`PlanError::NoSuchOutput`].
pub fn output_shapes(graph: &LayerGraph, inputs: &[Shape]) -> Result<Vec<Shape>, PlanError> {
    let shapes = shapes(graph, inputs)?;
    let outputs = graph.outputs.iter().map(|&value| shapes.get(value).copied());
    outputs.collect::<Option<_>>().ok_or(PlanError::NoSuchOutput)
}

/// The shapes of all values, in the order of the layers. Each has at least one value, and a layer that it comes from reads
/// only values of earlier layers, as many as its operation needs.
///
/// # Errors
/// [`PlanError::Layer`] if the shapes do not fit a layer.
pub(crate) fn shapes(graph: &LayerGraph, inputs: &[Shape]) -> Result<Vec<Shape>, PlanError> {
    let mut shapes: Vec<Shape> = Vec::with_capacity(graph.layers.len());
    for layer in &graph.layers {
        let shape = shape(layer, inputs, &shapes);
        shapes.push(shape.map_err(|reason| PlanError::Layer { name: layer.name.clone(), reason })?);
    }
    Ok(shapes)
}

fn shape(layer: &Layer, inputs: &[Shape], before: &[Shape]) -> Result<Shape, LayerError> {
    let from = layer.from.iter().map(|&value| before.get(value).copied()).collect::<Option<Vec<_>>>();
    let from = from.ok_or(LayerError::LaterValue)?;
    let channels = |expected: usize, found: Shape| match found.channels() {
        found if found == expected => Ok(()),
        found => Err(LayerError::Channels { found, expected }),
    };
    let found = match (&layer.kind, &from[..]) {
        (LayerKind::Quantise(input), []) => *inputs.get(*input).ok_or(LayerError::NoSuchInput)?,
        (LayerKind::Dequantise | LayerKind::Table(_), [x]) => *x,
        (LayerKind::Convolution(filters, geometry), [x]) => {
            let shape = windows(*x, geometry, filters.bias.len())?;
            let inside = geometry.kernel[0] * geometry.kernel[1];
            channels(filters.weights.len() / filters.bias.len().max(1) / inside, *x)?;
            weights_match(filters, inside * x.channels())?;
            shape
        }
        (LayerKind::Depthwise(filters, geometry), [x]) => {
            channels(filters.bias.len(), *x)?;
            let shape = windows(*x, geometry, x.channels())?;
            weights_match(filters, geometry.kernel[0] * geometry.kernel[1])?;
            shape
        }
        (LayerKind::Linear(filters) | LayerKind::LinearFloats(filters), [x]) if x.pixels() == 1 => {
            channels(filters.weights.len() / filters.bias.len().max(1), *x)?;
            weights_match(filters, x.channels())?;
            Shape { size: [1, 1, filters.bias.len()], ..*x }
        }
        (LayerKind::Add, [a, b]) if a == b => *a,
        (LayerKind::Multiply, [a, b]) if a == b || (b.pixels() == 1 && a.channels() == b.channels()) => *a,
        (LayerKind::AveragePool, [x]) => Shape { size: [1, 1, x.channels()], ..*x },
        (LayerKind::MaxPool(geometry), [x]) => {
            if (0..2).any(|i| geometry.before[i].max(geometry.after[i]) >= geometry.kernel[i]) {
                return Err(LayerError::WindowOfPadding);
            }
            windows(*x, geometry, x.channels())?
        }
        (LayerKind::Flatten, [x]) if x.pixels() == 1 => Shape { vector: true, ..*x },
        _ => return Err(LayerError::Operands(from)),
    };
    found.values().map(|_| found).ok_or(LayerError::Result(found.size))
}

/// Checks that there are `depth` weights for each output.
fn weights_match(filters: &Filters, depth: usize) -> Result<(), LayerError> {
    let (weights, outputs) = (filters.weights.len(), filters.bias.len());
    if outputs.checked_mul(depth) == Some(weights) {
        return Ok(());
    }
    Err(LayerError::Weights { weights, outputs, depth })
}

/// The largest side of a window, stride and padding, in pixels: far above any network, and small enough that no product of
/// sizes overflows.
const MAX_WINDOW: usize = 1 << 12;

/// The shape of the windows that fit a picture.
fn windows(x: Shape, geometry: &Geometry, channels: usize) -> Result<Shape, LayerError> {
    let Geometry { kernel, stride, before, after } = geometry;
    let mut sizes = [kernel, stride, before, after].into_iter().flatten();
    if kernel.contains(&0) || sizes.any(|&size| size > MAX_WINDOW) {
        return Err(LayerError::Window(*geometry));
    }
    let size = |i: usize| -> Option<usize> {
        let padded = x.size[i].checked_add(geometry.before[i])?.checked_add(geometry.after[i])?;
        Some(padded.checked_sub(geometry.kernel[i])?.checked_div(geometry.stride[i])? + 1)
    };
    let (Some(height), Some(width)) = (size(0), size(1)) else {
        return Err(LayerError::WindowDoesNotFit { geometry: *geometry, width: x.size[1], height: x.size[0] });
    };
    Ok(Shape { size: [height, width, channels], vector: false })
}
