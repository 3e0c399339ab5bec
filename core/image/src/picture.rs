//! Small upright pictures: what photos and frames become.

/// The network's input before normalisation: upright RGB pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRgb {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `3 * width * height` bytes, row after row, red, green and blue interleaved.
    pub rgb: Vec<u8>,
}

/// A small upright grey picture, 0 to 255, by which [`live`](crate::live) judges sharpness and motion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Luma {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `width * height` bytes, row after row.
    pub values: Vec<u8>,
}
