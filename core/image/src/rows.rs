//! Rows of bytes: what the kernels read, and how many samples they take at a time.

/// Bytes of a row that are summed at a time: an AVX2 register.
pub(super) const BLOCK: usize = 32;

/// Rows of bytes: row `k` starts at `k * stride`.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) stride: usize,
}

/// The positions of the samples in a row with `N` colours.
#[derive(Clone, Copy)]
pub(super) struct RowLayout<const N: usize> {
    /// The first sample of each colour.
    pub(super) first: [usize; N],
    /// Distance from one sample of a colour to the next.
    pub(super) step: usize,
    /// Samples of a row, including those that are not used.
    pub(super) length: usize,
}
