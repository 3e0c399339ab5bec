//! How far the probabilities of a model pack can be trusted.
//!
//! Each photo counts twice: with its listing in the catalogue, and as if the catalogue did not have it.
//!
//! The expected calibration error (ECE) is the mean distance between probability and share of right answers over
//! [`BINS`] bins of equal width, weighted by the number of forecasts in each (Guo et al., 2017).

use magpie_core::confidence::Calibration;
use serde::Serialize;

use super::Outcome;
use crate::output;

const BINS: usize = 10;
/// Thresholds for which coverage and precision are reported, in addition to the pack's own.
const THRESHOLDS: [f32; 6] = [0.0, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Quality of the confidence, over searches with and without the right listing in the catalogue.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct ConfidenceReport {
    /// Probability that a search with its listing in the catalogue has a higher confidence than one without.
    pub(crate) auroc_in_catalogue: f64,
    /// Probability that a search whose first listing is right has a higher confidence than one where it is wrong.
    pub(crate) auroc_right: f64,
    pub(crate) ece: f64,
    pub(crate) thresholds: Vec<Coverage>,
}

/// Coverage and precision at one threshold.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Coverage {
    pub(crate) threshold: f32,
    /// Whether this is the pack's own threshold.
    pub(crate) own: bool,
    /// Share of searches that are answered: with the listing in the catalogue, and without it.
    pub(crate) answered_in: f64,
    pub(crate) answered_out: f64,
    /// Share of answers that are right: with the listing in the catalogue, and overall. `None` without any answers.
    pub(crate) precision_in: Option<f64>,
    pub(crate) precision: Option<f64>,
}

/// A probability, and whether the prediction that it belongs to was right.
type Forecast = (f32, bool);

impl ConfidenceReport {
    /// `None` if the catalogue has none of the photos' listings.
    pub(super) fn of(outcomes: &[Outcome], calibration: &Calibration) -> Option<ConfidenceReport> {
        let probability = |scores: &[f32]| match scores {
            [] => 0.0,
            scores => calibration.judge(scores).probability,
        };
        let present = outcomes.iter().filter(|outcome| outcome.right.is_some());
        let inside: Vec<Forecast> =
            present.map(|outcome| (probability(&outcome.scores(false)), outcome.rank == Some(1))).collect();
        let outside: Vec<Forecast> =
            outcomes.iter().map(|outcome| (probability(&outcome.scores(true)), false)).collect();
        if inside.is_empty() {
            return None;
        }
        let all = [&inside[..], &outside[..]].concat();
        let is_inside = |at: usize| at < inside.len();
        let by_presence: Vec<Forecast> =
            all.iter().enumerate().map(|(at, &(probability, _))| (probability, is_inside(at))).collect();
        let mut thresholds: Vec<(f32, bool)> = THRESHOLDS.map(|threshold| (threshold, false)).to_vec();
        thresholds.push((calibration.threshold, true));
        thresholds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let coverage = |(threshold, own): (f32, bool)| {
            let answered = |forecasts: &[Forecast]| {
                forecasts.iter().copied().filter(|&(probability, _)| probability >= threshold).collect::<Vec<_>>()
            };
            let (answers_in, answers_out) = (answered(&inside), answered(&outside));
            Coverage {
                threshold,
                own,
                answered_in: answers_in.len() as f64 / inside.len() as f64,
                answered_out: answers_out.len() as f64 / outside.len() as f64,
                precision_in: share_right(&answers_in),
                precision: share_right(&[answers_in, answers_out].concat()),
            }
        };
        Some(ConfidenceReport {
            auroc_in_catalogue: auroc(&by_presence),
            auroc_right: auroc(&all),
            ece: ece(&all),
            thresholds: thresholds.into_iter().map(coverage).collect(),
        })
    }

    /// Formats the report for reading.
    pub(super) fn text(&self) -> String {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let optional = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
        let row = |coverage: &Coverage| {
            let own = if coverage.own { "the pack's" } else { "" };
            let Coverage { answered_in, precision_in, answered_out, precision, .. } = *coverage;
            let rates = [Some(answered_in), precision_in, Some(answered_out), precision];
            let mut row = vec![format!("{:.3}", coverage.threshold)];
            row.extend(rates.map(optional));
            row.push(own.to_owned());
            row
        };
        let rows: Vec<_> = self.thresholds.iter().map(row).collect();
        let header = [">threshold", ">in catalogue: answered", ">right", ">not in it: answered", ">right overall", ""];
        format!(
            "confidence, each photo with and without its listing in the catalogue\n\
             AUROC {:.3} (first listing right or wrong), {:.3} (listing in the catalogue or not), ECE {:.3}\n{}",
            self.auroc_right,
            self.auroc_in_catalogue,
            self.ece,
            output::table(&header, &rows)
        )
    }
}

fn share_right(forecasts: &[Forecast]) -> Option<f64> {
    let right = forecasts.iter().filter(|&&(_, right)| right).count();
    (!forecasts.is_empty()).then(|| right as f64 / forecasts.len() as f64)
}

/// Returns the expected calibration error; 0 without forecasts.
fn ece(forecasts: &[Forecast]) -> f64 {
    let mut bins = [(0f64, 0f64); BINS];
    for &(probability, right) in forecasts {
        let bin = &mut bins[((probability * BINS as f32) as usize).min(BINS - 1)];
        bin.0 += f64::from(probability);
        bin.1 += f64::from(u8::from(right));
    }
    bins.iter().map(|(sum, right)| (sum - right).abs()).sum::<f64>() / forecasts.len().max(1) as f64
}

/// Returns the area under the ROC curve: the chance that a right forecast has a higher probability than a wrong one,
/// ties counting half. 0.5 if all forecasts are right or all are wrong.
fn auroc(forecasts: &[Forecast]) -> f64 {
    let mut sorted = forecasts.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut wrong, mut right, mut won) = (0.0, 0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let right_here = tied.iter().filter(|(_, right)| *right).count() as f64;
        let wrong_here = tied.len() as f64 - right_here;
        won += right_here * (wrong + wrong_here / 2.0);
        wrong += wrong_here;
        right += right_here;
    }
    if wrong * right == 0.0 { 0.5 } else { won / (wrong * right) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calibration_error_is_the_distance_between_probability_and_share() {
        // Probability 0.75, half of them right: 0.25 apart. Probability 0.25, all wrong: 0.25 apart as well.
        assert_eq!(ece(&[(0.75, true), (0.75, false), (0.25, false), (0.25, false)]), 0.25);
        assert_eq!(ece(&[(1.0, true), (0.0, false)]), 0.0);
        assert_eq!(ece(&[]), 0.0);
    }

    #[test]
    fn auroc_is_the_share_of_ordered_pairs() {
        assert_eq!(auroc(&[(0.9, true), (0.8, true), (0.1, false)]), 1.0);
        assert_eq!(auroc(&[(0.1, true), (0.9, false)]), 0.0);
        assert_eq!(auroc(&[(0.9, true), (0.5, true), (0.5, false), (0.6, false)]), 0.625);
        assert_eq!(auroc(&[(0.9, true)]), 0.5);
    }
}
