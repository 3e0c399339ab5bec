//! The probability that the first listing of a search is the right one.
//!
//! A cosine is not a probability: what a score of 0.7 means depends on the network and on the scores of the other
//! listings. A model pack may carry a [`Calibration`], a logistic regression fitted on photos whose product is known;
//! half of them were searched in a catalogue without that product. Its three features come from a ranking of listings
//! (not of photos) and are cosines or differences of cosines:
//!
//! | feature | definition | range |
//! |---|---|---|
//! | score | score of the first listing | -1 to 1 |
//! | margin | score minus the score of the second listing | 0 to 2 |
//! | contrast | score minus the mean score of listings 2 to [`LEADING`] | 0 to 2 |
//!
//! A shorter ranking is padded to [`LEADING`] scores with [`Calibration::background`], the score of a listing unrelated
//! to the photo, or with the first score where that is lower. One calibration therefore holds for catalogues and
//! filters of any size.

use serde::{Deserialize, Serialize};

/// The number of listings of a ranking that the confidence depends on.
pub const LEADING: usize = 10;

/// Largest magnitude of a weight or of the bias: beyond it, the logistic function is in effect a step.
const STEEPEST: f32 = 1000.0;

/// A logistic regression: `probability = 1 / (1 + exp(-(bias + weights . features)))`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The set of features that the numbers apply to.
    pub kind: CalibrationKind,
    /// The weight of each feature.
    pub weights: Weights,
    /// The bias (intercept), -1000 to 1000.
    pub bias: f32,
    /// The cosine between a photo and an unrelated listing, -1 to 1.
    pub background: f32,
    /// The least probability of a good match, 0 to 1.
    pub threshold: f32,
    /// A description of the data that it was fitted on, for people.
    #[serde(default)]
    pub data: String,
}

/// Kinds of calibration. A different choice of features gets a new kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CalibrationKind {
    /// Logistic regression on the features of this module.
    #[serde(rename = "logistic-1")]
    Logistic1,
}

/// The weight of each feature, 0 to 1000. Weights are never negative, so that the probability never falls with a higher
/// first score and never rises with higher scores of the other listings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// Weight of the score.
    pub score: f32,
    /// Weight of the margin.
    pub margin: f32,
    /// Weight of the contrast.
    pub contrast: f32,
}

/// How likely the first listing of a search is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Confidence {
    /// The probability that the first listing is right, 0 to 1; 0 where nothing was found.
    pub probability: f32,
    /// Whether the probability reaches the calibration's threshold. If not, there is no good match: present the
    /// listings as similar to the photo, not as the product it shows.
    pub enough: bool,
}

/// A number of a calibration that is out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("confidence.{field} is {value}, expected {least} to {most}")]
pub struct OutOfRange {
    /// The field, e.g. `weights.score`.
    pub field: &'static str,
    /// Its value.
    pub value: f32,
    /// The least valid value.
    pub least: f32,
    /// The largest valid value.
    pub most: f32,
}

impl Confidence {
    /// The confidence of a search that found nothing.
    pub const NONE: Confidence = Confidence { probability: 0.0, enough: false };
}

impl Calibration {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// [`OutOfRange`] with the first number that is not.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let Weights { score, margin, contrast } = self.weights;
        for (field, value, least, most) in [
            ("weights.score", score, 0.0, STEEPEST),
            ("weights.margin", margin, 0.0, STEEPEST),
            ("weights.contrast", contrast, 0.0, STEEPEST),
            ("bias", self.bias, -STEEPEST, STEEPEST),
            ("background", self.background, -1.0, 1.0),
            ("threshold", self.threshold, 0.0, 1.0),
        ] {
            // Written as "not contained", so that NaN is rejected too.
            if !(least..=most).contains(&value) {
                return Err(OutOfRange { field, value, least, most });
            }
        }
        Ok(())
    }

    /// Returns the confidence in the first listing of a ranking. `scores` are cosines, best first; those after
    /// [`LEADING`] are ignored.
    pub fn judge(&self, scores: &[f32]) -> Confidence {
        let Some((&first, rivals)) = scores.split_first() else { return Confidence::NONE };
        // Cosines of quantised vectors may be slightly out of range.
        let cosine = |score: f32| f64::from(score).clamp(-1.0, 1.0);
        let first = cosine(first);
        let rival = |at: usize| rivals.get(at).map_or(f64::from(self.background), |&score| cosine(score)).min(first);
        let mean = (0..LEADING - 1).map(rival).sum::<f64>() / (LEADING - 1) as f64;
        let Weights { score, margin, contrast } = self.weights;
        let lead = f64::from(margin) * (first - rival(0)) + f64::from(contrast) * (first - mean);
        let sum = f64::from(self.bias) + f64::from(score) * first + lead;
        let probability = (1.0 / (1.0 + (-sum).exp())) as f32;
        if probability.is_nan() {
            return Confidence::NONE;
        }
        Confidence { probability, enough: probability >= self.threshold }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Calibration {
        let weights = Weights { score: 6.0, margin: 5.0, contrast: 7.0 };
        let (bias, background, threshold) = (-7.0, 0.125, 0.5);
        Calibration { kind: CalibrationKind::Logistic1, weights, bias, background, threshold, data: String::new() }
    }

    #[test]
    fn the_probability_follows_the_formula() {
        // The margin is 0.25; the contrast is 0.75 minus the mean of 0.5 and eight times 0.25.
        let mut scores = vec![0.75, 0.5];
        scores.extend([0.25; 8]);
        let sum: f64 = -7.0 + 6.0 * 0.75 + 5.0 * 0.25 + 7.0 * (0.75 - 2.5 / 9.0);
        let found = example().judge(&scores);
        assert!((f64::from(found.probability) - 1.0 / (1.0 + (-sum).exp())).abs() < 1e-6, "{found:?}");
        assert!(found.enough);
        // Scores after the first LEADING are ignored.
        scores.extend([0.25; 30]);
        assert_eq!(example().judge(&scores), found);
        assert!(!Calibration { threshold: 0.99, ..example() }.judge(&scores).enough);
    }

    #[test]
    fn missing_listings_count_as_background() {
        let judge = |scores: &[f32]| example().judge(scores);
        let mut scores = vec![0.6];
        scores.extend([0.125; 9]);
        assert_eq!(judge(&[0.6]), judge(&scores));
        // A first score below the background has no margin and no contrast.
        assert_eq!(judge(&[0.0]), judge(&[0.0; 10]));
        assert_eq!(judge(&[]), Confidence::NONE);
        // Also where the threshold accepts any probability.
        assert!(!Calibration { threshold: 0.0, ..example() }.judge(&[]).enough);
        assert_eq!(judge(&[f32::NAN, 0.1]), Confidence::NONE);
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        type Change = fn(&mut Calibration, f32);
        let changes: [(&str, Change); 6] = [
            ("confidence.weights.score", |c, v| c.weights.score = v),
            ("confidence.weights.margin", |c, v| c.weights.margin = v),
            ("confidence.weights.contrast", |c, v| c.weights.contrast = v),
            ("confidence.bias", |c, v| c.bias = v),
            ("confidence.background", |c, v| c.background = v),
            ("confidence.threshold", |c, v| c.threshold = v),
        ];
        assert_eq!(example().check(), Ok(()));
        for (name, change) in changes {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1001.0, -1001.0] {
                let mut calibration = example();
                change(&mut calibration, bad);
                assert!(calibration.check().expect_err("out of range").to_string().starts_with(name), "{name} {bad}");
            }
        }
        assert!(Calibration { threshold: -0.1, ..example() }.check().is_err());
        let falling = Weights { margin: -0.1, ..example().weights };
        assert!(Calibration { weights: falling, ..example() }.check().is_err());
    }

    fn calibrations() -> impl Strategy<Value = Calibration> {
        let weight = || prop_oneof![0f32..20.0, 0f32..=1000.0, Just(0.0)];
        (weight(), weight(), weight(), -1000f32..=1000.0, -1f32..=1.0, 0f32..=1.0).prop_map(
            |(score, margin, contrast, bias, background, threshold)| {
                let weights = Weights { score, margin, contrast };
                Calibration {
                    kind: CalibrationKind::Logistic1,
                    weights,
                    bias,
                    background,
                    threshold,
                    data: String::new(),
                }
            },
        )
    }

    /// Scores as a search returns them: best first.
    fn rankings() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-1f32..1.0, 1..14).prop_map(|mut scores| {
            scores.sort_by(|a, b| b.total_cmp(a));
            scores
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(256)))]

        #[test]
        fn any_scores_give_a_probability(calibration in calibrations(), scores in prop::collection::vec(any::<f32>(), 0..14)) {
            prop_assert_eq!(calibration.check(), Ok(()));
            let Confidence { probability, enough } = calibration.judge(&scores);
            prop_assert!((0.0..=1.0).contains(&probability), "{}", probability);
            let judged = scores.first().is_some_and(|score| !score.is_nan());
            prop_assert!(judged || !enough);
            prop_assert!(probability == 0.0 || enough == (probability >= calibration.threshold));
        }

        #[test]
        fn a_better_first_listing_is_never_less_likely(calibration in calibrations(), scores in rankings(), more in 0f32..0.5) {
            let mut better = scores.clone();
            better[0] += more;
            prop_assert!(calibration.judge(&better).probability >= calibration.judge(&scores).probability - 1e-6);
        }

        #[test]
        fn better_rivals_never_make_it_more_likely(
            calibration in calibrations(), scores in rankings(), at in any::<prop::sample::Index>(), more in 0f32..0.5,
        ) {
            prop_assume!(scores.len() > 1);
            let mut harder = scores.clone();
            let at = 1 + at.index(scores.len() - 1);
            harder[at] = (harder[at] + more).min(scores[0]);
            harder.sort_by(|a, b| b.total_cmp(a));
            prop_assert!(calibration.judge(&harder).probability <= calibration.judge(&scores).probability + 1e-6);
        }
    }
}
