//! Small grey pictures.

/// Brightness without colour, 0 to 255: what tells a sharp, steady frame from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Luma {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `width * height` bytes, row after row.
    pub values: Vec<u8>,
}
