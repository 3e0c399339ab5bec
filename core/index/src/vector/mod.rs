//! Vectors as codes: how they are rotated, quantised and compared.
//!
//! A catalogue vector is rotated by a fixed [`Rotation`], and the centroid of its list is subtracted. The residual is
//! kept twice: as a binary code, one sign bit per coordinate, with which a scan estimates products quickly (`sign`);
//! and as a scalar-quantised code, one byte per coordinate and the same sign, with which the best photos are re-ranked
//! (`code`). [`CodeKernels`] computes the products with the instruction set of the CPU.

pub(crate) mod code;
pub(crate) mod float;
pub(crate) mod layout;
mod rotation;
pub(crate) mod sign;
mod simd;

pub use rotation::Rotation;
#[doc(hidden)] // for the jitter of core's backoff and for tests
pub use rotation::split_mix;
pub use simd::CodeKernels;
