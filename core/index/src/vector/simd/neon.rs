//! 64-bit ARM: Advanced SIMD. The dot product extension multiplies bytes by bytes, and queries have 16 bits, so these
//! kernels cannot use it.

use std::arch::aarch64::*;

use crate::vector::layout::BLOCK;
use crate::vector::sign::{Job, Scan};

/// # Safety
/// `row` returns rows of the codes; the query's length is a multiple of 32.
pub(super) unsafe fn dot(codes: &[i8], query: &[i16], products: &mut [i32], row: impl Fn(usize) -> usize) {
    for (at, product) in products.iter_mut().enumerate() {
        // SAFETY: the row is in the codes, and its length is a multiple of 32; NEON is part of 64-bit ARM.
        *product = unsafe {
            let code = codes.as_ptr().add(row(at) * query.len());
            let mut sums = [vdupq_n_s32(0); 4];
            for at in (0..query.len()).step_by(16) {
                let code = vld1q_s8(code.add(at));
                let (low, high) = (vmovl_s8(vget_low_s8(code)), vmovl_high_s8(code));
                let first = vld1q_s16(query.as_ptr().add(at));
                let second = vld1q_s16(query.as_ptr().add(at + 8));
                sums[0] = vmlal_s16(sums[0], vget_low_s16(low), vget_low_s16(first));
                sums[1] = vmlal_high_s16(sums[1], low, first);
                sums[2] = vmlal_s16(sums[2], vget_low_s16(high), vget_low_s16(second));
                sums[3] = vmlal_high_s16(sums[3], high, second);
            }
            vaddvq_s32(vaddq_s32(vaddq_s32(sums[0], sums[1]), vaddq_s32(sums[2], sums[3])))
        };
    }
}

/// # Safety
/// Picked rows are in the codes; the query's length is a multiple of 32, and there is a word of signs for every 32
/// coordinates of each picked row.
pub(super) unsafe fn signed(codes: &[u8], signs: &[u32], query: &[i16], picked: &[u32], products: &mut [i32]) {
    let words = query.len() / 32;
    let bits = [1u16, 2, 4, 8, 16, 32, 64, 128];
    for (at, product) in products.iter_mut().enumerate() {
        // SAFETY: the row is in the codes, its length is a multiple of 32, and it has its signs; NEON is part of 64-bit
        // ARM.
        *product = unsafe {
            let bits = vld1q_u16(bits.as_ptr());
            let code = codes.as_ptr().add(picked[at] as usize * query.len());
            let mut sums = [vdupq_n_s32(0); 2];
            for eight in (0..query.len()).step_by(8) {
                let word = *signs.get_unchecked(at * words + eight / 32);
                let odd = vorrq_u16(vshll_n_u8::<1>(vld1_u8(code.add(eight))), vdupq_n_u16(1));
                let odd = vreinterpretq_s16_u16(odd);
                let positive = vtstq_u16(vdupq_n_u16((word >> (eight % 32) & 0xff) as u16), bits);
                let signed = vbslq_s16(positive, odd, vnegq_s16(odd));
                let query = vld1q_s16(query.as_ptr().add(eight));
                sums[0] = vmlal_s16(sums[0], vget_low_s16(signed), vget_low_s16(query));
                sums[1] = vmlal_high_s16(sums[1], signed, query);
            }
            vaddvq_s32(vaddq_s32(sums[0], sums[1]))
        };
    }
}

/// # Safety
/// The table's length is a multiple of 64; blocks have 128 bytes more.
pub(super) unsafe fn scan<'a>(jobs: impl Iterator<Item = Job<'a>>, scan: &Scan<'_>) {
    for (((block, &wanted), estimates), above) in jobs {
        *above = 0;
        if wanted == 0 {
            continue;
        }
        let len = scan.table.len();
        // SAFETY: table and signs are read 16 bytes at a time up to their length, which is a multiple of 64; the block
        // ends with 32 slopes and 32 offsets of 16 bits each; NEON is part of 64-bit ARM.
        unsafe {
            let mut sums = [vdupq_n_u16(0); 4];
            for at in (0..len).step_by(16) {
                let signs = vld1q_u8(block.as_ptr().add(at));
                let table = vld1q_u8(scan.table.as_ptr().add(at));
                let first = vqtbl1q_u8(table, vandq_u8(signs, vdupq_n_u8(15)));
                let second = vqtbl1q_u8(table, vshrq_n_u8::<4>(signs));
                sums[0] = vaddw_u8(sums[0], vget_low_u8(first));
                sums[1] = vaddw_high_u8(sums[1], first);
                sums[2] = vaddw_u8(sums[2], vget_low_u8(second));
                sums[3] = vaddw_high_u8(sums[3], second);
            }
            let lines: *const u16 = block.as_ptr().add(len).cast();
            for (quarter, sums) in sums.into_iter().enumerate() {
                let (slopes, offsets) = (vld1q_u16(lines.add(8 * quarter)), vld1q_u16(lines.add(BLOCK + 8 * quarter)));
                let halves = [
                    (vget_low_u16(sums), vget_low_u16(slopes), vget_low_u16(offsets)),
                    (vget_high_u16(sums), vget_high_u16(slopes), vget_high_u16(offsets)),
                ];
                for (half, (sums, slopes, offsets)) in halves.into_iter().enumerate() {
                    let float = |numbers| vcvtq_f32_u32(vmovl_u16(numbers));
                    let scaled = vmulq_f32(float(sums), vdupq_n_f32(scan.gain));
                    let sum = vaddq_f32(scaled, vdupq_n_f32(scan.shift));
                    let scaled = vmulq_f32(float(offsets), vdupq_n_f32(scan.offset_unit));
                    let rest = vaddq_f32(scaled, vdupq_n_f32(scan.base));
                    let estimate = vaddq_f32(vmulq_f32(float(slopes), sum), rest);
                    vst1q_f32(estimates.as_mut_ptr().add(8 * quarter + 4 * half), estimate);
                }
            }
        }
        let marks = estimates.iter().enumerate();
        *above = marks.fold(0, |marks, (j, estimate)| marks | u32::from(*estimate >= scan.threshold) << j) & wanted;
    }
}
