//! Channels that the kernels cannot compute as a file states them, but whose result never changes.
//!
//! Training with weight decay leaves channels whose weights are all near 1e-8, and so is their scale. Their bias, in units of
//! that scale, exceeds 32 bits.

use super::error::LayerError;
use super::factors::{MAX_SUM, magnitude, multiplier};
use super::graph::{Scale, is_sound};

/// A channel of a layer with weights, as a file states it. Its bias and its scale may have any value.
#[derive(Debug, Clone, Copy)]
pub struct Channel<'a> {
    /// The quantised weights.
    pub weights: &'a [i8],
    /// The scale of the weights.
    pub factor: f32,
    /// The bias in units of the input's factor times the channel's, rounded.
    pub bias: f64,
    /// The bias as a real number. Two values where a file states it in two ways that differ by rounding.
    pub real_bias: [f64; 2],
}

/// A channel that the kernels compute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FittedChannel {
    /// With its own weights and factor.
    Unchanged {
        /// The bias.
        bias: i32,
    },
    /// Its result is the same for every input: it has this bias and factor, and weights of zero.
    Constant {
        /// The bias.
        bias: i32,
        /// The factor.
        factor: f32,
    },
}

impl Channel<'_> {
    /// Fits a channel into the kernels' 32 bits. `from` is the scale of the activations, `to` and `range` are those of the
    /// result; they are `None` where the result stays f32.
    ///
    /// # Errors
    /// The reason why the channel does not fit, if its result is not known to be constant.
    pub fn fit(&self, from: Scale, to: Option<(Scale, [u8; 2])>) -> Result<FittedChannel, LayerError> {
        let scale = to.map(|(scale, _)| scale);
        let reason = if !is_sound(self.factor) {
            LayerError::Scale
        } else if self.bias.abs() < MAX_SUM {
            match multiplier(self.weights, self.bias as i32, self.factor, from, scale) {
                Ok(_) => return Ok(FittedChannel::Unchanged { bias: self.bias as i32 }),
                Err(reason) => reason,
            }
        } else {
            LayerError::Bias
        };
        let constant = to.and_then(|(to, range)| Some((self.constant(from, to, range)?, to)));
        let Some((byte, to)) = constant else { return Err(reason) };
        // `factors::multiplier` makes `from * (from⁻¹ * to) / to` of this factor, which is 1 up to four roundings. The kernels
        // multiply a bias of at most 255 with it and round, which gives the bias, then they add the zero point.
        let bias = i32::from(byte) - i32::from(to.zero);
        let factor = if bias == 0 { 1.0 } else { to.factor / from.factor };
        match multiplier(&[], bias, factor, from, Some(to)) {
            Ok(_) => Ok(FittedChannel::Constant { bias, factor }),
            Err(_) => Err(reason),
        }
    }

    /// The byte that is the result for every input; `None` if it may depend on the input.
    ///
    /// Inputs of 0 or 255, one or the other by the signs of the weights, give the least and the largest sum; the bias is
    /// rounded to a whole unit. So the result, in steps and not yet rounded, lies between two bounds. Rounding and clamping
    /// never change the order of two values: if both bounds give the same byte, so does everything in between. Padding is
    /// the zero point, which lies between 0 and 255.
    fn constant(&self, from: Scale, to: Scale, range: [u8; 2]) -> Option<u8> {
        // In f64, whose range products of three f32 never leave.
        let (step, zero) = (f64::from(to.factor), f64::from(from.zero));
        let unit = f64::from(from.factor) * f64::from(self.factor.abs()) / step;
        let (all, sum) = (magnitude(self.weights), self.weights.iter().map(|&w| i64::from(w)).sum::<i64>() as f64);
        let (positive, negative) = ((all + sum) / 2.0, (all - sum) / 2.0);
        let least = -(zero * positive + (255.0 - zero) * negative);
        let largest = (255.0 - zero) * positive + zero * negative;
        let [a, b] = self.real_bias.map(|bias| bias / step);
        let (low, high) = (a.min(b) + (least - 0.5) * unit, a.max(b) + (largest + 0.5) * unit);
        // Kernels round to f32 four times, by half of EPSILON each: a sum, twice a factor, and their product. Twice that is
        // left on both sides.
        let slack = 4.0 * f64::from(f32::EPSILON) * low.abs().max(high.abs());
        let byte = |value: f64| {
            let value = value.round_ties_even() + f64::from(to.zero);
            value.clamp(f64::from(range[0]), f64::from(range[1])) as u8
        };
        let (low, high) = (low - slack, high + slack);
        // Not so if one is not a number.
        (range[0] <= range[1] && low <= high && byte(low) == byte(high)).then(|| byte(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A channel as a file with a bias of i32 states it, `own` being the bias's factor.
    fn stated(weights: &[i8], factor: f32, bias: f64, own: f64, from: Scale) -> Channel<'_> {
        let step = f64::from(from.factor) * f64::from(factor);
        let real = bias * own;
        Channel { weights, factor, bias: (real / step).round_ties_even(), real_bias: [real; 2] }
    }

    fn byte(steps: f64, to: Scale, range: [u8; 2]) -> u8 {
        (steps.round_ties_even() + f64::from(to.zero)).clamp(f64::from(range[0]), f64::from(range[1])) as u8
    }

    /// What the kernels make of a channel with weights of zero, see `requantise` in `simd::scalar`.
    fn constant(bias: i32, factor: f32, from: Scale, to: Scale, range: [u8; 2]) -> u8 {
        let multiplier = from.factor * factor / to.factor;
        let value = (bias as f32 * multiplier).round_ties_even() as i32 + i32::from(to.zero);
        value.clamp(i32::from(range[0]), i32::from(range[1])) as u8
    }

    /// Compares a channel with real arithmetic, and with the kernels' if their sums had any number of bits, for inputs at both
    /// ends of their range. Returns what became of it: 0 unchanged, 1 constant, 2 refused.
    fn check(channel: &Channel<'_>, from: Scale, to: Scale, range: [u8; 2]) -> usize {
        let fitted = channel.fit(from, Some((to, range)));
        let (bias, factor) = match fitted {
            Ok(FittedChannel::Unchanged { bias }) => {
                assert_eq!(f64::from(bias), channel.bias);
                return 0;
            }
            Ok(FittedChannel::Constant { bias, factor }) => (bias, factor),
            Err(_) => return 2,
        };
        let found = constant(bias, factor, from, to, range);
        for inputs in 0..1u32 << channel.weights.len() {
            let products = channel.weights.iter().enumerate().map(|(at, &weight)| {
                let x = if inputs >> at & 1 == 1 { 255.0 } else { 0.0 };
                (x - f64::from(from.zero)) * f64::from(weight)
            });
            let sum: f64 = products.sum();
            let unit = f64::from(from.factor) * f64::from(channel.factor);
            let real = (channel.real_bias[0] + sum * unit) / f64::from(to.factor);
            assert_eq!(found, byte(real, to, range), "{channel:?}, {from:?}, {to:?}, {range:?}");
            // An i64 has the sum. Without a sound factor, the kernels' factor may be 0 or infinite.
            if is_sound(channel.factor) && channel.bias.abs() < 1e18 {
                let multiplier = from.factor * channel.factor / to.factor;
                let wide = ((channel.bias as i64 + sum as i64) as f32 * multiplier).round_ties_even();
                assert_eq!(found, byte(f64::from(wide), to, range), "{channel:?}, {from:?}, {to:?}, {range:?}");
            }
        }
        1
    }

    proptest! {
        #[test]
        fn constant_channels_give_what_their_weights_give(
            weights in prop::collection::vec(any::<i8>(), 1..8), tiny in 0.0f64..47.0, own in 1e-4f64..10.0,
            bias in prop_oneof![-200i32..200, any::<i32>(), Just(i32::MIN), Just(i32::MAX)],
            factors in prop::array::uniform2(1e-3f32..1.0), zeros in prop::array::uniform2(any::<u8>()),
            range in prop::sample::select(vec![[0, 255], [100, 255], [0, 12], [7, 7]]),
        ) {
            let [from, to] = [0, 1].map(|at| Scale { factor: factors[at], zero: zeros[at] });
            let factor = 10f64.powf(2.0 - tiny) as f32;
            check(&stated(&weights, factor, f64::from(bias), own, from), from, to, range);
            // As quantisers write it: the bias counts steps of the product of both scales.
            let own = f64::from(from.factor) * f64::from(factor);
            check(&stated(&weights, factor, f64::from(bias), own, from), from, to, range);
        }
    }

    const FROM: Scale = Scale { factor: 0.02, zero: 3 };
    const TO: Scale = Scale { factor: 0.05, zero: 100 };

    #[test]
    fn dead_channels_become_constant() {
        let fit = |factor: f32, bias: f64, own: f64| {
            let channel = stated(&[127, -128, 5], factor, bias, own, FROM);
            assert_ne!(check(&channel, FROM, TO, [0, 255]), 2, "{factor} {bias}");
            channel.fit(FROM, Some((TO, [0, 255])))
        };
        let constant = |bias| Ok(FittedChannel::Constant { bias, factor: TO.factor / FROM.factor });
        for factor in [1e-11, 1e-12, 1e-38, f32::MIN_POSITIVE, f32::from_bits(1), 0.0] {
            assert_eq!(fit(factor, 1.0, 0.51), constant(10), "{factor}");
            assert_eq!(fit(factor, -1.0, 0.51), constant(-10), "{factor}");
            // Beyond both ends of a byte.
            assert_eq!(fit(factor, f64::from(i32::MIN), 1.0), constant(-100), "{factor}");
            assert_eq!(fit(factor, f64::from(i32::MAX), 1.0), constant(155), "{factor}");
        }
        // Zero needs no factor.
        assert_eq!(fit(1e-38, 0.0, 0.0), Ok(FittedChannel::Constant { bias: 0, factor: 1.0 }));
        // A usual scale with the largest biases: the result is at an end of its range.
        assert_eq!(fit(0.01, f64::from(i32::MIN), 2e-4), constant(-100));
        assert_eq!(fit(0.01, f64::from(i32::MAX), 2e-4), constant(155));
        assert_eq!(fit(0.01, 1e4, 2e-4), Ok(FittedChannel::Unchanged { bias: 10_000 }));
    }

    #[test]
    fn channels_that_may_change_are_refused_with_a_reason() {
        let fit = |weight: i8, factor: f32, real: f64, to| {
            let weights = [weight];
            stated(&weights, factor, real, 1.0, FROM).fit(FROM, to)
        };
        let to = Some((TO, [0, 255]));
        // Halfway between two steps, one way or the other by the input. A weight of zero changes nothing.
        assert_eq!(fit(1, 1e-11, 10.5 * f64::from(TO.factor), to), Err(LayerError::Bias));
        // So near to halfway that f32 may round to either side.
        assert_eq!(fit(0, 1e-11, 10.500_002 * f64::from(TO.factor), to), Err(LayerError::Bias));
        assert!(fit(0, 1e-11, 10.51 * f64::from(TO.factor), to).is_ok());
        // Unless both are beyond the range.
        assert!(fit(1, 1e-11, 10.5 * f64::from(TO.factor), Some((TO, [0, 110]))).is_ok());
        // Too large a scale.
        assert_eq!(fit(1, 1e10, 0.0, to), Err(LayerError::Overflow));
        for factor in [f32::NAN, f32::INFINITY, -1e13] {
            assert_eq!(fit(1, factor, 1.0, to), Err(LayerError::Scale), "{factor}");
        }
        for real in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(fit(1, 1e-11, real, to), Err(LayerError::Bias), "{real}");
        }
        // f32 results are not rounded, so any weight may change them.
        assert_eq!(fit(1, 1e-11, 1.0, None), Err(LayerError::Bias));
        assert_eq!(fit(0, 0.0, 0.0, None), Err(LayerError::Scale));
        assert_eq!(fit(1, 0.1, 1.0, None), Ok(FittedChannel::Unchanged { bias: 500 }));
        // Scales of the values that are so far apart that no factor gives the constant.
        let far = Some((Scale { factor: 1e11, zero: 0 }, [5, 255]));
        assert_eq!(fit(1, 1e-13, 0.0, far), Err(LayerError::Scale));
    }
}
