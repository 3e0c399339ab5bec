//! Matrix products: activations of many pixels times packed weights.

use std::mem::MaybeUninit;

use super::super::weights::{MAX_WIDE, Matrix, Panel};
use super::lanes::{Lanes, Requantise, column};
use super::{Job, Sink, pairs};

/// What one product works on.
pub(super) struct Product<'a> {
    pub(super) matrix: &'a Matrix,
    /// First activation of the first row.
    pub(super) x: *const u8,
    /// Bytes from one row of activations to the next.
    pub(super) x_step: usize,
    /// Where column 0 of the first row goes: bytes or f32.
    pub(super) out: Sink,
    pub(super) rows: usize,
}

/// Bytes of activations that are worked on together, and of results, so that they stay in the first-level cache for all
/// panels.
const CHUNK: usize = 24 << 10;

/// Rows of a chunk: a multiple of every tile's height.
const CHUNK_ROWS: usize = 24;

/// The same where activations are kept in 16 bits beside the bytes.
const WIDE_ROWS: usize = 4;

/// The activations of a chunk in 16 bits, and bytes behind them that are read and not used.
type Widened = [MaybeUninit<u16>; MAX_WIDE + 8];

/// Multiplies all rows by the panels of `job`.
///
/// # Safety
/// The CPU has the instruction set, and the matrix was packed for it. `x` is good for `rows` rows of `depth` bytes and
/// 15 bytes more (read, not used), `out` for `rows` rows of `columns` values.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes>(p: &Product<'_>, job: Job) {
    let panels = job.part(p.matrix.panels.len(), 1);
    let mut widened: Widened = [MaybeUninit::uninit(); _];
    let mut chunk = (CHUNK / p.x_step.max(p.matrix.columns).max(1)).max(CHUNK_ROWS) / CHUNK_ROWS * CHUNK_ROWS;
    if L::SATURATES && p.matrix.wide {
        // At least one: `Matrix::pack` made nothing wide where a row of activations is longer.
        let most = (MAX_WIDE / p.x_step.max(1)).max(1);
        chunk = if most >= WIDE_ROWS { most / WIDE_ROWS * WIDE_ROWS } else { most };
    }
    let mut row = 0;
    while row < p.rows {
        let rows = chunk.min(p.rows - row);
        if L::SATURATES && p.matrix.wide {
            // SAFETY: these rows and three bytes behind them may be read; the array has room for a chunk and more.
            unsafe { widen(p.x.add(row * p.x_step), rows * p.x_step + 3, &mut widened) };
        }
        for panel in &p.matrix.panels[panels.clone()] {
            // SAFETY: rows `row..row + rows` lie within those that the caller vouches for.
            unsafe { columns::<L>(p, &widened, panel, row, rows) };
        }
        row += rows;
    }
}

/// # Safety
/// `x` is good for `count` bytes.
#[inline(always)]
unsafe fn widen(x: *const u8, count: usize, to: &mut Widened) {
    // SAFETY: as the caller promises.
    let x = unsafe { std::slice::from_raw_parts(x, count) };
    to.iter_mut().zip(x).for_each(|(to, &x)| *to = MaybeUninit::new(u16::from(x)));
}

/// # Safety
/// As [`product`], for these rows.
#[inline(always)]
unsafe fn columns<L: Lanes>(p: &Product<'_>, widened: &Widened, panel: &Panel, row: usize, rows: usize) {
    // Accumulators, a vector of each weight and of each row's activations fit 32 registers (nearly 16 with AVX2): what
    // does not fit is spilled in the innermost loop, which halves the speed.
    let wide = L::N != 8;
    // SAFETY: passed on.
    unsafe {
        match panel.vectors {
            4 if L::PLAIN => tiles::<L, 1, 4>(p, widened, panel, row, rows),
            3 if L::PLAIN => tiles::<L, 1, 3>(p, widened, panel, row, rows),
            2 if L::PLAIN => tiles::<L, 1, 2>(p, widened, panel, row, rows),
            _ if L::PLAIN => tiles::<L, 1, 1>(p, widened, panel, row, rows),
            4 if wide => tiles::<L, 4, 4>(p, widened, panel, row, rows),
            4 => tiles::<L, 2, 4>(p, widened, panel, row, rows),
            3 if wide => tiles::<L, 6, 3>(p, widened, panel, row, rows),
            3 => tiles::<L, 3, 3>(p, widened, panel, row, rows),
            2 if L::FOURS => tiles::<L, 8, 2>(p, widened, panel, row, rows),
            2 if wide => tiles::<L, 12, 2>(p, widened, panel, row, rows),
            2 => tiles::<L, 4, 2>(p, widened, panel, row, rows),
            _ if wide => tiles::<L, 12, 1>(p, widened, panel, row, rows),
            _ => tiles::<L, 8, 1>(p, widened, panel, row, rows),
        }
    }
}

/// # Safety
/// As [`product`], for these rows.
#[inline(always)]
unsafe fn tiles<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    p: &Product<'_>,
    widened: &Widened,
    panel: &Panel,
    row: usize,
    rows: usize,
) {
    let wide = |at: usize| widened.as_ptr().cast::<u16>().wrapping_add((at - row) * p.x_step);
    let end = row + rows;
    let mut at = row;
    let together = matches!(p.out, Sink::Bytes(..));
    // SAFETY: every tile lies within the caller's rows.
    unsafe {
        while together && at + ROWS <= end {
            tile::<L, ROWS, VECTORS>(p, wide(at), panel, at);
            at += ROWS;
        }
        if together && at < end && rows >= ROWS && end - at > 1 {
            // The last tile overlaps the one before: some rows are written twice, with the same values.
            tile::<L, ROWS, VECTORS>(p, wide(end - ROWS), panel, end - ROWS);
        } else {
            while at < end {
                tile::<L, 1, VECTORS>(p, wide(at), panel, at);
                at += 1;
            }
        }
    }
}

/// # Safety
/// As [`product`], for rows `row..row + ROWS`; `wide` are their activations in 16 bits, where the matrix has wide vectors.
#[inline(always)]
unsafe fn tile<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    p: &Product<'_>,
    wide: *const u16,
    panel: &Panel,
    row: usize,
) {
    let m = p.matrix;
    // SAFETY: `Matrix` checked when it was packed that its panels lie within its weights, biases and scales; rows and
    // columns are those that the caller vouches for.
    unsafe {
        let x = p.x.add(row * p.x_step);
        let bias = m.bias.as_ptr().add(panel.lanes);
        let mut acc = [[L::start(bias); VECTORS]; ROWS];
        for j in 1..VECTORS {
            let start = L::start(bias.add(j * L::N));
            for acc in &mut acc {
                acc[j] = start;
            }
        }
        let w = m.weights().as_ptr().add(panel.weights);
        if L::PAIRS {
            acc = pairs::sums::<L, ROWS, VECTORS>(p, panel, x);
        } else if L::SATURATES {
            let w = mixed::<L, ROWS, VECTORS, 0>(&mut acc, p, x, wide, &m.order[panel.order[0].clone()], w);
            let w = mixed::<L, ROWS, VECTORS, 1>(&mut acc, p, x, wide, &m.order[panel.order[1].clone()], w);
            if VECTORS > 1 {
                let w = mixed::<L, ROWS, VECTORS, 2>(&mut acc, p, x, wide, &m.order[panel.order[2].clone()], w);
                mixed::<L, ROWS, VECTORS, 3>(&mut acc, p, x, wide, &m.order[panel.order[3].clone()], w);
            }
        } else {
            let (mut w, mut done) = (w, 0);
            while L::FOURS && done + 4 <= m.quads {
                let mut fours = [L::four(x.add(4 * done)); ROWS];
                for i in 1..ROWS {
                    fours[i] = L::four(x.add(i * p.x_step + 4 * done));
                }
                w = four::<L, ROWS, VECTORS, 0>(&mut acc, &fours, w);
                w = four::<L, ROWS, VECTORS, 1>(&mut acc, &fours, w);
                w = four::<L, ROWS, VECTORS, 2>(&mut acc, &fours, w);
                w = four::<L, ROWS, VECTORS, 3>(&mut acc, &fours, w);
                done += 4;
            }
            for quad in done..m.quads {
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
        let scale = m.scale.as_ptr().add(panel.lanes);
        match p.out {
            Sink::Bytes(out, to) => {
                let (columns, left) = (m.columns, m.columns - panel.column);
                let out = out.add(row * columns + panel.column);
                macro_rules! store {
                    ($($i:literal)*) => {
                        $(if $i < ROWS {
                            store::<L, VECTORS>(acc[$i % ROWS], scale, to, out.add($i * columns), left);
                        })*
                    };
                }
                // Not a loop: the compiler keeps all accumulators in memory for one that it does not unroll.
                store!(0 1 2 3 4 5 6 7 8 9 10 11);
            }
            Sink::Floats(out) => {
                // Rows come one by one: see `tiles`.
                let out = out.add(row * m.columns + panel.column);
                floats::<L, VECTORS>(acc[0], scale, out, m.columns - panel.column);
            }
        }
    }
}

/// Adds the products of the `FOUR`th four of 16 activations of each row; returns where the next weights start.
///
/// # Safety
/// As [`tile`]; `w` is good for these weights.
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

/// Adds fours of a panel of which the vectors in the bits of `WIDE` are wide; returns where the next weights start.
///
/// # Safety
/// As [`tile`]; `w` is good for the weights of `quads`.
#[inline(always)]
unsafe fn mixed<L: Lanes, const ROWS: usize, const VECTORS: usize, const WIDE: usize>(
    acc: &mut [[L::Acc; VECTORS]; ROWS],
    p: &Product<'_>,
    x: *const u8,
    wide: *const u16,
    quads: &[u32],
    mut w: *const i8,
) -> *const i8 {
    for &quad in quads {
        let quad = 4 * quad as usize;
        // SAFETY: as the caller promises; activations in 16 bits are there where vectors are wide.
        unsafe {
            for j in 0..VECTORS {
                let is_wide = WIDE >> j & 1 == 1;
                let weights = [L::weights(w), L::weights(if is_wide { w.add(4 * L::N) } else { w })];
                for i in 0..ROWS {
                    acc[i][j] = if is_wide {
                        let pairs = wide.add(i * p.x_step + quad).cast::<u8>();
                        L::dot_wide(acc[i][j], [L::splat(pairs), L::splat(pairs.add(4))], weights)
                    } else {
                        L::dot(acc[i][j], L::splat(x.add(i * p.x_step + quad)), weights[0])
                    };
                }
                w = w.add(if is_wide { 8 * L::N } else { 4 * L::N });
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
    // SAFETY: `VECTORS` vectors of scales; no more than `left` bytes.
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

/// Results that stay numbers: `acc * scale`.
///
/// # Safety
/// `scale` is good for `VECTORS` vectors, `out` for `left` values.
#[inline(always)]
unsafe fn floats<L: Lanes, const VECTORS: usize>(
    acc: [L::Acc; VECTORS],
    scale: *const f32,
    out: *mut f32,
    left: usize,
) {
    let mut lanes = [0i32; 16];
    for j in 0..VECTORS {
        // SAFETY: a vector has at most 16 lanes; columns from `left` on are passed over.
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
