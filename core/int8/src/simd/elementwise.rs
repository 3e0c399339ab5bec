//! What is done value by value: plain loops, which the compiler turns into each instruction set's vectors.

use super::lanes::{Lanes, Requantise};
use crate::graph::Scale;

/// Stored bytes of two values to one of their sum or product, and so on. `FLIP` is 128 where bytes are stored signed.
const fn flip(signed: bool) -> u8 {
    if signed { 128 } else { 0 }
}

/// One rounded value to a byte. The value is small: it came from bytes and a scale that was checked.
#[inline(always)]
fn to_byte(value: f32, to: Requantise, signed: bool) -> u8 {
    // SAFETY: the scales of a layer are checked when it is planned: |value| is far below 2^31, and it is a number.
    let value = unsafe { value.round_ties_even().to_int_unchecked::<i32>() } + i32::from(to.zero);
    if signed {
        value.clamp(i32::from(to.low as i8), i32::from(to.high as i8)) as u8
    } else {
        value.clamp(i32::from(to.low), i32::from(to.high)) as u8
    }
}

/// Each byte's place in a table.
///
/// # Safety
/// The CPU has the instruction set.
#[inline(always)]
pub(super) unsafe fn table<L: Lanes>(table: &[u8; 256], x: &[u8], out: &mut [u8]) {
    // SAFETY: passed on.
    let done = unsafe { L::look_up(table, x, out) };
    for (out, &x) in out.iter_mut().zip(x).skip(done) {
        *out = table[usize::from(x)];
    }
}

/// `a * scale_a + b * scale_b`, both without their zero points.
#[inline(always)]
pub(super) fn add<const SIGNED: bool>(a: &[u8], b: &[u8], from: [Scale; 2], to: Requantise, out: &mut [u8]) {
    let value = |byte: u8, from: Scale| (i32::from(byte ^ flip(SIGNED)) - i32::from(from.zero)) as f32 * from.factor;
    for ((&a, &b), out) in a.iter().zip(b).zip(out) {
        *out = to_byte(value(a, from[0]) + value(b, from[1]), to, SIGNED);
    }
}

/// `a * b * factor`; `b` may be one value a channel for all pixels of `a`.
#[inline(always)]
pub(super) fn multiply<const SIGNED: bool>(
    a: &[u8],
    b: &[u8],
    zeros: [u8; 2],
    factor: f32,
    to: Requantise,
    out: &mut [u8],
) {
    let value = |byte: u8, zero: u8| i32::from(byte ^ flip(SIGNED)) - i32::from(zero);
    for (a, out) in a.chunks(b.len()).zip(out.chunks_mut(b.len())) {
        for ((&a, &b), out) in a.iter().zip(b).zip(out) {
            *out = to_byte((value(a, zeros[0]) * value(b, zeros[1])) as f32 * factor, to, SIGNED);
        }
    }
}

/// Sums over pixels, then one value a channel: `(sum - pixels * zero) * factor`. `sums` has room for all channels.
#[inline(always)]
pub(super) fn average<const SIGNED: bool>(
    x: &[u8],
    zero: u8,
    factor: f32,
    to: Requantise,
    sums: &mut [i32],
    out: &mut [u8],
) {
    let channels = sums.len();
    let pixels = (x.len() / channels) as i32;
    sums.fill(-(pixels * i32::from(zero)));
    for pixel in x.chunks_exact(channels) {
        for (sum, &byte) in sums.iter_mut().zip(pixel) {
            *sum += i32::from(byte ^ flip(SIGNED));
        }
    }
    for (out, &sum) in out.iter_mut().zip(&*sums) {
        *out = to_byte(sum as f32 * factor, to, SIGNED);
    }
}

/// The larger of two bytes, in place: a step of max pooling.
#[inline(always)]
pub(super) fn larger<const SIGNED: bool>(x: &[u8], out: &mut [u8]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = (*out ^ flip(SIGNED)).max(x ^ flip(SIGNED)) ^ flip(SIGNED);
    }
}

/// Planes of f32 to the pixels from `first` on that fill `out`, as bytes: `round(x / scale) + zero`, as ONNX's QuantizeLinear; NaN becomes the least byte.
#[inline(always)]
#[allow(clippy::manual_clamp)] // `clamp` keeps NaN.
pub(super) fn quantise<const SIGNED: bool>(
    x: &[f32],
    channels: usize,
    first: usize,
    scale: f32,
    to: Requantise,
    out: &mut [u8],
) {
    const BLOCK: usize = 256;
    let (plane, pixels) = (x.len() / channels, out.len() / channels);
    // `max` and `min` make a number of everything, and keep it in the range of `to_byte`.
    let byte = |x: f32| to_byte((x / scale).max(-1024.0).min(1024.0), to, SIGNED);
    let mut blocks = [[0u8; BLOCK]; 3];
    for start in (0..pixels).step_by(BLOCK) {
        let length = BLOCK.min(pixels - start);
        let out = &mut out[start * channels..(start + length) * channels];
        // Three planes at a time: the usual picture is interleaved at once.
        for low in (0..channels).step_by(3) {
            let together = 3.min(channels - low);
            for (channel, block) in (low..low + together).zip(&mut blocks) {
                for (byte_out, &x) in block.iter_mut().zip(&x[channel * plane + first + start..][..length]) {
                    *byte_out = byte(x);
                }
            }
            let [a, b, c] = &blocks;
            if channels == 3 {
                for (((out, a), b), c) in out.as_chunks_mut::<3>().0.iter_mut().zip(a).zip(b).zip(c) {
                    *out = [*a, *b, *c];
                }
            } else {
                for (at, pixel) in out.chunks_exact_mut(channels).enumerate() {
                    for (out, block) in pixel[low..low + together].iter_mut().zip(&blocks) {
                        *out = block[at];
                    }
                }
            }
        }
    }
}

/// Pixels of bytes to planes of f32: `(byte - zero) * scale`.
#[inline(always)]
pub(super) fn dequantise<const SIGNED: bool>(x: &[u8], channels: usize, from: Scale, out: &mut [f32]) {
    let pixels = x.len() / channels;
    for (channel, plane) in out.chunks_exact_mut(pixels.max(1)).enumerate() {
        for (out, &byte) in plane.iter_mut().zip(x.iter().skip(channel).step_by(channels)) {
            *out = (i32::from(byte ^ flip(SIGNED)) - i32::from(from.zero)) as f32 * from.factor;
        }
    }
}
