//! Turns the logits of a head into an attribute.

use super::manifest::HeadSpec;
use crate::attributes::Attribute;
use crate::error::ModelError;

/// Returns the most probable label of a head and its probability: the softmax of the logits divided by the head's
/// temperature (Guo et al., On Calibration of Modern Neural Networks, 2017).
pub(super) fn attribute(head: &HeadSpec, logits: &[f32]) -> Result<Attribute, ModelError> {
    if logits.len() != head.labels.len() {
        let (found, expected) = (logits.len(), head.labels.len());
        return Err(ModelError::Run(format!("output '{}' has {found} values for {expected} labels", head.output)));
    }
    let Some((best, max)) = logits.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Err(ModelError::Run(format!("output '{}' is empty", head.output)));
    };
    if !logits.iter().all(|v| v.is_finite()) {
        return Err(ModelError::Run(format!("output '{}' is not finite", head.output)));
    }
    let temperature = head.temperature.unwrap_or(1.0);
    let sum: f32 = logits.iter().map(|v| ((v - max) / temperature).exp()).sum();
    let probability = 1.0 / sum;
    let sure = probability >= head.threshold.unwrap_or(0.0);
    Ok(Attribute { name: head.name.clone(), label: sure.then(|| head.labels[best].clone()), probability })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(labels: &[&str]) -> HeadSpec {
        let labels = labels.iter().map(|&l| l.to_owned()).collect();
        let (temperature, threshold) = (None, None);
        HeadSpec { name: "colour".to_owned(), output: "colour".to_owned(), labels, temperature, threshold }
    }

    #[test]
    fn softmax_of_the_best_label() {
        let found = attribute(&head(&["red", "green"]), &[1.0, 1.0 + 3f32.ln()]).expect("two logits, two labels");
        assert_eq!(found.label.as_deref(), Some("green"));
        assert!((found.probability - 0.75).abs() < 1e-6);
        // Large logits do not overflow.
        assert_eq!(attribute(&head(&["red", "green"]), &[900.0, -900.0]).expect("finite").probability, 1.0);
    }

    #[test]
    fn a_temperature_changes_the_probability_but_not_the_label() {
        let logits = [1.0, 1.0 + 9f32.ln()];
        let found = |temperature, threshold| {
            let head = HeadSpec { temperature, threshold, ..head(&["red", "green"]) };
            attribute(&head, &logits).expect("two logits, two labels")
        };
        let near = |found: Attribute, probability: f32, label: Option<&str>| {
            assert!((found.probability - probability).abs() < 1e-6, "{found:?}");
            assert_eq!(found.label.as_deref(), label);
        };
        near(found(None, None), 0.9, Some("green"));
        near(found(Some(2.0), None), 0.75, Some("green"));
        near(found(Some(2.0), Some(0.74)), 0.75, Some("green"));
        near(found(Some(2.0), Some(0.76)), 0.75, None);
        near(found(None, Some(1.0)), 0.9, None);
    }

    #[test]
    fn wrong_or_broken_logits_are_errors() {
        assert!(attribute(&head(&["red", "green"]), &[1.0]).is_err());
        assert!(attribute(&head(&["red", "green"]), &[f32::NAN, 1.0]).is_err());
    }
}
