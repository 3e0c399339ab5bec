//! Elementwise layers: plain loops, which the compiler vectorises for each instruction set.

use super::lanes::{Lanes, Requantise};
use crate::graph::Scale;

/// What a stored byte is XORed with to get the u8 value.
const fn flip(signed: bool) -> u8 {
    if signed { 128 } else { 0 }
}

/// Rounds a value, adds the zero point and clamps: requantisation of one value.
#[inline(always)]
fn to_byte(value: f32, to: Requantise, signed: bool) -> u8 {
    // SAFETY: |value| is far below 2^31, and it is a number: it is a sum of bytes times a factor in a range that
    // `Step::fits` checked, or was clamped by `quantise`.
    let value = unsafe { value.round_ties_even().to_int_unchecked::<i32>() } + i32::from(to.zero);
    if signed {
        value.clamp(i32::from(to.low as i8), i32::from(to.high as i8)) as u8
    } else {
        value.clamp(i32::from(to.low), i32::from(to.high)) as u8
    }
}

/// Replaces each byte by its entry in the table.
///
/// # Safety
/// The CPU has the instruction set.
#[inline(always)]
pub(super) unsafe fn table<L: Lanes>(table: &[u8; 256], x: &[u8], out: &mut [u8]) {
    // SAFETY: as the caller promises.
    let done = unsafe { L::look_up(table, x, out) };
    for (out, &x) in out.iter_mut().zip(x).skip(done) {
        *out = table[usize::from(x)];
    }
}

/// `(a - zero_a) * factor_a + (b - zero_b) * factor_b`, requantised.
#[inline(always)]
pub(super) fn add<const SIGNED: bool>(a: &[u8], b: &[u8], from: [Scale; 2], to: Requantise, out: &mut [u8]) {
    let value = |byte: u8, from: Scale| (i32::from(byte ^ flip(SIGNED)) - i32::from(from.zero)) as f32 * from.factor;
    for ((&a, &b), out) in a.iter().zip(b).zip(out) {
        *out = to_byte(value(a, from[0]) + value(b, from[1]), to, SIGNED);
    }
}

/// `(a - zero_a) * (b - zero_b) * factor`, requantised. `b` may be one pixel for all pixels of `a`.
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
    // A share of the work may be empty.
    let pixel = b.len().max(1);
    for (a, out) in a.chunks(pixel).zip(out.chunks_mut(pixel)) {
        for ((&a, &b), out) in a.iter().zip(b).zip(out) {
            *out = to_byte((value(a, zeros[0]) * value(b, zeros[1])) as f32 * factor, to, SIGNED);
        }
    }
}

/// Average over all pixels: `(sum - pixels * zero) * factor` for each channel, requantised. `sums` has one entry per channel.
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

/// Maximum of two pixels, in place: one step of max pooling.
#[inline(always)]
pub(super) fn max<const SIGNED: bool>(x: &[u8], out: &mut [u8]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = (*out ^ flip(SIGNED)).max(x ^ flip(SIGNED)) ^ flip(SIGNED);
    }
}

/// Quantises planes of f32 to pixels of bytes: those from pixel `first` on, as many as fill `out`. It is `round(x / scale) +
/// zero`, as ONNX's QuantizeLinear; NaN becomes the least byte.
#[inline(always)]
#[allow(clippy::manual_clamp)] // `clamp` would keep NaN.
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
    // `max` and `min` replace NaN, and keep the value in the range of `to_byte`.
    let byte = |x: f32| to_byte((x / scale).max(-1024.0).min(1024.0), to, SIGNED);
    let mut blocks = [[0u8; BLOCK]; 3];
    for start in (0..pixels).step_by(BLOCK) {
        let length = BLOCK.min(pixels - start);
        let out = &mut out[start * channels..(start + length) * channels];
        // Three planes at a time, so that an RGB picture is interleaved at once.
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

/// Dequantises pixels of bytes to planes of f32: `(byte - zero) * factor`.
#[inline(always)]
pub(super) fn dequantise<const SIGNED: bool>(x: &[u8], channels: usize, from: Scale, out: &mut [f32]) {
    let pixels = x.len() / channels;
    for (channel, plane) in out.chunks_exact_mut(pixels.max(1)).enumerate() {
        for (out, &byte) in plane.iter_mut().zip(x.iter().skip(channel).step_by(channels)) {
            *out = (i32::from(byte ^ flip(SIGNED)) - i32::from(from.zero)) as f32 * from.factor;
        }
    }
}
