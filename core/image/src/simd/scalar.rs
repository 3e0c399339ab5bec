//! Plain Rust: the oracle of the tests, and the fallback for CPUs without the other instruction sets.

use super::lanes::{Lanes, TILE};
use crate::rows::BLOCK;

pub(super) struct Scalar;

impl Lanes for Scalar {
    type Sums = [i32; BLOCK];
    type Bytes = [u8; TILE];

    #[inline(always)]
    unsafe fn sums<const V: usize>(from: *const u8, stride: usize, weights: &[i16], half: i32) -> [Self::Sums; V] {
        let mut sums = [[half; BLOCK]; V];
        for (row, weight) in weights.iter().enumerate() {
            for (block, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the caller guarantees a row for each weight, as long as the blocks.
                let bytes: [u8; BLOCK] = unsafe { from.add(row * stride + block * BLOCK).cast::<[u8; BLOCK]>().read() };
                for (sum, byte) in sums.iter_mut().zip(bytes) {
                    *sum += i32::from(byte) * i32::from(*weight);
                }
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn store_bytes(sums: Self::Sums, shift: u32, to: *mut u8) {
        // SAFETY: guaranteed by the caller.
        unsafe { to.cast::<[u8; BLOCK]>().write(sums.map(|sum| (sum >> shift).clamp(0, 255) as u8)) }
    }

    #[inline(always)]
    unsafe fn store_words(sums: Self::Sums, shift: u32, to: *mut i16) {
        let words = sums.map(|sum| (sum >> shift).clamp(i16::MIN.into(), i16::MAX.into()) as i16);
        // SAFETY: guaranteed by the caller; the pointer is aligned, as it points into a slice of words.
        unsafe { to.cast::<[i16; BLOCK]>().write(words) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self::Bytes {
        // SAFETY: guaranteed by the caller.
        unsafe { from.cast::<[u8; TILE]>().read() }
    }

    #[inline(always)]
    unsafe fn store(bytes: Self::Bytes, to: *mut u8) {
        // SAFETY: guaranteed by the caller.
        unsafe { to.cast::<[u8; TILE]>().write(bytes) }
    }

    #[inline(always)]
    unsafe fn zip(a: Self::Bytes, b: Self::Bytes) -> [Self::Bytes; 2] {
        let mut zipped = [[0; TILE]; 2];
        for at in 0..TILE {
            zipped[2 * at / TILE][2 * at % TILE] = a[at];
            zipped[2 * at / TILE][2 * at % TILE + 1] = b[at];
        }
        zipped
    }
}
