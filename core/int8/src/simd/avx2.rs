//! AVX2 and AVX-VNNI: eight lanes. They differ only in the dot product.

use std::arch::x86_64::*;

use super::lanes::{Lanes, Requantise};

/// Dot products by `maddubs`, which adds pairs of products in saturating 16-bit arithmetic.
pub(super) struct Avx2;

/// Dot products by `dpbusd`.
pub(super) struct AvxVnni;

/// As [`AvxVnni`], with AVX-512's encoding of the instruction: for layers with too few channels for 512 bits.
pub(super) struct Avx512Half;

/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn rounded(acc: __m256i, scale: *const f32) -> __m256i {
    // SAFETY: the CPU has AVX2, and the caller's pointer is valid for eight scales.
    unsafe { _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(scale))) }
}

/// Writes the first `left` of 32 bytes.
///
/// # Safety
/// The CPU has AVX2, and `out` is valid for writes of `min(left, 32)` bytes.
#[inline(always)]
unsafe fn store_some(bytes: __m256i, mut out: *mut u8, mut left: usize) {
    // SAFETY: as the caller promises. Every write advances `out` and reduces `left` by its size.
    unsafe {
        if left >= 32 {
            _mm256_storeu_si256(out.cast(), bytes);
            return;
        }
        // By halves: a copy of a length that is unknown to the compiler costs more than the layer's arithmetic.
        let mut rest = _mm256_castsi256_si128(bytes);
        if left >= 16 {
            _mm_storeu_si128(out.cast(), rest);
            (out, left, rest) = (out.add(16), left - 16, _mm256_extracti128_si256::<1>(bytes));
        }
        if left >= 8 {
            _mm_storel_epi64(out.cast(), rest);
            (out, left, rest) = (out.add(8), left - 8, _mm_unpackhi_epi64(rest, rest));
        }
        for byte in _mm_cvtsi128_si64(rest).to_le_bytes().into_iter().take(left) {
            out.write(byte);
            out = out.add(1);
        }
    }
}

/// Implements everything but the dot product, which is all that differs.
macro_rules! lanes {
    ($name:ident, saturates: $saturates:expr, dot: |$acc:ident, $x:ident, $w:ident| $dot:expr) => {
        // SAFETY of every block below: the caller promises the instruction set and the pointers, as the trait requires.
        #[allow(clippy::undocumented_unsafe_blocks)]
        impl Lanes for $name {
            const N: usize = 8;
            const SIGNED: bool = false;
            const SATURATES: bool = $saturates;
            type Acc = __m256i;
            type Quads = __m256i;
            type Weights = __m256i;

            #[inline(always)]
            unsafe fn start(bias: *const i32) -> __m256i {
                unsafe { _mm256_loadu_si256(bias.cast()) }
            }

            #[inline(always)]
            unsafe fn splat(x: *const u8) -> __m256i {
                unsafe { _mm256_set1_epi32(x.cast::<i32>().read_unaligned()) }
            }

            #[inline(always)]
            unsafe fn weights(w: *const i8) -> __m256i {
                unsafe { _mm256_loadu_si256(w.cast()) }
            }

            #[inline(always)]
            unsafe fn dot($acc: __m256i, $x: __m256i, $w: __m256i) -> __m256i {
                unsafe { $dot }
            }

            #[inline(always)]
            unsafe fn sixteen(x: *const u8) -> __m256i {
                unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(x.cast())) }
            }

            #[inline(always)]
            unsafe fn pick(x: __m256i, places: __m256i) -> __m256i {
                unsafe { _mm256_shuffle_epi8(x, places) }
            }

            #[inline(always)]
            unsafe fn interleave<const ROWS: usize>(rows: [*const u8; ROWS], _left: usize) -> [__m256i; 4] {
                unsafe {
                    let mut row = [_mm256_setzero_si256(); 4];
                    for i in 0..ROWS {
                        row[i] = _mm256_loadu_si256(rows[i].cast());
                    }
                    let (ab_low, ab_high) =
                        (_mm256_unpacklo_epi8(row[0], row[1]), _mm256_unpackhi_epi8(row[0], row[1]));
                    let (cd_low, cd_high) =
                        (_mm256_unpacklo_epi8(row[2], row[3]), _mm256_unpackhi_epi8(row[2], row[3]));
                    [
                        _mm256_unpacklo_epi16(ab_low, cd_low),
                        _mm256_unpackhi_epi16(ab_low, cd_low),
                        _mm256_unpacklo_epi16(ab_high, cd_high),
                        _mm256_unpackhi_epi16(ab_high, cd_high),
                    ]
                }
            }

            #[inline(always)]
            unsafe fn store_four(acc: [__m256i; 4], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
                unsafe {
                    let zero = _mm256_set1_epi16(to.zero);
                    let low = _mm256_packs_epi32(rounded(acc[0], scale), rounded(acc[1], scale.add(8)));
                    let high = _mm256_packs_epi32(rounded(acc[2], scale.add(16)), rounded(acc[3], scale.add(24)));
                    let bytes = _mm256_packus_epi16(_mm256_adds_epi16(low, zero), _mm256_adds_epi16(high, zero));
                    let bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(to.low as i8));
                    let bytes = _mm256_min_epu8(bytes, _mm256_set1_epi8(to.high as i8));
                    store_some(bytes, out, left);
                }
            }

            #[inline(always)]
            unsafe fn store_three(acc: [__m256i; 3], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
                unsafe {
                    let zero = _mm256_set1_epi16(to.zero);
                    let low = _mm256_packs_epi32(rounded(acc[0], scale), rounded(acc[1], scale.add(8)));
                    let high = rounded(acc[2], scale.add(16));
                    let high = _mm256_packs_epi32(high, high);
                    let bytes = _mm256_packus_epi16(_mm256_adds_epi16(low, zero), _mm256_adds_epi16(high, zero));
                    let bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(to.low as i8));
                    let bytes = _mm256_min_epu8(bytes, _mm256_set1_epi8(to.high as i8));
                    // In each half, the last four bytes repeat the four before them.
                    let order = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7);
                    store_some(_mm256_permutevar8x32_epi32(bytes, order), out, left.min(24));
                }
            }

            #[inline(always)]
            unsafe fn store_two(acc: [__m256i; 2], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
                unsafe {
                    let words = _mm256_packs_epi32(rounded(acc[0], scale), rounded(acc[1], scale.add(8)));
                    let words = _mm256_adds_epi16(words, _mm256_set1_epi16(to.zero));
                    // Each half has eight bytes twice: join the first eight of both.
                    let bytes = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi16(words, words));
                    let bytes = _mm_max_epu8(_mm256_castsi256_si128(bytes), _mm_set1_epi8(to.low as i8));
                    let bytes = _mm_min_epu8(bytes, _mm_set1_epi8(to.high as i8));
                    if left >= 16 {
                        _mm_storeu_si128(out.cast(), bytes);
                    } else {
                        store_some(_mm256_castsi128_si256(bytes), out, left);
                    }
                }
            }

            #[inline(always)]
            unsafe fn store_one(acc: __m256i, scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
                unsafe {
                    let value = _mm256_add_epi32(rounded(acc, scale), _mm256_set1_epi32(i32::from(to.zero)));
                    let value = _mm256_max_epi32(value, _mm256_set1_epi32(i32::from(to.low)));
                    let value = _mm256_min_epi32(value, _mm256_set1_epi32(i32::from(to.high)));
                    let words = _mm_packus_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
                    let bytes = _mm_packus_epi16(words, words);
                    if left >= 8 {
                        _mm_storel_epi64(out.cast(), bytes);
                    } else {
                        let bytes = _mm_cvtsi128_si64(bytes).to_le_bytes();
                        std::ptr::copy_nonoverlapping(bytes.as_ptr(), out, left);
                    }
                }
            }

            #[inline(always)]
            unsafe fn spill(acc: __m256i, out: *mut i32) {
                unsafe { _mm256_storeu_si256(out.cast(), acc) }
            }
        }
    };
}

lanes!(Avx2, saturates: true, dot: |acc, x, w| {
    let pairs = _mm256_maddubs_epi16(x, w);
    _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
});
lanes!(AvxVnni, saturates: false, dot: |acc, x, w| _mm256_dpbusd_avx_epi32(acc, x, w));
lanes!(Avx512Half, saturates: false, dot: |acc, x, w| _mm256_dpbusd_epi32(acc, x, w));
