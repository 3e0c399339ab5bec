//! AVX-512 with VNNI: sixteen lanes.

use std::arch::x86_64::*;

use super::lanes::{Lanes, Requantise};

pub(super) struct Avx512Vnni;

/// A mask of the lowest `min(left, width)` bits.
#[inline(always)]
fn mask(left: usize, width: usize) -> u64 {
    if left >= width { !0 >> (64 - width) } else { (1 << left) - 1 }
}

/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn rounded(acc: __m512i, scale: *const f32) -> __m512i {
    // SAFETY: the CPU has AVX-512, and the caller's pointer is valid for 16 scales.
    unsafe { _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(scale))) }
}

/// As [`Lanes::look_up`], for CPUs with VBMI (Ice Lake and later, Zen 4), which are most of those with VNNI.
///
/// # Safety
/// The CPU has the instruction set.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn look_up_vbmi(table: &[u8; 256], x: &[u8], out: &mut [u8]) -> usize {
    // SAFETY: reads the four quarters of the table, and whole blocks of 64 bytes.
    unsafe {
        let quarter = |at: usize| _mm512_loadu_si512(table.as_ptr().add(64 * at).cast());
        let [a, b, c, d] = [quarter(0), quarter(1), quarter(2), quarter(3)];
        let (blocks, _) = x.as_chunks::<64>();
        let (outs, _) = out.as_chunks_mut::<64>();
        for (x, out) in blocks.iter().zip(&mut *outs) {
            let x = _mm512_loadu_si512(x.as_ptr().cast());
            // The lower seven bits of a byte are the position in a half of the table, the top bit chooses the half.
            let lower = _mm512_permutex2var_epi8(a, x, b);
            let upper = _mm512_permutex2var_epi8(c, x, d);
            let bytes = _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), lower, upper);
            _mm512_storeu_si512(out.as_mut_ptr().cast(), bytes);
        }
        64 * blocks.len().min(outs.len())
    }
}

// SAFETY of every block below: the caller promises the instruction set and the pointers, as the trait requires.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Avx512Vnni {
    const N: usize = 16;
    const SIGNED: bool = false;
    const SATURATES: bool = false;
    type Acc = __m512i;
    type Quads = __m512i;
    type Weights = __m512i;

    #[inline(always)]
    unsafe fn start(bias: *const i32) -> __m512i {
        unsafe { _mm512_loadu_si512(bias.cast()) }
    }

    #[inline(always)]
    unsafe fn splat(x: *const u8) -> __m512i {
        unsafe { _mm512_set1_epi32(x.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn weights(w: *const i8) -> __m512i {
        unsafe { _mm512_loadu_si512(w.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(acc: __m512i, x: __m512i, w: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(acc, x, w) }
    }

    #[inline(always)]
    unsafe fn interleave<const ROWS: usize>(rows: [*const u8; ROWS], left: usize) -> [__m512i; 4] {
        unsafe {
            let mask = mask(left, 64);
            let mut row = [_mm512_setzero_si512(); 4];
            for i in 0..ROWS {
                row[i] = _mm512_maskz_loadu_epi8(mask, rows[i].cast());
            }
            let (ab_low, ab_high) = (_mm512_unpacklo_epi8(row[0], row[1]), _mm512_unpackhi_epi8(row[0], row[1]));
            let (cd_low, cd_high) = (_mm512_unpacklo_epi8(row[2], row[3]), _mm512_unpackhi_epi8(row[2], row[3]));
            [
                _mm512_unpacklo_epi16(ab_low, cd_low),
                _mm512_unpackhi_epi16(ab_low, cd_low),
                _mm512_unpacklo_epi16(ab_high, cd_high),
                _mm512_unpackhi_epi16(ab_high, cd_high),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_four(acc: [__m512i; 4], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        unsafe {
            let zero = _mm512_set1_epi16(to.zero);
            let low = _mm512_packs_epi32(rounded(acc[0], scale), rounded(acc[1], scale.add(16)));
            let high = _mm512_packs_epi32(rounded(acc[2], scale.add(32)), rounded(acc[3], scale.add(48)));
            let bytes = _mm512_packus_epi16(_mm512_adds_epi16(low, zero), _mm512_adds_epi16(high, zero));
            let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(to.low as i8));
            let bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8(to.high as i8));
            if left >= 64 {
                _mm512_storeu_si512(out.cast(), bytes);
            } else {
                _mm512_mask_storeu_epi8(out.cast(), mask(left, 64), bytes);
            }
        }
    }

    #[inline(always)]
    unsafe fn store_three(acc: [__m512i; 3], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        unsafe {
            let zero = _mm512_set1_epi16(to.zero);
            let low = _mm512_packs_epi32(rounded(acc[0], scale), rounded(acc[1], scale.add(16)));
            let high = rounded(acc[2], scale.add(32));
            let high = _mm512_packs_epi32(high, high);
            let bytes = _mm512_packus_epi16(_mm512_adds_epi16(low, zero), _mm512_adds_epi16(high, zero));
            let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(to.low as i8));
            let bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8(to.high as i8));
            // In each 128-bit block, the last four bytes repeat the four before them.
            let bytes = _mm512_maskz_compress_epi32(0x7777, bytes);
            _mm512_mask_storeu_epi8(out.cast(), mask(left.min(48), 64), bytes);
        }
    }

    #[inline(always)]
    unsafe fn store_two(acc: [__m512i; 2], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        unsafe {
            let words = _mm512_packs_epi32(rounded(acc[0], scale), rounded(acc[1], scale.add(16)));
            let words = _mm512_adds_epi16(words, _mm512_set1_epi16(to.zero));
            let words = _mm512_max_epi16(words, _mm512_set1_epi16(i16::from(to.low)));
            let bytes = _mm512_cvtepi16_epi8(_mm512_min_epi16(words, _mm512_set1_epi16(i16::from(to.high))));
            if left >= 32 {
                _mm256_storeu_si256(out.cast(), bytes);
            } else {
                _mm256_mask_storeu_epi8(out.cast(), mask(left, 32) as u32, bytes);
            }
        }
    }

    #[inline(always)]
    unsafe fn store_one(acc: __m512i, scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        unsafe {
            let value = _mm512_add_epi32(rounded(acc, scale), _mm512_set1_epi32(i32::from(to.zero)));
            let value = _mm512_max_epi32(value, _mm512_set1_epi32(i32::from(to.low)));
            let value = _mm512_min_epi32(value, _mm512_set1_epi32(i32::from(to.high)));
            if left >= 16 {
                _mm_storeu_si128(out.cast(), _mm512_cvtepi32_epi8(value));
            } else {
                _mm_mask_storeu_epi8(out.cast(), mask(left, 16) as u16, _mm512_cvtepi32_epi8(value));
            }
        }
    }

    #[inline(always)]
    unsafe fn spill(acc: __m512i, out: *mut i32) {
        unsafe { _mm512_storeu_si512(out.cast(), acc) }
    }

    #[inline(always)]
    unsafe fn look_up(table: &[u8; 256], x: &[u8], out: &mut [u8]) -> usize {
        if !std::arch::is_x86_feature_detected!("avx512vbmi") {
            return 0;
        }
        unsafe { look_up_vbmi(table, x, out) }
    }
}
