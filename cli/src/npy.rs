//! Writes NumPy's `.npy` files, in which scripts get embeddings.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::failure::{CommandFailure, Result};

/// Rows of equal length, one after the other.
#[derive(Debug, PartialEq)]
pub(crate) struct EmbeddingRows {
    /// Values per row, at least one.
    pub(crate) width: usize,
    pub(crate) values: Vec<f32>,
}

impl EmbeddingRows {
    /// Returns the number of rows.
    pub(crate) fn count(&self) -> usize {
        debug_assert!(self.width > 0, "rows without values");
        self.values.len().checked_div(self.width).unwrap_or(0)
    }
}

/// Writes format version 1.0: magic, header padded to a multiple of 64 bytes, little-endian float32 values.
pub(crate) fn write(path: &Path, rows: &EmbeddingRows) -> Result<()> {
    let shape = format!("({}, {})", rows.count(), rows.width);
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let fill = 63 - (10 + header.len()) % 64;
    header.push_str(&" ".repeat(fill));
    header.push('\n');
    let save = || {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(header.len() as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        rows.values.iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))?;
        file.flush()
    };
    save().map_err(|e: std::io::Error| CommandFailure::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_layout_that_numpy_reads() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let rows = EmbeddingRows { width: 3, values: vec![1.0, -2.5, 0.0, f32::MIN_POSITIVE, 4.0, 5.0] };
        write(file.path(), &rows).expect("a writable file");
        let bytes = std::fs::read(file.path()).expect("a readable file");
        let (header, values) = bytes.split_at(bytes.len() - 24);
        assert_eq!((header.len() % 64, &header[..8]), (0, &b"\x93NUMPY\x01\x00"[..]));
        assert_eq!(usize::from(u16::from_le_bytes([header[8], header[9]])), header.len() - 10);
        let text = std::str::from_utf8(&header[10..]).expect("text");
        assert_eq!(text.trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
        assert!(text.ends_with('\n'));
        let read: Vec<f32> = values.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect();
        assert_eq!(read, rows.values);
    }
}
