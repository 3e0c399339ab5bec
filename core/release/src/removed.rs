//! The file of a delta with the ids of the listings that are gone.

use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"MAGPIE\x1aD";
const WHAT: &str = "removed listings";

/// Reads the ids, which are in ascending order.
///
/// # Errors
/// [`Error::Malformed`].
pub fn read_removed(bytes: &[u8]) -> Result<Vec<String>> {
    let wrong = |detail: &str| Error::malformed(WHAT, detail);
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| wrong("the first bytes do not match"))?;
    let (count, mut rest) = number(rest).ok_or_else(|| wrong("cut short"))?;
    // Each id takes five bytes or more, so the length of the file bounds the memory.
    let mut ids: Vec<String> = Vec::with_capacity(count.min(rest.len() / 5));
    for _ in 0..count {
        let (length, after) = number(rest).ok_or_else(|| wrong("cut short"))?;
        let (id, after) = after.split_at_checked(length).ok_or_else(|| wrong("cut short"))?;
        let id = std::str::from_utf8(id).map_err(|_| wrong("an id is not UTF-8"))?;
        if id.is_empty() || ids.last().is_some_and(|last| last.as_str() >= id) {
            return Err(wrong("the ids are not in ascending order"));
        }
        ids.push(id.to_owned());
        rest = after;
    }
    if !rest.is_empty() {
        return Err(wrong("bytes after the last id"));
    }
    Ok(ids)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number) as usize, rest))
}

/// Writes the ids of listings that are gone.
#[cfg(feature = "publish")]
pub(crate) fn write_removed(ids: &std::collections::BTreeSet<String>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend((ids.len() as u32).to_le_bytes());
    for id in ids {
        bytes.extend((id.len() as u32).to_le_bytes());
        bytes.extend(id.as_bytes());
    }
    bytes
}

#[cfg(all(test, feature = "publish"))]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_damaged_files_are_refused() {
        let ids = ["b\nc", "a", "ü", "aa"].map(str::to_owned);
        let bytes = write_removed(&ids.into());
        assert_eq!(read_removed(&bytes).unwrap(), ["a", "aa", "b\nc", "ü"]);
        for at in 0..bytes.len() {
            assert!(read_removed(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(read_removed(&[&bytes[..], b"x"].concat()).is_err());
        let mut many = bytes.clone();
        many[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read_removed(&many).is_err());
        assert!(read_removed(&write_removed(&Default::default())).unwrap().is_empty());
    }
}
