//! GEMM: rows of activations times a packed matrix of weights.

use super::lanes::{Lanes, Requantise};
use super::operands::{Product, Sink, WorkShare};
use super::pairs;
use crate::layout::column;
use crate::weights::Panel;

/// Bytes behind the last row of activations that a product may read, without using them: it loads 16 bytes at once.
pub(super) const OVERREAD: usize = 15;

/// Bytes of activations, and of results, per block of rows: they stay in the first-level cache while all panels pass over
/// them.
const CHUNK: usize = 24 << 10;

/// The rows of a block are a multiple of this: every tile's height divides it.
const CHUNK_ROWS: usize = 24;

/// Multiplies all rows with the panels of `job`.
///
/// # Safety
/// The CPU has the instruction set, and the matrix was packed for its layout. `x` is valid for reads of `rows` rows of
/// activations and [`OVERREAD`] bytes behind them (read, not used), `out` for writes of `rows` rows of `columns` values.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes>(p: &Product<'_>, job: WorkShare) {
    let panels = job.part(p.matrix.panels().len(), 1);
    let chunk = (CHUNK / p.x_step.max(p.matrix.columns()).max(1)).max(CHUNK_ROWS) / CHUNK_ROWS * CHUNK_ROWS;
    let mut row = 0;
    while row < p.rows {
        let rows = chunk.min(p.rows - row);
        for panel in &p.matrix.panels()[panels.clone()] {
            // SAFETY: rows `row..row + rows` are among the caller's.
            unsafe { columns::<L>(p, panel, row, rows) };
        }
        row += rows;
    }
}

/// # Safety
/// As [`product`], for these rows.
#[inline(always)]
unsafe fn columns<L: Lanes>(p: &Product<'_>, panel: &Panel, row: usize, rows: usize) {
    // Tiles are as large as the register file allows: accumulators, one vector of weights and each row's activations have
    // to fit 32 registers, or 16 with AVX2. Registers spilled in the innermost loop would halve the speed. The conditions
    // are constants, so that each instruction set compiles only the tiles that it uses.
    // SAFETY: as the caller promises.
    unsafe {
        if const { L::PLAIN } {
            match panel.vectors() {
                4 => tiles::<L, 1, 4>(p, panel, row, rows),
                3 => tiles::<L, 1, 3>(p, panel, row, rows),
                2 => tiles::<L, 1, 2>(p, panel, row, rows),
                _ => tiles::<L, 1, 1>(p, panel, row, rows),
            }
        } else if const { L::SATURATES } {
            // Panels are no wider, see `lanes::layout`.
            match panel.vectors() {
                2 => tiles::<L, 4, 2>(p, panel, row, rows),
                _ => tiles::<L, 8, 1>(p, panel, row, rows),
            }
        } else if const { L::N == 8 } {
            match panel.vectors() {
                4 => tiles::<L, 2, 4>(p, panel, row, rows),
                3 => tiles::<L, 3, 3>(p, panel, row, rows),
                2 => tiles::<L, 4, 2>(p, panel, row, rows),
                _ => tiles::<L, 8, 1>(p, panel, row, rows),
            }
        } else {
            match panel.vectors() {
                4 => tiles::<L, 4, 4>(p, panel, row, rows),
                3 => tiles::<L, 6, 3>(p, panel, row, rows),
                2 if L::FOURS => tiles::<L, 8, 2>(p, panel, row, rows),
                2 => tiles::<L, 12, 2>(p, panel, row, rows),
                _ => tiles::<L, 12, 1>(p, panel, row, rows),
            }
        }
    }
}

/// # Safety
/// As [`product`], for these rows.
#[inline(always)]
unsafe fn tiles<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    p: &Product<'_>,
    panel: &Panel,
    row: usize,
    rows: usize,
) {
    let end = row + rows;
    let mut at = row;
    let together = matches!(p.out, Sink::Bytes(..));
    // SAFETY: every tile lies within the caller's rows.
    unsafe {
        while together && at + ROWS <= end {
            tile::<L, ROWS, VECTORS>(p, panel, at);
            at += ROWS;
        }
        if together && at < end && rows >= ROWS && end - at > 1 {
            // The last tile overlaps the one before it. Rows in both are written twice, with the same values.
            tile::<L, ROWS, VECTORS>(p, panel, end - ROWS);
        } else {
            while at < end {
                tile::<L, 1, VECTORS>(p, panel, at);
                at += 1;
            }
        }
    }
}

/// # Safety
/// As [`product`], for rows `row..row + ROWS`.
#[inline(always)]
unsafe fn tile<L: Lanes, const ROWS: usize, const VECTORS: usize>(p: &Product<'_>, panel: &Panel, row: usize) {
    let m = p.matrix;
    // SAFETY: a `PackedMatrix` has weights, biases and scales for all lanes of its panels; rows and columns are the
    // caller's.
    unsafe {
        let x = p.x.add(row * p.x_step);
        let bias = m.bias().as_ptr().add(panel.lanes());
        let mut acc = [[L::start(bias); VECTORS]; ROWS];
        for j in 1..VECTORS {
            let start = L::start(bias.add(j * L::N));
            for acc in &mut acc {
                acc[j] = start;
            }
        }
        let w = m.weights().as_ptr().add(panel.weights());
        if const { L::PAIRS } {
            acc = pairs::sums::<L, ROWS, VECTORS>(p, panel, x);
        } else if const { L::SATURATES } {
            let [plain, shared, per_lane] = m.order(panel);
            let w = quads::<L, ROWS, VECTORS, 0>(&mut acc, p, x, plain, w);
            let w = quads::<L, ROWS, VECTORS, 1>(&mut acc, p, x, shared, w);
            quads::<L, ROWS, VECTORS, VECTORS>(&mut acc, p, x, per_lane, w);
        } else {
            let (mut w, mut done) = (w, 0);
            while L::FOURS && done + 4 <= m.quads() {
                let mut fours = [L::sixteen(x.add(4 * done)); ROWS];
                for i in 1..ROWS {
                    fours[i] = L::sixteen(x.add(i * p.x_step + 4 * done));
                }
                w = four::<L, ROWS, VECTORS, 0>(&mut acc, &fours, w);
                w = four::<L, ROWS, VECTORS, 1>(&mut acc, &fours, w);
                w = four::<L, ROWS, VECTORS, 2>(&mut acc, &fours, w);
                w = four::<L, ROWS, VECTORS, 3>(&mut acc, &fours, w);
                done += 4;
            }
            for quad in done..m.quads() {
                let mut weights = [L::weights(w); VECTORS];
                for j in 1..VECTORS {
                    weights[j] = L::weights(w.add(j * 4 * L::N));
                }
                for i in 0..ROWS {
                    let activations = L::splat(x.add(i * p.x_step + 4 * quad));
                    for j in 0..VECTORS {
                        acc[i][j] = L::dot(acc[i][j], activations, weights[j]);
                    }
                }
                w = w.add(VECTORS * 4 * L::N);
            }
        }
        let scale = m.scale().as_ptr().add(panel.lanes());
        match p.out {
            Sink::Bytes(out, to) => {
                let (columns, left) = (m.columns(), m.columns() - panel.column());
                let out = out.add(row * columns + panel.column());
                macro_rules! store {
                    ($($i:literal)*) => {
                        $(if $i < ROWS {
                            store::<L, VECTORS>(acc[$i % ROWS], scale, to, out.add($i * columns), left);
                        })*
                    };
                }
                // Not a loop: the compiler may not unroll it, and would then keep all accumulators in memory.
                store!(0 1 2 3 4 5 6 7 8 9 10 11);
            }
            Sink::Floats(out) => {
                // Tiles have a single row then, see `tiles`.
                let out = out.add(row * m.columns() + panel.column());
                floats::<L, VECTORS>(acc[0], scale, out, m.columns() - panel.column());
            }
        }
    }
}

/// Adds the products of quad `FOUR` of each row's 16 activations. Returns where the next weights start.
///
/// # Safety
/// As [`tile`]. `w` is valid for these weights.
#[inline(always)]
unsafe fn four<L: Lanes, const ROWS: usize, const VECTORS: usize, const FOUR: usize>(
    acc: &mut [[L::Acc; VECTORS]; ROWS],
    x: &[L::Quads; ROWS],
    w: *const i8,
) -> *const i8 {
    // SAFETY: as the caller promises.
    unsafe {
        for j in 0..VECTORS {
            let weights = L::weights(w.add(j * 4 * L::N));
            for i in 0..ROWS {
                acc[i][j] = L::dot_four::<FOUR>(acc[i][j], x[i], weights);
            }
        }
        w.add(VECTORS * 4 * L::N)
    }
}

/// Adds the products of some quads. Returns where the next weights start.
///
/// `PLACES` is the number of vectors of shuffle indices behind each quad's weights: none, one for all vectors, or one for
/// each. With indices, lanes pick from the 16 activations that start with the quad.
///
/// # Safety
/// As [`tile`]. `w` is valid for the weights and indices of `quads`.
#[inline(always)]
unsafe fn quads<L: Lanes, const ROWS: usize, const VECTORS: usize, const PLACES: usize>(
    acc: &mut [[L::Acc; VECTORS]; ROWS],
    p: &Product<'_>,
    x: *const u8,
    quads: &[u32],
    mut w: *const i8,
) -> *const i8 {
    for &quad in quads {
        // SAFETY: as the caller promises.
        unsafe {
            let mut weights = [L::weights(w); VECTORS];
            for j in 1..VECTORS {
                weights[j] = L::weights(w.add(j * 4 * L::N));
            }
            w = w.add(VECTORS * 4 * L::N);
            let mut places = weights;
            for j in 0..PLACES {
                places[j] = L::weights(w.add(j * 4 * L::N));
            }
            w = w.add(PLACES * 4 * L::N);
            for i in 0..ROWS {
                let x = x.add(i * p.x_step + 4 * quad as usize);
                let activations = if PLACES == 0 { L::splat(x) } else { L::sixteen(x) };
                for j in 0..VECTORS {
                    let picked =
                        if PLACES == 0 { activations } else { L::pick(activations, places[j.min(PLACES - 1)]) };
                    acc[i][j] = L::dot(acc[i][j], picked, weights[j]);
                }
            }
        }
    }
    w
}

/// # Safety
/// As [`Lanes::store_four`], for `VECTORS` vectors.
#[inline(always)]
unsafe fn store<L: Lanes, const VECTORS: usize>(
    acc: [L::Acc; VECTORS],
    scale: *const f32,
    to: Requantise,
    out: *mut u8,
    left: usize,
) {
    // SAFETY: `VECTORS` vectors of scales are read, at most `left` bytes written.
    unsafe {
        if VECTORS == 4 {
            L::store_four([acc[0], acc[1 % VECTORS], acc[2 % VECTORS], acc[3 % VECTORS]], scale, to, out, left);
            return;
        }
        if VECTORS == 3 {
            L::store_three([acc[0], acc[1 % VECTORS], acc[2 % VECTORS]], scale, to, out, left);
            return;
        }
        if VECTORS == 2 {
            L::store_two([acc[0], acc[1 % VECTORS]], scale, to, out, left);
            return;
        }
        for j in 0..VECTORS {
            if left > j * L::N {
                L::store_one(acc[j], scale.add(j * L::N), to, out.add(j * L::N), left - j * L::N);
            }
        }
    }
}

/// Stores results as f32: `acc * scale`.
///
/// # Safety
/// `scale` is valid for `VECTORS` vectors, `out` for `left` values.
#[inline(always)]
unsafe fn floats<L: Lanes, const VECTORS: usize>(
    acc: [L::Acc; VECTORS],
    scale: *const f32,
    out: *mut f32,
    left: usize,
) {
    let mut lanes = [0i32; 16];
    for j in 0..VECTORS {
        // SAFETY: a vector has at most 16 lanes. Columns from `left` on are skipped.
        unsafe {
            L::spill(acc[j], lanes.as_mut_ptr());
            for lane in 0..L::N {
                let column = column(VECTORS, j, lane);
                if column < left {
                    *out.add(column) = lanes[lane] as f32 * *scale.add(j * L::N + lane);
                }
            }
        }
    }
}
