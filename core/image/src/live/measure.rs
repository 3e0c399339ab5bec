//! Measures of small luma pictures: brightness, sharpness and motion.

use crate::picture::Luma;

/// Measures are divided by at least this brightness, so that a black picture is neither sharp nor moving.
const LEAST_BRIGHTNESS: f32 = 1.0;

/// Whether the number of values matches the sides, and at least one pixel has four neighbours.
pub(super) fn usable(luma: &Luma) -> bool {
    let pixels = u64::from(luma.width) * u64::from(luma.height);
    luma.width >= 3 && luma.height >= 3 && luma.values.len() as u64 == pixels
}

/// The mean of the values, 0 to 255.
pub fn brightness(luma: &Luma) -> f32 {
    let sum: u64 = luma.values.iter().map(|value| u64::from(*value)).sum();
    sum as f32 / luma.values.len().max(1) as f32
}

/// The variance of the Laplacian (Pech-Pacheco et al. 2000), divided by the squared mean.
///
/// Blur removes the fine detail that the Laplacian responds to. The division makes the measure independent of exposure.
/// It is 0 for a picture that is smaller than 3 x 3 pixels, or whose number of values does not match its sides.
pub fn sharpness(luma: &Luma) -> f32 {
    if !usable(luma) {
        return 0.0;
    }
    let width = luma.width as usize;
    let (mut sum, mut squares) = (0i64, 0i64);
    let rows: Vec<&[u8]> = luma.values.chunks_exact(width).collect();
    for rows in rows.windows(3) {
        for x in 1..width - 1 {
            let [above, here, left, right, below] =
                [rows[0][x], rows[1][x], rows[1][x - 1], rows[1][x + 1], rows[2][x]].map(i32::from);
            let laplacian = i64::from(above + left + right + below - 4 * here);
            sum += laplacian;
            squares += laplacian * laplacian;
        }
    }
    let count = ((width - 2) * (rows.len() - 2)) as f64;
    let mean = sum as f64 / count;
    let variance = squares as f64 / count - mean * mean;
    (variance / f64::from(brightness(luma).max(LEAST_BRIGHTNESS)).powi(2)) as f32
}

/// The mean absolute difference between two pictures, as a fraction of the brightness of the brighter one.
///
/// The darker picture is scaled to that brightness first: a camera that adjusts its exposure has not moved. `None` if
/// the sides differ, or if a picture is smaller than 3 x 3 pixels or has the wrong number of values.
pub fn difference(a: &Luma, b: &Luma) -> Option<f32> {
    if (a.width, a.height) != (b.width, b.height) || !usable(a) || !usable(b) {
        return None;
    }
    let (of_a, of_b) = (brightness(a).max(LEAST_BRIGHTNESS), brightness(b).max(LEAST_BRIGHTNESS));
    let brighter = of_a.max(of_b);
    let (scale_a, scale_b) = (brighter / of_a, brighter / of_b);
    let apart = a.values.iter().zip(&b.values).map(|(a, b)| (f32::from(*a) * scale_a - f32::from(*b) * scale_b).abs());
    Some((apart.map(f64::from).sum::<f64>() / a.values.len() as f64) as f32 / brighter)
}
