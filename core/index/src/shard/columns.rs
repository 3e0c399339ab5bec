//! Filter columns: one value for each photo, so that a scan needs no look-up by listing.

use serde::{Deserialize, Serialize};

/// The type of a filter column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ColumnKind {
    /// One of a sorted set of words; compared for equality only.
    Word,
    /// A number; also compared by size.
    Number,
}

/// A filter column, with values in the order of photo rows.
#[derive(Debug, Clone, Copy)]
pub enum Column<'a> {
    /// `values[row]` is 0 for a photo without a value, otherwise 1 + the position in `words`.
    Word {
        /// One code for each photo.
        values: WordCodes<'a>,
        /// The words, sorted by their bytes.
        words: Words<'a>,
    },
    /// `values[row]` is NaN for a photo without a value.
    Number {
        /// One number for each photo.
        values: &'a [f64],
    },
}

/// The word code of each photo, in the narrowest integers that the number of words allows.
#[derive(Debug, Clone, Copy)]
pub enum WordCodes<'a> {
    /// At most 255 words.
    One(&'a [u8]),
    /// At most 65,535 words.
    Two(&'a [u16]),
    /// More.
    Four(&'a [u32]),
}

impl<'a> WordCodes<'a> {
    /// Returns the bytes of a code in a column with this many words.
    pub(super) fn width(words: usize) -> usize {
        match words {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 4,
        }
    }

    pub(super) fn read(section: &'a [u8], words: usize) -> Result<Self, String> {
        match WordCodes::width(words) {
            1 => Ok(WordCodes::One(section)),
            2 => bytemuck::try_cast_slice(section).map(WordCodes::Two).map_err(|e| e.to_string()),
            _ => bytemuck::try_cast_slice(section).map(WordCodes::Four).map_err(|e| e.to_string()),
        }
    }

    #[cfg(feature = "build")]
    pub(super) fn write(codes: &[u32], words: usize) -> Vec<u8> {
        let width = WordCodes::width(words);
        codes.iter().flat_map(|code| code.to_le_bytes().into_iter().take(width)).collect()
    }

    /// Returns the code of a photo; 0 for a row beyond the end.
    pub fn get(&self, row: usize) -> u32 {
        match self {
            WordCodes::One(codes) => codes.get(row).map_or(0, |&code| code.into()),
            WordCodes::Two(codes) => codes.get(row).map_or(0, |&code| code.into()),
            WordCodes::Four(codes) => codes.get(row).copied().unwrap_or(0),
        }
    }
}

/// The sorted words of a column: `count` as `u32`, `count + 1` offsets as `u32`, then the UTF-8 bytes.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    offsets: &'a [u32],
    bytes: &'a [u8],
}

impl<'a> Words<'a> {
    /// Reads a section and checks its count; the offsets are checked when they are used.
    pub(crate) fn read(section: &'a [u8]) -> Result<Self, String> {
        let short = || format!("{} bytes are too few for its words", section.len());
        let count = section.get(..4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).ok_or_else(short)? as usize;
        let table = count.checked_add(1).and_then(|n| n.checked_mul(4)).and_then(|n| n.checked_add(4));
        let table = table.filter(|&end| end <= section.len()).ok_or_else(short)?;
        let offsets = bytemuck::try_cast_slice(&section[4..table]).map_err(|e| e.to_string())?;
        Ok(Words { offsets, bytes: &section[table..] })
    }

    /// Returns the section of these words, which are sorted; `None` where they are too long for one.
    pub(crate) fn write<T: AsRef<str>>(words: &[T]) -> Option<Vec<u8>> {
        let mut section = u32::try_from(words.len()).ok()?.to_le_bytes().to_vec();
        let mut end = 0u32;
        section.extend(end.to_le_bytes());
        for word in words {
            end = end.checked_add(u32::try_from(word.as_ref().len()).ok()?)?;
            section.extend(end.to_le_bytes());
        }
        words.iter().for_each(|word| section.extend(word.as_ref().as_bytes()));
        Some(section)
    }

    /// The number of words.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether the column has no words.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the word at a position; `None` beyond the end or where the file is damaged.
    pub fn get(&self, at: usize) -> Option<&'a str> {
        let (from, to) = (*self.offsets.get(at)? as usize, *self.offsets.get(at.checked_add(1)?)? as usize);
        std::str::from_utf8(self.bytes.get(from..to)?).ok()
    }

    /// Returns the code of a word in the column's values, 1 + its position; `None` where the column lacks it.
    pub fn code(&self, word: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle)?.cmp(word) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return u32::try_from(middle + 1).ok(),
            }
        }
        None
    }

    /// Checks the order and encoding of all words, and that they fill the section.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut last = None;
        for at in 0..self.len() {
            let word = self.get(at).ok_or_else(|| format!("word {at} has wrong offsets or is not UTF-8"))?;
            if last.is_some_and(|last| last >= word) {
                return Err(format!("word {at} is not in ascending order"));
            }
            last = Some(word);
        }
        debug_assert!(!self.offsets.is_empty());
        let end = self.offsets.last().copied().unwrap_or(0) as usize;
        if self.offsets.first() != Some(&0) || end != self.bytes.len() {
            return Err(format!("the words end at {end} of {} bytes", self.bytes.len()));
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "build"))]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_by_code_and_code_by_word() {
        let words: Vec<String> = ["Bags", "Mugs", "Teller"].map(str::to_owned).to_vec();
        let section = Words::write(&words).expect("small");
        let read = Words::read(&section).expect("just written");
        assert_eq!(read.check(), Ok(()));
        for (at, word) in words.iter().enumerate() {
            assert_eq!((read.get(at), read.code(word)), (Some(word.as_str()), Some(at as u32 + 1)));
        }
        assert_eq!((read.get(3), read.code("Mug"), read.code("")), (None, None, None));
    }

    #[test]
    fn damaged_words_are_rejected_or_not_found() {
        let section = Words::write(&["a".to_owned(), "b".to_owned()]).expect("small");
        for cut in 0..section.len() {
            let Ok(read) = Words::read(&section[..cut]) else { continue };
            assert!(read.check().is_err(), "{cut}");
            read.code("b");
        }
        let huge = [0xff; 16];
        assert!(Words::read(&huge).is_err());
    }
}
