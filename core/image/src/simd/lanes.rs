//! The vector operations of one instruction set.

/// Side of the tiles that are transposed: 16 registers of 16 bytes.
pub(crate) const TILE: usize = 16;

/// The vector operations that the kernels are written in.
///
/// # Safety
///
/// All functions need a CPU with the instruction set, and pointers that are valid for what they read and write.
pub(super) trait Lanes {
    /// [`BLOCK`](crate::rows::BLOCK) sums.
    type Sums: Copy;
    /// [`TILE`] bytes.
    type Bytes: Copy;

    /// The weighted sums of `V * BLOCK` columns, plus `half`.
    ///
    /// # Safety
    ///
    /// As above: there is a row of this many bytes for each weight.
    unsafe fn sums<const V: usize>(from: *const u8, stride: usize, weights: &[i16], half: i32) -> [Self::Sums; V];
    /// Shifts sums to the right, clamps them to bytes and stores them.
    ///
    /// # Safety
    ///
    /// As above: `to` has room for [`BLOCK`](crate::rows::BLOCK) bytes.
    unsafe fn store_bytes(sums: Self::Sums, shift: u32, to: *mut u8);
    /// Shifts sums to the right, clamps them to 16 bits and stores them.
    ///
    /// # Safety
    ///
    /// As above: `to` has room for [`BLOCK`](crate::rows::BLOCK) words.
    unsafe fn store_words(sums: Self::Sums, shift: u32, to: *mut i16);

    /// # Safety
    ///
    /// As above: there are [`TILE`] bytes.
    unsafe fn load(from: *const u8) -> Self::Bytes;
    /// # Safety
    ///
    /// As above: `to` has room for [`TILE`] bytes.
    unsafe fn store(bytes: Self::Bytes, to: *mut u8);
    /// Interleaves the bytes of `a` and `b`; returns the lower and the upper half.
    ///
    /// # Safety
    ///
    /// As above: the CPU has the instruction set.
    unsafe fn zip(a: Self::Bytes, b: Self::Bytes) -> [Self::Bytes; 2];
}
