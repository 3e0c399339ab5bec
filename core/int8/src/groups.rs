//! Finds runs of layers that threads can compute without waiting for each other after every layer.

use std::ops::Range;

use super::graph::{Layer, LayerGraph, LayerKind, Shape};

/// Rows of a picture per thread below which layers are not grouped: splitting each layer by its channels then balances
/// better.
const ROWS: usize = 7;

/// Layers that run as one: each thread takes some rows of the picture through all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerGroup {
    /// Consecutive layers.
    pub(crate) layers: Range<usize>,
    /// Height and width of every result, if there is more than one layer.
    pub(crate) size: [usize; 2],
}

/// Divides all layers into groups. The first layer of a group may read neighbouring pixels, because its input is complete
/// before the group starts. Of the group's own values, the other layers read only the pixel that they write.
pub(crate) fn groups(graph: &LayerGraph, shapes: &[Shape], threads: usize) -> Vec<LayerGroup> {
    let mut groups: Vec<LayerGroup> = Vec::new();
    for (at, (layer, shape)) in graph.layers.iter().zip(shapes).enumerate() {
        let [height, width, _] = shape.size;
        if let Some(group) = groups.last_mut()
            && threads > 1
            && height >= ROWS * threads
            && group.size == [height, width]
            && by_rows(&graph.layers[group.layers.start].kind)
            && follows(layer, group.layers.start, shapes)
        {
            group.layers.end = at + 1;
            continue;
        }
        groups.push(LayerGroup { layers: at..at + 1, size: [height, width] });
    }
    groups
}

/// Whether some rows of the result can be computed without the others.
fn by_rows(kind: &LayerKind) -> bool {
    match kind {
        LayerKind::Convolution(..)
        | LayerKind::Depthwise(..)
        | LayerKind::Add
        | LayerKind::Multiply
        | LayerKind::MaxPool(_)
        | LayerKind::Table(_) => true,
        LayerKind::Quantise(_)
        | LayerKind::Dequantise
        | LayerKind::Linear(_)
        | LayerKind::LinearFloats(_)
        | LayerKind::AveragePool
        | LayerKind::Flatten => false,
    }
}

/// Whether each pixel of the result depends only on the same pixel of the values from `start` on. Values before `start`
/// may be read in any way.
fn follows(layer: &Layer, start: usize, shapes: &[Shape]) -> bool {
    match &layer.kind {
        LayerKind::Convolution(_, geometry) => geometry.is_pointwise(),
        LayerKind::Add | LayerKind::Table(_) => true,
        // A single pixel that scales all others has to be complete before the group starts.
        LayerKind::Multiply => {
            let [a, b] = [layer.from[0], layer.from[1]];
            shapes[a].size == shapes[b].size || b < start
        }
        _ => false,
    }
}
