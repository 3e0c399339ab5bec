//! The photos and their vectors, in chunks, so that growing never copies them.

/// Vectors in a chunk.
const PIECE: usize = 4096;

/// A photo: the number of its vector, its listing, and its position among the listing's photos.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListedPhoto {
    pub(super) vector: usize,
    pub(super) listing: u32,
    pub(super) ordinal: u16,
}

/// A growing list of vectors of one dimension.
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

    /// Appends a vector and returns its number.
    pub(super) fn push(&mut self, vector: &[f32]) -> usize {
        debug_assert_eq!(vector.len(), self.dim);
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
