//! Decodes the coefficients of one block.

use super::bits::Bits;
use super::huffman::{Entry, Lookup, extend};
use super::segments::ZIGZAG;

/// Reads the difference of a block's first coefficient to that of the block before. None if the code is invalid.
#[inline(always)]
pub(super) fn difference(bits: &mut Bits<'_>, dc: &Lookup) -> Option<i32> {
    bits.refill();
    let entry = dc.entry(bits);
    if !entry.exists() || entry.run() != 0 {
        bits.skip(16);
        return None;
    }
    bits.skip(entry.length());
    Some(value(bits, entry))
}

#[inline(always)]
fn value(bits: &mut Bits<'_>, entry: Entry) -> i32 {
    if entry.has_value() {
        return entry.value();
    }
    let size = entry.size();
    extend(bits.take(size), size)
}

/// Reads the coefficients after the first one of a sequential block, in rows. Returns whether all codes were valid.
#[inline]
pub(super) fn sequential(reader: &mut Bits<'_>, ac: &Lookup, block: &mut [i16; 64]) -> bool {
    let mut bits = *reader;
    let (mut at, mut valid) = (1, true);
    while at < 64 {
        bits.refill();
        let entry = ac.entry(&bits);
        if !entry.exists() {
            bits.skip(16);
            valid = false;
            break;
        }
        bits.skip(entry.length());
        if !entry.has_value() && entry.size() == 0 {
            if entry.run() != 15 {
                break;
            }
            at += 16;
            continue;
        }
        at += entry.run();
        let value = value(&mut bits, entry);
        if at > 63 {
            valid = false;
            break;
        }
        block[usize::from(ZIGZAG[at])] = value as i16;
        at += 1;
    }
    *reader = bits;
    valid && at <= 64
}

/// A scan of a progressive picture for coefficients after the first one.
pub(super) struct Band {
    /// First and last coefficient.
    pub(super) band: (usize, usize),
    pub(super) shift: u32,
    /// Blocks that end without any code of their own.
    pub(super) ended: u32,
}

impl Band {
    /// Reads coefficients for the first time. Returns whether all codes were valid.
    pub(super) fn first(&mut self, bits: &mut Bits<'_>, ac: &Lookup, block: &mut [i16]) -> bool {
        if self.ended > 0 {
            self.ended -= 1;
            return true;
        }
        let mut at = self.band.0;
        while at <= self.band.1 {
            bits.refill();
            let entry = ac.entry(bits);
            if !entry.exists() {
                bits.skip(16);
                return false;
            }
            bits.skip(entry.length());
            if !entry.has_value() && entry.size() == 0 {
                if entry.run() != 15 {
                    self.ended = self.end(bits, entry) - 1;
                    break;
                }
                at += 16;
                continue;
            }
            at += entry.run();
            let value = value(bits, entry);
            if at > 63 {
                return false;
            }
            block[usize::from(ZIGZAG[at])] = (value << self.shift) as i16;
            at += 1;
        }
        true
    }

    /// Blocks that end with this code, with the present one.
    fn end(&self, bits: &mut Bits<'_>, entry: Entry) -> u32 {
        let run = entry.run() as u32;
        (1 << run) + bits.take(run) as u32
    }

    /// Reads one more bit of each coefficient. Returns whether all codes were valid.
    pub(super) fn refine(&mut self, bits: &mut Bits<'_>, ac: &Lookup, block: &mut [i16]) -> bool {
        let step = 1i16 << self.shift;
        let mut at = self.band.0;
        let mut valid = true;
        while self.ended == 0 && at <= self.band.1 {
            bits.refill();
            // An entry with a value has taken one bit of it, which is all that there may be.
            let entry = ac.entry(bits);
            if !entry.exists() || entry.size() > 1 || (entry.has_value() && entry.value().abs() != 1) {
                bits.skip(16);
                return false;
            }
            bits.skip(entry.length());
            let mut new = 0;
            if entry.has_value() || entry.size() == 1 {
                new = if value(bits, entry) > 0 { step } else { -step };
            } else if entry.run() != 15 {
                self.ended = self.end(bits, entry);
                break;
            }
            // Zeros are passed as the run says; what is not zero has a bit here.
            let mut zeros = entry.run();
            loop {
                if at > self.band.1 {
                    valid = new == 0;
                    break;
                }
                let coefficient = &mut block[usize::from(ZIGZAG[at & 63])];
                at += 1;
                if *coefficient != 0 {
                    correct(coefficient, step, bits);
                } else if zeros == 0 {
                    *coefficient = new;
                    break;
                } else {
                    zeros -= 1;
                }
            }
        }
        if self.ended > 0 {
            for place in &ZIGZAG[at..=self.band.1.max(at - 1)] {
                let coefficient = &mut block[usize::from(*place)];
                if *coefficient != 0 {
                    correct(coefficient, step, bits);
                }
            }
            self.ended -= 1;
        }
        valid
    }
}

fn correct(coefficient: &mut i16, step: i16, bits: &mut Bits<'_>) {
    // A bit that is set already was set by a damaged or repeated scan.
    if bits.bit() && *coefficient & step == 0 {
        *coefficient = coefficient.wrapping_add(if *coefficient > 0 { step } else { -step });
    }
}
