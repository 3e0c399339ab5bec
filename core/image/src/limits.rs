//! Limits on what decoding a photo may cost. They are checked before memory is allocated: the bytes are untrusted.

use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use crate::error::PhotoError;

/// Limits on decoding one photo.
///
/// The defaults accept the photos of all phones (200 megapixels as baseline JPEG) and refuse decompression bombs.
/// Within 384 MiB of memory, a progressive JPEG may have 67 megapixels (6 bytes per pixel) and a PNG with alpha 57 (7
/// bytes).
///
/// ```
/// use magpie_image::DecodeLimits;
/// use std::time::Duration;
///
/// let limits = DecodeLimits::default().with_max_bytes(8 << 20).with_max_time(Duration::from_secs(1));
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
    /// Longest time for decoding.
    pub max_time: Duration,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        DecodeLimits {
            max_bytes: 64 << 20,
            max_pixels: 256 << 20,
            max_memory: 384 << 20,
            max_time: Duration::from_secs(10),
        }
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

    /// Sets the longest time for decoding.
    #[must_use]
    pub fn with_max_time(mut self, time: Duration) -> DecodeLimits {
        self.max_time = time;
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

/// Bytes that a decoder gets between two checks of the clock.
const CHUNK: usize = 16 << 10;

/// Reads a photo's bytes in small chunks and fails once the time limit has passed.
///
/// A decoder cannot be interrupted, but it has to ask for more bytes. This bounds the time of, for example, a file of a
/// few megabytes that consists of thousands of progressive scans.
pub(super) struct TimedReader<'a> {
    bytes: &'a [u8],
    at: usize,
    started: Instant,
    limit: Duration,
}

impl<'a> TimedReader<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: &DecodeLimits) -> Self {
        TimedReader { bytes, at: 0, started: Instant::now(), limit: limits.max_time }
    }

    fn rest(&self) -> io::Result<&'a [u8]> {
        if self.started.elapsed() > self.limit {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "decoding took too long"));
        }
        // A decoder may seek past the end: there is nothing to read then.
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        Ok(&rest[..rest.len().min(CHUNK)])
    }
}

impl Read for TimedReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut rest = self.rest()?;
        let read = rest.read(into)?;
        self.at += read;
        Ok(read)
    }
}

impl BufRead for TimedReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.rest()
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Seek for TimedReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => i128::from(at),
            SeekFrom::End(by) => self.bytes.len() as i128 + i128::from(by),
            SeekFrom::Current(by) => self.at as i128 + i128::from(by),
        };
        self.at = usize::try_from(target).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at as u64)
    }
}
