//! ARM's Advanced SIMD, with and without the dot product (SDOT) and matrix (SMMLA) extensions: four lanes.

use std::arch::aarch64::*;

use super::lanes::{Lanes, Requantise};

/// Dot products by widening multiplications.
pub(super) struct Neon;

/// Dot products by SDOT; with `SMMLA`, matrix products by SMMLA.
pub(super) struct NeonDot<const SMMLA: bool>;

/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn rounded(acc: int32x4_t, scale: *const f32) -> int32x4_t {
    // SAFETY: the caller's pointer is valid for four scales.
    unsafe { vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(acc), vld1q_f32(scale))) }
}

/// # Safety
/// As [`Lanes::store_four`], for complete accumulators.
#[inline(always)]
unsafe fn store_sixteen(acc: [int32x4_t; 4], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
    // SAFETY: reads 16 scales, writes `min(left, 16)` bytes.
    unsafe {
        let zero = vdupq_n_s16(to.zero);
        let low = vqmovn_s32(rounded(acc[0], scale));
        let low = vqaddq_s16(vqmovn_high_s32(low, rounded(acc[1], scale.add(4))), zero);
        let high = vqmovn_s32(rounded(acc[2], scale.add(8)));
        let high = vqaddq_s16(vqmovn_high_s32(high, rounded(acc[3], scale.add(12))), zero);
        let bytes = vqmovn_high_s16(vqmovn_s16(low), high);
        let bytes = vminq_s8(vmaxq_s8(bytes, vdupq_n_s8(to.low as i8)), vdupq_n_s8(to.high as i8));
        if left >= 16 {
            vst1q_s8(out.cast(), bytes);
        } else {
            let mut buffer = [0i8; 16];
            vst1q_s8(buffer.as_mut_ptr(), bytes);
            std::ptr::copy_nonoverlapping(buffer.as_ptr().cast(), out, left);
        }
    }
}

/// # Safety
/// As [`Lanes::store_three`], for complete accumulators.
#[inline(always)]
unsafe fn store_twelve(acc: [int32x4_t; 3], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
    // SAFETY: reads twelve scales, writes `min(left, 12)` bytes.
    unsafe {
        store_eight([acc[0], acc[1]], scale, to, out, left);
        if left > 8 {
            store_four_bytes(acc[2], scale.add(8), to, out.add(8), left - 8);
        }
    }
}

/// # Safety
/// As [`Lanes::store_two`], for complete accumulators.
#[inline(always)]
unsafe fn store_eight(acc: [int32x4_t; 2], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
    // SAFETY: reads eight scales, writes `min(left, 8)` bytes.
    unsafe {
        let words = vqmovn_high_s32(vqmovn_s32(rounded(acc[0], scale)), rounded(acc[1], scale.add(4)));
        let bytes = vqmovn_s16(vqaddq_s16(words, vdupq_n_s16(to.zero)));
        let bytes = vmin_s8(vmax_s8(bytes, vdup_n_s8(to.low as i8)), vdup_n_s8(to.high as i8));
        if left >= 8 {
            vst1_s8(out.cast(), bytes);
        } else {
            let mut buffer = [0i8; 8];
            vst1_s8(buffer.as_mut_ptr(), bytes);
            std::ptr::copy_nonoverlapping(buffer.as_ptr().cast(), out, left);
        }
    }
}

/// # Safety
/// As [`Lanes::store_one`], for complete accumulators.
#[inline(always)]
unsafe fn store_four_bytes(acc: int32x4_t, scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
    // SAFETY: reads four scales, writes `min(left, 4)` bytes.
    unsafe {
        let words = vqaddq_s16(vcombine_s16(vqmovn_s32(rounded(acc, scale)), vdup_n_s16(0)), vdupq_n_s16(to.zero));
        let bytes = vqmovn_s16(words);
        let bytes = vmin_s8(vmax_s8(bytes, vdup_n_s8(to.low as i8)), vdup_n_s8(to.high as i8));
        let word = vget_lane_u32::<0>(vreinterpret_u32_s8(bytes));
        if left >= 4 {
            out.cast::<u32>().write_unaligned(word);
        } else {
            std::ptr::copy_nonoverlapping(word.to_le_bytes().as_ptr(), out, left);
        }
    }
}

/// # Safety
/// As [`Lanes::interleave`].
#[inline(always)]
unsafe fn interleave<const ROWS: usize>(rows: [*const u8; ROWS]) -> [int8x16_t; 4] {
    // SAFETY: reads 16 bytes of each row.
    unsafe {
        let mut row = [vdupq_n_s8(0); 4];
        for i in 0..ROWS {
            row[i] = vld1q_s8(rows[i].cast());
        }
        let (ab_low, ab_high) = (vzip1q_s8(row[0], row[1]), vzip2q_s8(row[0], row[1]));
        let (cd_low, cd_high) = (vzip1q_s8(row[2], row[3]), vzip2q_s8(row[2], row[3]));
        let pair = |a: int8x16_t, b: int8x16_t| (vreinterpretq_s16_s8(a), vreinterpretq_s16_s8(b));
        let ((a, c), (b, d)) = (pair(ab_low, cd_low), pair(ab_high, cd_high));
        [
            vreinterpretq_s8_s16(vzip1q_s16(a, c)),
            vreinterpretq_s8_s16(vzip2q_s16(a, c)),
            vreinterpretq_s8_s16(vzip1q_s16(b, d)),
            vreinterpretq_s8_s16(vzip2q_s16(b, d)),
        ]
    }
}

/// As [`Lanes::look_up`], in blocks of 16.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn look_up(table: &[u8; 256], x: &[u8], out: &mut [u8]) -> usize {
    // SAFETY: reads the four quarters of the table, and whole blocks of 16 bytes.
    unsafe {
        let quarter = |at: usize| vld1q_u8_x4(table.as_ptr().add(64 * at));
        let [a, b, c, d] = [quarter(0), quarter(1), quarter(2), quarter(3)];
        let (blocks, _) = x.as_chunks::<16>();
        let (outs, _) = out.as_chunks_mut::<16>();
        let next = vdupq_n_u8(64);
        for (x, out) in blocks.iter().zip(&mut *outs) {
            // `tbx` leaves a byte unchanged whose index is outside its quarter.
            let x = vld1q_u8(x.as_ptr());
            let bytes = vqtbl4q_u8(a, x);
            let x = vsubq_u8(x, next);
            let bytes = vqtbx4q_u8(bytes, b, x);
            let x = vsubq_u8(x, next);
            let bytes = vqtbx4q_u8(bytes, c, x);
            let bytes = vqtbx4q_u8(bytes, d, vsubq_u8(x, next));
            vst1q_u8(out.as_mut_ptr(), bytes);
        }
        16 * blocks.len().min(outs.len())
    }
}

// SAFETY of every block below: the caller promises the instruction set and the pointers, as the trait requires.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const SMMLA: bool> Lanes for NeonDot<SMMLA> {
    const N: usize = 4;
    const SIGNED: bool = true;
    const SATURATES: bool = false;
    const FOURS: bool = true;
    const PAIRS: bool = SMMLA;
    type Acc = int32x4_t;
    type Quads = int8x16_t;
    type Weights = int8x16_t;

    #[inline(always)]
    unsafe fn start(bias: *const i32) -> int32x4_t {
        unsafe { vld1q_s32(bias) }
    }

    #[inline(always)]
    unsafe fn splat(x: *const u8) -> int8x16_t {
        unsafe { vreinterpretq_s8_s32(vdupq_n_s32(x.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn weights(w: *const i8) -> int8x16_t {
        unsafe { vld1q_s8(w) }
    }

    #[inline(always)]
    unsafe fn dot(mut acc: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
        // The intrinsic `vdotq_s32` is unstable.
        unsafe {
            std::arch::asm!(
                ".arch_extension dotprod",
                "sdot {acc:v}.4s, {x:v}.16b, {w:v}.16b",
                acc = inout(vreg) acc, x = in(vreg) x, w = in(vreg) w,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        acc
    }

    #[inline(always)]
    unsafe fn sixteen(x: *const u8) -> int8x16_t {
        unsafe { vld1q_s8(x.cast()) }
    }

    #[inline(always)]
    unsafe fn dot_four<const FOUR: usize>(mut acc: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
        // The intrinsic `vdotq_laneq_s32` is unstable.
        unsafe {
            std::arch::asm!(
                ".arch_extension dotprod",
                "sdot {acc:v}.4s, {w:v}.16b, {x:v}.4b[{four}]",
                acc = inout(vreg) acc, x = in(vreg) x, w = in(vreg) w, four = const FOUR,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        acc
    }

    #[inline(always)]
    unsafe fn start_pairs(bias: *const i32) -> [int32x4_t; 2] {
        unsafe {
            let bias = vreinterpretq_s64_s32(vld1q_s32(bias));
            [vdupq_laneq_s64::<0>(bias), vdupq_laneq_s64::<1>(bias)].map(|pair| vreinterpretq_s32_s64(pair))
        }
    }

    #[inline(always)]
    unsafe fn pairs(a: *const u8, b: *const u8) -> [int8x16_t; 2] {
        unsafe {
            let (a, b) = (vld1q_s64(a.cast()), vld1q_s64(b.cast()));
            [vreinterpretq_s8_s64(vzip1q_s64(a, b)), vreinterpretq_s8_s64(vzip2q_s64(a, b))]
        }
    }

    #[inline(always)]
    unsafe fn dot_pairs(mut acc: [int32x4_t; 2], x: int8x16_t, w: [int8x16_t; 2]) -> [int32x4_t; 2] {
        if SMMLA {
            for (acc, w) in acc.iter_mut().zip(w) {
                // The intrinsic `vmmlaq_s32` is unstable.
                unsafe {
                    std::arch::asm!(
                        ".arch_extension i8mm",
                        "smmla {acc:v}.4s, {x:v}.16b, {w:v}.16b",
                        acc = inout(vreg) *acc, x = in(vreg) x, w = in(vreg) w,
                        options(pure, nomem, nostack, preserves_flags)
                    );
                }
            }
        }
        acc
    }

    #[inline(always)]
    unsafe fn rows(acc: [int32x4_t; 2]) -> [int32x4_t; 2] {
        unsafe {
            let [left, right] = acc.map(|half| vreinterpretq_s64_s32(half));
            [vreinterpretq_s32_s64(vzip1q_s64(left, right)), vreinterpretq_s32_s64(vzip2q_s64(left, right))]
        }
    }

    #[inline(always)]
    unsafe fn interleave<const ROWS: usize>(rows: [*const u8; ROWS], _left: usize) -> [int8x16_t; 4] {
        unsafe { interleave(rows) }
    }

    #[inline(always)]
    unsafe fn store_four(acc: [int32x4_t; 4], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        unsafe { store_sixteen(acc, scale, to, out, left) }
    }

    #[inline(always)]
    unsafe fn store_three(acc: [int32x4_t; 3], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        unsafe { store_twelve(acc, scale, to, out, left) }
    }

    #[inline(always)]
    unsafe fn store_two(acc: [int32x4_t; 2], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        unsafe { store_eight(acc, scale, to, out, left) }
    }

    #[inline(always)]
    unsafe fn store_one(acc: int32x4_t, scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        unsafe { store_four_bytes(acc, scale, to, out, left) }
    }

    #[inline(always)]
    unsafe fn spill(acc: int32x4_t, out: *mut i32) {
        unsafe { vst1q_s32(out, acc) }
    }

    #[inline(always)]
    unsafe fn look_up(table: &[u8; 256], x: &[u8], out: &mut [u8]) -> usize {
        unsafe { look_up(table, x, out) }
    }
}

/// Accumulators of four columns as twice four lanes: a column has two neighbouring lanes, one for each half of its quad.
/// They are added at the end.
#[derive(Clone, Copy)]
pub(super) struct Halves([int32x4_t; 2]);

impl Halves {
    /// # Safety
    /// As [`Lanes`].
    #[inline(always)]
    unsafe fn sum(self) -> int32x4_t {
        // SAFETY: every 64-bit ARM CPU has Advanced SIMD.
        unsafe { vpaddq_s32(self.0[0], self.0[1]) }
    }
}

// SAFETY of every block below: the caller promises the instruction set and the pointers, as the trait requires.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Neon {
    const N: usize = 4;
    const SIGNED: bool = true;
    const SATURATES: bool = false;
    type Acc = Halves;
    type Quads = int8x16_t;
    type Weights = int8x16_t;

    #[inline(always)]
    unsafe fn start(bias: *const i32) -> Halves {
        unsafe {
            let (bias, zero) = (vld1q_s32(bias), vdupq_n_s32(0));
            Halves([vzip1q_s32(bias, zero), vzip2q_s32(bias, zero)])
        }
    }

    #[inline(always)]
    unsafe fn splat(x: *const u8) -> int8x16_t {
        unsafe { NeonDot::<false>::splat(x) }
    }

    #[inline(always)]
    unsafe fn weights(w: *const i8) -> int8x16_t {
        unsafe { vld1q_s8(w) }
    }

    #[inline(always)]
    unsafe fn dot(acc: Halves, x: int8x16_t, w: int8x16_t) -> Halves {
        // Products fit 16 bits, but sums of two need not: twice (-128)^2 is 32,768.
        unsafe {
            let low = vpadalq_s16(acc.0[0], vmull_s8(vget_low_s8(x), vget_low_s8(w)));
            let high = vpadalq_s16(acc.0[1], vmull_high_s8(x, w));
            Halves([low, high])
        }
    }

    #[inline(always)]
    unsafe fn interleave<const ROWS: usize>(rows: [*const u8; ROWS], _left: usize) -> [int8x16_t; 4] {
        unsafe { interleave(rows) }
    }

    #[inline(always)]
    unsafe fn store_four(acc: [Halves; 4], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        unsafe {
            let acc = [acc[0].sum(), acc[1].sum(), acc[2].sum(), acc[3].sum()];
            store_sixteen(acc, scale, to, out, left);
        }
    }

    #[inline(always)]
    unsafe fn store_three(acc: [Halves; 3], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        unsafe { store_twelve([acc[0].sum(), acc[1].sum(), acc[2].sum()], scale, to, out, left) }
    }

    #[inline(always)]
    unsafe fn store_two(acc: [Halves; 2], scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        unsafe { store_eight([acc[0].sum(), acc[1].sum()], scale, to, out, left) }
    }

    #[inline(always)]
    unsafe fn store_one(acc: Halves, scale: *const f32, to: Requantise, out: *mut u8, left: usize) {
        unsafe { store_four_bytes(acc.sum(), scale, to, out, left) }
    }

    #[inline(always)]
    unsafe fn spill(acc: Halves, out: *mut i32) {
        unsafe { vst1q_s32(out, acc.sum()) }
    }

    #[inline(always)]
    unsafe fn look_up(table: &[u8; 256], x: &[u8], out: &mut [u8]) -> usize {
        unsafe { look_up(table, x, out) }
    }
}
