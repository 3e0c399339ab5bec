//! What a kernel needs of an instruction set: one trait, so that each kernel is written once.

use crate::layout::Layout;

/// How accumulators become stored bytes: `clamp(round(acc * scale[column]) + zero, low, high)`, rounded half to even.
///
/// All of it is in the stored form: where [`Lanes::SIGNED`], every byte is the u8 value minus 128.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Requantise {
    /// Added after rounding.
    pub(in super::super) zero: i16,
    /// Least byte that is stored, in the bits of a byte.
    pub(in super::super) low: u8,
    /// Largest byte that is stored.
    pub(in super::super) high: u8,
}

/// An instruction set as the kernels see it: vectors of `N` accumulators of 32 bits, each fed by dot products of four
/// activations with four weights.
///
/// # Safety
/// Every function here may be called only where the CPU has the instruction set. Pointers must be good for what the
/// function says it reads or writes; none needs to be aligned.
pub(super) trait Lanes {
    /// Accumulators in a vector.
    const N: usize;
    /// Activations are stored as i8 (value minus 128), because the dot product takes signed bytes only.
    const SIGNED: bool;
    /// Two neighbouring products are added in 16 bits, so large weights must not be neighbours: see `saturating`.
    const SATURATES: bool;
    /// No instruction set: to unroll loops over it makes much code, which is not quicker.
    const PLAIN: bool = false;
    /// A dot product takes any of the fours of a vector for all lanes: see `dot_four`.
    const FOURS: bool = false;
    /// Matrix products take two rows of activations and two columns of weights at once, eight deep: see `dot_pairs`.
    const PAIRS: bool = false;
    /// `N` accumulators.
    type Acc: Copy;
    /// `N` groups of four activations.
    type Quads: Copy;
    /// `N` groups of four weights.
    type Weights: Copy;

    /// Reads `N` biases.
    unsafe fn start(bias: *const i32) -> Self::Acc;
    /// Reads four activations and repeats them.
    unsafe fn splat(x: *const u8) -> Self::Quads;
    /// Reads `4 * N` weights.
    unsafe fn weights(w: *const i8) -> Self::Weights;
    /// Adds each dot product to its accumulator.
    unsafe fn dot(acc: Self::Acc, x: Self::Quads, w: Self::Weights) -> Self::Acc;
    /// Reads 16 activations. Only where [`Lanes::SATURATES`] or [`Lanes::FOURS`].
    unsafe fn sixteen(x: *const u8) -> Self::Quads {
        // SAFETY: as the caller promises.
        unsafe { Self::splat(x) }
    }
    /// Four of these 16 activations for each lane, by their `places`. Only where [`Lanes::SATURATES`].
    unsafe fn pick(x: Self::Quads, _places: Self::Weights) -> Self::Quads {
        x
    }
    /// As `dot`, with the `FOUR`th four of the 16 activations for all lanes. Only where [`Lanes::FOURS`].
    unsafe fn dot_four<const FOUR: usize>(acc: Self::Acc, _x: Self::Quads, _w: Self::Weights) -> Self::Acc {
        acc
    }
    /// Reads `N` biases for two rows, in the order of `dot_pairs`. This and the next three only where [`Lanes::PAIRS`].
    unsafe fn start_pairs(bias: *const i32) -> [Self::Acc; 2] {
        // SAFETY: as the caller promises.
        unsafe { [Self::start(bias); 2] }
    }
    /// Reads 16 activations of each of two rows: the first eight of both, then the other eight of both.
    unsafe fn pairs(a: *const u8, b: *const u8) -> [Self::Quads; 2] {
        // SAFETY: as the caller promises.
        unsafe { [Self::splat(a), Self::splat(b)] }
    }
    /// Adds the products of two rows of eight activations with `N` columns of eight weights.
    unsafe fn dot_pairs(acc: [Self::Acc; 2], _x: Self::Quads, _w: [Self::Weights; 2]) -> [Self::Acc; 2] {
        acc
    }
    /// What `dot_pairs` added up, row by row.
    unsafe fn rows(acc: [Self::Acc; 2]) -> [Self::Acc; 2] {
        acc
    }
    /// Reads `4 * N` channels of each row and gives each channel's bytes side by side, zeros for missing rows. Vector
    /// `j`, lane `l` has channel [`column`]`(4, j, l)`. Of bytes from `left` on nothing is used, but they are read
    /// unless the instruction set can leave them out.
    unsafe fn interleave<const ROWS: usize>(rows: [*const u8; ROWS], left: usize) -> [Self::Quads; 4];
    /// Requantises four vectors and writes `min(left, 4 * N)` bytes, in the order of columns; reads `4 * N` scales.
    unsafe fn store_four(acc: [Self::Acc; 4], scale: *const f32, to: Requantise, out: *mut u8, left: usize);
    /// As `store_four`, for three vectors and `3 * N` bytes.
    unsafe fn store_three(acc: [Self::Acc; 3], scale: *const f32, to: Requantise, out: *mut u8, left: usize);
    /// As `store_four`, for two vectors and `2 * N` bytes.
    unsafe fn store_two(acc: [Self::Acc; 2], scale: *const f32, to: Requantise, out: *mut u8, left: usize);
    /// Requantises one vector and writes `min(left, N)` bytes; reads `N` scales.
    unsafe fn store_one(acc: Self::Acc, scale: *const f32, to: Requantise, out: *mut u8, left: usize);
    /// Writes `N` accumulators as they are.
    unsafe fn spill(acc: Self::Acc, out: *mut i32);
    /// Looks up as many bytes as vectors do best, and says how many.
    unsafe fn look_up(_table: &[u8; 256], _x: &[u8], _out: &mut [u8]) -> usize {
        0
    }
}

/// How an instruction set wants its data.
pub(super) const fn layout<L: Lanes>() -> Layout {
    // A dot product in two instructions needs registers in between: fewer are left for a panel.
    let panel = if L::SATURATES { 2 } else { 4 };
    let deep = if L::PAIRS { 8 } else { 4 };
    Layout { lanes: L::N, signed: L::SIGNED, saturates: L::SATURATES, deep, panel }
}
