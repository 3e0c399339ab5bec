//! Reads and writes NumPy's `.npy` files, in which commands and scripts exchange embeddings.

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

/// Reads rows of float32 or int8 values.
pub(crate) fn read(path: &Path) -> Result<EmbeddingRows> {
    let bytes = std::fs::read(path).map_err(|e| CommandFailure::io(path, e))?;
    parse(&bytes).map_err(|e| CommandFailure::io(path, e))
}

fn parse(bytes: &[u8]) -> Result<EmbeddingRows, String> {
    let version = bytes.strip_prefix(b"\x93NUMPY").and_then(|rest| rest.first()).ok_or("not a .npy file")?;
    let (length, start) = match version {
        1 => (bytes.get(8..10).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]]))), 10),
        _ => (bytes.get(8..12).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize), 12),
    };
    let end = length.and_then(|length| length.checked_add(start)).ok_or("the header is cut short")?;
    let header = bytes.get(start..end).and_then(|header| std::str::from_utf8(header).ok());
    let header = header.ok_or("the header is cut short")?;
    if header.contains("'fortran_order': True") {
        return Err("the rows are stored column by column; save them with numpy.ascontiguousarray".to_owned());
    }
    let shape = header.split_once("'shape':").and_then(|(_, rest)| rest.split_once('(')?.1.split_once(')'));
    let shape: Option<Vec<usize>> = shape.and_then(|(shape, _)| {
        shape.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| part.parse().ok()).collect()
    });
    let Some([count, width]) = shape.as_deref() else { return Err("the shape is not (rows, columns)".to_owned()) };
    if *width == 0 {
        return Err("the rows have no values".to_owned());
    }
    let data = &bytes[end..];
    let values: Vec<f32> = if header.contains("'<f4'") {
        data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    } else if header.contains("'|i1'") {
        data.iter().map(|&b| f32::from(b as i8)).collect()
    } else {
        return Err("the values are neither float32 nor int8".to_owned());
    };
    match count.checked_mul(*width) {
        Some(total) if total == values.len() => Ok(EmbeddingRows { width: *width, values }),
        _ => Err(format!("the shape is {count} x {width}, the file holds {} values", values.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let rows = EmbeddingRows { width: 3, values: vec![1.0, -2.5, 0.0, f32::MIN_POSITIVE, 4.0, 5.0] };
        write(file.path(), &rows).expect("a writable file");
        let bytes = std::fs::read(file.path()).expect("a readable file");
        assert_eq!((bytes.len() - 24) % 64, 0);
        assert_eq!(parse(&bytes), Ok(rows));
    }

    #[test]
    fn other_files_are_refused() {
        for bad in [&b""[..], b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", b"hello"] {
            assert!(parse(bad).is_err());
        }
        let wide = b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (9999999, 2), }    \n";
        assert!(parse(wide).is_err());
        let narrow =
            b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3, 0), }          \n";
        assert_eq!(parse(narrow), Err("the rows have no values".to_owned()));
    }
}
