//! 64-bit ARM with NEON (Advanced SIMD).

use std::arch::aarch64::*;

use super::lanes::Lanes;
use crate::rows::BLOCK;

pub(super) struct Neon;

impl Lanes for Neon {
    /// Four sums in each register, in order.
    type Sums = [int32x4_t; 8];
    type Bytes = uint8x16_t;

    #[inline(always)]
    unsafe fn sums<const V: usize>(from: *const u8, stride: usize, weights: &[i16], half: i32) -> [Self::Sums; V] {
        // SAFETY: the caller guarantees a row for each weight, as long as the blocks.
        unsafe {
            let mut sums = [[vdupq_n_s32(half); 8]; V];
            let mut row = from;
            for weight in weights {
                for (block, sums) in sums.iter_mut().enumerate() {
                    for (at, sums) in sums.chunks_exact_mut(4).enumerate() {
                        let bytes = vld1q_u8(row.add(block * BLOCK + at * BLOCK / 2));
                        let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
                        let high = vreinterpretq_s16_u16(vmovl_high_u8(bytes));
                        sums[0] = vmlal_n_s16(sums[0], vget_low_s16(low), *weight);
                        sums[1] = vmlal_high_n_s16(sums[1], low, *weight);
                        sums[2] = vmlal_n_s16(sums[2], vget_low_s16(high), *weight);
                        sums[3] = vmlal_high_n_s16(sums[3], high, *weight);
                    }
                }
                row = row.wrapping_add(stride);
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn store_bytes(sums: Self::Sums, shift: u32, to: *mut u8) {
        // SAFETY: the caller guarantees room for a block of bytes.
        unsafe {
            let [a, b, c, d] = words(sums, shift);
            vst1q_u8(to, vqmovun_high_s16(vqmovun_s16(a), b));
            vst1q_u8(to.add(BLOCK / 2), vqmovun_high_s16(vqmovun_s16(c), d));
        }
    }

    #[inline(always)]
    unsafe fn store_words(sums: Self::Sums, shift: u32, to: *mut i16) {
        // SAFETY: the caller guarantees room for a block of words.
        unsafe {
            for (at, words) in words(sums, shift).into_iter().enumerate() {
                vst1q_s16(to.add(at * BLOCK / 4), words);
            }
        }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self::Bytes {
        // SAFETY: guaranteed by the caller.
        unsafe { vld1q_u8(from) }
    }

    #[inline(always)]
    unsafe fn store(bytes: Self::Bytes, to: *mut u8) {
        // SAFETY: guaranteed by the caller.
        unsafe { vst1q_u8(to, bytes) }
    }

    #[inline(always)]
    unsafe fn zip(a: Self::Bytes, b: Self::Bytes) -> [Self::Bytes; 2] {
        // SAFETY: every 64-bit ARM CPU has NEON.
        unsafe { [vzip1q_u8(a, b), vzip2q_u8(a, b)] }
    }
}

/// Shifts sums and narrows them to words with saturation.
///
/// # Safety
///
/// The CPU has NEON.
#[inline(always)]
unsafe fn words(sums: [int32x4_t; 8], shift: u32) -> [int16x8_t; 4] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let shift = vdupq_n_s32(-(shift as i32));
        let word = |at: usize| {
            let [low, high] = [sums[at], sums[at + 1]].map(|sums| vshlq_s32(sums, shift));
            vqmovn_high_s32(vqmovn_s32(low), high)
        };
        [word(0), word(2), word(4), word(6)]
    }
}
