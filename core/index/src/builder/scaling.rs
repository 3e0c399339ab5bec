//! Photos that are near to every query count for less.
//!
//! In many dimensions a few photos are among the nearest of far too many queries: hubs (Radovanović et al., "Hubs in
//! Space", 2010). A catalogue photo that the network was trained on is one to photos of products that it has never
//! seen, and takes their first place. Local scaling divides a photo's scores by a power of its similarity to its nearest
//! neighbours among shoppers' photos (Zelnik-Manor and Perona, "Self-Tuning Spectral Clustering", 2004; Jégou et al.,
//! "A Contextual Dissimilarity Measure", 2007; Conneau et al., "Word Translation Without Parallel Data", 2018, with a
//! difference in place of the quotient). The quotient goes into the length of the stored vector: searches and the
//! format do not know of it, and it costs them nothing.

use rayon::prelude::*;

use super::vectors::Vectors;
use crate::embedding::Embedding;
use crate::error::{Error, Result, ShardError};
use crate::ids::ModelId;
use crate::vector::Rotation;

/// Nearest shoppers' photos that count.
const NEIGHBOURS: usize = 10;
/// Similarity to its neighbours up to which a photo's scores stay as they are, so that none grows beyond that of the photo
/// itself. A constant, so that shards of one catalogue that are built at different times go together.
const USUAL: f32 = 0.7;
/// Lengths are multiples of one part in so many, so that the last bit of a power does not reach the file.
const STEPS: f32 = 1024.0;

/// Shoppers' photos of things like those in a catalogue, to see by how near a catalogue photo is to everything.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalScaling {
    photos: Vec<f32>,
    dim: usize,
    model: ModelId,
    strength: f32,
}

impl LocalScaling {
    /// A strength that fits catalogues of which the network knows some products and not others: chosen on the default
    /// pack's validation photos, where new products gain 12 points of the first place and known ones lose 1.
    pub const STRENGTH: f32 = 0.3;

    /// From embeddings of shoppers' photos: some hundreds, of as many things as possible, better not those that
    /// recall is measured with. `strength` is the power that quotients are raised to, 0 (nothing changes) to 1.
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

    /// For vectors that are turned.
    pub(super) fn turned(&self, rotation: &Rotation) -> LocalScaling {
        let mut turned = self.clone();
        turned.photos.chunks_exact_mut(self.dim).for_each(|photo| rotation.turn(photo));
        turned
    }

    /// Gives each vector its length; on all threads.
    pub(super) fn apply(&self, vectors: &mut Vectors) {
        let factors: Vec<f32> = (0..vectors.len()).into_par_iter().map(|at| self.factor(vectors.get(at))).collect();
        for (at, factor) in factors.into_iter().enumerate() {
            vectors.get_mut(at).iter_mut().for_each(|v| *v *= factor);
        }
    }

    /// What a catalogue photo's scores are multiplied with, 0.7 to 1; `vector` is of unit length.
    pub fn factor(&self, vector: &[f32]) -> f32 {
        let mut nearest = [f32::MIN; NEIGHBOURS];
        for photo in self.photos.chunks_exact(self.dim) {
            let similarity = product(photo, vector);
            if similarity > nearest[0] {
                // The least similar one stays in front.
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

/// In a fixed order of additions, eight at a time, so that every CPU finds the same.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (a, b) = (a.chunks(8), b.chunks(8));
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn photos_near_to_many_lose_and_lonely_ones_stay() {
        let scaling = LocalScaling::new(&around_the_first_axis(30), 0.5).expect("enough");
        let near = scaling.factor(&[1.0, 0.0, 0.0, 0.0]);
        assert!((near - (0.7f32 / 0.9).sqrt()).abs() < 1e-3, "{near}");
        assert_eq!(scaling.factor(&[0.0, 0.0, 1.0, 0.0]), 1.0);
    }

    #[test]
    fn a_strength_of_nought_changes_nothing() {
        let scaling = LocalScaling::new(&around_the_first_axis(30), 0.0).expect("enough");
        assert_eq!(scaling.factor(&[1.0, 0.0, 0.0, 0.0]), 1.0);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
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
