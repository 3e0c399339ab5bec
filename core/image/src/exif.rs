//! Reads the orientation from EXIF, which is a TIFF header and its first directory.

use image::metadata::Orientation;

/// The tag of the orientation.
const ORIENTATION: u16 = 0x0112;

/// The orientation in a block of EXIF. `None` if the block has no orientation, or an undefined one.
///
/// The name `Exif` and two zeros may stand in front: JPEG has them always, WebP often. The number may have one, two or
/// four bytes: the standard says two, programs write all of them.
pub(super) fn orientation(exif: &[u8]) -> Option<Orientation> {
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let number = |at: usize, bytes: usize| {
        let bytes = tiff.get(at..at.checked_add(bytes)?)?;
        let add = |sum: u32, &byte: &u8| sum << 8 | u32::from(byte);
        Some(if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    };
    let directory = number(4, 4)? as usize;
    let entries = number(directory, 2)? as usize;
    for entry in 0..entries {
        let at = directory.checked_add(2 + 12 * entry)?;
        if number(at, 2)? != u32::from(ORIENTATION) {
            continue;
        }
        let bytes = match number(at + 2, 2)? {
            1 => 1,
            3 => 2,
            4 => 4,
            _ => return None,
        };
        return Orientation::from_exif(u8::try_from(number(at + 8, bytes)?).ok()?);
    }
    None
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

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            little in any::<bool>(), at in any::<prop::sample::Index>(), value in any::<[u8; 4]>(), cut in 0usize..40,
        ) {
            let mut exif = block(little, 3, 6);
            let at = at.index(exif.len() - 4);
            exif[at..at + 4].copy_from_slice(&value);
            exif.truncate(cut);
            let _ = orientation(&exif);
        }
    }
}
