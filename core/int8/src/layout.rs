//! How packed weights and stored activations lie in memory for an instruction set. Packing (`weights`) writes this
//! layout and the kernels (`simd`) read it; both take the order of columns from here.
//!
//! A *quad* is the four bytes that one lane multiplies and adds up in one dot product: four consecutive inputs of a matrix
//! column, or four rows of a depthwise window. A *vector* has one quad for each lane. A *panel* is up to
//! [`Layout::panel_vectors`] vectors of neighbouring columns, which a product works through from the first input to the
//! last. The weights of a panel of two vectors of four lanes (`3:5` is column 3, input 5; one row is one vector load):
//!
//! ```text
//!              lane 0           lane 1           lane 2           lane 3
//!  vector 0    0:0 0:1 0:2 0:3  1:0 1:1 1:2 1:3  2:0 2:1 2:2 2:3  3:0 3:1 3:2 3:3    inputs 0 to 3
//!  vector 1    4:0 4:1 4:2 4:3  5:0 5:1 5:2 5:3  6:0 6:1 6:2 6:3  7:0 7:1 7:2 7:3
//!  vector 0    0:4 0:5 0:6 0:7  1:4 ...                                              inputs 4 to 7
//! ```
//!
//! With more than four lanes the columns of neighbouring vectors alternate in fours, see [`column`]. Two vectors of eight
//! lanes:
//!
//! ```text
//!  vector 0    columns 0 1 2 3   8  9 10 11
//!  vector 1    columns 4 5 6 7  12 13 14 15
//! ```

/// The memory layout that the kernels of an instruction set read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Lanes of a vector: 32-bit accumulators.
    pub(crate) lanes: usize,
    /// Whether activations are stored as i8, the u8 value minus 128.
    pub(crate) signed: bool,
    /// Whether the dot product adds pairs of products in saturating 16-bit arithmetic. Matrices are then packed by
    /// `saturating`, and depthwise weights that are too large are split.
    pub(crate) saturates: bool,
    /// Consecutive inputs of a column that lie next to each other in a panel: 4, or 8 where the matrix instruction takes
    /// eight at once.
    pub(crate) column_block: usize,
    /// Vectors of a panel, at most.
    pub(crate) panel_vectors: usize,
}

/// The column, counted from the panel's first, that lane `lane` of vector `vector` holds in a panel of `vectors` vectors.
///
/// This is the order in which x86's packing instructions leave 128-bit halves, so that storing a tile needs at most one
/// shuffle.
#[inline]
pub(crate) fn column(vectors: usize, vector: usize, lane: usize) -> usize {
    (lane / 4 * vectors + vector) * 4 + lane % 4
}

/// Which window row each byte of a depthwise quad holds. The two middle rows tend to have the largest weights; kept out of
/// one pair, fewer quads have to be split for saturating arithmetic.
pub(crate) const ROW_ORDER: [usize; 4] = [0, 2, 1, 3];
