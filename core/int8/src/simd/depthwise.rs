//! Depthwise convolution: one filter per channel.

use super::lanes::{Lanes, Requantise};
use super::operands::{Convolution, WorkShare};
use crate::layout::ROW_ORDER;

/// The rows of one window: where each starts (at the group's channels), and the distance between its pixels. A row outside
/// the picture is one pixel of padding, repeated.
#[derive(Clone, Copy)]
struct WindowRows<const ROWS: usize> {
    start: [*const u8; ROWS],
    step: [usize; ROWS],
}

/// Computes the output rows of `job`.
///
/// # Safety
/// The CPU has the instruction set, and the filters were packed for its layout and for the window's kernel. `x` is valid for
/// reads of the whole picture and 64 bytes behind it (read, not used), `out` for writes of the rows of `job`.
#[inline(always)]
pub(super) unsafe fn depthwise<L: Lanes>(c: &Convolution<'_>, job: WorkShare) {
    let window = &c.window;
    // SAFETY: as the caller promises.
    unsafe {
        match (window.kernel, window.stride) {
            _ if L::PLAIN => any::<L>(c, job),
            ([3, 3], [_, 1]) => three::<L, 1>(c, job),
            ([3, 3], [_, 2]) => three::<L, 2>(c, job),
            _ => any::<L>(c, job),
        }
    }
}

/// # Safety
/// As [`depthwise`]. `first` is the window's first row, which may lie outside the picture.
#[inline(always)]
unsafe fn rows<const ROWS: usize>(c: &Convolution<'_>, first: isize, channel: usize) -> WindowRows<ROWS> {
    let padding = c.filters.padding().as_ptr();
    // SAFETY: the padding has as many bytes as a pixel has channels, and 64 behind them.
    let outside = unsafe { padding.add(channel) };
    let mut rows = WindowRows { start: [outside; ROWS], step: [0; ROWS] };
    for i in 0..ROWS {
        let y = first + ROW_ORDER[i] as isize;
        if y >= 0 && (y as usize) < c.window.height {
            let channels = c.filters.channels();
            // SAFETY: row `y` lies within the picture.
            rows.start[i] = unsafe { c.x.add(y as usize * c.window.width * channels + channel) };
            rows.step[i] = channels;
        }
    }
    rows
}

/// The interleaved bytes of column `x`, which may lie outside the picture.
///
/// # Safety
/// As [`depthwise`].
#[inline(always)]
unsafe fn quads<L: Lanes, const ROWS: usize>(
    c: &Convolution<'_>,
    rows: &WindowRows<ROWS>,
    x: isize,
    channel: usize,
) -> [L::Quads; 4] {
    let left = c.filters.channels() - channel;
    // SAFETY: a column of the picture, or padding.
    unsafe {
        let mut at = rows.start;
        if x >= 0 && (x as usize) < c.window.width {
            for i in 0..ROWS {
                at[i] = at[i].add(x as usize * rows.step[i]);
            }
        } else {
            at = [c.filters.padding().as_ptr().add(channel); ROWS];
        }
        L::interleave::<ROWS>(at, left)
    }
}

/// Adds the products of one column of the window to four vectors of accumulators.
///
/// # Safety
/// `w` is valid for `16 * N` weights, and so is `w + rest` if `rest` is not 0.
#[inline(always)]
unsafe fn add<L: Lanes>(acc: &mut [L::Acc; 4], x: [L::Quads; 4], w: *const i8, rest: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        for j in 0..4 {
            acc[j] = L::dot(acc[j], x[j], L::weights(w.add(j * 4 * L::N)));
        }
        if L::SATURATES && rest != 0 {
            for j in 0..4 {
                acc[j] = L::dot(acc[j], x[j], L::weights(w.add(rest + j * 4 * L::N)));
            }
        }
    }
}

/// 3 x 3 windows with a horizontal stride of 1 or 2.
///
/// # Safety
/// As [`depthwise`].
#[inline(always)]
unsafe fn three<L: Lanes, const STRIDE: usize>(c: &Convolution<'_>, job: WorkShare) {
    let rows = job.part(c.window.out_height, 1);
    let mut oy = rows.start;
    while oy < rows.end {
        // Two rows of windows at a distance of one row share the interleaving of their four picture rows.
        let two = STRIDE == 1 && c.window.stride[0] == 1 && oy + 1 < rows.end;
        for (group, channel) in (0..c.filters.channels()).step_by(4 * L::N).enumerate() {
            // SAFETY: these rows lie within the output, and this group within the filters.
            unsafe {
                match two {
                    true => lines::<L, STRIDE, 4>(c, oy, group, channel),
                    false => lines::<L, STRIDE, 3>(c, oy, group, channel),
                }
            }
        }
        oy += if two { 2 } else { 1 };
    }
}

/// Computes a row of windows of one group of channels; two rows with `ROWS` = 4. Each column of the picture is interleaved
/// once, for all windows that contain it.
///
/// # Safety
/// As [`depthwise`], for these rows and this group.
#[inline(always)]
unsafe fn lines<L: Lanes, const STRIDE: usize, const ROWS: usize>(
    c: &Convolution<'_>,
    oy: usize,
    group: usize,
    channel: usize,
) {
    let window = &c.window;
    let mut left = window.out_width;
    // SAFETY: the rows and the group exist. No column behind the last window is read.
    unsafe {
        let Some(mut line) = RowCursor::<ROWS>::new::<L>(c, oy, group, channel) else { return };
        // Columns stay in their registers: the second column of one window is the first of the next.
        let mut a = line.next::<L>();
        if STRIDE == 1 {
            let mut b = line.next::<L>();
            while left >= 3 {
                let c = line.next::<L>();
                line.put::<L>(a, b, c);
                a = line.next::<L>();
                line.put::<L>(b, c, a);
                b = line.next::<L>();
                line.put::<L>(c, a, b);
                left -= 3;
            }
            for _ in 0..left {
                let c = line.next::<L>();
                line.put::<L>(a, b, c);
                (a, b) = (b, c);
            }
        } else {
            for _ in 0..left / 2 {
                let (b, c) = (line.next::<L>(), line.next::<L>());
                line.put::<L>(a, b, c);
                let b = line.next::<L>();
                a = line.next::<L>();
                line.put::<L>(c, b, a);
            }
            if left % 2 == 1 {
                let (b, c) = (line.next::<L>(), line.next::<L>());
                line.put::<L>(a, b, c);
            }
        }
    }
}

/// The state of [`lines`], copied out of the [`Convolution`]: the compiler has to assume that stored bytes overwrite the
/// latter, and would reload it after each store.
struct RowCursor<const ROWS: usize> {
    rows: WindowRows<ROWS>,
    outside: *const u8,
    /// The next column, and the number of columns.
    x: isize,
    width: usize,
    /// Channels of a pixel, and how many of them are not in earlier groups.
    channels: usize,
    left: usize,
    weights: *const i8,
    rests: [usize; 6],
    bias: *const i32,
    scale: *const f32,
    to: Requantise,
    out: *mut u8,
    /// Bytes from a row of the output to the next.
    below: usize,
}

impl<const ROWS: usize> RowCursor<ROWS> {
    /// # Safety
    /// As [`lines`].
    #[inline(always)]
    unsafe fn new<L: Lanes>(c: &Convolution<'_>, oy: usize, group: usize, channel: usize) -> Option<Self> {
        let (f, window) = (c.filters, &c.window);
        let below = window.out_width * f.channels();
        // SAFETY: `PackedDepthwise` has weights, biases and scales for every group.
        unsafe {
            Some(RowCursor {
                rows: rows(c, (oy * window.stride[0]) as isize - window.padding[0] as isize, channel),
                outside: f.padding().as_ptr().add(channel),
                x: (window.padding[1] as isize).wrapping_neg(),
                width: window.width,
                channels: f.channels(),
                left: f.channels() - channel,
                weights: f.weights().as_ptr().add(group * f.group_weights()),
                rests: *f.rests(group).first_chunk()?,
                bias: f.bias().as_ptr().add(channel),
                scale: f.scale().as_ptr().add(channel),
                to: c.to,
                out: c.out.add(oy * below + channel),
                below,
            })
        }
    }

    /// Interleaves the next column of the picture.
    ///
    /// # Safety
    /// As [`depthwise`].
    #[inline(always)]
    unsafe fn next<L: Lanes>(&mut self) -> [L::Quads; 4] {
        // Columns left of the picture are large numbers after the cast.
        let inside = (self.x as usize) < self.width;
        self.x += 1;
        // SAFETY: a column of the picture, or padding.
        unsafe {
            if !inside {
                return L::interleave::<ROWS>([self.outside; ROWS], self.left);
            }
            let quads = L::interleave::<ROWS>(self.rows.start, self.left);
            for i in 0..ROWS {
                self.rows.start[i] = self.rows.start[i].wrapping_add(self.rows.step[i]);
            }
            quads
        }
    }

    /// Computes and stores one window; with `ROWS` = 4, also the one below it.
    ///
    /// # Safety
    /// As [`depthwise`].
    #[inline(always)]
    unsafe fn put<L: Lanes>(&mut self, first: [L::Quads; 4], second: [L::Quads; 4], third: [L::Quads; 4]) {
        let column = 16 * L::N;
        let [r0, r1, r2, s0, s1, s2] = self.rests;
        // SAFETY: as in `new`; the window is one of the output's.
        unsafe {
            let mut acc = start::<L>(self.bias);
            add::<L>(&mut acc, first, self.weights, r0);
            add::<L>(&mut acc, second, self.weights.add(column), r1);
            add::<L>(&mut acc, third, self.weights.add(2 * column), r2);
            L::store_four(acc, self.scale, self.to, self.out, self.left);
            if ROWS == 4 {
                let lower = self.weights.add(3 * column);
                let mut acc = start::<L>(self.bias);
                add::<L>(&mut acc, first, lower, s0);
                add::<L>(&mut acc, second, lower.add(column), s1);
                add::<L>(&mut acc, third, lower.add(2 * column), s2);
                L::store_four(acc, self.scale, self.to, self.out.add(self.below), self.left);
            }
            self.out = self.out.wrapping_add(self.channels);
        }
    }
}

/// Windows of any size, four rows at a time.
///
/// # Safety
/// As [`depthwise`].
#[inline(always)]
unsafe fn any<L: Lanes>(c: &Convolution<'_>, job: WorkShare) {
    let (f, window) = (c.filters, &c.window);
    let column = 16 * L::N;
    let fours = window.kernel[0].div_ceil(4);
    // SAFETY: as in `three`.
    unsafe {
        for oy in job.part(window.out_height, 1) {
            let top = (oy * window.stride[0]) as isize - window.padding[0] as isize;
            for (group, channel) in (0..f.channels()).step_by(4 * L::N).enumerate() {
                let rests = f.rests(group);
                let (bias, scale) = (f.bias().as_ptr().add(channel), f.scale().as_ptr().add(channel));
                let mut out = c.out.add(oy * window.out_width * f.channels() + channel);
                for ox in 0..window.out_width {
                    let mut acc = start::<L>(bias);
                    let mut w = f.weights().as_ptr().add(group * f.group_weights());
                    for four in 0..fours {
                        // Rows below the window are multiplied with weights of zero.
                        let rows = rows::<4>(c, top + 4 * four as isize, channel);
                        for kx in 0..window.kernel[1] {
                            let x = (ox * window.stride[1] + kx) as isize - window.padding[1] as isize;
                            let rest = rests[four * window.kernel[1] + kx];
                            add::<L>(&mut acc, quads::<L, 4>(c, &rows, x, channel), w, rest);
                            w = w.add(column);
                        }
                    }
                    L::store_four(acc, scale, c.to, out, f.channels() - channel);
                    out = out.add(f.channels());
                }
            }
        }
    }
}

/// # Safety
/// `bias` is valid for `4 * N` values.
#[inline(always)]
unsafe fn start<L: Lanes>(bias: *const i32) -> [L::Acc; 4] {
    // SAFETY: as the caller promises.
    unsafe { [L::start(bias), L::start(bias.add(L::N)), L::start(bias.add(2 * L::N)), L::start(bias.add(3 * L::N))] }
}
