//! The vectors of all photos, in pieces: growing never copies them all.

/// Vectors in a piece.
const PIECE: usize = 4096;

/// Vectors of one dimension.
pub(super) struct Vectors {
    dim: usize,
    len: usize,
    pieces: Vec<Vec<f32>>,
}

impl Vectors {
    pub(super) fn new(dim: usize) -> Self {
        Vectors { dim, len: 0, pieces: Vec::new() }
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends a vector of the dimension and returns its number.
    pub(super) fn push(&mut self, vector: &[f32]) -> usize {
        if self.len.is_multiple_of(PIECE) {
            self.pieces.push(Vec::new());
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.extend(vector);
        }
        self.len += 1;
        self.len - 1
    }

    pub(super) fn get(&self, at: usize) -> &[f32] {
        &self.pieces[at / PIECE][at % PIECE * self.dim..][..self.dim]
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut [f32] {
        &mut self.pieces[at / PIECE][at % PIECE * self.dim..][..self.dim]
    }
}
