//! The choice of kernels by instruction set.

use super::lanes::{Lanes, Requantise, layout};
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::operands::{Convolution, Job, Product};
use super::scalar::Scalar;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use super::{depthwise, elementwise, matrix};
use crate::graph::Scale;
use crate::layout::Layout;
use magpie_cpu::Isa;

/// The kernels of one instruction set. All but `layout` may be called only where the CPU has it.
#[allow(clippy::type_complexity)] // Plain functions, each called in one place.
pub(in super::super) struct Kernels {
    isa: Isa,
    pub(in super::super) layout: Layout,
    pub(super) product: unsafe fn(&Product<'_>, Job),
    pub(super) convolve: unsafe fn(&Convolution<'_>, Job),
    pub(super) add: unsafe fn(&[u8], &[u8], [Scale; 2], Requantise, &mut [u8]),
    pub(super) multiply: unsafe fn(&[u8], &[u8], [u8; 2], f32, Requantise, &mut [u8]),
    pub(super) average: unsafe fn(&[u8], u8, f32, Requantise, &mut [i32], &mut [u8]),
    pub(super) larger: unsafe fn(&[u8], &mut [u8]),
    pub(super) table: unsafe fn(&[u8; 256], &[u8], &mut [u8]),
    pub(super) quantise: unsafe fn(&[f32], usize, usize, f32, Requantise, &mut [u8]),
    pub(super) dequantise: unsafe fn(&[u8], usize, Scale, &mut [f32]),
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
                layout: layout::<$lanes>(),
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
    Kernels { isa: Isa::NeonI8mm, layout: layout::<neon::NeonDot<true>>(), product, ..NEON_DOT }
};

impl Kernels {
    /// The kernels for an instruction set; none where this CPU does not have it.
    pub(in super::super) fn of(isa: Isa) -> Option<&'static Kernels> {
        #[cfg(target_arch = "x86_64")]
        let all = [&SCALAR, &AVX2, &AVX_VNNI, &AVX512_VNNI];
        #[cfg(target_arch = "aarch64")]
        let all = [&SCALAR, &NEON, &NEON_DOT, &NEON_I8MM];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let all = [&SCALAR];
        all.into_iter().find(|kernels| kernels.isa == isa && isa.is_available())
    }

    /// The kernels for a depthwise layer: half as wide where a group would be mostly empty.
    pub(in super::super) fn for_channels(&'static self, channels: usize) -> &'static Kernels {
        #[cfg(target_arch = "x86_64")]
        if self.isa == Isa::Avx512Vnni && (1..=32).contains(&(channels % 64)) && channels < 128 {
            return &AVX512_HALF;
        }
        let _ = channels;
        self
    }

    /// Which they are.
    pub(in super::super) fn isa(&self) -> Isa {
        self.isa
    }
}
