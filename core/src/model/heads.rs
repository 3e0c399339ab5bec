//! Logits to attributes.

use super::manifest::HeadSpec;
use crate::attributes::Attribute;
use crate::error::ModelError;

/// The most probable label of a head, with its softmax probability.
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
    let sum: f32 = logits.iter().map(|v| (v - max).exp()).sum();
    Ok(Attribute { name: head.name.clone(), label: head.labels[best].clone(), probability: 1.0 / sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(labels: &[&str]) -> HeadSpec {
        let labels = labels.iter().map(|&l| l.to_owned()).collect();
        HeadSpec { name: "colour".to_owned(), output: "colour".to_owned(), labels }
    }

    #[test]
    fn softmax_of_the_best_label() {
        let found = attribute(&head(&["red", "green"]), &[1.0, 1.0 + 3f32.ln()]).expect("two logits, two labels");
        assert_eq!(found.label, "green");
        assert!((found.probability - 0.75).abs() < 1e-6);
        // Large logits must not overflow.
        assert_eq!(attribute(&head(&["red", "green"]), &[900.0, -900.0]).expect("finite").probability, 1.0);
    }

    #[test]
    fn wrong_or_broken_logits_are_errors() {
        assert!(attribute(&head(&["red", "green"]), &[1.0]).is_err());
        assert!(attribute(&head(&["red", "green"]), &[f32::NAN, 1.0]).is_err());
    }
}
