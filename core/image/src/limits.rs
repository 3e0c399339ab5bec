//! Limits on what decoding a photo may cost. They are checked before memory is allocated: the bytes are untrusted.

use crate::error::PhotoError;

/// Limits on decoding one photo.
///
/// The defaults accept the photos of all phones (200 megapixels as JPEG) and refuse decompression bombs. Within 384 MiB
/// of memory, a PNG may have 134 megapixels (3 bytes per pixel), a WebP with alpha 57 (7 bytes). A JPEG that is decoded at 1/8 takes a
/// fraction of that. A progressive one at 1/4 or 1/2 is held as coefficients, 2 bytes per sample: 100 megapixels or more.
///
/// Work is counted, and time is not: the same file gives the same result, however busy the machine is. The work on a PNG
/// or WebP is bounded by its pixels and bytes. A JPEG may have many scans, each over all of its blocks, in few bytes.
///
/// ```
/// use magpie_image::DecodeLimits;
///
/// let limits = DecodeLimits::default().with_max_bytes(8 << 20).with_max_blocks(1 << 22);
/// assert_eq!(limits.max_bytes, 8_388_608);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeLimits {
    /// Largest size of the file, in bytes.
    pub max_bytes: u64,
    /// Largest size of the picture in the header, in pixels.
    pub max_pixels: u64,
    /// Largest amount of memory for decoding, in bytes.
    pub max_memory: u64,
    /// Largest number of 8 x 8 blocks that a JPEG's scans may visit, all scans together.
    ///
    /// A scan counts as 4,096 blocks at least, since its tables have to be built. A progressive photo of 67 megapixels
    /// with the ten scans of libjpeg visits about 15 million blocks.
    pub max_blocks: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        DecodeLimits { max_bytes: 64 << 20, max_pixels: 256 << 20, max_memory: 384 << 20, max_blocks: 1 << 26 }
    }
}

impl DecodeLimits {
    /// Sets the largest size of the file, in bytes.
    #[must_use]
    pub fn with_max_bytes(mut self, bytes: u64) -> DecodeLimits {
        self.max_bytes = bytes;
        self
    }

    /// Sets the largest size of the picture in the header, in pixels.
    #[must_use]
    pub fn with_max_pixels(mut self, pixels: u64) -> DecodeLimits {
        self.max_pixels = pixels;
        self
    }

    /// Sets the largest amount of memory for decoding, in bytes.
    #[must_use]
    pub fn with_max_memory(mut self, bytes: u64) -> DecodeLimits {
        self.max_memory = bytes;
        self
    }

    /// Sets the largest number of 8 x 8 blocks that a JPEG's scans may visit.
    #[must_use]
    pub fn with_max_blocks(mut self, blocks: u64) -> DecodeLimits {
        self.max_blocks = blocks;
        self
    }

    pub(super) fn check_bytes(&self, bytes: &[u8]) -> Result<(), PhotoError> {
        match bytes.len() as u64 {
            0 => Err(PhotoError::Empty),
            bytes if bytes > self.max_bytes => Err(PhotoError::TooManyBytes { bytes, limit: self.max_bytes }),
            _ => Ok(()),
        }
    }

    /// Checks the size in the header; `bytes_per_pixel` is the memory that the decoder will hold for each pixel.
    pub(super) fn check_size(&self, width: u32, height: u32, bytes_per_pixel: u64) -> Result<(), PhotoError> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            return Err(PhotoError::TooManyPixels { width, height, limit: self.max_pixels });
        }
        let bytes = pixels * bytes_per_pixel;
        if bytes > self.max_memory {
            return Err(PhotoError::TooMuchMemory { bytes, limit: self.max_memory });
        }
        Ok(())
    }
}
