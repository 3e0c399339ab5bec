//! The packed form of a file: one zstd frame, which is shorter on the wire.

use crate::hash::Digest;
use crate::manifest::{FileEntry, MAX_UNPACKED_BYTES};

/// Unpacks a file; `None` where the bytes are not one frame with exactly that file. However much it claims to hold, no more memory is
/// taken than the file has bytes.
pub(crate) fn unpack(packed: &[u8], file: &FileEntry) -> Option<Vec<u8>> {
    // zstd also takes several frames, and passes over skippable ones.
    if zstd::zstd_safe::find_frame_compressed_size(packed) != Ok(packed.len()) {
        return None;
    }
    let length = usize::try_from(file.bytes.min(MAX_UNPACKED_BYTES)).ok()?;
    let bytes = zstd::bulk::decompress(packed, length).ok()?;
    (bytes.len() as u64 == file.bytes && Digest::of(&bytes) == file.hash).then_some(bytes)
}

/// Compression level: the highest before zstd's "ultra" levels. A file is packed once, and unpacking is as fast at any level.
#[cfg(feature = "publish")]
const ZSTD_LEVEL: i32 = 19;

/// Packs the bytes of a file; `None` where that saves less than an eighth.
#[cfg(feature = "publish")]
pub(crate) fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() as u64 > MAX_UNPACKED_BYTES {
        return None;
    }
    let packed = zstd::bulk::compress(bytes, ZSTD_LEVEL).ok()?;
    (packed.len() <= bytes.len() - bytes.len() / 8 && packed.len() < bytes.len()).then_some(packed)
}

#[cfg(all(test, feature = "publish"))]
mod tests {
    use super::*;

    fn entry(bytes: &[u8]) -> FileEntry {
        FileEntry::new(Digest::of(bytes), bytes.len() as u64)
    }

    #[test]
    fn what_was_packed_is_unpacked_and_nothing_else_is() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|i| (i / 100) as u8).collect();
        let packed = pack(&bytes).unwrap();
        assert_eq!(unpack(&packed, &entry(&bytes)), Some(bytes.clone()));
        for cut in 0..packed.len() {
            assert_eq!(unpack(&packed[..cut], &entry(&bytes)), None, "cut at {cut}");
        }
        let (shorter, longer) = (&bytes[1..], [&bytes[..], b"x"].concat());
        assert!([shorter, &longer].iter().all(|other| unpack(&packed, &entry(other)).is_none()));
        let mut other = entry(&bytes);
        other.hash = Digest::of(b"other");
        assert_eq!(unpack(&packed, &other), None);
    }

    #[test]
    fn only_a_single_frame_is_unpacked() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|i| (i / 100) as u8).collect();
        let (first, second) = bytes.split_at(20_000);
        let halves = [pack(first).unwrap(), pack(second).unwrap()].concat();
        // RFC 8878, 3.1.2: magic number, length, and so many bytes that mean nothing.
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let whole = pack(&bytes).unwrap();
        let (before, after) = ([&skippable[..], &whole].concat(), [&whole[..], &skippable].concat());
        for packed in [&halves, &before, &after] {
            // They would be accepted without a look at the frames.
            assert_eq!(zstd::bulk::decompress(packed, bytes.len()).unwrap(), bytes);
            assert_eq!(unpack(packed, &entry(&bytes)), None);
        }
    }

    #[test]
    fn what_does_not_shrink_is_not_packed() {
        let mut random = vec![0; 10_000];
        blake3::Hasher::new().finalize_xof().fill(&mut random);
        assert_eq!((pack(&random), pack(b"short"), pack(b"")), (None, None, None));
    }
}
