//! Reads `.npy` files of two-dimensional little-endian f32 arrays, row by row.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::Outcome;

/// An iterator over the remaining rows of an open file.
pub(crate) struct Rows {
    file: BufReader<File>,
    left: usize,
    dim: usize,
}

impl Rows {
    pub(crate) fn open(path: &Path) -> Outcome<Rows> {
        let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut start = [0; 10];
        file.read_exact(&mut start)?;
        if &start[..7] != b"\x93NUMPY\x01" {
            return Err("not an .npy file of version 1".into());
        }
        let mut header = vec![0; usize::from(u16::from_le_bytes([start[8], start[9]]))];
        file.read_exact(&mut header)?;
        let header = String::from_utf8(header)?;
        if !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
            return Err(format!("expected rows of <f4, found {header}").into());
        }
        let shape = header.split('(').nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
        let shape: Vec<usize> = shape.split(',').map(|number| number.trim().parse()).collect::<Result<_, _>>()?;
        let &[left, dim] = shape.as_slice() else { return Err("expected two dimensions".into()) };
        Ok(Rows { file, left, dim })
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }
}

impl Iterator for Rows {
    type Item = Outcome<Vec<f32>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut bytes = vec![0; self.dim * 4];
        let row = self.file.read_exact(&mut bytes).map_err(Into::into);
        Some(row.map(|()| bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()))
    }
}
