//! Reads the bits of a scan, and finds the markers between the parts of a file.
//!
//! Inside a scan a byte 0xFF is followed by a stuffed zero. Any other byte after it is a marker, where the bits end: from
//! there on the reader delivers zeros, and [`Bits::overrun`] tells that some of them were used.

/// Fewest bits that are buffered after a refill: a code of 16 bits and a value of 15.
const ENOUGH: u32 = 32;

/// A position in a scan's bits. It is small and copied into the loops that decode a block, so that it stays in registers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The first byte that is not buffered yet. Never past a marker, and never past the end.
    at: usize,
    /// The next bits, from the top. Bits below the valid ones are zero or those that the next refill puts there.
    buffer: u64,
    /// Valid bits in the buffer.
    count: u32,
    /// Zero bits that were appended because the data had ended.
    padding: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Bits { bytes, at: at.min(bytes.len()), buffer: 0, count: 0, padding: 0 }
    }

    /// The same bytes from another place on.
    pub(super) fn at(self, at: usize) -> Self {
        Bits::new(self.bytes, at)
    }

    /// Makes sure that 31 bits can be taken.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if self.count < ENOUGH {
            *self = self.filled();
        }
    }

    #[inline(always)]
    fn filled(mut self) -> Self {
        if let Some(next) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_be_bytes(*next);
            if !has_marker_byte(word) {
                self.buffer |= word >> self.count;
                let bytes = (63 - self.count) / 8;
                self.at += bytes as usize;
                self.count += 8 * bytes;
                return self;
            }
        }
        self.filled_bytewise()
    }

    #[cold]
    #[inline(never)]
    fn filled_bytewise(mut self) -> Self {
        while self.count <= 56 {
            let byte = self.next_byte().unwrap_or_else(|| {
                self.padding = self.padding.saturating_add(8);
                0
            });
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
        self
    }

    /// The next byte of data; none at a marker and at the end.
    fn next_byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        if byte != 0xff {
            self.at += 1;
            return Some(byte);
        }
        // 0xFF may be repeated; only the last one counts. Going there now keeps later calls from searching again.
        while self.bytes.get(self.at + 1) == Some(&0xff) {
            self.at += 1;
        }
        if self.bytes.get(self.at + 1) == Some(&0) {
            self.at += 2;
            return Some(0xff);
        }
        None
    }

    /// The next `count` bits, 1 to 31, without taking them.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> usize {
        (self.buffer >> (64 - count)) as usize
    }

    /// Takes up to 31 bits. [`refill`](Self::refill) must have been called for them.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.buffer <<= count & 63;
        self.count = self.count.wrapping_sub(count);
    }

    /// Takes and returns `count` bits, 0 to 15.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> i32 {
        let value = ((self.buffer >> 1) >> (63 - count)) as i32;
        self.skip(count);
        value
    }

    /// Takes one bit, refilling as needed.
    #[inline(always)]
    pub(super) fn bit(&mut self) -> bool {
        self.refill();
        self.take(1) == 1
    }

    /// Whether more bits were taken than there are.
    pub(super) fn overrun(&self) -> bool {
        self.padding > self.count
    }

    /// The first byte that was not read: the next marker is there or later.
    pub(super) fn position(&self) -> usize {
        self.at
    }
}

/// Whether one of the eight bytes is 0xFF.
#[inline(always)]
fn has_marker_byte(word: u64) -> bool {
    let inverted = !word;
    inverted.wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 != 0
}

/// A marker in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) code: u8,
    /// The byte 0xFF before the code.
    pub(super) start: usize,
}

impl Marker {
    /// The byte after the code.
    pub(super) fn end(self) -> usize {
        self.start + 2
    }

    /// The number of a restart marker, 0 to 7.
    pub(super) fn restart(self) -> Option<u8> {
        (0xd0..=0xd7).contains(&self.code).then(|| self.code - 0xd0)
    }
}

/// Finds the next marker. Stuffed bytes, fill bytes and whatever else lies in between are skipped.
pub(super) fn next_marker(bytes: &[u8], from: usize) -> Option<Marker> {
    let mut at = from;
    loop {
        // Eight bytes at a time: in a progressive photo most of the file is searched, and not decoded.
        while let Some(next) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            if has_marker_byte(u64::from_be_bytes(*next)) {
                break;
            }
            at += 8;
        }
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        let fill = bytes[at + 1..].iter().position(|&byte| byte != 0xff)?;
        let (start, code) = (at + fill, bytes[at + 1 + fill]);
        if code != 0 {
            return Some(Marker { code, start });
        }
        at = start + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::cases;
    use proptest::prelude::*;

    #[test]
    fn markers_are_found_behind_stuffing_and_fill_bytes() {
        let mut bytes = vec![1; 21];
        bytes.extend([0xff, 0, 7, 0xff, 0xff, 0xff, 0xd3, 9]);
        let marker = next_marker(&bytes, 0).expect("there is one");
        assert_eq!((marker.start, marker.end(), marker.restart()), (26, 28, Some(3)));
        assert_eq!(next_marker(&bytes, 27), None);
        assert_eq!(next_marker(&[0xff, 0xff], 0), None);
        assert_eq!(next_marker(&[], 5), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(2000)))]

        /// Whatever lengths are taken, the bits are those of the bytes, and then zeros.
        #[test]
        fn bits_are_those_of_the_bytes(
            bytes in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(0xff)], 0..60),
            lengths in prop::collection::vec(0u32..16, 1..80),
        ) {
            let stuffed: Vec<u8> =
                bytes.iter().flat_map(|&b| [b, 0].into_iter().take(1 + usize::from(b == 0xff))).collect();
            let stuffed = [&stuffed[..], &[0xff, 0xd9]].concat();
            let mut reader = Bits::new(&stuffed, 0);
            let mut taken = 0;
            for length in lengths {
                reader.refill();
                let expected = (taken..taken + length as usize).fold(0, |value, at| {
                    value << 1 | bytes.get(at / 8).map_or(0, |byte| i32::from(byte >> (7 - at % 8) & 1))
                });
                prop_assert_eq!(reader.take(length), expected);
                taken += length as usize;
                prop_assert_eq!(reader.overrun(), taken > 8 * bytes.len());
            }
            prop_assert!(reader.position() <= stuffed.len() - 2);
        }
    }
}
