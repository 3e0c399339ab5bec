//! Vectors as codes: how they are turned, coded and compared.
//!
//! A catalogue vector is turned by a fixed [`Rotation`], the centre of its list is taken off, and what is left, the
//! residual, is kept twice: as one sign bit a coordinate, with which a scan estimates products quickly ([`sign`]), and
//! as one signed byte a coordinate, with which the best of them are scored again ([`code`]). [`Kernels`] does the work
//! on what the CPU offers.

pub mod code;
mod rotation;
pub mod sign;
mod simd;

pub use rotation::Rotation;
pub use simd::{Kernels, Scan};

/// Codes are as long as the dimension rounded up to a multiple of this, so that kernels need no tails.
pub const STRIDE_UNIT: usize = 32;

/// Bytes of an int8 code of `dim` coordinates; those behind the last coordinate are 0.
pub fn stride(dim: usize) -> usize {
    dim.next_multiple_of(STRIDE_UNIT)
}
