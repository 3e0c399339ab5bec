//! A remembered photo and its listing.

/// Sums of a product, side by side: the compiler makes vector instructions of them.
const LANES: usize = 8;

/// A correction with the direction of its embedding, one byte a coordinate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) listing: String,
    /// Unix seconds.
    pub(super) time: u64,
    pub(super) code: Box<[i8]>,
    /// One divided by the code's length.
    unit: f32,
}

impl Entry {
    /// Quantises an embedding. `None` where it has no direction.
    pub(super) fn new(listing: &str, time: u64, embedding: &[f32]) -> Option<Entry> {
        let largest = embedding.iter().fold(0f32, |max, value| max.max(value.abs()));
        let code = embedding.iter().map(|value| (value / largest * 127.0).round() as i8).collect();
        Entry::of_code(listing, time, code)
    }

    /// `None` where all coordinates are zero.
    pub(super) fn of_code(listing: &str, time: u64, code: Box<[i8]>) -> Option<Entry> {
        // At most 4096 times 128 squared.
        let squares: u32 = code.iter().map(|&value| u32::from(value.unsigned_abs()).pow(2)).sum();
        let unit = 1.0 / (squares as f32).sqrt();
        (squares > 0).then(|| Entry { listing: listing.to_owned(), time, code, unit })
    }

    /// Returns the cosine to a unit vector with as many coordinates, within 0.001.
    pub(super) fn cosine(&self, embedding: &[f32]) -> f32 {
        let mut sums = [0f32; LANES];
        let (codes, rest) = self.code.as_chunks::<LANES>();
        let (values, others) = embedding.as_chunks::<LANES>();
        for (code, value) in codes.iter().zip(values) {
            for lane in 0..LANES {
                sums[lane] += f32::from(code[lane]) * value[lane];
            }
        }
        let rest: f32 = rest.iter().zip(others).map(|(&code, value)| f32::from(code) * value).sum();
        (sums.iter().sum::<f32>() + rest) * self.unit
    }
}
