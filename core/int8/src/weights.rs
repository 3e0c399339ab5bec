//! Weights packed into the [`Layout`] of an instruction set.
//!
//! The fields are private, and a packed value cannot change: the kernels rely on the sizes that packing gives its arrays,
//! and on the layout that it was packed for, which `CheckedSteps` compares with that of the kernels.

use std::ops::Range;

use super::arena::Aligned;
use super::layout::{Layout, ROW_ORDER, column};
use super::saturating::{self, split};

/// Filters as they are in the network: weights `[output][row][column][input]`, or `[channel][row][column]` of a depthwise
/// layer.
#[derive(Debug, Clone)]
pub(crate) struct PackingInput<'a> {
    pub(crate) weights: &'a [i8],
    /// One per output.
    pub(crate) bias: &'a [i32],
    /// From accumulator to output step, one per output.
    pub(crate) scale: &'a [f32],
    /// The zero point of the activations.
    pub(crate) zero: u8,
}

impl PackingInput<'_> {
    /// The bias of a channel minus the zero point's part of its sum, so that kernels can add up `x * w` for the stored `x`.
    /// `sum` is the sum of the channel's weights.
    fn folded(&self, layout: Layout, channel: usize, sum: i32) -> i32 {
        let zero = i32::from(self.zero) - if layout.signed { 128 } else { 0 };
        self.bias[channel] - zero * sum
    }
}

/// A matrix of weights with one column per output, cut into panels; see [`layout`](super::layout) for the order in a panel.
///
/// For saturating dot products each panel has its quads in an order of its own, see [`saturating`].
#[derive(Debug)]
pub(crate) struct PackedMatrix {
    layout: Layout,
    columns: usize,
    quads: usize,
    panels: Vec<Panel>,
    bias: Vec<i32>,
    scale: Vec<f32>,
    order: Vec<u32>,
    weights: Aligned,
}

/// Some neighbouring columns of a [`PackedMatrix`].
#[derive(Debug)]
pub(crate) struct Panel {
    vectors: usize,
    column: usize,
    weights: usize,
    lanes: usize,
    order: [Range<usize>; 3],
}

impl Panel {
    /// The number of vectors.
    #[inline]
    pub(crate) fn vectors(&self) -> usize {
        self.vectors
    }

    /// The first column.
    #[inline]
    pub(crate) fn column(&self) -> usize {
        self.column
    }

    /// Where the panel's weights start in [`PackedMatrix::weights`].
    #[inline]
    pub(crate) fn weights(&self) -> usize {
        self.weights
    }

    /// Where the panel's lanes start in [`PackedMatrix::bias`] and [`PackedMatrix::scale`].
    #[inline]
    pub(crate) fn lanes(&self) -> usize {
        self.lanes
    }
}

impl PackedMatrix {
    /// Packs `bias.len()` columns of `depth` weights each.
    pub(crate) fn pack(filters: &PackingInput<'_>, depth: usize, layout: Layout) -> PackedMatrix {
        let n = layout.lanes;
        let (columns, quads) = (filters.bias.len(), depth.div_ceil(4));
        debug_assert!(columns > 0 && filters.scale.len() == columns && filters.weights.len() == columns * depth);
        let vectors = columns.div_ceil(n);
        let mut matrix = PackedMatrix {
            layout,
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
            // Each lane's filter. Lanes behind the last column have none: their weights are zero.
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

    /// The layout that it was packed for.
    #[inline]
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The number of columns: outputs. At least 1.
    #[inline]
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The depth in quads, rounded up.
    #[inline]
    pub(crate) fn quads(&self) -> usize {
        self.quads
    }

    /// The panels, in the order of their columns.
    #[inline]
    pub(crate) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    /// The biases with the zero point folded in, one per lane. Lanes behind the last column have zeros.
    #[inline]
    pub(crate) fn bias(&self) -> &[i32] {
        &self.bias
    }

    /// From accumulator to output step, one per lane as in [`PackedMatrix::bias`].
    #[inline]
    pub(crate) fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// The quads of a panel as [`saturating`] sorts them: as they are, permuted alike in all lanes, permuted lane by lane.
    /// Empty if the layout does not saturate.
    #[inline]
    pub(crate) fn order(&self, panel: &Panel) -> [&[u32]; 3] {
        panel.order.each_ref().map(|quads| &self.order[quads.clone()])
    }

    /// The weights of all panels, and for saturating dot products shuffle indices among them.
    #[inline]
    pub(crate) fn weights(&self) -> &[i8] {
        self.weights.signed()
    }
}

/// The filters of a depthwise convolution, in groups of four vectors of channels.
///
/// A group has one step of four vectors of quads for each column of the window and each four of its rows, which stand in
/// [`ROW_ORDER`] and are zero below the window. Windows of 3 x 3 have all steps twice: with the window in the upper three of
/// four picture rows, then in the lower three.
#[derive(Debug)]
pub(crate) struct PackedDepthwise {
    layout: Layout,
    channels: usize,
    kernel: [usize; 2],
    group_weights: usize,
    bias: Vec<i32>,
    scale: Vec<f32>,
    rests: Vec<usize>,
    steps: usize,
    weights: Aligned,
    padding: Aligned,
}

impl PackedDepthwise {
    /// Packs `bias.len()` filters of `kernel[0]` rows and `kernel[1]` columns each.
    pub(crate) fn pack(filters: &PackingInput<'_>, kernel: [usize; 2], layout: Layout) -> PackedDepthwise {
        let n = layout.lanes;
        let (channels, size) = (filters.bias.len(), kernel[0] * kernel[1]);
        debug_assert!(channels > 0 && filters.scale.len() == channels && filters.weights.len() == channels * size);
        let groups = channels.div_ceil(4 * n);
        let fours = kernel[0].div_ceil(4);
        let shifts = if kernel == [3, 3] { 2 } else { 1 };
        let steps = shifts * fours * kernel[1];
        let block = steps * 16 * n;
        let group_weights = if layout.saturates { 2 * block } else { block };
        let mut padding = Aligned::zeros(channels + 64);
        padding.bytes_mut().fill(if layout.signed { filters.zero ^ 128 } else { filters.zero });
        let mut packed = PackedDepthwise {
            layout,
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

    /// The layout that they were packed for.
    #[inline]
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The number of channels. At least 1.
    #[inline]
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Height and width of the window.
    #[inline]
    pub(crate) fn kernel(&self) -> [usize; 2] {
        self.kernel
    }

    /// Bytes from a group's weights to the next group's.
    #[inline]
    pub(crate) fn group_weights(&self) -> usize {
        self.group_weights
    }

    /// The biases with the zero point folded in, one per lane. Lanes behind the last channel have zeros.
    #[inline]
    pub(crate) fn bias(&self) -> &[i32] {
        &self.bias
    }

    /// From accumulator to output step, one per lane as in [`PackedDepthwise::bias`].
    #[inline]
    pub(crate) fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// The weights of all groups.
    #[inline]
    pub(crate) fn weights(&self) -> &[i8] {
        self.weights.signed()
    }

    /// For each step of a group, the distance from its weights to the second summands of those that were split. 0 if none
    /// were.
    #[inline]
    pub(crate) fn rests(&self, group: usize) -> &[usize] {
        &self.rests[group * self.steps..][..self.steps]
    }

    /// One pixel of the zero point, and 64 bytes behind it.
    #[inline]
    pub(crate) fn padding(&self) -> &[u8] {
        self.padding.bytes()
    }
}
