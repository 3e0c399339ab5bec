//! Compares the conversion of pixels with the formulas of the standards.

use super::rows::{BLOCK, Rows};
use super::test_support::is_long;
use super::yuv::{ColourMatrix, HALF, Strip, YuvRange};

/// Converts pixels with the same chroma by themselves, as where pixels are converted before they are summed.
pub(super) fn converted(matrix: &ColourMatrix, luma: &[u8; BLOCK], chroma: [u8; 2]) -> [[u8; BLOCK]; 3] {
    let chroma = chroma.map(|sample| [sample; HALF]);
    let chroma = chroma.each_ref().map(|row| Rows { bytes: row, stride: 0 });
    matrix.convert_then_sum(&Strip { luma: Rows { bytes: luma, stride: 0 }, chroma, odd: false }, &[1], 0)
}

/// The factors for red of V, green of U, green of V and blue of U in full range.
const BT601: [f64; 4] = [1.402, -0.344136286, -0.714136286, 1.772];
const BT709: [f64; 4] = [1.5748, -0.187324273, -0.468124273, 1.8556];

/// All 16,777,216 colours with `MAGPIE_LONG=1`, otherwise every third value of U and of V. Halves may be rounded either
/// way, and so may values that 32-bit floats take for halves.
#[test]
fn every_colour_is_that_of_the_standard() {
    let ranges = [
        (YuvRange::Bt601Full, BT601, false),
        (YuvRange::Bt601Video, BT601, true),
        (YuvRange::Bt709Full, BT709, false),
        (YuvRange::Bt709Video, BT709, true),
    ];
    let step = if is_long() { 1 } else { 3 };
    for (range, [red_v, green_u, green_v, blue_u], video) in ranges {
        let (black, luma_scale, chroma_scale) =
            if video { (16.0, 255.0 / 219.0, 255.0 / 224.0) } else { (0.0, 1.0, 1.0) };
        let matrix = ColourMatrix::new(range);
        let mut furthest: f64 = 0.0;
        for chroma in (0..=255).step_by(step).flat_map(|u| (0..=255).step_by(step).map(move |v| [u, v])) {
            let [u, v] = chroma.map(|sample| (f64::from(sample) - 128.0) * chroma_scale);
            let tints = [red_v * v, green_u * u + green_v * v, blue_u * u];
            for block in 0..256 / BLOCK {
                let luma = std::array::from_fn(|at| (block * BLOCK + at) as u8);
                let found = converted(&matrix, &luma, chroma);
                for (found, tint) in found.iter().zip(tints) {
                    for (found, luma) in found.iter().zip(luma) {
                        let exact = ((f64::from(luma) - black) * luma_scale + tint).clamp(0.0, 255.0);
                        furthest = furthest.max((f64::from(*found) - exact).abs());
                    }
                }
            }
        }
        assert!(furthest <= 0.5001, "{range:?}: {furthest}");
    }
}
