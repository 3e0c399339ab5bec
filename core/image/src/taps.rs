//! Antialiased resampling as integer weights, by the same rule as the resizer of photos.

use std::f64::consts::PI;

use super::yuv::FRACTION;
use crate::recipe::Filter;

/// Most fractional bits of a weight: a sum of bytes times weights then stays within 32 bits, negative lobes included.
const MAX_PRECISION: u32 = 21;

/// Which source samples make each target sample, and with what weights; the weights of a target add up to 1.
pub(super) struct Coefficients(Vec<(usize, Vec<f64>)>);

impl Coefficients {
    /// For `from` samples made `to`. The filter's support grows with the reduction and is cut off at both ends.
    pub(super) fn new(filter: Filter, from: usize, to: usize) -> Self {
        let (function, support): (fn(f64) -> f64, f64) = match filter {
            Filter::Box => (boxed, 0.5),
            Filter::Bilinear => (triangle, 1.0),
            Filter::Bicubic => (catmull_rom, 2.0),
            Filter::Lanczos => (lanczos, 3.0),
        };
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let radius = support * stretch;
        let window = |target: usize| {
            let centre = (target as f64 + 0.5) * scale;
            let first = (centre - radius).floor().max(0.0) as usize;
            let last = ((centre + radius).ceil() as usize).min(from);
            let weights: Vec<f64> =
                (first..last).map(|at| function((at as f64 - (centre - 0.5)) * stretch.recip())).collect();
            let sum: f64 = weights.iter().sum();
            (first, weights.into_iter().map(|weight| weight / sum).collect())
        };
        Coefficients((0..to).map(window).collect())
    }

    /// The same for samples at half the resolution, each of which stands for two neighbours: positions start at
    /// `offset` in full resolution.
    pub(super) fn halved(&self, offset: usize) -> Self {
        let window = |(first, weights): &(usize, Vec<f64>)| {
            let start = (offset + first) / 2;
            let mut halved = vec![0.0; (offset + first + weights.len()).div_ceil(2) - start];
            for (at, weight) in weights.iter().enumerate() {
                halved[(offset + first + at) / 2 - start] += weight;
            }
            (start, halved)
        };
        Coefficients(self.0.iter().map(window).collect())
    }

    /// As integers.
    pub(super) fn taps(&self) -> Taps {
        let largest = self.0.iter().flat_map(|(_, weights)| weights).fold(0.0, |a: f64, b| a.max(*b));
        let fits = |precision: &u32| (largest * f64::from(1 << precision)).round() < f64::from(1 << 15);
        let precision = (FRACTION..=MAX_PRECISION).rev().find(fits).unwrap_or(FRACTION);
        let one = f64::from(1 << precision);
        let mut taps = Taps { precision, windows: Vec::with_capacity(self.0.len()), weights: Vec::new() };
        for (first, weights) in &self.0 {
            let start = taps.weights.len();
            taps.weights.extend(weights.iter().map(|weight| (weight * one).round() as i16));
            taps.windows.push((*first, start..taps.weights.len()));
        }
        taps
    }
}

/// Whether the filter has negative weights for some sizes. A pass then gives more than the largest of its samples or less
/// than the smallest, and errors in them grow.
pub(super) fn overshoots(filter: Filter) -> bool {
    match filter {
        Filter::Box | Filter::Bilinear => false,
        Filter::Bicubic | Filter::Lanczos => true,
    }
}

/// Coefficients in fixed point.
pub(super) struct Taps {
    /// Fractional bits of the weights, at least [`FRACTION`].
    pub(super) precision: u32,
    windows: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<i16>,
}

impl Taps {
    /// First source sample and weights of a target sample.
    pub(super) fn window(&self, target: usize) -> (usize, &[i16]) {
        let (first, weights) = &self.windows[target];
        (*first, &self.weights[weights.clone()])
    }

    /// Number of target samples.
    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }
}

fn boxed(x: f64) -> f64 {
    if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

fn catmull_rom(x: f64) -> f64 {
    match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    }
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
    if x.abs() < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bicubic_and_lanczos_overshoot() {
        for filter in [Filter::Box, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            let mut sizes = (1..50).flat_map(|from| (1..50).map(move |to| (from, to)));
            let negative = |(from, to): (usize, usize)| {
                Coefficients::new(filter, from, to)
                    .0
                    .iter()
                    .flat_map(|(_, weights)| weights)
                    .any(|weight| *weight < 0.0)
            };
            assert_eq!(sizes.any(negative), overshoots(filter), "{filter:?}");
        }
    }
}
