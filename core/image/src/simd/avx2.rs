//! x86-64 with AVX2. It takes two rows at a time, since one multiplication (`madd`) adds two products.

use std::arch::x86_64::*;

use super::lanes::Lanes;
use crate::rows::BLOCK;

pub(super) struct Avx2;

impl Lanes for Avx2 {
    /// Sums 0 to 3 and 16 to 19, 4 to 7 and 20 to 23, and so on: the order in which unpacking leaves the bytes and
    /// packing needs them.
    type Sums = [__m256i; 4];
    type Bytes = __m128i;

    #[inline(always)]
    unsafe fn sums<const V: usize>(from: *const u8, stride: usize, weights: &[i16], half: i32) -> [Self::Sums; V] {
        // SAFETY: the caller guarantees AVX2, and a row for each weight, as long as the blocks.
        unsafe {
            let zero = _mm256_setzero_si256();
            let mut sums = [[_mm256_set1_epi32(half); 4]; V];
            let (pairs, rest) = weights.as_chunks::<2>();
            let mut row = from;
            for [first, second] in pairs {
                let pair = (i32::from(*second) << 16) | i32::from(*first as u16);
                let weight = _mm256_set1_epi32(pair);
                for (block, sums) in sums.iter_mut().enumerate() {
                    let above = _mm256_loadu_si256(row.add(block * BLOCK).cast());
                    let below = _mm256_loadu_si256(row.add(stride + block * BLOCK).cast());
                    let halves = [_mm256_unpacklo_epi8(above, below), _mm256_unpackhi_epi8(above, below)];
                    for (sums, half) in sums.chunks_exact_mut(2).zip(halves) {
                        let (low, high) = (_mm256_unpacklo_epi8(half, zero), _mm256_unpackhi_epi8(half, zero));
                        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low, weight));
                        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high, weight));
                    }
                }
                row = row.wrapping_add(2 * stride);
            }
            for weight in rest {
                let weight = _mm256_set1_epi32(i32::from(*weight as u16));
                for (block, sums) in sums.iter_mut().enumerate() {
                    let bytes = _mm256_loadu_si256(row.add(block * BLOCK).cast());
                    let halves = [_mm256_unpacklo_epi8(bytes, zero), _mm256_unpackhi_epi8(bytes, zero)];
                    for (sums, half) in sums.chunks_exact_mut(2).zip(halves) {
                        let (low, high) = (_mm256_unpacklo_epi16(half, zero), _mm256_unpackhi_epi16(half, zero));
                        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low, weight));
                        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high, weight));
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn store_bytes(sums: Self::Sums, shift: u32, to: *mut u8) {
        // SAFETY: the caller guarantees AVX2, and room for a block of bytes.
        unsafe {
            let [low, high] = words(sums, shift);
            _mm256_storeu_si256(to.cast(), _mm256_packus_epi16(low, high));
        }
    }

    #[inline(always)]
    unsafe fn store_words(sums: Self::Sums, shift: u32, to: *mut i16) {
        // SAFETY: the caller guarantees AVX2, and room for a block of words.
        unsafe {
            let [low, high] = words(sums, shift);
            _mm256_storeu_si256(to.cast(), _mm256_permute2x128_si256::<0x20>(low, high));
            _mm256_storeu_si256(to.add(BLOCK / 2).cast(), _mm256_permute2x128_si256::<0x31>(low, high));
        }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self::Bytes {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm_loadu_si128(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(bytes: Self::Bytes, to: *mut u8) {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm_storeu_si128(to.cast(), bytes) }
    }

    #[inline(always)]
    unsafe fn zip(a: Self::Bytes, b: Self::Bytes) -> [Self::Bytes; 2] {
        // SAFETY: every x86-64 CPU has SSE2.
        unsafe { [_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)] }
    }
}

/// Shifts sums and packs them into words with saturation.
///
/// # Safety
///
/// The CPU has AVX2.
#[inline(always)]
unsafe fn words(sums: [__m256i; 4], shift: u32) -> [__m256i; 2] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let shift = _mm_cvtsi32_si128(shift as i32);
        let [a, b, c, d] = sums;
        [
            _mm256_packs_epi32(_mm256_sra_epi32(a, shift), _mm256_sra_epi32(b, shift)),
            _mm256_packs_epi32(_mm256_sra_epi32(c, shift), _mm256_sra_epi32(d, shift)),
        ]
    }
}
