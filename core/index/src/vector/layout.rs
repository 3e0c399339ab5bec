//! The lengths of codes and blocks, which the file format shares with the kernels.

/// Byte codes are padded to a multiple of this, so that kernels need no loops for remainders.
pub(crate) const STRIDE_UNIT: usize = 32;
/// Binary codes are padded to a multiple of this: four table look-ups, one 512-bit register.
const SIGN_UNIT: usize = 16;
/// Vectors in a scan block.
pub(crate) const BLOCK: usize = 32;

/// Returns the length in bytes of a byte code of `dim` coordinates and its padding, which is 0.
pub(crate) fn stride(dim: usize) -> usize {
    dim.next_multiple_of(STRIDE_UNIT)
}

/// Returns the length in bytes of the signs of a scan block, and of a query's table.
pub(crate) fn signs_len(dim: usize) -> usize {
    dim.next_multiple_of(SIGN_UNIT) / 4 * 16
}

/// Returns the length in bytes of a scan block: signs, then a slope and an offset of 16 bits for each vector.
pub(crate) fn block_len(dim: usize) -> usize {
    signs_len(dim) + BLOCK * 4
}
