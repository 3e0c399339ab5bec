//! The kernels, and the steps that call them.
//!
//! Each kernel is written once, over the trait [`lanes::Lanes`], and compiled for each instruction set in a function with
//! that `target_feature`. All instruction sets give the same bytes.
#![allow(unsafe_code)]
// Index loops over constant ranges are unrolled, which keeps arrays of vectors in registers.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod depthwise;
mod elementwise;
mod execute;
mod kernels;
mod lanes;
mod matrix;
mod memory;
#[cfg(target_arch = "aarch64")]
mod neon;
mod operands;
mod pairs;
mod scalar;
mod share;
mod step;
mod windows;

pub(super) use execute::CheckedSteps;
pub(super) use kernels::Int8Kernels;
pub(super) use lanes::Requantise;
pub(super) use operands::WindowShape;
pub(super) use step::{MAX_AVERAGED, MAX_RATIO, Step, StepGroup, patch_bytes, tail_bytes};
