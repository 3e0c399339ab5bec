//! Antialiased resampling as integer weights, by the same rule as the resizer of photos.

use std::f64::consts::PI;

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

    /// As integers. Each window is padded with zeros to a multiple of `lanes` weights.
    pub(super) fn taps(&self, lanes: usize) -> Taps {
        let largest = self.0.iter().flat_map(|(_, weights)| weights).fold(0.0, |a: f64, b| a.max(*b));
        let fits = |precision: &u32| (largest * f64::from(1 << precision)).round() < f64::from(1 << 15);
        let precision = (1..=MAX_PRECISION).rev().find(fits).unwrap_or(1);
        let one = f64::from(1 << precision);
        let mut taps = Taps { precision, windows: Vec::with_capacity(self.0.len()), weights: Vec::new() };
        for (first, weights) in &self.0 {
            let start = taps.weights.len();
            taps.weights.extend(weights.iter().map(|weight| (weight * one).round() as i16));
            taps.weights.resize(start + weights.len().next_multiple_of(lanes), 0);
            taps.windows.push((*first, start..taps.weights.len()));
        }
        taps
    }

    /// As shares of [`WHOLE`], for sums in 16 bits; `None` where a weight is negative or a window too long for that.
    pub(super) fn shares(&self) -> Option<Shares> {
        let fits = |(_, weights): &(usize, Vec<f64>)| weights.len() <= LONGEST && weights.iter().all(|w| *w >= 0.0);
        let share = |weight: &f64| (weight * WHOLE).round() as u16;
        let window = |(first, weights): &(usize, Vec<f64>)| (*first, weights.iter().map(share).collect());
        self.0.iter().all(fits).then(|| Shares(self.0.iter().map(window).collect()))
    }
}

/// What the shares of a window add up to: 257 x 255 times it has 255 in the upper byte.
const WHOLE: f64 = 65_280.0;

/// Each product is cut to 16 bits, which costs half a 256th of a level.
const LONGEST: usize = 128;

/// Coefficients that are nowhere negative, for sums of `257 * byte * share >> 16`: bytes with eight fractional bits.
pub(super) struct Shares(Vec<(usize, Vec<u16>)>);

impl Shares {
    /// First source sample and shares of a target sample.
    pub(super) fn window(&self, target: usize) -> (usize, &[u16]) {
        let (first, shares) = &self.0[target];
        (*first, shares)
    }
}

/// Coefficients in fixed point.
pub(super) struct Taps {
    /// Fractional bits of the weights.
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
