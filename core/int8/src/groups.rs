//! Which layers threads may do one after the other without waiting for each other.

use std::ops::Range;

use super::graph::{Graph, Kind, Layer, Shape};

/// Rows of a picture that are worth a thread: with fewer, cutting a layer by its channels shares the work better.
const ROWS: usize = 7;

/// Layers that run together: a thread does some rows of the picture through all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layers {
    /// One after the other.
    pub(super) layers: Range<usize>,
    /// Height and width of what they give, where there is more than one layer.
    pub(super) size: [usize; 2],
}

/// All layers in groups. The first layer of a group may read pixels around its own, since what it reads was done before;
/// the others read, of what the group makes, the same pixel only.
pub(super) fn groups(graph: &Graph, shapes: &[Shape], threads: usize) -> Vec<Layers> {
    let mut groups: Vec<Layers> = Vec::new();
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
        groups.push(Layers { layers: at..at + 1, size: [height, width] });
    }
    groups
}

/// Whether rows of the result can be made apart from others.
fn by_rows(kind: &Kind) -> bool {
    match kind {
        Kind::Convolution(..)
        | Kind::Depthwise(..)
        | Kind::Add
        | Kind::Multiply
        | Kind::Largest(_)
        | Kind::Table(_) => true,
        Kind::Quantise(_)
        | Kind::Dequantise
        | Kind::Linear(_)
        | Kind::LinearFloats(_)
        | Kind::Average
        | Kind::Flatten => false,
    }
}

/// Whether each pixel of a layer is made of the same pixel of the values from `start` on, and of values before.
fn follows(layer: &Layer, start: usize, shapes: &[Shape]) -> bool {
    match &layer.kind {
        Kind::Convolution(_, geometry) => geometry.is_plain(),
        Kind::Add | Kind::Table(_) => true,
        // A factor for a whole channel must be there already.
        Kind::Multiply => {
            let [a, b] = [layer.from[0], layer.from[1]];
            shapes[a].size == shapes[b].size || b < start
        }
        _ => false,
    }
}
