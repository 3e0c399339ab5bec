//! Sorts photos into inverted lists and quantises their vectors.

use rayon::prelude::*;

use super::clusters::Centroids;
use super::vectors::{ListedPhoto, Vectors};
use crate::shard::{Budget, ListIndex, RECALLS};
use crate::vector::code;
use crate::vector::layout::{BLOCK, block_len, stride};
use crate::vector::sign::{self, Correction};

/// The codes of all photos, in the order of rows.
pub(super) struct Coded {
    pub(super) index: ListIndex,
    pub(super) list_starts: Vec<u32>,
    pub(super) scan_blocks: Vec<u8>,
    pub(super) codes: Vec<u8>,
    pub(super) code_scales: Vec<u16>,
    /// The photo of each row, as a position among those passed to `code`.
    pub(super) order: Vec<u32>,
}

/// Sorts photos by list, within a list by listing, and quantises them.
pub(super) fn code(vectors: &Vectors, photos: &[ListedPhoto], centroids: &Centroids, assigned: &[u32]) -> Coded {
    let mut list_starts = vec![0u32; centroids.len() + 1];
    for &list in assigned {
        list_starts[list as usize + 1] += 1;
    }
    for list in 1..list_starts.len() {
        list_starts[list] += list_starts[list - 1];
    }
    let mut next = list_starts.clone();
    let mut order = vec![0u32; photos.len()];
    for (photo, &list) in assigned.iter().enumerate() {
        order[next[list as usize] as usize] = photo as u32;
        next[list as usize] += 1;
    }

    let (dim, stride) = (vectors.dim(), stride(vectors.dim()));
    let block_len = block_len(dim);
    let mut scan_blocks = vec![0u8; photos.len().div_ceil(BLOCK) * block_len];
    let mut codes = vec![0u8; photos.len() * stride];
    let mut corrections = vec![(Correction { slope: 0.0, offset: 0.0 }, 0f32); photos.len()];
    let blocks = scan_blocks.par_chunks_mut(block_len).zip(codes.par_chunks_mut(BLOCK * stride));
    blocks.zip(corrections.par_chunks_mut(BLOCK)).zip(order.par_chunks(BLOCK)).for_each(
        |(((block, codes), corrections), order)| {
            let (mut centroid, mut residual) = (vec![0.0; dim], vec![0.0; dim]);
            let rows = codes.chunks_exact_mut(stride).zip(corrections).zip(order);
            for (at, ((values, (correction, scale)), &photo)) in rows.enumerate() {
                centroids.get(assigned[photo as usize] as usize, &mut centroid);
                let vector = vectors.get(photos[photo as usize].vector);
                residual.iter_mut().zip(vector).zip(&centroid).for_each(|((r, v), c)| *r = v - c);
                sign::put(block, at, &residual);
                *correction = Correction::of(&residual, &centroid);
                *scale = code::encode(&residual, values);
            }
        },
    );
    let (index, code_scales) = pack(&corrections, &mut scan_blocks, block_len, centroids);
    Coded { index, list_starts, scan_blocks, codes, code_scales, order }
}

/// Packs slopes, offsets and scales into 16 bits each; the units are such that the largest values just fit.
fn pack(
    corrections: &[(Correction, f32)],
    scan_blocks: &mut [u8],
    block_len: usize,
    centroids: &Centroids,
) -> (ListIndex, Vec<u16>) {
    let most = |of: fn(&(Correction, f32)) -> f32| corrections.iter().map(of).fold(0f32, f32::max);
    let lowest = corrections.iter().map(|(correction, _)| correction.offset).fold(f32::MAX, f32::min);
    let highest = corrections.iter().map(|(correction, _)| correction.offset).fold(f32::MIN, f32::max);
    let steps = f32::from(u16::MAX);
    let index = ListIndex {
        lists: centroids.len() as u32,
        dim: 0,
        rotation_seed: 0,
        centroid_unit: centroids.unit,
        scale_unit: most(|(_, scale)| *scale) / steps,
        slope_unit: most(|(correction, _)| correction.slope) / steps,
        offset_unit: (highest - lowest).max(0.0) / steps,
        offset_origin: lowest,
        reserved: [0; 7],
        budgets: [Budget::default(); RECALLS.len()],
    };
    let pack = |value: f32, unit: f32| if unit > 0.0 { (value / unit).round_ties_even() as u16 } else { 0 };
    for (row, (correction, _)) in corrections.iter().enumerate() {
        let end = (row / BLOCK + 1) * block_len;
        let at = end - 4 * BLOCK + row % BLOCK * 2;
        let (slope, offset) =
            (pack(correction.slope, index.slope_unit), pack(correction.offset - lowest, index.offset_unit));
        scan_blocks[at..at + 2].copy_from_slice(&slope.to_le_bytes());
        scan_blocks[at + 2 * BLOCK..at + 2 * BLOCK + 2].copy_from_slice(&offset.to_le_bytes());
    }
    let code_scales = corrections.iter().map(|(_, scale)| pack(*scale, index.scale_unit)).collect();
    (index, code_scales)
}
