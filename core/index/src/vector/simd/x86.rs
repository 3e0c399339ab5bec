//! x86-64: AVX2, and AVX-512 with VNNI.

use std::arch::x86_64::*;

use crate::vector::layout::BLOCK;
use crate::vector::sign::{Job, Scan};

/// Rows that are prefetched ahead of their use.
const AHEAD: usize = 12;

/// Prefetches a cache line. Any address is allowed.
pub(super) fn prefetch(line: *const i8) {
    // SAFETY: a hint that the CPU ignores where the address is not mapped; SSE is part of x86-64.
    unsafe { _mm_prefetch(line, _MM_HINT_T0) }
}

/// Calls `four` for four rows at a time; the last row may be computed repeatedly.
macro_rules! in_fours {
    ($codes:ident, $query:ident, $products:ident, $row:ident, $four:ident) => {{
        let (count, stride) = ($products.len(), $query.len());
        // SAFETY: the caller's promise: `row` returns rows of the codes.
        let code = |at: usize| unsafe { $codes.as_ptr().add($row(at) * stride) };
        let fetch = |at: usize| {
            if at < count {
                (0..stride).step_by(64).for_each(|line| prefetch(code(at).wrapping_add(line)));
            }
        };
        (0..AHEAD.min(count)).for_each(fetch);
        let mut at = 0;
        while at < count {
            (at + AHEAD..at + AHEAD + 4).for_each(fetch);
            let last = count - 1;
            let rows = [code(at), code((at + 1).min(last)), code((at + 2).min(last)), code((at + 3).min(last))];
            // SAFETY: four rows of the query's length, a multiple of 32.
            let found = unsafe { $four(rows, $query) };
            for (product, found) in $products[at..].iter_mut().zip(found) {
                *product = found;
            }
            at += 4;
        }
    }};
}

/// # Safety
/// The CPU has AVX-512 F, BW, DQ, VL and VNNI; `row` returns rows of the codes; the query's length is a multiple of 32.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn dot_512(codes: &[i8], query: &[i16], products: &mut [i32], row: impl Fn(usize) -> usize) {
    in_fours!(codes, query, products, row, four_512);
}

/// # Safety
/// As [`dot_512`]; four rows of the query's length.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn four_512(rows: [*const i8; 4], query: &[i16]) -> [i32; 4] {
    let mut sums = [_mm512_setzero_si512(); 4];
    for at in (0..query.len()).step_by(32) {
        // SAFETY: 32 more coordinates: the length is a multiple of 32.
        unsafe {
            let query = _mm512_loadu_si512(query.as_ptr().add(at).cast());
            for (sum, row) in sums.iter_mut().zip(rows) {
                let code = _mm512_cvtepi8_epi16(_mm256_loadu_si256(row.add(at).cast()));
                *sum = _mm512_dpwssd_epi32(*sum, code, query);
            }
        }
    }
    let halves = sums.map(|sum| _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum)));
    reduce(halves)
}

/// # Safety
/// The CPU has AVX2; `row` returns rows of the codes; the query's length is a multiple of 32.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn dot_256(codes: &[i8], query: &[i16], products: &mut [i32], row: impl Fn(usize) -> usize) {
    in_fours!(codes, query, products, row, four_256);
}

/// # Safety
/// As [`dot_256`]; four rows of the query's length.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn four_256(rows: [*const i8; 4], query: &[i16]) -> [i32; 4] {
    let mut sums = [_mm256_setzero_si256(); 4];
    for at in (0..query.len()).step_by(16) {
        // SAFETY: 16 more coordinates: the length is a multiple of 32.
        unsafe {
            let query = _mm256_loadu_si256(query.as_ptr().add(at).cast());
            for (sum, row) in sums.iter_mut().zip(rows) {
                let code = _mm256_cvtepi8_epi16(_mm_loadu_si128(row.add(at).cast()));
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(code, query));
            }
        }
    }
    reduce(sums)
}

/// # Safety
/// The CPU has AVX-512 F, BW, DQ, VL and VNNI; picked rows are in the codes; the query's length is a multiple of 32,
/// and there is a word of signs for every 32 coordinates of each picked row.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn signed_512(codes: &[u8], signs: &[u32], query: &[i16], picked: &[u32], products: &mut [i32]) {
    let words = query.len() / 32;
    let one = _mm512_set1_epi16(1);
    for (at, product) in products.iter_mut().enumerate() {
        ahead(codes, query.len(), picked, at + AHEAD);
        let mut sum = _mm512_setzero_si512();
        for word in 0..words {
            // SAFETY: the caller's promise: 32 more coordinates of code and query, and their signs.
            let (bytes, query, signs) = unsafe {
                let code = codes.as_ptr().add(picked[at] as usize * query.len() + 32 * word);
                let query = _mm512_loadu_si512(query.as_ptr().add(32 * word).cast());
                (_mm256_loadu_si256(code.cast()), query, *signs.get_unchecked(at * words + word))
            };
            let odd = _mm512_or_si512(_mm512_slli_epi16::<1>(_mm512_cvtepu8_epi16(bytes)), one);
            let odd = _mm512_mask_sub_epi16(odd, !signs, _mm512_setzero_si512(), odd);
            sum = _mm512_dpwssd_epi32(sum, odd, query);
        }
        *product = _mm512_reduce_add_epi32(sum);
    }
}

/// # Safety
/// As [`signed_512`], with AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn signed_256(codes: &[u8], signs: &[u32], query: &[i16], picked: &[u32], products: &mut [i32]) {
    let words = query.len() / 32;
    let one = _mm256_set1_epi16(1);
    let bits = _mm256_setr_epi16(
        1,
        2,
        4,
        8,
        0x10,
        0x20,
        0x40,
        0x80,
        0x100,
        0x200,
        0x400,
        0x800,
        0x1000,
        0x2000,
        0x4000,
        i16::MIN,
    );
    for (at, product) in products.iter_mut().enumerate() {
        ahead(codes, query.len(), picked, at + AHEAD);
        let mut sum = _mm256_setzero_si256();
        for half in 0..2 * words {
            // SAFETY: the caller's promise: 16 more coordinates of code and query, and their signs.
            let (bytes, query, signs) = unsafe {
                let code = codes.as_ptr().add(picked[at] as usize * query.len() + 16 * half);
                let query = _mm256_loadu_si256(query.as_ptr().add(16 * half).cast());
                (_mm_loadu_si128(code.cast()), query, *signs.get_unchecked(at * words + half / 2))
            };
            let odd = _mm256_or_si256(_mm256_slli_epi16::<1>(_mm256_cvtepu8_epi16(bytes)), one);
            let set = _mm256_and_si256(_mm256_set1_epi16((signs >> (half % 2 * 16)) as i16), bits);
            // -1 (all ones) where the bit is clear, 1 where it is set.
            let sign = _mm256_or_si256(_mm256_cmpeq_epi16(set, _mm256_setzero_si256()), one);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_sign_epi16(odd, sign), query));
        }
        let zero = _mm256_setzero_si256();
        *product = reduce([sum, zero, zero, zero])[0];
    }
}

/// Prefetches the code of a later row.
fn ahead(codes: &[u8], stride: usize, picked: &[u32], at: usize) {
    if let Some(&row) = picked.get(at) {
        let code = codes.as_ptr().wrapping_add(row as usize * stride);
        (0..stride).step_by(64).for_each(|line| prefetch(code.wrapping_add(line).cast()));
    }
}

/// Returns the sum of each register's numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn reduce([a, b, c, d]: [__m256i; 4]) -> [i32; 4] {
    let ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    let all = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
    let all = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
    let mut sums = [0; 4];
    // SAFETY: 16 bytes into an array of 16 bytes.
    unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), all) };
    sums
}

/// # Safety
/// The CPU has AVX-512 F, BW, DQ, VL and VNNI; the table's length is a multiple of 64; blocks have 128 bytes more.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn scan_512<'a>(jobs: impl Iterator<Item = Job<'a>>, scan: &Scan<'_>) {
    let low = _mm512_set1_epi8(15);
    let (gain, shift) = (_mm512_set1_ps(scan.gain), _mm512_set1_ps(scan.shift));
    let (unit, base) = (_mm512_set1_ps(scan.offset_unit), _mm512_set1_ps(scan.base));
    let threshold = _mm512_set1_ps(scan.threshold);
    for (((block, &wanted), estimates), above) in jobs {
        if wanted == 0 {
            *above = 0;
            continue;
        }
        let len = scan.table.len();
        // 16-bit sums: of whole words, and of their odd bytes; subtracting the odd ones, shifted, leaves the even ones.
        // Low nibbles are vectors 0..16, high ones 16..32.
        let mut sums = [_mm512_setzero_si512(); 4];
        for at in (0..len).step_by(64) {
            // SAFETY: 64 more bytes of table and signs: their length is a multiple of 64.
            let (signs, table) = unsafe {
                (
                    _mm512_loadu_si512(block.as_ptr().add(at).cast()),
                    _mm512_loadu_si512(scan.table.as_ptr().add(at).cast()),
                )
            };
            let first = _mm512_shuffle_epi8(table, _mm512_and_si512(signs, low));
            let second = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16::<4>(signs), low));
            sums[0] = _mm512_add_epi16(sums[0], first);
            sums[1] = _mm512_add_epi16(sums[1], _mm512_srli_epi16::<8>(first));
            sums[2] = _mm512_add_epi16(sums[2], second);
            sums[3] = _mm512_add_epi16(sums[3], _mm512_srli_epi16::<8>(second));
        }
        sums[0] = _mm512_sub_epi16(sums[0], _mm512_slli_epi16::<8>(sums[1]));
        sums[2] = _mm512_sub_epi16(sums[2], _mm512_slli_epi16::<8>(sums[3]));
        let [even_low, odd_low, even_high, odd_high] = sums.map(|sum| {
            let half = _mm256_add_epi16(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum));
            _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
        });
        let mut found = 0;
        for (half, even, odd) in [(0, even_low, odd_low), (1, even_high, odd_high)] {
            let sums = _mm256_set_m128i(_mm_unpackhi_epi16(even, odd), _mm_unpacklo_epi16(even, odd));
            // SAFETY: the block ends with 32 slopes and 32 offsets of 16 bits each.
            let (slopes, offsets) = unsafe {
                let lines = block.as_ptr().add(len + 32 * half);
                (_mm256_loadu_si256(lines.cast()), _mm256_loadu_si256(lines.add(2 * BLOCK).cast()))
            };
            let float = |numbers| _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(numbers));
            let sum = _mm512_add_ps(_mm512_mul_ps(float(sums), gain), shift);
            let rest = _mm512_add_ps(_mm512_mul_ps(float(offsets), unit), base);
            let estimate = _mm512_add_ps(_mm512_mul_ps(float(slopes), sum), rest);
            found |= u32::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(estimate, threshold)) << (16 * half);
            // SAFETY: 16 of the 32 estimates.
            unsafe { _mm512_storeu_ps(estimates.as_mut_ptr().add(16 * half), estimate) };
        }
        *above = found & wanted;
    }
}

/// # Safety
/// The CPU has AVX2; the table's length is a multiple of 64; blocks have 128 bytes more.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn scan_256<'a>(jobs: impl Iterator<Item = Job<'a>>, scan: &Scan<'_>) {
    let low = _mm256_set1_epi8(15);
    let (gain, shift) = (_mm256_set1_ps(scan.gain), _mm256_set1_ps(scan.shift));
    let (unit, base) = (_mm256_set1_ps(scan.offset_unit), _mm256_set1_ps(scan.base));
    let threshold = _mm256_set1_ps(scan.threshold);
    for (((block, &wanted), estimates), above) in jobs {
        if wanted == 0 {
            *above = 0;
            continue;
        }
        let len = scan.table.len();
        let mut sums = [_mm256_setzero_si256(); 4];
        for at in (0..len).step_by(32) {
            // SAFETY: 32 more bytes of table and signs: their length is a multiple of 64.
            let (signs, table) = unsafe {
                (
                    _mm256_loadu_si256(block.as_ptr().add(at).cast()),
                    _mm256_loadu_si256(scan.table.as_ptr().add(at).cast()),
                )
            };
            let first = _mm256_shuffle_epi8(table, _mm256_and_si256(signs, low));
            let second = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(signs), low));
            sums[0] = _mm256_add_epi16(sums[0], first);
            sums[1] = _mm256_add_epi16(sums[1], _mm256_srli_epi16::<8>(first));
            sums[2] = _mm256_add_epi16(sums[2], second);
            sums[3] = _mm256_add_epi16(sums[3], _mm256_srli_epi16::<8>(second));
        }
        sums[0] = _mm256_sub_epi16(sums[0], _mm256_slli_epi16::<8>(sums[1]));
        sums[2] = _mm256_sub_epi16(sums[2], _mm256_slli_epi16::<8>(sums[3]));
        let [even_low, odd_low, even_high, odd_high] =
            sums.map(|sum| _mm_add_epi16(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum)));
        let quarters = [
            _mm_unpacklo_epi16(even_low, odd_low),
            _mm_unpackhi_epi16(even_low, odd_low),
            _mm_unpacklo_epi16(even_high, odd_high),
            _mm_unpackhi_epi16(even_high, odd_high),
        ];
        let mut found = 0;
        for (quarter, sums) in quarters.into_iter().enumerate() {
            // SAFETY: the block ends with 32 slopes and 32 offsets of 16 bits each.
            let (slopes, offsets) = unsafe {
                let lines = block.as_ptr().add(len + 16 * quarter);
                (_mm_loadu_si128(lines.cast()), _mm_loadu_si128(lines.add(2 * BLOCK).cast()))
            };
            let float = |numbers| _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(numbers));
            let sum = _mm256_add_ps(_mm256_mul_ps(float(sums), gain), shift);
            let rest = _mm256_add_ps(_mm256_mul_ps(float(offsets), unit), base);
            let estimate = _mm256_add_ps(_mm256_mul_ps(float(slopes), sum), rest);
            found |= (_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(estimate, threshold)) as u32) << (8 * quarter);
            // SAFETY: 8 of the 32 estimates.
            unsafe { _mm256_storeu_ps(estimates.as_mut_ptr().add(8 * quarter), estimate) };
        }
        *above = found & wanted;
    }
}
