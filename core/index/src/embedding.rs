//! Embeddings: photos as unit vectors.

use crate::ids::ModelId;
use crate::vector::float::dot;

/// Largest dimension of an embedding.
pub const MAX_DIM: u32 = 4096;

/// The embedding of a photo: a unit vector, and the model that computed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    values: Box<[f32]>,
    model: ModelId,
}

impl Embedding {
    /// Scales `values` to unit length. Returns `None` where that is impossible: empty, not finite, or all zero.
    pub fn new(values: &[f32], model: ModelId) -> Option<Self> {
        let norm = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        if !norm.is_finite() || norm < 1e-12 {
            return None;
        }
        Some(Embedding { values: values.iter().map(|&v| (f64::from(v) / norm) as f32).collect(), model })
    }

    /// The coordinates; the sum of their squares is 1.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The number of coordinates.
    pub fn dim(&self) -> usize {
        self.values.len()
    }

    /// The model that computed it.
    pub fn model(&self) -> ModelId {
        self.model
    }

    /// Returns the cosine of the angle between two embeddings, -1 to 1; `None` if they come from different models.
    pub fn cosine(&self, other: &Embedding) -> Option<f32> {
        (self.model == other.model && self.dim() == other.dim()).then(|| dot(&self.values, &other.values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: ModelId = ModelId([7; 32]);

    #[test]
    fn values_are_scaled_to_unit_length_or_rejected() {
        let e = Embedding::new(&[3.0, 4.0], MODEL).expect("finite");
        assert_eq!(e.values(), [0.6, 0.8]);
        for bad in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0]] {
            assert!(Embedding::new(bad, MODEL).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn embeddings_of_different_models_are_not_compared() {
        let a = Embedding::new(&[1.0, 0.0], MODEL).expect("finite");
        let b = Embedding::new(&[1.0, 0.0], ModelId([8; 32])).expect("finite");
        assert_eq!(a.cosine(&a), Some(1.0));
        assert_eq!(a.cosine(&b), None);
    }
}
