//! Dot products of float vectors, each with a fixed order of additions, so that every CPU computes the same.

/// Dot product in the order of the coordinates.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Dot product with eight partial sums, which vectorises.
#[cfg(feature = "build")]
pub(crate) fn dot_in_lanes(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (a, b) = (a.chunks(8), b.chunks(8));
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    sums.iter().sum()
}
