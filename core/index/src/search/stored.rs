//! Decodes the vectors that a shard stores.

use crate::error::ShardError;
use crate::ids::PhotoRow;
use crate::shard::Shard;
use crate::vector::layout::{BLOCK, signs_len};
use crate::vector::sign;

/// Decodes the stored vector of a photo: rotated by the rotation of [`Shard::rotation_seed`], and of about unit length,
/// or shorter where the shard was built with local scaling.
///
/// # Errors
/// [`ShardError::Invalid`] where the shard lacks the photo or is damaged.
pub fn stored_vector(shard: &Shard, photo: PhotoRow) -> Result<Vec<f32>, ShardError> {
    let (dim, stride, index) = (shard.header().dim as usize, shard.stride(), shard.index());
    let (row, list) = (photo.0 as usize, shard.list_of(photo)? as usize);
    let centroid = shard.centroids().get(list * stride..).unwrap_or_default();
    let code = shard.codes().get(row * stride..).unwrap_or_default();
    let block = shard.scan_blocks().get(row / BLOCK * shard.block_len()..).unwrap_or_default();
    debug_assert!(centroid.len() >= dim && code.len() >= dim && block.len() >= signs_len(dim));
    let mut signs = vec![0; stride / 32];
    sign::take(block.get(..signs_len(dim)).unwrap_or_default(), row % BLOCK, &mut signs);
    debug_assert!(row < shard.code_scales().len());
    let scale = f32::from(shard.code_scales().get(row).copied().unwrap_or(0)) * index.scale_unit;
    let coordinate = |(at, (&centroid, &byte)): (usize, (&i8, &u8))| {
        let size = f32::from(2 * u16::from(byte) + 1) * scale;
        let positive = signs[at / 32] >> (at % 32) & 1 == 1;
        f32::from(centroid) * index.centroid_unit + if positive { size } else { -size }
    };
    Ok(centroid.iter().zip(code).take(dim).enumerate().map(coordinate).collect())
}
