//! The sums of a tile for instruction sets with a matrix instruction: two rows of activations times two columns of weights.

use super::lanes::Lanes;
use super::operands::Product;
use crate::weights::Panel;

/// The sums of `ROWS` rows of activations with a panel's columns. `ROWS` is 1 or even.
///
/// # Safety
/// As `matrix::tile`, for the rows from `x` on.
#[inline(always)]
pub(super) unsafe fn sums<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    p: &Product<'_>,
    panel: &Panel,
    x: *const u8,
) -> [[L::Acc; VECTORS]; ROWS] {
    let m = p.matrix;
    let groups = m.quads().div_ceil(2);
    // SAFETY: as the caller promises. The last read of a row starts at its last eight bytes at most, and has 16.
    unsafe {
        let bias = m.bias().as_ptr().add(panel.lanes());
        // One accumulator per two rows: the other half of the array is never used, and costs nothing.
        let mut acc = [[L::start_pairs(bias); VECTORS]; ROWS];
        for j in 1..VECTORS {
            let start = L::start_pairs(bias.add(j * L::N));
            for acc in &mut acc {
                acc[j] = start;
            }
        }
        let mut w = m.weights().as_ptr().add(panel.weights());
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

/// Loads 16 activations of every two rows. A single row stands for both.
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

/// Adds the products of eight activations of each row. Returns where the next weights start.
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
