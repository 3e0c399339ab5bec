//! What the kernels need from an instruction set: one trait, so that each kernel is written once.

use crate::layout::Layout;

/// How accumulators become stored bytes: `clamp(round(acc * scale[column]) + zero, low, high)`, rounded half to even.
///
/// All three are in stored form: with [`Lanes::SIGNED`], a stored byte is the u8 value minus 128.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requantise {
    /// The zero point, added after rounding.
    pub(crate) zero: i16,
    /// The least byte that is stored, as bits.
    pub(crate) low: u8,
    /// The largest byte that is stored, as bits.
    pub(crate) high: u8,
}

/// An instruction set as the kernels see it: vectors of `N` 32-bit accumulators, each fed by dot products of a quad of
/// activations with a quad of weights.
///
/// # Safety
/// Every function requires that the CPU has the instruction set, and that pointers are valid for the reads and writes that
/// the function states. No pointer needs to be aligned.
pub(super) trait Lanes {
    /// Accumulators of a vector.
    const N: usize;
    /// Activations are stored as i8 (value minus 128), because the dot product takes signed bytes only.
    const SIGNED: bool;
    /// The dot product adds pairs of products in saturating 16-bit arithmetic, see `saturating`.
    const SATURATES: bool;
    /// Plain Rust without SIMD. Tiles then have a single row: unrolling more makes more code, not faster code.
    const PLAIN: bool = false;
    /// A dot product can take any one of a vector's quads for all lanes, see `dot_four`.
    const FOURS: bool = false;
    /// Matrix products multiply two rows of activations with two columns of weights, eight inputs at once, see `dot_pairs`.
    const PAIRS: bool = false;
    /// `N` accumulators.
    type Acc: Copy;
    /// `N` quads of activations.
    type Quads: Copy;
    /// `N` quads of weights.
    type Weights: Copy;

    /// Loads `N` biases.
    unsafe fn start(bias: *const i32) -> Self::Acc;
    /// Loads one quad of activations and broadcasts it to all lanes.
    unsafe fn splat(x: *const u8) -> Self::Quads;
    /// Loads `4 * N` weights.
    unsafe fn weights(w: *const i8) -> Self::Weights;
    /// Adds each lane's dot product to its accumulator.
    unsafe fn dot(acc: Self::Acc, x: Self::Quads, w: Self::Weights) -> Self::Acc;
    /// Loads 16 activations. Only with [`Lanes::SATURATES`] or [`Lanes::FOURS`].
    unsafe fn sixteen(x: *const u8) -> Self::Quads {
        // SAFETY: as the caller promises.
        unsafe { Self::splat(x) }
    }
    /// Shuffles 16 activations: each lane gets the four at its `places`. Only with [`Lanes::SATURATES`].
    unsafe fn pick(x: Self::Quads, _places: Self::Weights) -> Self::Quads {
        x
    }
    /// As `dot`, with quad `FOUR` of 16 activations for all lanes. Only with [`Lanes::FOURS`].
    unsafe fn dot_four<const FOUR: usize>(acc: Self::Acc, _x: Self::Quads, _w: Self::Weights) -> Self::Acc {
        acc
    }
    /// Loads `N` biases for two rows, in the element order of `dot_pairs`. This and the next three only with
    /// [`Lanes::PAIRS`].
    unsafe fn start_pairs(bias: *const i32) -> [Self::Acc; 2] {
        // SAFETY: as the caller promises.
        unsafe { [Self::start(bias); 2] }
    }
    /// Loads 16 activations of each of two rows: the first eight of both rows, then the last eight of both.
    unsafe fn pairs(a: *const u8, b: *const u8) -> [Self::Quads; 2] {
        // SAFETY: as the caller promises.
        unsafe { [Self::splat(a), Self::splat(b)] }
    }
    /// Adds the products of two rows of eight activations with `N` columns of eight weights.
    unsafe fn dot_pairs(acc: [Self::Acc; 2], _x: Self::Quads, _w: [Self::Weights; 2]) -> [Self::Acc; 2] {
        acc
    }
    /// Reorders the sums of `dot_pairs` into one vector per row.
    unsafe fn rows(acc: [Self::Acc; 2]) -> [Self::Acc; 2] {
        acc
    }
    /// Loads `4 * N` channels of each window row and interleaves them: each channel's bytes form a quad, with zeros for
    /// missing rows. Channel [`column`](crate::layout::column)`(4, j, l)` lands in vector `j`, lane `l`. Channels from
    /// `left` on are never used, but their bytes are read unless the instruction set has masked loads.
    unsafe fn interleave<const ROWS: usize>(rows: [*const u8; ROWS], left: usize) -> [Self::Quads; 4];
    /// Requantises four vectors and writes `min(left, 4 * N)` bytes in the order of columns. Reads `4 * N` scales.
    unsafe fn store_four(acc: [Self::Acc; 4], scale: *const f32, to: Requantise, out: *mut u8, left: usize);
    /// As `store_four`, for three vectors and `3 * N` bytes.
    unsafe fn store_three(acc: [Self::Acc; 3], scale: *const f32, to: Requantise, out: *mut u8, left: usize);
    /// As `store_four`, for two vectors and `2 * N` bytes.
    unsafe fn store_two(acc: [Self::Acc; 2], scale: *const f32, to: Requantise, out: *mut u8, left: usize);
    /// Requantises one vector and writes `min(left, N)` bytes. Reads `N` scales.
    unsafe fn store_one(acc: Self::Acc, scale: *const f32, to: Requantise, out: *mut u8, left: usize);
    /// Writes `N` accumulators unchanged.
    unsafe fn spill(acc: Self::Acc, out: *mut i32);
    /// Looks up a multiple of the vector's size of bytes, and returns how many; the caller does the rest.
    unsafe fn look_up(_table: &[u8; 256], _x: &[u8], _out: &mut [u8]) -> usize {
        0
    }
}

/// The memory layout that an instruction set's kernels read.
pub(super) const fn layout<L: Lanes>() -> Layout {
    // A saturating dot product takes two instructions and registers in between, which leaves fewer for a panel.
    let panel_vectors = if L::SATURATES { 2 } else { 4 };
    let column_block = if L::PAIRS { 8 } else { 4 };
    Layout { lanes: L::N, signed: L::SIGNED, saturates: L::SATURATES, column_block, panel_vectors }
}
