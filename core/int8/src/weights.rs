//! Weights in the order in which the kernels read them.

use std::ops::Range;

use super::arena::Aligned;
use super::layout::{Layout, ROW_ORDER, column};
use super::saturating::{self, split};

/// PackingInput of a convolution as it is in the network: weights of `[output][row][column][input]`, or of
/// `[channel][row][column]` where it is depthwise.
#[derive(Debug, Clone)]
pub(super) struct PackingInput<'a> {
    pub(super) weights: &'a [i8],
    pub(super) bias: &'a [i32],
    /// From accumulator to output step, one a channel.
    pub(super) scale: &'a [f32],
    /// The zero point of the activations.
    pub(super) zero: u8,
}

impl PackingInput<'_> {
    /// The bias with the activations' zero point folded in: `sum((x - zero) * w) + bias` from the stored `x`.
    fn folded(&self, layout: Layout, channel: usize, sum: i32) -> i32 {
        let zero = i32::from(self.zero) - if layout.signed { 128 } else { 0 };
        self.bias[channel] - zero * sum
    }
}

/// A matrix of `depth` x `columns` weights, cut into panels of up to four vectors of columns. In a panel, four weights
/// of a column stand side by side (eight where [`Layout::deep`] says so), then the other columns of the vector, the other
/// vectors, the next four rows.
///
/// Where the instruction set adds two products in 16 bits, the panel has its fours in an order of its own: see
/// [`saturating`].
#[derive(Debug)]
pub(super) struct PackedMatrix {
    pub(super) columns: usize,
    /// Rows, in fours.
    pub(super) quads: usize,
    pub(super) panels: Vec<Panel>,
    /// In the order of lanes, with zeros for lanes that have no column.
    pub(super) bias: Vec<i32>,
    /// As `bias`.
    pub(super) scale: Vec<f32>,
    /// Which four rows, for each four of a panel, where they have an order of their own.
    pub(super) order: Vec<u32>,
    weights: Aligned,
}

#[derive(Debug)]
pub(super) struct Panel {
    pub(super) vectors: usize,
    /// The first column.
    pub(super) column: usize,
    /// Where its weights start.
    pub(super) weights: usize,
    /// Where its biases and scales start.
    pub(super) lanes: usize,
    /// Where its fours stand in `PackedMatrix::order`: those as they are, those that all lanes pick alike, those that each lane
    /// picks for itself.
    pub(super) order: [Range<usize>; 3],
}

impl PackedMatrix {
    /// Packs `bias.len()` filters of `depth` weights each.
    pub(super) fn pack(filters: &PackingInput<'_>, depth: usize, layout: Layout) -> PackedMatrix {
        let n = layout.lanes;
        let (columns, quads) = (filters.bias.len(), depth.div_ceil(4));
        let vectors = columns.div_ceil(n);
        let mut matrix = PackedMatrix {
            columns,
            quads,
            panels: Vec::new(),
            bias: vec![0; vectors * n],
            scale: vec![0.0; vectors * n],
            order: Vec::new(),
            weights: Aligned::default(),
        };
        let mut packed = Vec::with_capacity(vectors * n * quads * 4);
        for first in (0..vectors).step_by(layout.panel_vectors) {
            let count = layout.panel_vectors.min(vectors - first);
            // For each lane, its filter; for lanes without a column, none.
            let lanes: Vec<&[i8]> = (0..count * n)
                .map(|lane| first * n + column(count, lane / n, lane % n))
                .map(|at| if at < columns { &filters.weights[at * depth..][..depth] } else { &[] })
                .collect();
            for (lane, filter) in lanes.iter().enumerate() {
                let at = first * n + column(count, lane / n, lane % n);
                if at < columns {
                    let sum = filter.iter().map(|&w| i32::from(w)).sum();
                    matrix.bias[first * n + lane] = filters.folded(layout, at, sum);
                    matrix.scale[first * n + lane] = filters.scale[at];
                }
            }
            let mut panel = Panel {
                vectors: count,
                column: first * n,
                weights: packed.len(),
                lanes: first * n,
                order: [0..0, 0..0, 0..0],
            };
            if layout.saturates {
                panel.order = saturating::pack(&lanes, n, quads, &mut matrix.order, &mut packed);
            } else {
                for first in (0..depth).step_by(layout.column_block) {
                    let weight = |lane: &&[i8], at: usize| lane.get(first + at).copied().unwrap_or(0);
                    lanes.iter().for_each(|lane| packed.extend((0..layout.column_block).map(|at| weight(lane, at))));
                }
            }
            matrix.panels.push(panel);
        }
        matrix.weights = Aligned::zeros(packed.len());
        matrix.weights.signed_mut()[..packed.len()].copy_from_slice(&packed);
        matrix
    }

    pub(super) fn weights(&self) -> &[i8] {
        self.weights.signed()
    }
}

/// PackingInput of a depthwise convolution, in groups of four vectors of channels. In a group the window's rows stand in
/// fours side by side for each channel (in [`ROW_ORDER`]), then the other channels, the other columns, the next four rows.
/// Windows of 3 x 3 have all of that twice: at first for the upper three of four rows, then for the lower three.
#[derive(Debug)]
pub(super) struct PackedDepthwise {
    pub(super) channels: usize,
    kernel: [usize; 2],
    /// Weights of a group, with what `split` left over.
    pub(super) group_weights: usize,
    /// In the order of lanes.
    pub(super) bias: Vec<i32>,
    /// As `bias`.
    pub(super) scale: Vec<f32>,
    /// For each column of each group, where its rest starts, from its weights; 0 where it has none.
    rests: Vec<usize>,
    /// Columns of a group.
    steps: usize,
    weights: Aligned,
    padding: Aligned,
}

impl PackedDepthwise {
    /// Packs `bias.len()` filters of `kernel[0]` rows and `kernel[1]` columns each.
    pub(super) fn pack(filters: &PackingInput<'_>, kernel: [usize; 2], layout: Layout) -> PackedDepthwise {
        let n = layout.lanes;
        let (channels, size) = (filters.bias.len(), kernel[0] * kernel[1]);
        let groups = channels.div_ceil(4 * n);
        let fours = kernel[0].div_ceil(4);
        let shifts = if kernel == [3, 3] { 2 } else { 1 };
        let steps = shifts * fours * kernel[1];
        let block = steps * 16 * n;
        let group_weights = if layout.saturates { 2 * block } else { block };
        let mut padding = Aligned::zeros(channels + 64);
        padding.bytes_mut().fill(if layout.signed { filters.zero ^ 128 } else { filters.zero });
        let mut packed = PackedDepthwise {
            channels,
            kernel,
            group_weights,
            bias: vec![0; groups * 4 * n],
            scale: vec![0.0; groups * 4 * n],
            rests: vec![0; groups * steps],
            steps,
            weights: Aligned::zeros(groups * group_weights),
            padding,
        };
        for vector in 0..groups * 4 {
            for lane in 0..n {
                let channel = vector / 4 * 4 * n + column(4, vector % 4, lane);
                if channel >= channels {
                    continue;
                }
                let filter = &filters.weights[channel * size..][..size];
                let sum = filter.iter().map(|&w| i32::from(w)).sum();
                packed.bias[vector * n + lane] = filters.folded(layout, channel, sum);
                packed.scale[vector * n + lane] = filters.scale[channel];
                for step in 0..steps {
                    let (four, x) = (step / kernel[1], step % kernel[1]);
                    let (shift, four) = (four / fours, four % fours);
                    let mut weights = [0i8; 4];
                    for (weight, row) in weights.iter_mut().zip(ROW_ORDER) {
                        let y = (4 * four + row).checked_sub(shift).filter(|&y| y < kernel[0]);
                        *weight = y.map_or(0, |y| filter[y * kernel[1] + x]);
                    }
                    let group = vector / 4;
                    let to = group * group_weights + step * 16 * n + (vector % 4) * 4 * n + lane * 4;
                    if layout.saturates {
                        let [half, rest] = split(weights);
                        weights = half;
                        if rest != [0; 4] {
                            packed.rests[group * steps + step] = block;
                        }
                        packed.weights.signed_mut()[to + block..][..4].copy_from_slice(&rest);
                    }
                    packed.weights.signed_mut()[to..][..4].copy_from_slice(&weights);
                }
            }
        }
        packed
    }

    pub(super) fn weights(&self) -> &[i8] {
        self.weights.signed()
    }

    /// Whether they were packed for windows of this size.
    pub(super) fn fits(&self, kernel: [usize; 2]) -> bool {
        self.kernel == kernel
    }

    /// For each column of a group, where its rest starts, from its weights; 0 where it has none.
    pub(super) fn rests(&self, group: usize) -> &[usize] {
        &self.rests[group * self.steps..][..self.steps]
    }

    /// A pixel of the zero point, and 64 bytes more.
    pub(super) fn padding(&self) -> &[u8] {
        self.padding.bytes()
    }
}
