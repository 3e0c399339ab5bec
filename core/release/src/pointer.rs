//! The one file that says what is installed. The bytes are specified in `core/docs/RELEASE_FORMAT.md`.

use std::collections::HashSet;

use crate::envelope::MAX_ENVELOPE_BYTES;
use crate::hash::Digest;
use crate::manifest::{FileEntry, Manifest};

const MAGIC: &[u8; 8] = b"MAGPIE\x1aC";
const HEADER_LEN: usize = 8 + 32 + 4;
const WITH_PACK: u32 = 1;

/// The manifest that is installed, as it was signed, and whether its model pack is installed too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) manifest: Manifest,
    pub(crate) envelope: Vec<u8>,
    pub(crate) with_pack: bool,
}

impl Pointer {
    pub(crate) const MAX_BYTES: u64 = (HEADER_LEN + MAX_ENVELOPE_BYTES) as u64;

    pub(crate) fn read(bytes: &[u8]) -> Result<Pointer, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("the first bytes do not match")?;
        let (checksum, rest) = rest.split_first_chunk::<32>().ok_or("cut short")?;
        if Digest::of(rest).0 != *checksum {
            return Err("the checksum does not match".to_owned());
        }
        let (flags, envelope) = rest.split_first_chunk::<4>().ok_or("cut short")?;
        let manifest = Manifest::parse_unverified(envelope).map_err(|e| e.to_string())?;
        let with_pack = u32::from_le_bytes(*flags) & WITH_PACK != 0;
        Ok(Pointer { manifest, envelope: envelope.to_vec(), with_pack })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let flags = if self.with_pack { WITH_PACK } else { 0 };
        let rest = [&flags.to_le_bytes()[..], &self.envelope].concat();
        [&MAGIC[..], &Digest::of(&rest).0, &rest].concat()
    }

    /// The files that it needs, each once.
    pub(crate) fn files(&self) -> Vec<FileEntry> {
        let mut known = HashSet::new();
        let pack = self.manifest.pack_files().filter(|_| self.with_pack);
        self.manifest.catalog_files().chain(pack).filter(|file| known.insert(file.hash)).collect()
    }
}
