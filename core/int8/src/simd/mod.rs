//! The kernels, and their choice by instruction set.
//!
//! Each kernel is written once over the trait `Lanes`, and compiled for each instruction set in a function that has it
//! enabled. All give the same integers.
#![allow(unsafe_code)]
// Loops by index over constants are what the compiler turns into registers.
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

pub(super) use execute::Checked;
pub(super) use kernels::Kernels;
pub(super) use lanes::Requantise;
pub(super) use operands::Window;
pub(super) use step::{Group, Step, patch_bytes};
