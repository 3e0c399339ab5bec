//! The kernels that a search spends its time in, with a version for each instruction set.
//!
//! All versions give the same bits: products and table sums are integers, and the few float operations are separate
//! multiplications and additions in a fixed order. The scalar version is the reference for testing the others.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::layout::{BLOCK, STRIDE_UNIT};
use super::sign::Scan;
use magpie_cpu::Isa;

/// The kernels for an instruction set that this CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeKernels {
    isa: Isa,
}

impl CodeKernels {
    /// Returns the kernels for an instruction set; `None` where this CPU lacks it.
    pub fn new(isa: Isa) -> Option<CodeKernels> {
        isa.is_available().then_some(CodeKernels { isa })
    }

    /// Returns the kernels for the best instruction set of this CPU.
    pub fn best() -> CodeKernels {
        CodeKernels { isa: Isa::best() }
    }

    /// The instruction set.
    pub fn isa(self) -> Isa {
        self.isa
    }

    /// Computes the products of a query and consecutive codes, one for each element of `products`.
    ///
    /// # Panics
    /// Where `codes` does not hold exactly that many codes of the query's length, or the query's length is not a
    /// multiple of [`STRIDE_UNIT`].
    pub(crate) fn dot_rows(self, codes: &[i8], query: &[i16], products: &mut [i32]) {
        assert!(!query.is_empty() && query.len().is_multiple_of(STRIDE_UNIT));
        assert_eq!(codes.len(), products.len() * query.len());
        // SAFETY: the lengths were checked, and `self` exists only where the CPU has the instruction set.
        unsafe { self.dot(codes, query, products, |at| at) }
    }

    /// Computes the products of a query and the codes of the picked rows.
    ///
    /// # Panics
    /// Where a row is past the end of `codes`, or the query's length is not a multiple of [`STRIDE_UNIT`].
    pub(crate) fn dot_picked(self, codes: &[i8], query: &[i16], picked: &[u32], products: &mut [i32]) {
        assert!(!query.is_empty() && query.len().is_multiple_of(STRIDE_UNIT));
        assert_eq!(picked.len(), products.len());
        let rows = codes.len() / query.len();
        assert!(picked.iter().all(|&row| (row as usize) < rows));
        // SAFETY: rows and lengths were checked, and `self` exists only where the CPU has the instruction set.
        unsafe { self.dot(codes, query, products, |at| picked[at] as usize) }
    }

    /// Computes the products of a query and the picked rows of unsigned codes. `signs` has a bit for each coordinate of
    /// each picked row: the coordinate is `2 * byte + 1`, negated where the bit is clear.
    ///
    /// # Panics
    /// Where a row is past the end of `codes`, the number of signs does not match, or the query's length is not a
    /// multiple of [`STRIDE_UNIT`].
    pub(crate) fn dot_signed(self, codes: &[u8], signs: &[u32], query: &[i16], picked: &[u32], products: &mut [i32]) {
        assert!(!query.is_empty() && query.len().is_multiple_of(STRIDE_UNIT));
        assert_eq!(picked.len(), products.len());
        assert_eq!(signs.len(), picked.len() * (query.len() / 32));
        let rows = codes.len() / query.len();
        assert!(picked.iter().all(|&row| (row as usize) < rows));
        // SAFETY: rows and lengths were checked, and `self` exists only where the CPU has the instruction set.
        unsafe {
            match self.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512Vnni => x86::signed_512(codes, signs, query, picked, products),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::AvxVnni => x86::signed_256(codes, signs, query, picked, products),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon | Isa::NeonDot | Isa::NeonI8mm => neon::signed(codes, signs, query, picked, products),
                _ => scalar::signed(codes, signs, query, picked, products),
            }
        }
    }

    /// # Safety
    /// `row` returns rows of `codes`; the query's length is a multiple of [`STRIDE_UNIT`].
    unsafe fn dot(self, codes: &[i8], query: &[i16], products: &mut [i32], row: impl Fn(usize) -> usize + Copy) {
        // SAFETY: the caller's promise, and `CodeKernels::new` has checked that the CPU has the instruction set.
        unsafe {
            match self.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512Vnni => x86::dot_512(codes, query, products, row),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::AvxVnni => x86::dot_256(codes, query, products, row),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon | Isa::NeonDot | Isa::NeonI8mm => neon::dot(codes, query, products, row),
                _ => scalar::dot(codes, query, products, row),
            }
        }
    }

    /// Estimates the vectors of whole blocks: the signs of 32 vectors, then their packed slopes and offsets. A bit of
    /// `above` is set where that of `wanted` is and the estimate reaches the threshold. Blocks without a wanted vector
    /// are skipped, and their estimates are left unchanged.
    ///
    /// # Panics
    /// Where the lengths do not match.
    pub(crate) fn scan(self, blocks: &[u8], wanted: &[u32], scan: &Scan<'_>, estimates: &mut [f32], above: &mut [u32]) {
        let block = scan.table.len() + BLOCK * 4;
        assert!(scan.table.len().is_multiple_of(64));
        assert_eq!(blocks.len(), wanted.len() * block);
        assert_eq!(estimates.len(), wanted.len() * BLOCK);
        assert_eq!(above.len(), wanted.len());
        let all = blocks.chunks_exact(block).zip(wanted);
        let all = all.zip(estimates.as_chunks_mut().0).zip(above);
        // SAFETY: all blocks have the length that table and factors require, and `self` exists only where the CPU has
        // the instruction set.
        unsafe {
            match self.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512Vnni => x86::scan_512(all, scan),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::AvxVnni => x86::scan_256(all, scan),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon | Isa::NeonDot | Isa::NeonI8mm => neon::scan(all, scan),
                _ => scalar::scan(all, scan),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;
    use proptest::prelude::*;

    fn variants() -> impl Iterator<Item = CodeKernels> {
        Isa::available().filter_map(CodeKernels::new)
    }

    fn oracle() -> CodeKernels {
        CodeKernels::new(Isa::Scalar).expect("always there")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn products_are_the_same_on_every_instruction_set(
            units in 1usize..6, rows in 0usize..9, seed: u32, query in prop::collection::vec(any::<i16>(), 160),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let stride = units * STRIDE_UNIT;
            // The limit of `EncodedQuery`: products of the largest numbers must not overflow.
            let limit = i16::try_from((i32::MAX as usize / (511 * stride)).min(32767)).expect("limited");
            let query: Vec<i16> = query.iter().take(stride).map(|v| (*v).clamp(-limit, limit)).collect();
            let code = |at: usize| ((at as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as i8;
            let codes: Vec<i8> = (0..rows * stride).map(|at| code(at).max(-127)).collect();
            let mut expected = vec![0; rows];
            oracle().dot_rows(&codes, &query, &mut expected);
            let picked: Vec<u32> = picks.iter().filter(|_| rows > 0).map(|p| p.index(rows) as u32).collect();
            let bytes: Vec<u8> = codes.iter().map(|&c| c as u8).collect();
            let signs: Vec<u32> = (0..picked.len() * units).map(|at| code(at) as u32 ^ seed).collect();
            let mut signed = vec![0; picked.len()];
            oracle().dot_signed(&bytes, &signs, &query, &picked, &mut signed);
            for kernels in variants() {
                let mut found = vec![1; picked.len()];
                kernels.dot_signed(&bytes, &signs, &query, &picked, &mut found);
                prop_assert_eq!(&found, &signed, "{:?}", kernels);
                let mut found = vec![1; rows];
                kernels.dot_rows(&codes, &query, &mut found);
                prop_assert_eq!(&found, &expected, "{:?}", kernels);
                let mut found = vec![1; picked.len()];
                kernels.dot_picked(&codes, &query, &picked, &mut found);
                let expected: Vec<i32> = picked.iter().map(|&row| expected[row as usize]).collect();
                prop_assert_eq!(&found, &expected, "{:?}", kernels);
            }
        }

        #[test]
        fn estimates_are_the_same_on_every_instruction_set(
            units in 1usize..12, wanted in prop::collection::vec(prop_oneof![any::<u32>(), Just(0), Just(!0)], 0..5),
            seed: u32, gain in -1e-3f32..1e-3, shift in -1f32..1.0, threshold in -9f32..9.0, most in 1u8..,
        ) {
            let byte = |at: usize| (((at as u32) ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8;
            let table: Vec<u8> = (0..units * 64).map(|at| byte(at).min(most)).collect();
            let blocks: Vec<u8> = (0..wanted.len() * (units * 64 + 128)).map(|at| byte(at + 7)).collect();
            let scan = Scan { table: &table, gain, shift, offset_unit: 1e-4, base: 0.3, threshold };
            let run = |kernels: CodeKernels| {
                let (mut estimates, mut above) = (vec![-1.0; wanted.len() * BLOCK], vec![7; wanted.len()]);
                kernels.scan(&blocks, &wanted, &scan, &mut estimates, &mut above);
                (estimates.iter().map(|e| e.to_bits()).collect::<Vec<_>>(), above)
            };
            let expected = run(oracle());
            for kernels in variants() {
                prop_assert_eq!(&run(kernels), &expected, "{:?}", kernels);
            }
        }
    }

    #[test]
    fn rows_and_lengths_that_do_not_match_panic() {
        let refused = |run: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err();
        for kernels in variants() {
            assert!(refused(&|| kernels.dot_picked(&[0; 64], &[0; 32], &[2], &mut [0])));
            assert!(refused(&|| kernels.dot_signed(&[0; 64], &[0], &[0; 32], &[2], &mut [0])));
            assert!(refused(&|| kernels.dot_signed(&[0; 64], &[], &[0; 32], &[1], &mut [0])));
            assert!(refused(&|| kernels.dot_rows(&[0; 63], &[0; 32], &mut [0; 2])));
            assert!(refused(&|| kernels.dot_rows(&[0; 31], &[0; 31], &mut [0])));
        }
        let foreign = if cfg!(target_arch = "x86_64") { Isa::Neon } else { Isa::Avx2 };
        assert_eq!(CodeKernels::new(foreign), None);
    }
}
