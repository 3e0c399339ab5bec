#![doc = include_str!("../README.md")]

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// An instruction set that kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust, for every CPU.
    Scalar,
    /// x86-64 with AVX2 and FMA: 256-bit vectors.
    Avx2,
    /// [`Isa::Avx2`] and AVX-VNNI: dot products of bytes in 256-bit vectors.
    AvxVnni,
    /// [`Isa::Avx2`] and AVX-512 F, BW, DQ, VL and VNNI: dot products of bytes in 512-bit vectors.
    Avx512Vnni,
    /// ARM's Advanced SIMD, which every 64-bit ARM CPU has.
    Neon,
    /// [`Isa::Neon`] and the dot product extension (SDOT, UDOT): phones since 2018.
    NeonDot,
    /// [`Isa::NeonDot`] and the matrix extension I8MM (SMMLA), which has twice as many products per instruction: phones
    /// since 2021.
    NeonI8mm,
}

impl Isa {
    /// All instruction sets; within a family, each is wider than those before it.
    pub const ALL: [Isa; 7] =
        [Isa::Scalar, Isa::Avx2, Isa::AvxVnni, Isa::Avx512Vnni, Isa::Neon, Isa::NeonDot, Isa::NeonI8mm];

    /// The name, which [`FromStr`] parses.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avx-vnni",
            Isa::Avx512Vnni => "avx512-vnni",
            Isa::Neon => "neon",
            Isa::NeonDot => "neon-dot",
            Isa::NeonI8mm => "neon-i8mm",
        }
    }

    /// Whether this CPU and its operating system support it.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = || has!("avx2") && has!("fma");
            match self {
                Isa::Scalar => true,
                Isa::Avx2 => avx2(),
                Isa::AvxVnni => avx2() && has!("avxvnni"),
                Isa::Avx512Vnni => {
                    let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
                    avx2() && wide && has!("avx512vnni")
                }
                Isa::Neon | Isa::NeonDot | Isa::NeonI8mm => false,
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            use std::arch::is_aarch64_feature_detected as has;
            match self {
                Isa::Scalar | Isa::Neon => true,
                Isa::NeonDot => has!("dotprod"),
                Isa::NeonI8mm => has!("dotprod") && has!("i8mm"),
                Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vnni => false,
            }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            self == Isa::Scalar
        }
    }

    /// The instruction sets that this CPU supports, in the order of [`Isa::ALL`]. Always starts with [`Isa::Scalar`].
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The widest instruction set that this CPU supports. It is detected once.
    pub fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Isa::available().fold(Isa::Scalar, |_, wider| wider))
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(name: &str) -> Result<Isa, String> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name).ok_or_else(|| {
            let names = Isa::ALL.map(Isa::name).join(", ");
            format!("unknown instruction set '{}', expected one of {names}", name.escape_debug())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_available_and_names_can_be_parsed() {
        assert!(Isa::best().is_available());
        assert_eq!(Isa::available().next(), Some(Isa::Scalar));
        for isa in Isa::ALL {
            assert_eq!(isa.name().parse(), Ok(isa));
        }
        assert!("mmx".parse::<Isa>().is_err_and(|message| message.contains("avx2")));
    }
}
