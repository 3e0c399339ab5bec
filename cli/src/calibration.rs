//! How far the probabilities of a model pack can be trusted, measured on labelled photos.
//!
//! - Confidence: the queries are the shoppers' grocery photos of one split, the catalogue is all product photos. Each
//!   query is searched twice: with its product in the catalogue, and without it. All listings are scored.
//! - Heads: all photos of the split whose label the head knows. A colour label that was measured from pixels counts
//!   only if it holds for at least [`SURE_COLOUR`] of the foreground, as in training.
//!
//! The expected calibration error (ECE) is the mean distance between probability and share of right answers over
//! [`BINS`] bins of equal width, weighted by the number of forecasts in each (Guo et al., 2017).

use magpie_core::attributes::Attributes;
use magpie_core::confidence::Calibration;
use magpie_core::model::HeadSpec;
use serde::Serialize;

use crate::npy::EmbeddingRows;
use crate::output;
use crate::scores::{DatasetManifest, dot, unit_rows};

const BINS: usize = 10;
const SURE_COLOUR: f32 = 0.4;
/// Thresholds for which coverage and precision are reported, in addition to the pack's own.
const THRESHOLDS: [f32; 6] = [0.0, 0.5, 0.6, 0.7, 0.8, 0.9];

/// The result of `magpie eval --calibration`.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct CalibrationReport {
    pub(crate) split: String,
    /// `None` if the pack is not calibrated, or the split has no queries.
    pub(crate) confidence: Option<ConfidenceReport>,
    pub(crate) heads: Vec<HeadReport>,
}

/// Quality of the confidence, over searches with and without the right product in the catalogue.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct ConfidenceReport {
    pub(crate) queries: usize,
    /// Probability that a search with its product in the catalogue has a higher confidence than one without.
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
    /// Share of searches that are answered: with the product in the catalogue, and without it.
    pub(crate) answered_in: f64,
    pub(crate) answered_out: f64,
    /// Share of answers that are right: with the product in the catalogue, and overall. `None` without any answers.
    pub(crate) precision_in: Option<f64>,
    pub(crate) precision: Option<f64>,
}

/// Quality of one attribute head.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct HeadReport {
    pub(crate) name: String,
    pub(crate) photos: usize,
    /// Share of right labels, stated or withheld.
    pub(crate) accuracy: f64,
    pub(crate) ece: f64,
    /// Share of photos for which the head withholds its label.
    pub(crate) abstained: f64,
    /// Share of right labels among the stated ones; `None` if all are withheld.
    pub(crate) accuracy_said: Option<f64>,
}

/// A probability, and whether the prediction that it belongs to was right.
type Forecast = (f32, bool);

/// Reports on confidence and heads. `attributes` must come from heads without thresholds, which state every label.
pub(crate) fn report(
    manifest: &DatasetManifest,
    rows: &EmbeddingRows,
    attributes: &[Attributes],
    (calibration, heads): (Option<&Calibration>, &[HeadSpec]),
    split: &str,
) -> CalibrationReport {
    let confidence = calibration.and_then(|calibration| confidence(manifest, rows, calibration, split));
    let heads = heads.iter().filter_map(|spec| head(manifest, attributes, spec, split)).collect();
    CalibrationReport { split: split.to_owned(), confidence, heads }
}

fn confidence(
    manifest: &DatasetManifest,
    rows: &EmbeddingRows,
    calibration: &Calibration,
    split: &str,
) -> Option<ConfidenceReport> {
    let (unit, class) = (unit_rows(rows), manifest.column("class_id"));
    let row = |at: usize| &unit[at * rows.width..(at + 1) * rows.width];
    let grocery = |at: usize| manifest.column("set")[at] == "grocery";
    let domain = |at: usize, name: &str| manifest.column("domain")[at] == name;
    let gallery = manifest.select(|at| grocery(at) && domain(at, "product"));
    let queries = manifest.select(|at| grocery(at) && domain(at, "user") && manifest.column("split")[at] == split);
    // Forecasts with the product in the catalogue, and without it.
    let (mut inside, mut outside): (Vec<Forecast>, Vec<Forecast>) = (Vec::new(), Vec::new());
    for &query in &queries {
        let mut ranked: Vec<(f32, usize)> = gallery.iter().map(|&at| (dot(row(query), row(at)), at)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let judge = |ranked: &[(f32, usize)]| {
            let scores: Vec<f32> = ranked.iter().map(|&(score, _)| score).collect();
            let right = ranked.first().is_some_and(|&(_, at)| class[at] == class[query]);
            (calibration.judge(&scores).probability, right)
        };
        let others: Vec<_> = ranked.iter().copied().filter(|&(_, at)| class[at] != class[query]).collect();
        if others.len() < ranked.len() {
            inside.push(judge(&ranked));
        }
        outside.push(judge(&others));
    }
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
        queries: queries.len(),
        auroc_in_catalogue: auroc(&by_presence),
        auroc_right: auroc(&all),
        ece: ece(&all),
        thresholds: thresholds.into_iter().map(coverage).collect(),
    })
}

fn head(manifest: &DatasetManifest, attributes: &[Attributes], spec: &HeadSpec, split: &str) -> Option<HeadReport> {
    // The manifest's column for the category is called `coarse`.
    let column = manifest.column(if spec.name == "category" { "coarse" } else { &spec.name });
    let sure = |at: usize| {
        // An empty share counts as 0.
        let share = || manifest.column("colour_conf").get(at).and_then(|share| share.parse().ok()).unwrap_or(0.0);
        let measured = manifest.column("colour_src").get(at).is_some_and(|source| source == "pixels");
        spec.name != "colour" || !measured || share() >= SURE_COLOUR
    };
    let mut forecasts: Vec<Forecast> = Vec::new();
    for at in manifest.select(|at| manifest.column("split")[at] == split && sure(at)) {
        let (Some(truth), Some(found)) = (column.get(at), attributes.get(at).and_then(|a| a.get(&spec.name))) else {
            continue;
        };
        if spec.labels.contains(truth) {
            forecasts.push((found.probability, found.label.as_ref() == Some(truth)));
        }
    }
    let stated: Vec<Forecast> =
        forecasts.iter().copied().filter(|&(probability, _)| probability >= spec.threshold.unwrap_or(0.0)).collect();
    Some(HeadReport {
        name: spec.name.clone(),
        photos: forecasts.len(),
        accuracy: share_right(&forecasts)?,
        ece: ece(&forecasts),
        abstained: 1.0 - stated.len() as f64 / forecasts.len() as f64,
        accuracy_said: share_right(&stated),
    })
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

impl CalibrationReport {
    /// Formats the report for reading.
    pub(crate) fn text(&self) -> String {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let optional = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
        let mut text = String::new();
        match &self.confidence {
            None => text.push_str("confidence: the pack is not calibrated, or the split has no queries\n"),
            Some(found) => {
                text.push_str(&format!(
                    "confidence: {} queries of split {}, each searched with and without its product in the catalogue\n\
                     AUROC {:.3} (product in the catalogue or not), {:.3} (first listing right or wrong), ECE {:.3}\
                     \n\n",
                    found.queries, self.split, found.auroc_in_catalogue, found.auroc_right, found.ece
                ));
                let row = |coverage: &Coverage| {
                    let own = if coverage.own { "the pack's" } else { "" };
                    let Coverage { answered_in, precision_in, answered_out, precision, .. } = *coverage;
                    let rates = [Some(answered_in), precision_in, Some(answered_out), precision];
                    let mut row = vec![format!("{:.3}", coverage.threshold)];
                    row.extend(rates.map(optional));
                    row.push(own.to_owned());
                    row
                };
                let rows: Vec<_> = found.thresholds.iter().map(row).collect();
                let header =
                    [">threshold", ">in catalogue: answered", ">right", ">not in it: answered", ">right overall", ""];
                text.push_str(&output::table(&header, &rows));
            }
        }
        let row = |head: &HeadReport| {
            let (accuracy, abstained) = (percent(head.accuracy), percent(head.abstained));
            let ece = format!("{:.3}", head.ece);
            vec![head.name.clone(), head.photos.to_string(), accuracy, ece, abstained, optional(head.accuracy_said)]
        };
        if !self.heads.is_empty() {
            let rows: Vec<_> = self.heads.iter().map(row).collect();
            let header = ["head", ">photos", ">right", ">ECE", ">withheld", ">right of those stated"];
            text.push_str(&format!("\n{}", output::table(&header, &rows)));
        }
        text
    }
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
