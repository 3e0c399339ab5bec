//! How weights and activations are laid out for an instruction set.

/// How an instruction set wants its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Columns of a vector.
    pub(super) lanes: usize,
    /// Activations are stored as i8: the u8 value minus 128.
    pub(super) signed: bool,
    /// Two products are added in 16 bits: see `saturating`.
    pub(super) saturates: bool,
    /// Weights of a column that stand side by side in a matrix.
    pub(super) deep: usize,
    /// Vectors of a panel, at most.
    pub(super) panel: usize,
}

/// The column that lane `lane` of vector `vector` stands for, in a panel of `vectors` vectors.
///
/// It is the order that packing instructions leave, so that storing needs few shuffles or none.
pub(super) fn column(vectors: usize, vector: usize, lane: usize) -> usize {
    (lane / 4 * vectors + vector) * 4 + lane % 4
}

/// The order of a window's rows in a group of four: the two in the middle of a filter, which tend to be its largest, are
/// not neighbours, so that fewer weights have to be split.
pub(super) const ROW_ORDER: [usize; 4] = [0, 2, 1, 3];
