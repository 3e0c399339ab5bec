//! Depthwise convolution: each channel has a filter of its own.

use super::super::weights::{Depthwise, ROW_ORDER};
use super::lanes::{Lanes, Requantise};
use super::{Job, Window};

/// What one convolution works on.
pub(super) struct Convolution<'a> {
    pub(super) filters: &'a Depthwise,
    pub(super) window: Window,
    pub(super) x: *const u8,
    pub(super) out: *mut u8,
    pub(super) to: Requantise,
}

/// Rows of one window: where each starts (at the group's channels) and how far apart its pixels are. A row outside of
/// the picture is one pixel of padding again and again.
#[derive(Clone, Copy)]
struct Rows<const ROWS: usize> {
    start: [*const u8; ROWS],
    step: [usize; ROWS],
}

/// Convolves the output rows of `job`.
///
/// # Safety
/// The CPU has the instruction set, and the filters were packed for it. `x` is good for the window's input and 64 bytes
/// more (read, not used), `out` for its output.
#[inline(always)]
pub(super) unsafe fn convolve<L: Lanes>(c: &Convolution<'_>, job: Job) {
    let window = &c.window;
    // SAFETY: passed on.
    unsafe {
        match (window.kernel, window.stride) {
            ([3, 3], [_, 1]) => three::<L, 1>(c, job),
            ([3, 3], [_, 2]) => three::<L, 2>(c, job),
            _ => any::<L>(c, job),
        }
    }
}

/// # Safety
/// As [`convolve`]; `first` is the window's first row, which may lie outside of the picture.
#[inline(always)]
unsafe fn rows<const ROWS: usize>(c: &Convolution<'_>, first: isize, channel: usize) -> Rows<ROWS> {
    let padding = c.filters.padding().as_ptr();
    // SAFETY: the padding has as many bytes as a pixel has channels, and 64 more.
    let outside = unsafe { padding.add(channel) };
    let mut rows = Rows { start: [outside; ROWS], step: [0; ROWS] };
    for i in 0..ROWS {
        let y = first + ROW_ORDER[i] as isize;
        if y >= 0 && (y as usize) < c.window.height {
            let channels = c.filters.channels;
            // SAFETY: row `y` lies within the picture.
            rows.start[i] = unsafe { c.x.add(y as usize * c.window.width * channels + channel) };
            rows.step[i] = channels;
        }
    }
    rows
}

/// The bytes of column `x`, which may lie outside of the picture.
///
/// # Safety
/// As [`convolve`].
#[inline(always)]
unsafe fn quads<L: Lanes, const ROWS: usize>(
    c: &Convolution<'_>,
    rows: &Rows<ROWS>,
    x: isize,
    channel: usize,
) -> [L::Quads; 4] {
    let left = c.filters.channels - channel;
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

/// Adds one column of the window to four vectors of accumulators.
///
/// # Safety
/// `w` is good for `16 * N` weights, and for as many again at `w + rest` where `rest` is not 0.
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

/// 3 x 3, with a stride of 1 or 2 along the row: each column is interleaved once and used by all windows that have it.
///
/// # Safety
/// As [`convolve`].
#[inline(always)]
unsafe fn three<L: Lanes, const STRIDE: usize>(c: &Convolution<'_>, job: Job) {
    let (f, window) = (c.filters, &c.window);
    let column = 16 * L::N;
    // SAFETY: `Depthwise` checked when it was packed that its groups lie within its arrays; all output pixels are
    // within the window's output.
    unsafe {
        for oy in job.part(window.out_height, 1) {
            for (group, channel) in (0..f.channels).step_by(4 * L::N).enumerate() {
                let rows = rows::<3>(c, (oy * window.stride[0]) as isize - window.padding[0] as isize, channel);
                let w = f.weights().as_ptr().add(group * f.group_weights);
                let [r0, r1, r2] = *f.rests(group) else { return };
                let (bias, scale) = (f.bias.as_ptr().add(channel), f.scale.as_ptr().add(channel));
                let mut out = c.out.add(oy * window.out_width * f.channels + channel);
                let mut x = -(window.padding[1] as isize);
                let mut first = quads::<L, 3>(c, &rows, x, channel);
                let mut second = if STRIDE == 1 { quads::<L, 3>(c, &rows, x + 1, channel) } else { first };
                for _ in 0..window.out_width {
                    if STRIDE != 1 {
                        second = quads::<L, 3>(c, &rows, x + 1, channel);
                    }
                    let third = quads::<L, 3>(c, &rows, x + 2, channel);
                    let mut acc = start::<L>(bias);
                    add::<L>(&mut acc, first, w, r0);
                    add::<L>(&mut acc, second, w.add(column), r1);
                    add::<L>(&mut acc, third, w.add(2 * column), r2);
                    L::store_four(acc, scale, c.to, out, f.channels - channel);
                    (first, second) = if STRIDE == 1 { (second, third) } else { (third, second) };
                    out = out.add(f.channels);
                    x += STRIDE as isize;
                }
            }
        }
    }
}

/// Any window: four rows of it at a time.
///
/// # Safety
/// As [`convolve`].
#[inline(always)]
unsafe fn any<L: Lanes>(c: &Convolution<'_>, job: Job) {
    let (f, window) = (c.filters, &c.window);
    let column = 16 * L::N;
    let fours = window.kernel[0].div_ceil(4);
    // SAFETY: as in `three`.
    unsafe {
        for oy in job.part(window.out_height, 1) {
            let top = (oy * window.stride[0]) as isize - window.padding[0] as isize;
            for (group, channel) in (0..f.channels).step_by(4 * L::N).enumerate() {
                let rests = f.rests(group);
                let (bias, scale) = (f.bias.as_ptr().add(channel), f.scale.as_ptr().add(channel));
                let mut out = c.out.add(oy * window.out_width * f.channels + channel);
                for ox in 0..window.out_width {
                    let mut acc = start::<L>(bias);
                    let mut w = f.weights().as_ptr().add(group * f.group_weights);
                    for four in 0..fours {
                        // Rows below the window meet weights of zero.
                        let rows = rows::<4>(c, top + 4 * four as isize, channel);
                        for kx in 0..window.kernel[1] {
                            let x = (ox * window.stride[1] + kx) as isize - window.padding[1] as isize;
                            let rest = rests[four * window.kernel[1] + kx];
                            add::<L>(&mut acc, quads::<L, 4>(c, &rows, x, channel), w, rest);
                            w = w.add(column);
                        }
                    }
                    L::store_four(acc, scale, c.to, out, f.channels - channel);
                    out = out.add(f.channels);
                }
            }
        }
    }
}

/// # Safety
/// `bias` is good for `4 * N` values.
#[inline(always)]
unsafe fn start<L: Lanes>(bias: *const i32) -> [L::Acc; 4] {
    // SAFETY: as the caller promises.
    unsafe { [L::start(bias), L::start(bias.add(L::N)), L::start(bias.add(2 * L::N)), L::start(bias.add(3 * L::N))] }
}
