//! Reads the orientation and the colour space from EXIF, which is a TIFF header and directories of tags.

use image::metadata::Orientation;

/// The orientation, in the first directory.
const ORIENTATION: u16 = 0x0112;

/// The place of the directory with the tags that EXIF adds, and there, of the one on interoperability.
const EXIF: u16 = 0x8769;
const INTEROPERABILITY: u16 = 0xa005;

/// The colour space, among the tags that EXIF adds, and the name of the rules, in the directory on interoperability.
const COLOUR_SPACE: u16 = 0xa001;
const RULES: u16 = 0x0001;

/// The orientation in a block of EXIF. `None` if the block has no orientation, or an undefined one.
///
/// The name `Exif` and two zeros may stand in front: JPEG has them always, WebP often. The number may have one, two or
/// four bytes: the standard says two, programs write all of them.
pub(super) fn orientation(exif: &[u8]) -> Option<Orientation> {
    let tiff = Tiff::open(exif)?;
    let value = tiff.value(tiff.number(4, 4)?, ORIENTATION)?;
    Orientation::from_exif(u8::try_from(value).ok()?)
}

/// Whether a block of EXIF says that the colours are Adobe RGB, as cameras do that were set to it.
///
/// The standard has no number for it: cameras write "uncalibrated", and the rules R03 of the file names of their folders.
/// Some programs write 2.
pub(super) fn is_adobe_rgb(exif: &[u8]) -> bool {
    let found = || {
        let tiff = Tiff::open(exif)?;
        let directory = tiff.value(tiff.number(4, 4)?, EXIF)?;
        let space = tiff.value(directory, COLOUR_SPACE)?;
        let rules = || tiff.entry(tiff.value(directory, INTEROPERABILITY)?, RULES);
        let is_r03 = |at: usize| tiff.bytes.get(at + 8..).is_some_and(|text| text.starts_with(b"R03"));
        Some(space == 2 || space == 0xffff && rules().is_some_and(is_r03))
    };
    found().unwrap_or(false)
}

struct Tiff<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl<'a> Tiff<'a> {
    fn open(exif: &'a [u8]) -> Option<Tiff<'a>> {
        let bytes = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        let little = match bytes.get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        Some(Tiff { bytes, little })
    }

    fn number(&self, at: usize, bytes: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(bytes)?)?;
        let add = |sum: u32, &byte: &u8| sum << 8 | u32::from(byte);
        Some(if self.little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    }

    /// The place of a tag's entry in a directory. The first counts.
    fn entry(&self, directory: u32, tag: u16) -> Option<usize> {
        let entries = self.number(directory as usize, 2)?;
        let place = |entry: u32| (directory as usize).checked_add(2 + 12 * entry as usize);
        let mut places = (0..entries).map_while(place);
        places.find_map(|at| match self.number(at, 2) {
            Some(found) if found == u32::from(tag) => Some(Some(at)),
            Some(_) => None,
            None => Some(None),
        })?
    }

    /// The number that a tag has in its entry.
    fn value(&self, directory: u32, tag: u16) -> Option<u32> {
        let at = self.entry(directory, tag)?;
        let bytes = match self.number(at + 2, 2)? {
            1 => 1,
            3 => 2,
            4 => 4,
            _ => return None,
        };
        self.number(at + 8, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A block with a date and the orientation.
    fn block(little: bool, kind: u16, value: u32) -> Vec<u8> {
        let two = |n: u16| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let four = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let mut value = match kind {
            1 => vec![value as u8],
            3 => two(value as u16).to_vec(),
            _ => four(value).to_vec(),
        };
        value.resize(4, 0);
        let mut block = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        block.extend([&four(8)[..], &two(2), &two(0x100), &two(4), &four(1), &four(640)].concat());
        block.extend([&two(0x112)[..], &two(kind), &four(1), &value].concat());
        block.extend(four(0));
        block
    }

    #[test]
    fn every_way_to_write_an_orientation_is_read() {
        for little in [true, false] {
            for kind in [1, 3, 4] {
                for value in 1..=8 {
                    let exif = block(little, kind, value);
                    let expected = Orientation::from_exif(value as u8);
                    assert_eq!(orientation(&exif), expected, "{little}, {kind}, {value}");
                    assert_eq!(orientation(&[b"Exif\0\0", &exif[..]].concat()), expected);
                }
                assert_eq!(orientation(&block(little, kind, 0)), None);
                assert_eq!(orientation(&block(little, kind, 9)), None);
            }
            assert_eq!(orientation(&block(little, 4, 0x106)), None);
            assert_eq!(orientation(&block(little, 7, 6)), None);
        }
    }

    #[test]
    fn adobe_rgb_is_what_cameras_write_for_it() {
        // The first directory at 8, EXIF's at 26, the one on interoperability at 56.
        let camera = |space: u16, rules: &[u8; 4]| {
            let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
                [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value].concat()
            };
            let [high, low] = space.to_be_bytes();
            let mut block = b"Exif\0\0MM\0*\0\0\0\x08\0\x01".to_vec();
            block.extend(entry(EXIF, 4, 1, [0, 0, 0, 26]));
            block.extend([0, 0, 0, 0, 0, 2]);
            block.extend(entry(COLOUR_SPACE, 3, 1, [high, low, 0, 0]));
            block.extend(entry(INTEROPERABILITY, 4, 1, [0, 0, 0, 56]));
            block.extend([0, 0, 0, 0, 0, 1]);
            block.extend(entry(RULES, 2, 4, *rules));
            block
        };
        let found = |space, rules| is_adobe_rgb(&camera(space, rules));
        assert!(found(0xffff, b"R03\0") && found(2, b"R98\0"));
        assert!(!found(1, b"R03\0") && !found(0xffff, b"R98\0") && !is_adobe_rgb(&block(true, 3, 6)));
        let whole = camera(0xffff, b"R03\0");
        (0..whole.len() - 1).for_each(|cut| assert!(!is_adobe_rgb(&whole[..cut]), "{cut}"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            little in any::<bool>(), at in any::<prop::sample::Index>(), value in any::<[u8; 4]>(), cut in 0usize..40,
        ) {
            let mut exif = block(little, 3, 6);
            let at = at.index(exif.len() - 4);
            exif[at..at + 4].copy_from_slice(&value);
            exif.truncate(cut);
            let _ = (orientation(&exif), is_adobe_rgb(&exif));
        }
    }
}
