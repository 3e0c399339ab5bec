//! Transfer curves: from a stored value to light, both 0 to 1.

/// A transfer curve.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Curve {
    /// Samples at equal distances, 65,535 for all of the light.
    Samples(Vec<u16>),
    /// `(a x + b)^gamma + e` from `d` on, and `c x + f` below.
    Parts { gamma: f64, a: f64, b: f64, c: f64, d: f64, e: f64, f: f64 },
}

impl Curve {
    /// The curve of sRGB, and of Display P3.
    pub(super) const SRGB: Curve = Curve::parts(2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.04045);

    /// The curve of video: BT.601, BT.709 and BT.2020.
    pub(super) const VIDEO: Curve = Curve::parts(1.0 / 0.45, 1.0 / 1.099, 0.099 / 1.099, 1.0 / 4.5, 0.081);

    pub(super) const fn power(gamma: f64) -> Curve {
        Curve::parts(gamma, 1.0, 0.0, 0.0, 0.0)
    }

    pub(super) const fn parts(gamma: f64, a: f64, b: f64, c: f64, d: f64) -> Curve {
        Curve::Parts { gamma, a, b, c, d, e: 0.0, f: 0.0 }
    }

    /// The light of each byte. `None` if the curve falls, or if it is so flat that a picture could not be made out.
    pub(super) fn table(&self) -> Option<[f32; 256]> {
        let table: [f32; 256] = std::array::from_fn(|byte| self.light(byte as f64 / 255.0) as f32);
        let rises = table.is_sorted() && table[0] < 0.25 && table[255] > 0.5;
        rises.then_some(table)
    }

    pub(super) fn light(&self, x: f64) -> f64 {
        let light = match self {
            Curve::Samples(samples) => interpolated(samples, x),
            Curve::Parts { gamma, a, b, e, d, .. } if x >= *d => power(a * x + b, *gamma) + e,
            Curve::Parts { c, f, .. } => c * x + f,
        };
        // What is not a number stays so, and then the table does not rise.
        light.clamp(0.0, 1.0)
    }
}

fn interpolated(samples: &[u16], x: f64) -> f64 {
    let Some(last) = samples.len().checked_sub(1) else { return x };
    let place = x * last as f64;
    let below = (place as usize).min(last);
    let [low, high] = [below, (below + 1).min(last)].map(|at| f64::from(samples[at]));
    (low + (high - low) * (place - below as f64)) / 65_535.0
}

/// `x^exponent` for exponents of 0 to 16; 0 for a negative `x`.
///
/// The library functions differ in the last bits from one system to the next. Multiplications and square roots do not,
/// and an exponent of a profile has 16 bits after the point.
fn power(x: f64, exponent: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let (mut root, mut result) = (x, 1.0);
    for _ in 0..exponent as u32 {
        result *= x;
    }
    let mut rest = exponent.fract();
    while rest > 0.0 && root != 1.0 {
        rest *= 2.0;
        root = root.sqrt();
        if rest >= 1.0 {
            result *= root;
            rest -= 1.0;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_those_of_the_standard_library_but_for_the_last_bits() {
        for exponent in [0.0, 0.45, 1.0, 1.8, 2.2, 2.4, 563.0 / 256.0, 15.99] {
            for x in [1e-6, 0.01, 0.3, 0.5, 0.999, 1.0, 1.5] {
                let off = power(x, exponent) / x.powf(exponent) - 1.0;
                assert!(off.abs() < 1e-12, "{x} to the {exponent}: {off:e}");
            }
        }
        assert_eq!(power(-0.5, 2.2), 0.0);
    }

    #[test]
    fn curves_are_read_as_the_standards_write_them() {
        let srgb = Curve::SRGB.table().expect("it rises");
        assert!((srgb[128] - 0.215_86).abs() < 1e-5 && (srgb[5] - 0.001_517_6).abs() < 1e-6, "{srgb:?}");
        let samples = Curve::Samples(vec![0, 10_000, 65_535]).table().expect("it rises");
        assert!((samples[51] - 0.4 * 10_000.0 / 65_535.0).abs() < 1e-6, "{}", samples[51]);
        assert_eq!(Curve::Samples(Vec::new()).table().expect("it rises")[51], 0.2);
        for flat in
            [Curve::Samples(vec![65_535, 0]), Curve::Samples(vec![40_000]), Curve::parts(1.0, 1.0, 0.0, 0.0, f64::NAN)]
        {
            assert!(flat.table().is_none(), "{flat:?}");
        }
    }
}
