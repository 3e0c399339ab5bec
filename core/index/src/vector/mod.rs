//! Vectors as codes: how they are rotated, quantised and compared.
//!
//! A catalogue vector is rotated by a fixed [`Rotation`], and the centroid of its list is subtracted. The residual is kept
//! twice: as a binary code, one sign bit per coordinate, with which a scan estimates products quickly ([`sign`]); and as a
//! scalar-quantised code, one byte per coordinate and the same sign, with which the best photos are re-ranked ([`code`]).
//! [`Kernels`] computes the products with the instruction set of the CPU.

pub mod code;
mod rotation;
pub mod sign;
mod simd;

pub use rotation::Rotation;
pub use simd::{Kernels, Scan};

/// Byte codes are padded to a multiple of this, so that kernels need no loops for remainders.
pub const STRIDE_UNIT: usize = 32;

/// Returns the length in bytes of a code of `dim` coordinates and its padding, which is 0.
pub fn stride(dim: usize) -> usize {
    dim.next_multiple_of(STRIDE_UNIT)
}
