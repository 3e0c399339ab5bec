//! Local scaling: lowers the scores of photos that are near to every query.
//!
//! In many dimensions a few photos, the hubs, are among the nearest of far too many queries (Radovanović et al., "Hubs
//! in Space", 2010). A catalogue photo that the network was trained on is a hub for photos of products that it has
//! never seen, and ranks above theirs. Local scaling divides a photo's scores by a power of its similarity to its
//! nearest neighbours among shoppers' photos (Zelnik-Manor and Perona, "Self-Tuning Spectral Clustering", 2004; Jégou
//! et al., "A Contextual Dissimilarity Measure", 2007; Conneau et al., "Word Translation Without Parallel Data", 2018,
//! with a difference instead of the quotient). The quotient becomes the length of the stored vector, so neither
//! searches nor the format know about it, and it costs them nothing (ADR 0010).

use rayon::prelude::*;

use super::vectors::Vectors;
use crate::embedding::Embedding;
use crate::error::{Error, Result, ShardError};
use crate::ids::ModelId;
use crate::vector::Rotation;
use crate::vector::float::dot_in_lanes;

/// Number of nearest shoppers' photos that a photo's similarity is averaged over (ADR 0010).
const NEIGHBOURS: usize = 10;
/// Mean similarity up to which a photo's scores stay unchanged (ADR 0010), so that no score is raised. A constant, so
/// that shards of one catalogue that are built at different times are comparable.
const USUAL: f32 = 0.7;
/// Lengths are rounded to multiples of 1/1024, so that the last bit of `powf`, which differs between platforms, does
/// not reach the file.
const STEPS: f32 = 1024.0;

/// Shoppers' photos of things like those in a catalogue: the sample that shows how near a catalogue photo is to every
/// query.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalScaling {
    photos: Vec<f32>,
    dim: usize,
    model: ModelId,
    strength: f32,
}

impl LocalScaling {
    /// A strength for catalogues of which the network was trained on some products and not on others. Chosen on the
    /// default pack's validation photos, where hit@1 of new products rises by 12 points and that of known ones falls by
    /// 1.
    pub const STRENGTH: f32 = 0.3;

    /// Creates a scaling from embeddings of shoppers' photos: some hundreds, of as many things as possible, and not
    /// those that recall is measured with. `strength` is the exponent of the quotients, 0 (no change) to 1.
    ///
    /// # Errors
    /// [`ShardError::Build`] for fewer than 10 photos or a strength out of range, [`Error::ModelMismatch`] where the
    /// photos are of several models.
    pub fn new(photos: &[Embedding], strength: f32) -> Result<LocalScaling> {
        if !(0.0..=1.0).contains(&strength) {
            return Err(ShardError::Build(format!("local scaling: strength {strength}, expected 0 to 1")).into());
        }
        let [first, ..] = photos else {
            return Err(ShardError::Build("local scaling: there are no shoppers' photos".to_owned()).into());
        };
        if photos.len() < NEIGHBOURS {
            let count = photos.len();
            let detail = format!("local scaling: {count} shoppers' photos, at least {NEIGHBOURS} are needed");
            return Err(ShardError::Build(detail).into());
        }
        let mut all = Vec::with_capacity(photos.len() * first.dim());
        for photo in photos {
            if photo.model() != first.model() || photo.dim() != first.dim() {
                return Err(Error::ModelMismatch { model: photo.model(), shard: first.model() });
            }
            all.extend(photo.values());
        }
        Ok(LocalScaling { photos: all, dim: first.dim(), model: first.model(), strength })
    }

    /// The model of the shoppers' photos.
    pub fn model(&self) -> ModelId {
        self.model
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the scaling for rotated vectors.
    pub(super) fn rotated(&self, rotation: &Rotation) -> LocalScaling {
        let mut rotated = self.clone();
        rotated.photos.chunks_exact_mut(self.dim).for_each(|photo| rotation.rotate(photo));
        rotated
    }

    /// Scales each vector by its factor; runs on all threads.
    pub(super) fn apply(&self, vectors: &mut Vectors) {
        let factors: Vec<f32> = (0..vectors.len()).into_par_iter().map(|at| self.factor(vectors.get(at))).collect();
        for (at, factor) in factors.into_iter().enumerate() {
            vectors.get_mut(at).iter_mut().for_each(|v| *v *= factor);
        }
    }

    /// Returns the factor for the scores of a catalogue photo, 0.7 to 1; `vector` is of unit length.
    pub fn factor(&self, vector: &[f32]) -> f32 {
        let mut nearest = [f32::MIN; NEIGHBOURS];
        for photo in self.photos.chunks_exact(self.dim) {
            let similarity = dot_in_lanes(photo, vector);
            if similarity > nearest[0] {
                // Sorted ascending: the least similar one is first.
                let at = nearest.partition_point(|&other| other < similarity);
                nearest[..at].rotate_left(1);
                nearest[at - 1] = similarity;
            }
        }
        let mean = nearest.iter().sum::<f32>() / NEIGHBOURS as f32;
        let factor = f64::from(USUAL / mean.max(USUAL)).powf(f64::from(self.strength));
        (factor as f32 * STEPS).round() / STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cases;
    use proptest::prelude::*;

    const MODEL: ModelId = ModelId([3; 32]);

    fn embedding(values: &[f32]) -> Embedding {
        Embedding::new(values, MODEL).expect("finite")
    }

    /// Photos around the first axis, at cosines of 0.9 to it.
    fn around_the_first_axis(count: usize) -> Vec<Embedding> {
        let side = |at: usize| (1.0 - 0.81f32).sqrt() * if at.is_multiple_of(2) { 1.0 } else { -1.0 };
        (0..count).map(|at| embedding(&[0.9, side(at), 0.0, 0.0])).collect()
    }

    #[test]
    fn hubs_are_scaled_down_and_isolated_photos_are_not() {
        let scaling = LocalScaling::new(&around_the_first_axis(30), 0.5).expect("enough");
        let near = scaling.factor(&[1.0, 0.0, 0.0, 0.0]);
        assert!((near - (0.7f32 / 0.9).sqrt()).abs() < 1e-3, "{near}");
        assert_eq!(scaling.factor(&[0.0, 0.0, 1.0, 0.0]), 1.0);
    }

    #[test]
    fn a_strength_of_zero_changes_nothing() {
        let scaling = LocalScaling::new(&around_the_first_axis(30), 0.0).expect("enough");
        assert_eq!(scaling.factor(&[1.0, 0.0, 0.0, 0.0]), 1.0);
    }

    #[test]
    fn unusable_photos_and_strengths_are_rejected() {
        let refused =
            |photos: &[Embedding], strength| LocalScaling::new(photos, strength).expect_err("refused").to_string();
        assert!(refused(&[], 0.5).contains("no shoppers' photos"));
        assert!(refused(&around_the_first_axis(9), 0.5).contains("9 shoppers' photos, at least 10"));
        for strength in [-0.1, 1.1, f32::NAN] {
            assert!(refused(&around_the_first_axis(12), strength).contains("expected 0 to 1"), "{strength}");
        }
        let mut mixed = around_the_first_axis(12);
        mixed.push(Embedding::new(&[1.0, 0.0, 0.0, 0.0], ModelId([4; 32])).expect("finite"));
        assert!(matches!(LocalScaling::new(&mixed, 0.5), Err(Error::ModelMismatch { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn the_factor_is_that_of_the_ten_nearest(
            photos in prop::collection::vec(prop::array::uniform4(-1f32..1.0), 10..60),
            vector in prop::array::uniform4(-1f32..1.0),
        ) {
            prop_assume!(photos.iter().chain([&vector]).all(|v| v.iter().any(|x| x.abs() > 0.01)));
            let photos: Vec<Embedding> = photos.iter().map(|v| embedding(v)).collect();
            let vector = embedding(&vector);
            let mut cosines: Vec<f32> = photos.iter().filter_map(|photo| photo.cosine(&vector)).collect();
            cosines.sort_by(|a, b| b.total_cmp(a));
            let mean = cosines[..10].iter().sum::<f32>() / 10.0;
            let factor = LocalScaling::new(&photos, 1.0).expect("enough").factor(vector.values());
            prop_assert!((factor - 0.7 / mean.max(0.7)).abs() < 0.002, "{factor} {mean}");
        }
    }
}
