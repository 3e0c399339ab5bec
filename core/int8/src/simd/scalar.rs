//! Plain Rust: the fallback for every CPU, and the reference for the other instruction sets.

use super::lanes::{Lanes, Requantise};

/// Four lanes, which the compiler can keep in one vector on most CPUs.
pub(super) struct Scalar;

impl Lanes for Scalar {
    const N: usize = 4;
    const SIGNED: bool = false;
    const SATURATES: bool = false;
    const PLAIN: bool = true;
    type Acc = [i32; 4];
    type Quads = [[u8; 4]; 4];
    type Weights = [[i8; 4]; 4];

    #[inline(always)]
    unsafe fn start(bias: *const i32) -> [i32; 4] {
        // SAFETY: the caller's pointer is valid for four values.
        unsafe { bias.cast::<[i32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn splat(x: *const u8) -> [[u8; 4]; 4] {
        // SAFETY: the caller's pointer is valid for four bytes.
        [unsafe { x.cast::<[u8; 4]>().read_unaligned() }; 4]
    }

    #[inline(always)]
    unsafe fn weights(w: *const i8) -> [[i8; 4]; 4] {
        // SAFETY: the caller's pointer is valid for 16 bytes.
        unsafe { w.cast::<[[i8; 4]; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn dot(mut acc: [i32; 4], x: [[u8; 4]; 4], w: [[i8; 4]; 4]) -> [i32; 4] {
        for lane in 0..4 {
            for i in 0..4 {
                acc[lane] += i32::from(x[lane][i]) * i32::from(w[lane][i]);
            }
        }
        acc
    }

    #[inline(always)]
    unsafe fn interleave<const ROWS: usize>(rows: [*const u8; ROWS], left: usize) -> [[[u8; 4]; 4]; 4] {
        let mut quads = [[[0; 4]; 4]; 4];
        for (i, row) in rows.into_iter().enumerate() {
            for channel in 0..left.min(16) {
                // SAFETY: the row has at least `left` channels.
                quads[channel / 4][channel % 4][i] = unsafe { *row.add(channel) };
            }
        }
        quads
    }

    #[inline(always)]
    unsafe fn store_four(acc: [[i32; 4]; 4], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        for (j, acc) in acc.into_iter().enumerate() {
            if left > 4 * j {
                // SAFETY: four of the caller's 16 scales are read, and up to four of its bytes written.
                unsafe { Self::store_one(acc, scale.add(4 * j), to, out.add(4 * j), left - 4 * j) };
            }
        }
    }

    #[inline(always)]
    unsafe fn store_three(acc: [[i32; 4]; 3], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        for (j, acc) in acc.into_iter().enumerate() {
            if left > 4 * j {
                // SAFETY: four of the caller's twelve scales are read, and up to four of its bytes written.
                unsafe { Self::store_one(acc, scale.add(4 * j), to, out.add(4 * j), left - 4 * j) };
            }
        }
    }

    #[inline(always)]
    unsafe fn store_two(acc: [[i32; 4]; 2], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        for (j, acc) in acc.into_iter().enumerate() {
            if left > 4 * j {
                // SAFETY: four of the caller's eight scales are read, and up to four of its bytes written.
                unsafe { Self::store_one(acc, scale.add(4 * j), to, out.add(4 * j), left - 4 * j) };
            }
        }
    }

    #[inline(always)]
    unsafe fn store_one(acc: [i32; 4], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        for lane in 0..left.min(4) {
            // SAFETY: the caller's pointers are valid for four scales and `left` bytes.
            unsafe { *out.add(lane) = requantise(acc[lane], *scale.add(lane), to) };
        }
    }

    #[inline(always)]
    unsafe fn spill(acc: [i32; 4], out: *mut i32) {
        // SAFETY: the caller's pointer is valid for four values.
        unsafe { out.cast::<[i32; 4]>().write_unaligned(acc) }
    }
}

/// Requantises one accumulator: the definition that all kernels follow. `acc * scale` fits an i32, which `plan` checks for
/// every output of a layer.
fn requantise(acc: i32, scale: f32, to: Requantise) -> u8 {
    let value = (acc as f32 * scale).round_ties_even() as i32 + i32::from(to.zero);
    value.clamp(i32::from(to.low), i32::from(to.high)) as u8
}
