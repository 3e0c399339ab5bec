//! The table of kernels of each instruction set, and the choice among them.

use super::lanes::{Lanes, Requantise, layout};
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::operands::{Convolution, Product, WorkShare};
use super::scalar::Scalar;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use super::{depthwise, elementwise, matrix};
use crate::graph::Scale;
use crate::layout::Layout;
use magpie_cpu::Isa;

/// The kernels of one instruction set. They may be called only on a CPU that has it.
#[allow(clippy::type_complexity)] // Plain functions, each called from one place.
pub(crate) struct Int8Kernels {
    isa: Isa,
    layout: Layout,
    pub(super) product: unsafe fn(&Product<'_>, WorkShare),
    pub(super) depthwise: unsafe fn(&Convolution<'_>, WorkShare),
    pub(super) add: unsafe fn(&[u8], &[u8], [Scale; 2], Requantise, &mut [u8]),
    pub(super) multiply: unsafe fn(&[u8], &[u8], [u8; 2], f32, Requantise, &mut [u8]),
    pub(super) average: unsafe fn(&[u8], u8, f32, Requantise, &mut [i32], &mut [u8]),
    pub(super) max: unsafe fn(&[u8], &mut [u8]),
    pub(super) table: unsafe fn(&[u8; 256], &[u8], &mut [u8]),
    pub(super) quantise: unsafe fn(&[f32], usize, usize, f32, Requantise, &mut [u8]),
    pub(super) dequantise: unsafe fn(&[u8], usize, Scale, &mut [f32]),
}

/// Compiles every kernel for one instruction set.
macro_rules! kernels {
    ($name:ident, $isa:expr, $lanes:ty $(, $features:literal)?) => {
        static $name: Int8Kernels = {
            /// # Safety
            /// As `matrix::product`.
            $(#[target_feature(enable = $features)])?
            unsafe fn product(p: &Product<'_>, job: WorkShare) {
                // SAFETY: as the caller promises.
                unsafe { matrix::product::<$lanes>(p, job) }
            }
            /// # Safety
            /// As `depthwise::depthwise`.
            $(#[target_feature(enable = $features)])?
            unsafe fn depthwise(c: &Convolution<'_>, job: WorkShare) {
                // SAFETY: as the caller promises.
                unsafe { depthwise::depthwise::<$lanes>(c, job) }
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
            fn max(x: &[u8], out: &mut [u8]) {
                elementwise::max::<{ <$lanes>::SIGNED }>(x, out);
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
                // SAFETY: as the caller promises.
                unsafe { elementwise::table::<$lanes>(table, x, out) }
            }
            Int8Kernels {
                isa: $isa,
                layout: layout::<$lanes>(),
                product,
                depthwise,
                add,
                multiply,
                average,
                max,
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
static NEON_I8MM: Int8Kernels = {
    /// # Safety
    /// As `matrix::product`.
    #[target_feature(enable = "neon,dotprod,i8mm")]
    unsafe fn product(p: &Product<'_>, job: WorkShare) {
        // SAFETY: as the caller promises.
        unsafe { matrix::product::<neon::NeonDot<true>>(p, job) }
    }
    // No other kernel gains from it.
    Int8Kernels { isa: Isa::NeonI8mm, layout: layout::<neon::NeonDot<true>>(), product, ..NEON_DOT }
};

impl Int8Kernels {
    /// The kernels for an instruction set; `None` if this CPU does not have it.
    pub(crate) fn of(isa: Isa) -> Option<&'static Int8Kernels> {
        #[cfg(target_arch = "x86_64")]
        let all = [&SCALAR, &AVX2, &AVX_VNNI, &AVX512_VNNI];
        #[cfg(target_arch = "aarch64")]
        let all = [&SCALAR, &NEON, &NEON_DOT, &NEON_I8MM];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let all = [&SCALAR];
        all.into_iter().find(|kernels| kernels.isa == isa && isa.is_available())
    }

    /// The kernels for a depthwise layer: half as wide if a group of channels would be mostly empty.
    pub(crate) fn for_channels(&'static self, channels: usize) -> &'static Int8Kernels {
        #[cfg(target_arch = "x86_64")]
        if self.isa == Isa::Avx512Vnni && (1..=32).contains(&(channels % 64)) && channels < 128 {
            return &AVX512_HALF;
        }
        let _ = channels;
        self
    }

    /// The instruction set.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// The layout that weights have to be packed for.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }
}
