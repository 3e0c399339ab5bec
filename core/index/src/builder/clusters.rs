//! Computes the centroids of the inverted lists: k-means over a sample (Lloyd 1982), with int8 centroids.
//!
//! Vectors are compared with centroids as the shard stores them, int8 codes with one unit, by exact integer products:
//! the result depends neither on the number of threads nor on the CPU.

use rayon::prelude::*;

use super::vectors::{ListedPhoto, Vectors};
use crate::vector::CodeKernels;
use crate::vector::code::EncodedQuery;
use crate::vector::layout::stride;

/// Catalogues up to this many photos have one list: scoring them all is quick.
const ONE_LIST: usize = 4096;
/// Photos in the sample for each list: bounds the time of clustering.
const SAMPLE: usize = 40;
/// Iterations of k-means.
const ROUNDS: usize = 10;
/// Most lists: bounds the time of clustering, which grows with the square of their number.
const MAX_LISTS: usize = 1 << 16;

/// Returns the number of lists of a catalogue: four times the square root of the number of photos (ADR 0005), rounded
/// down to a multiple of 64.
pub(super) fn count(photos: usize) -> usize {
    if photos <= ONE_LIST {
        return 1;
    }
    ((photos as f64).sqrt() * 4.0) as usize / 64 * 64
}

/// The centroids of the lists, in the rotated space.
#[derive(Debug, Clone, Default)]
pub(super) struct Centroids {
    /// A code of [`stride`] bytes for each centroid.
    pub(super) codes: Vec<i8>,
    /// Unit of the codes.
    pub(super) unit: f32,
    /// For each centroid, minus half its squared length: added to products, it ranks centroids by distance.
    pub(super) biases: Vec<f32>,
}

impl Centroids {
    /// Quantises consecutive centroids.
    fn new(centroids: &[f32], dim: usize) -> Centroids {
        let stride = stride(dim);
        let largest = centroids.iter().fold(0f32, |max, v| max.max(v.abs()));
        let unit = if largest > 0.0 { largest / 127.0 } else { 0.0 };
        let mut codes = vec![0i8; centroids.len() / dim * stride];
        for (code, centroid) in codes.chunks_exact_mut(stride).zip(centroids.chunks_exact(dim)) {
            for (code, value) in code.iter_mut().zip(centroid).filter(|_| unit > 0.0) {
                *code = (value / unit).round_ties_even().clamp(-127.0, 127.0) as i8;
            }
        }
        Centroids { biases: codes.chunks_exact(stride).map(|code| bias(code, unit)).collect(), codes, unit }
    }

    pub(super) fn len(&self) -> usize {
        self.biases.len()
    }

    /// Decodes a centroid into `into`.
    pub(super) fn get(&self, at: usize, into: &mut [f32]) {
        let stride = stride(into.len());
        for (value, &code) in into.iter_mut().zip(&self.codes[at * stride..]) {
            *value = f32::from(code) * self.unit;
        }
    }

    /// Returns the number of the centroid nearest to a vector.
    fn nearest(&self, vector: &[f32], kernels: CodeKernels, scratch: &mut (EncodedQuery, Vec<i32>)) -> u32 {
        let (query, products) = scratch;
        query.set(vector, stride(vector.len()));
        products.resize(self.len(), 0);
        kernels.dot_rows(&self.codes, query.values(), products);
        let unit = query.unit() * self.unit;
        let score = |(product, bias): (&i32, &f32)| *product as f32 * unit + bias;
        let best = products.iter().zip(&self.biases).map(score).enumerate();
        best.fold((0, f32::MIN), |best, (at, score)| if score > best.1 { (at as u32, score) } else { best }).0
    }

    /// Returns the number of the nearest centroid of each photo; runs on all threads.
    pub(super) fn assign(
        &self,
        vectors: &Vectors,
        photos: &[ListedPhoto],
        kernels: CodeKernels,
        progress: &(dyn Fn(f32) + Sync),
    ) -> Vec<u32> {
        if self.len() <= 1 {
            return vec![0; photos.len()];
        }
        let piece = 1 << 16;
        let mut assigned = Vec::with_capacity(photos.len());
        for photos_of_piece in photos.chunks(piece) {
            progress(assigned.len() as f32 / photos.len() as f32);
            let nearest = photos_of_piece
                .par_iter()
                .map_init(Default::default, |scratch, photo| self.nearest(vectors.get(photo.vector), kernels, scratch));
            assigned.extend(nearest.collect::<Vec<u32>>());
        }
        assigned
    }
}

fn bias(code: &[i8], unit: f32) -> f32 {
    let square: i64 = code.iter().map(|&c| i64::from(c) * i64::from(c)).sum();
    -0.5 * square as f32 * unit * unit
}

/// Computes the centroids of `lists` lists. The centroid of a single list is the origin.
pub(super) fn find(
    vectors: &Vectors,
    photos: &[ListedPhoto],
    lists: usize,
    kernels: CodeKernels,
    progress: &(dyn Fn(f32) + Sync),
) -> Centroids {
    let dim = vectors.dim();
    let lists = lists.min(MAX_LISTS);
    if lists <= 1 {
        return Centroids::new(&vec![0.0; dim], dim);
    }
    let sample = spread(photos.len(), (lists * SAMPLE).min(photos.len()));
    let sample: Vec<ListedPhoto> = sample.map(|at| photos[at]).collect();
    let first = spread(sample.len(), lists);
    let mut centroids: Vec<f32> = first.flat_map(|at| vectors.get(sample[at].vector).to_vec()).collect();
    for round in 0..ROUNDS {
        progress(round as f32 / ROUNDS as f32);
        let assigned = Centroids::new(&centroids, dim).assign(vectors, &sample, kernels, &|_| {});
        let mut counts = vec![0u32; lists];
        centroids.fill(0.0);
        for (photo, &list) in sample.iter().zip(&assigned) {
            counts[list as usize] += 1;
            let centroid = &mut centroids[list as usize * dim..][..dim];
            centroid.iter_mut().zip(vectors.get(photo.vector)).for_each(|(sum, v)| *sum += v);
        }
        for (centroid, &count) in centroids.chunks_exact_mut(dim).zip(&counts).filter(|(_, count)| **count > 0) {
            centroid.iter_mut().for_each(|sum| *sum /= count as f32);
        }
        refill(&mut centroids, &mut counts, dim);
    }
    Centroids::new(&centroids, dim)
}

/// Returns `count` different numbers spread evenly over `0..len`, in steps of the golden ratio.
fn spread(len: usize, count: usize) -> impl Iterator<Item = usize> {
    let mut step = ((len as f64 * 0.618_033_988_749_895) as usize).max(1);
    while gcd(step, len) != 1 {
        step += 1;
    }
    (0..count).map(move |at| ((at as u128 * step as u128) % len.max(1) as u128) as usize)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Splits the largest list for each list that lost all its photos: both get its centroid, moved a little either way.
fn refill(centroids: &mut [f32], counts: &mut [u32], dim: usize) {
    for empty in 0..counts.len() {
        if counts[empty] > 0 {
            continue;
        }
        let largest = counts.iter().enumerate().max_by_key(|(at, count)| (**count, usize::MAX - at));
        let Some(largest) = largest.map(|(at, _)| at) else { return };
        for d in 0..dim {
            let value = centroids[largest * dim + d];
            let step = if d % 2 == 0 { 0.02 } else { -0.02 } * value;
            centroids[empty * dim + d] = value + step;
            centroids[largest * dim + d] = value - step;
        }
        counts[empty] = counts[largest] / 2;
        counts[largest] -= counts[empty];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_numbers_are_different() {
        for len in [1usize, 2, 7, 64, 1000] {
            let mut places: Vec<usize> = spread(len, len).collect();
            places.sort_unstable();
            assert!(places.into_iter().eq(0..len), "{len}");
        }
    }

    #[test]
    fn small_catalogues_have_one_list_and_large_ones_thousands() {
        assert_eq!((count(1), count(4096)), (1, 1));
        assert!((512..2048).contains(&count(100_000)) && (2048..16384).contains(&count(1_000_000)));
    }

    #[test]
    fn separate_clusters_of_vectors_get_a_centroid_each() {
        let mut vectors = Vectors::new(8);
        let photo = |i: usize| ListedPhoto { vector: i, listing: i as u32, ordinal: 0 };
        for i in 0..400 {
            let mut vector = [0.01 * (i % 7) as f32; 8];
            vector[i % 4] = 1.0;
            vectors.push(&vector);
        }
        let photos: Vec<ListedPhoto> = (0..400).map(photo).collect();
        let centroids = find(&vectors, &photos, 4, CodeKernels::best(), &|_| {});
        let assigned = centroids.assign(&vectors, &photos, CodeKernels::best(), &|_| {});
        assert!((4..400).all(|i| assigned[i] == assigned[i % 4]), "{assigned:?}");
        let mut used = assigned[..4].to_vec();
        used.sort_unstable();
        assert_eq!(used, [0, 1, 2, 3]);
    }
}
