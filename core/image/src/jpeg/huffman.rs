//! Huffman codes, as tables that are looked up with the next bits.

use super::bits::Bits;

/// Bits with which a code is looked up. Longer codes are rare, and found by their length.
const FAST: u32 = 10;
/// Bits with which whole sequences of codes are skipped.
const SKIP: u32 = 12;

/// A code as the file describes it.
#[derive(Debug, Clone)]
pub(super) struct Code {
    /// Number of codes of 1 to 16 bits.
    counts: [u8; 16],
    symbols: Vec<u8>,
}

impl Code {
    /// Takes a code apart that starts with its 16 counts. Returns it with its length in bytes; none if it is cut off or
    /// has more codes of a length than there can be.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Code, usize)> {
        let counts: [u8; 16] = *bytes.first_chunk()?;
        let length: usize = counts.iter().map(|&count| usize::from(count)).sum();
        let symbols = bytes.get(16..16 + length).filter(|_| length <= 256)?.to_vec();
        let mut next = 0u32;
        for (count, bits) in counts.iter().zip(1..) {
            next = 2 * next + u32::from(*count);
            if next > 1 << bits {
                return None;
            }
        }
        Some((Code { counts, symbols }, 16 + length))
    }
}

/// What a code stands for, packed into 32 bits: see the methods. Zero marks bits that are not a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u32);

impl Entry {
    const NONE: Entry = Entry(0);
    /// The value that follows the code lies in the looked-up bits, and is part of the entry.
    const VALUE: u32 = 0x80;

    fn new(length: u32, symbol: u8) -> Entry {
        Entry(length | u32::from(symbol >> 4) << 8 | u32::from(symbol & 15) << 12)
    }

    fn with_value(length: u32, run: u32, value: i32) -> Entry {
        Entry(length | Self::VALUE | run << 8 | (value as u32) << 16)
    }

    #[inline(always)]
    pub(super) fn exists(self) -> bool {
        self.0 != 0
    }

    #[inline(always)]
    pub(super) fn has_value(self) -> bool {
        self.0 & Self::VALUE != 0
    }

    /// The value, if the entry has one.
    #[inline(always)]
    pub(super) fn value(self) -> i32 {
        self.0 as i32 >> 16
    }

    /// Bits of the code, including those of the value if the entry has it.
    #[inline(always)]
    pub(super) fn length(self) -> u32 {
        self.0 & 31
    }

    /// Upper half of the symbol: coefficients of zero in front.
    #[inline(always)]
    pub(super) fn run(self) -> usize {
        (self.0 >> 8 & 15) as usize
    }

    /// Lower half of the symbol: bits of the value. Zero if the entry has the value.
    #[inline(always)]
    pub(super) fn size(self) -> u32 {
        if self.has_value() { 0 } else { self.0 >> 12 & 15 }
    }
}

/// A code's tables.
pub(super) struct Lookup {
    fast: Box<[Entry; 1 << FAST]>,
    /// For each number of bits, from 1: the first code that is longer, moved to the top of 16 bits; and what has to be
    /// added to a code to get the place of its symbol.
    longer: [(u32, i32); 16],
    symbols: [u8; 256],
}

impl Lookup {
    pub(super) fn new(code: &Code) -> Lookup {
        let mut fast = Box::new([Entry::NONE; 1 << FAST]);
        let (mut longer, mut symbols) = ([(0, 0); 16], [0; 256]);
        symbols[..code.symbols.len()].copy_from_slice(&code.symbols);
        let (mut next, mut place) = (0u32, 0usize);
        for (at, count) in code.counts.iter().enumerate() {
            let length = at as u32 + 1;
            longer[at].1 = place as i32 - next as i32;
            for _ in 0..*count {
                if length <= FAST {
                    let free = FAST - length;
                    let first = (next << free) as usize;
                    for (bits, entry) in fast[first..first + (1 << free)].iter_mut().enumerate() {
                        *entry = short(length, symbols[place], bits as i32, free);
                    }
                }
                (next, place) = (next + 1, place + 1);
            }
            longer[at].0 = next << (16 - length);
            next *= 2;
        }
        Lookup { fast, longer, symbols }
    }

    /// The entry of the next code, not yet taken. There must be 16 bits.
    #[inline(always)]
    pub(super) fn entry(&self, bits: &Bits<'_>) -> Entry {
        let entry = self.fast[bits.peek(FAST)];
        if entry.exists() { entry } else { self.long(bits.peek(16) as u32) }
    }

    #[cold]
    fn long(&self, bits: u32) -> Entry {
        for (length, (longer, offset)) in (1..).zip(self.longer).skip(FAST as usize) {
            if bits < longer {
                let place = (bits >> (16 - length)) as i32 + offset;
                return Entry::new(length, self.symbols[place as usize & 255]);
            }
        }
        Entry::NONE
    }
}

/// The entry of a short code that is followed by these bits.
fn short(length: u32, symbol: u8, bits: i32, free: u32) -> Entry {
    let size = u32::from(symbol & 15);
    if size == 0 || size > free {
        return Entry::new(length, symbol);
    }
    Entry::with_value(length + size, u32::from(symbol >> 4), extend(bits >> (free - size), size))
}

/// The signed value of `size` bits: those that start with 0 are negative.
#[inline(always)]
pub(super) fn extend(bits: i32, size: u32) -> i32 {
    let negative = bits < (1 << size) >> 1;
    bits + if negative { 1 - (1 << size) } else { 0 }
}

/// Skips the coefficients after the first one of a block, several of them with one look.
pub(super) struct Skipper {
    /// Bits to skip, coefficients to advance times 16, and whether the block ends there. Zero if nothing fits.
    sequences: Box<[u16; 1 << SKIP]>,
}

impl Skipper {
    const END: u16 = 1 << 15;

    pub(super) fn new(lookup: &Lookup) -> Skipper {
        let mut sequences = Box::new([0; 1 << SKIP]);
        for (bits, sequence) in sequences.iter_mut().enumerate() {
            let (mut taken, mut advance, mut end) = (0, 0, 0);
            while end == 0 {
                let entry = lookup.fast[((bits << taken) & ((1 << SKIP) - 1)) >> (SKIP - FAST)];
                let length = entry.length() + entry.size();
                if !entry.exists() || taken + length > SKIP {
                    break;
                }
                if ends_block(entry) {
                    end = Self::END;
                } else if advance + entry.run() < 63 {
                    advance += entry.run() + 1;
                } else {
                    break;
                }
                taken += length;
            }
            *sequence = taken as u16 | (advance as u16) << 4 | end;
        }
        Skipper { sequences }
    }

    /// Skips the rest of a block. Returns whether its codes were valid.
    #[inline]
    pub(super) fn skip(&self, reader: &mut Bits<'_>, lookup: &Lookup) -> bool {
        let mut bits = *reader;
        let (mut at, mut valid) = (1, true);
        while at < 64 {
            bits.refill();
            let sequence = self.sequences[bits.peek(SKIP)];
            let next = at + usize::from(sequence >> 4 & 63);
            if sequence != 0 && next < 64 {
                bits.skip(u32::from(sequence & 15));
                if sequence & Self::END != 0 {
                    break;
                }
                at = next;
                continue;
            }
            // One code: it is long, or the last one of a block without an end.
            let entry = lookup.entry(&bits);
            if !entry.exists() {
                bits.skip(16);
                valid = false;
                break;
            }
            bits.skip(entry.length() + entry.size());
            if ends_block(entry) {
                break;
            }
            at += entry.run() + 1;
            valid = at <= 64;
        }
        *reader = bits;
        valid
    }
}

#[inline(always)]
fn ends_block(entry: Entry) -> bool {
    !entry.has_value() && entry.size() == 0 && entry.run() != 15
}
