//! The sums of a tile where an instruction multiplies two rows of activations with two columns of weights.

use super::lanes::Lanes;
use super::operands::Product;
use crate::weights::Panel;

/// The sums of `ROWS` rows of activations, one row or an even number, with a panel's columns.
///
/// # Safety
/// As `matrix::tile`, for rows from `x` on.
#[inline(always)]
pub(super) unsafe fn sums<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    p: &Product<'_>,
    panel: &Panel,
    x: *const u8,
) -> [[L::Acc; VECTORS]; ROWS] {
    let m = p.matrix;
    let groups = m.quads.div_ceil(2);
    // SAFETY: as the caller promises; of each row, 16 bytes are read from where its last eight start at most.
    unsafe {
        let bias = m.bias.as_ptr().add(panel.lanes);
        // An accumulator for each two rows: half of them are never used, and cost nothing.
        let mut acc = [[L::start_pairs(bias); VECTORS]; ROWS];
        for j in 1..VECTORS {
            let start = L::start_pairs(bias.add(j * L::N));
            for acc in &mut acc {
                acc[j] = start;
            }
        }
        let mut w = m.weights().as_ptr().add(panel.weights);
        let mut group = 0;
        while group + 1 < groups {
            let x = activations::<L, ROWS>(p, x.add(8 * group));
            w = add::<L, ROWS, VECTORS>(&mut acc, x.map(|[first, _]| first), w);
            w = add::<L, ROWS, VECTORS>(&mut acc, x.map(|[_, second]| second), w);
            group += 2;
        }
        if group < groups {
            let x = activations::<L, ROWS>(p, x.add(8 * group));
            add::<L, ROWS, VECTORS>(&mut acc, x.map(|[first, _]| first), w);
        }
        let mut rows = [[L::start(bias); VECTORS]; ROWS];
        for i in 0..ROWS {
            for j in 0..VECTORS {
                rows[i][j] = L::rows(acc[i / 2][j])[i % 2];
            }
        }
        rows
    }
}

/// Sixteen activations of each two rows. Where there is one row, it is both.
///
/// # Safety
/// As [`sums`].
#[inline(always)]
unsafe fn activations<L: Lanes, const ROWS: usize>(p: &Product<'_>, x: *const u8) -> [[L::Quads; 2]; ROWS] {
    // SAFETY: as the caller promises.
    unsafe {
        let row = |i: usize| x.add(i.min(ROWS - 1) * p.x_step);
        let mut pairs = [L::pairs(row(0), row(1)); ROWS];
        for i in 1..ROWS / 2 {
            pairs[i] = L::pairs(row(2 * i), row(2 * i + 1));
        }
        pairs
    }
}

/// Adds the products of eight activations of each row; returns where the next weights start.
///
/// # Safety
/// As [`sums`].
#[inline(always)]
unsafe fn add<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    acc: &mut [[[L::Acc; 2]; VECTORS]; ROWS],
    x: [L::Quads; ROWS],
    w: *const i8,
) -> *const i8 {
    // SAFETY: as the caller promises.
    unsafe {
        for j in 0..VECTORS {
            let w = w.add(j * 8 * L::N);
            let weights = [L::weights(w), L::weights(w.add(4 * L::N))];
            for i in 0..ROWS.div_ceil(2) {
                acc[i][j] = L::dot_pairs(acc[i][j], x[i], weights);
            }
        }
        w.add(VECTORS * 8 * L::N)
    }
}
