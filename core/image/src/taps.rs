//! Resampling taps: the weights of an antialiased filter, exact and in fixed point.

use std::f64::consts::PI;

use crate::recipe::ResizeFilter;

/// Fractional bits of resampled luma and chroma. A byte then takes 14 bits of a word, which leaves one for the sign and
/// one for filters that overshoot.
pub(super) const FRACTION: u32 = 6;

/// Largest number of fractional bits of a weight. The weights of a target add up to 1, so a sum of bytes times weights
/// needs 8 bits more; the two left of 31 are for filters with negative lobes.
const MAX_PRECISION: u32 = 21;

/// For each target sample, the first source sample of its window and the weights, which add up to 1.
pub(super) struct Coefficients(Vec<(usize, Vec<f64>)>);

impl Coefficients {
    /// The weights that resample `from` samples to `to`. The kernel support grows with the reduction, and windows are
    /// cut off at both ends of the source.
    pub(super) fn new(filter: ResizeFilter, from: usize, to: usize) -> Self {
        let (function, support): (fn(f64) -> f64, f64) = match filter {
            ResizeFilter::Box => (boxed, 0.5),
            ResizeFilter::Bilinear => (triangle, 1.0),
            ResizeFilter::Bicubic => (catmull_rom, 2.0),
            ResizeFilter::Lanczos => (lanczos, 3.0),
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

    /// The same weights for samples at half the resolution, each of which stands for two neighbours. Position 0 of the
    /// weights is position `offset` at full resolution.
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

    /// The weights in fixed point, with as many fractional bits as let the largest one fit 16 bits.
    pub(super) fn taps(&self) -> Taps {
        let largest = self.0.iter().flat_map(|(_, weights)| weights).fold(0.0, |a: f64, b| a.max(*b));
        let fits = |precision: &u32| (largest * f64::from(1 << precision)).round() < f64::from(1 << 15);
        debug_assert!(fits(&FRACTION), "a weight of {largest} among weights that add up to 1");
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

/// Whether the filter has negative weights for some sizes. The result of a pass may then lie outside the range of its
/// samples, and errors of the samples are amplified.
pub(super) fn overshoots(filter: ResizeFilter) -> bool {
    match filter {
        ResizeFilter::Box | ResizeFilter::Bilinear => false,
        ResizeFilter::Bicubic | ResizeFilter::Lanczos => true,
    }
}

/// [`Coefficients`] in fixed point.
pub(super) struct Taps {
    /// Fractional bits of the weights, at least [`FRACTION`].
    pub(super) precision: u32,
    windows: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<i16>,
}

impl Taps {
    /// The first source sample and the weights of a target sample.
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
        for filter in [ResizeFilter::Box, ResizeFilter::Bilinear, ResizeFilter::Bicubic, ResizeFilter::Lanczos] {
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
