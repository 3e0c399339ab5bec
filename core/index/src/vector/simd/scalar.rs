//! Plain Rust: runs on every CPU, and is the reference for the other versions.

use crate::vector::layout::BLOCK;
use crate::vector::sign::{Job, Scan};

pub(super) fn dot(codes: &[i8], query: &[i16], products: &mut [i32], row: impl Fn(usize) -> usize) {
    for (at, product) in products.iter_mut().enumerate() {
        let code = &codes[row(at) * query.len()..][..query.len()];
        *product = code.iter().zip(query).map(|(&c, &q)| i32::from(c) * i32::from(q)).sum();
    }
}

pub(super) fn signed(codes: &[u8], signs: &[u32], query: &[i16], picked: &[u32], products: &mut [i32]) {
    let words = query.len() / 32;
    for (at, (product, &row)) in products.iter_mut().zip(picked).enumerate() {
        let code = &codes[row as usize * query.len()..][..query.len()];
        let signs = &signs[at * words..][..words];
        let coordinate = |(i, (&byte, &q)): (usize, (&u8, &i16))| {
            let odd = 2 * i32::from(byte) + 1;
            i32::from(q) * if signs[i / 32] >> (i % 32) & 1 == 1 { odd } else { -odd }
        };
        *product = code.iter().zip(query).enumerate().map(coordinate).sum();
    }
}

pub(super) fn scan<'a>(jobs: impl Iterator<Item = Job<'a>>, scan: &Scan<'_>) {
    for (((block, &wanted), estimates), above) in jobs {
        *above = 0;
        if wanted == 0 {
            continue;
        }
        let (signs, lines) = block.split_at(scan.table.len());
        let mut sums = [0u16; BLOCK];
        for (signs, entries) in signs.chunks_exact(16).zip(scan.table.chunks_exact(16)) {
            for (j, byte) in signs.iter().enumerate() {
                sums[j] += u16::from(entries[usize::from(byte & 15)]);
                sums[j + 16] += u16::from(entries[usize::from(byte >> 4)]);
            }
        }
        let number = |at: usize| f32::from(u16::from_le_bytes([lines[2 * at], lines[2 * at + 1]]));
        for (j, (estimate, sum)) in estimates.iter_mut().zip(sums).enumerate() {
            let (slope, offset) = (number(j), number(j + BLOCK));
            *estimate = slope * (f32::from(sum) * scan.gain + scan.shift) + (offset * scan.offset_unit + scan.base);
            *above |= u32::from(*estimate >= scan.threshold) << j;
        }
        *above &= wanted;
    }
}
