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
mod lanes;
mod matrix;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pairs;
mod scalar;
mod share;
mod step;
mod windows;

use std::ops::Range;

use super::graph::Scale;
use depthwise::Convolution;
pub(super) use execute::Checked;
use lanes::Lanes;
pub(super) use lanes::{Requantise, column};
use magpie_cpu::Isa;
use matrix::Product;
use scalar::Scalar;
pub(super) use step::{Group, SLACK, Span, Step, patch_bytes};

/// How an instruction set wants its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Columns of a vector.
    pub(super) lanes: usize,
    /// Activations are stored as i8: the u8 value minus 128.
    pub(super) signed: bool,
    /// Two products are added in 16 bits: see `saturating`.
    pub(super) saturates: bool,
    /// Weights of a column that stand side by side in a matrix.
    pub(super) deep: usize,
    /// Vectors of a panel, at most.
    pub(super) panel: usize,
}

impl Layout {
    const fn of<L: Lanes>() -> Layout {
        // A dot product in two instructions needs registers in between: fewer are left for a panel.
        let panel = if L::SATURATES { 2 } else { 4 };
        let deep = if L::PAIRS { 8 } else { 4 };
        Layout { lanes: L::N, signed: L::SIGNED, saturates: L::SATURATES, deep, panel }
    }
}

/// Which share of a step a thread does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// From 0.
    pub(super) index: usize,
    /// Threads in all.
    pub(super) of: usize,
}

impl Job {
    /// The share of `total` things, in multiples of `unit`.
    pub(super) fn part(self, total: usize, unit: usize) -> Range<usize> {
        let units = total.div_ceil(unit);
        let at = |index: usize| (units * index / self.of * unit).min(total);
        at(self.index)..at(self.index + 1)
    }
}

/// A window that moves over a picture: sizes are rows first, then columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) out_height: usize,
    pub(super) out_width: usize,
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    /// Rows above, columns to the left. What is missing below and to the right follows from the output's size.
    pub(super) padding: [usize; 2],
}

/// Where the results of a product go.
#[derive(Clone, Copy)]
enum Sink {
    /// Stored bytes, `columns` a row.
    Bytes(*mut u8, Requantise),
    /// Numbers, `columns` a row.
    Floats(*mut f32),
}

/// The kernels of one instruction set. All but `layout` may be called only where the CPU has it.
#[allow(clippy::type_complexity)] // Plain functions, each called in one place.
pub(super) struct Kernels {
    isa: Isa,
    pub(super) layout: Layout,
    product: unsafe fn(&Product<'_>, Job),
    convolve: unsafe fn(&Convolution<'_>, Job),
    add: unsafe fn(&[u8], &[u8], [Scale; 2], Requantise, &mut [u8]),
    multiply: unsafe fn(&[u8], &[u8], [u8; 2], f32, Requantise, &mut [u8]),
    average: unsafe fn(&[u8], u8, f32, Requantise, &mut [i32], &mut [u8]),
    larger: unsafe fn(&[u8], &mut [u8]),
    table: unsafe fn(&[u8; 256], &[u8], &mut [u8]),
    quantise: unsafe fn(&[f32], usize, usize, f32, Requantise, &mut [u8]),
    dequantise: unsafe fn(&[u8], usize, Scale, &mut [f32]),
}

/// Compiles every kernel for one instruction set.
macro_rules! kernels {
    ($name:ident, $isa:expr, $lanes:ty $(, $features:literal)?) => {
        static $name: Kernels = {
            /// # Safety
            /// As `matrix::product`.
            $(#[target_feature(enable = $features)])?
            unsafe fn product(p: &Product<'_>, job: Job) {
                // SAFETY: passed on.
                unsafe { matrix::product::<$lanes>(p, job) }
            }
            /// # Safety
            /// As `depthwise::convolve`.
            $(#[target_feature(enable = $features)])?
            unsafe fn convolve(c: &Convolution<'_>, job: Job) {
                // SAFETY: passed on.
                unsafe { depthwise::convolve::<$lanes>(c, job) }
            }
            $(#[target_feature(enable = $features)])?
            fn add(a: &[u8], b: &[u8], from: [Scale; 2], to: Requantise, out: &mut [u8]) {
                elementwise::add::<{ <$lanes>::SIGNED }>(a, b, from, to, out);
            }
            $(#[target_feature(enable = $features)])?
            fn multiply(a: &[u8], b: &[u8], zeros: [u8; 2], factor: f32, to: Requantise, out: &mut [u8]) {
                elementwise::multiply::<{ <$lanes>::SIGNED }>(a, b, zeros, factor, to, out);
            }
            $(#[target_feature(enable = $features)])?
            fn average(x: &[u8], zero: u8, factor: f32, to: Requantise, sums: &mut [i32], out: &mut [u8]) {
                elementwise::average::<{ <$lanes>::SIGNED }>(x, zero, factor, to, sums, out);
            }
            $(#[target_feature(enable = $features)])?
            fn larger(x: &[u8], out: &mut [u8]) {
                elementwise::larger::<{ <$lanes>::SIGNED }>(x, out);
            }
            $(#[target_feature(enable = $features)])?
            fn quantise(x: &[f32], channels: usize, first: usize, scale: f32, to: Requantise, out: &mut [u8]) {
                elementwise::quantise::<{ <$lanes>::SIGNED }>(x, channels, first, scale, to, out);
            }
            $(#[target_feature(enable = $features)])?
            fn dequantise(x: &[u8], channels: usize, from: Scale, out: &mut [f32]) {
                elementwise::dequantise::<{ <$lanes>::SIGNED }>(x, channels, from, out);
            }
            /// # Safety
            /// As `elementwise::table`.
            $(#[target_feature(enable = $features)])?
            unsafe fn table(table: &[u8; 256], x: &[u8], out: &mut [u8]) {
                // SAFETY: passed on.
                unsafe { elementwise::table::<$lanes>(table, x, out) }
            }
            Kernels {
                isa: $isa,
                layout: Layout::of::<$lanes>(),
                product,
                convolve,
                add,
                multiply,
                average,
                larger,
                table,
                quantise,
                dequantise,
            }
        };
    };
}

kernels!(SCALAR, Isa::Scalar, Scalar);
#[cfg(target_arch = "x86_64")]
kernels!(AVX2, Isa::Avx2, avx2::Avx2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
kernels!(AVX_VNNI, Isa::AvxVnni, avx2::AvxVnni, "avx2,fma,avxvnni");
#[cfg(target_arch = "x86_64")]
kernels!(AVX512_VNNI, Isa::Avx512Vnni, avx512::Avx512Vnni, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");
#[cfg(target_arch = "x86_64")]
kernels!(AVX512_HALF, Isa::Avx512Vnni, avx2::Avx512Half, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");
#[cfg(target_arch = "aarch64")]
kernels!(NEON, Isa::Neon, neon::Neon, "neon");
#[cfg(target_arch = "aarch64")]
kernels!(NEON_DOT, Isa::NeonDot, neon::NeonDot<false>, "neon,dotprod");
#[cfg(target_arch = "aarch64")]
static NEON_I8MM: Kernels = {
    /// # Safety
    /// As `matrix::product`.
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn product(p: &Product<'_>, job: Job) {
        // SAFETY: passed on.
        unsafe { matrix::product::<neon::NeonDot<true>>(p, job) }
    }
    // Nothing else is quicker by it.
    Kernels { isa: Isa::NeonI8mm, layout: Layout::of::<neon::NeonDot<true>>(), product, ..NEON_DOT }
};

impl Kernels {
    /// The kernels for an instruction set; none where this CPU does not have it.
    pub(super) fn of(isa: Isa) -> Option<&'static Kernels> {
        #[cfg(target_arch = "x86_64")]
        let all = [&SCALAR, &AVX2, &AVX_VNNI, &AVX512_VNNI];
        #[cfg(target_arch = "aarch64")]
        let all = [&SCALAR, &NEON, &NEON_DOT, &NEON_I8MM];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let all = [&SCALAR];
        all.into_iter().find(|kernels| kernels.isa == isa && isa.is_available())
    }

    /// The kernels for a depthwise layer: half as wide where a group would be mostly empty.
    pub(super) fn for_channels(&'static self, channels: usize) -> &'static Kernels {
        #[cfg(target_arch = "x86_64")]
        if self.isa == Isa::Avx512Vnni && (1..=32).contains(&(channels % 64)) && channels < 128 {
            return &AVX512_HALF;
        }
        let _ = channels;
        self
    }

    /// Which they are.
    pub(super) fn isa(&self) -> Isa {
        self.isa
    }
}
