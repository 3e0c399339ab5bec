//! The bytes of a file of corrections, as `core/docs/CORRECTIONS_FORMAT.md` specifies them.

use std::collections::VecDeque;

use super::entry::Entry;
use super::{MAX_CORRECTIONS, MAX_LISTING_ID};
use crate::ModelId;

const MAGIC: &[u8; 8] = b"MAGPIE\x1aN";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const CHECKSUM: usize = 16;
/// Bytes of a record without its code and listing id.
const FRAME: usize = 4 + 4 + 8 + CHECKSUM;
const REMEMBER: u32 = 1;

/// Longest file that is read: all records of the longest file that is written, with the largest embeddings and ids.
pub(super) const MAX_BYTES: usize =
    HEADER + 2 * MAX_CORRECTIONS * (FRAME + magpie_index::MAX_DIM as usize + MAX_LISTING_ID);

/// What all corrections of a file have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) model: ModelId,
    pub(super) dim: usize,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The last [`MAX_CORRECTIONS`], oldest first.
    pub(super) entries: Vec<Entry>,
    /// The number of records, with those that do not count any more.
    pub(super) records: usize,
    /// Whether a record may be appended: there is a file, and all of it was understood.
    pub(super) is_sound: bool,
    /// What was left out.
    pub(super) note: Option<String>,
}

impl Contents {
    /// Reads a file. Damaged records are passed over, and a record that is cut short ends the file.
    ///
    /// # Errors
    /// Why this must not be overwritten: other bytes than corrections, or those of a newer version.
    pub(super) fn read(bytes: &[u8], identity: &Identity) -> Result<Contents, String> {
        if bytes.is_empty() {
            return Ok(Contents::default());
        }
        if !bytes.starts_with(MAGIC) && !MAGIC.starts_with(bytes) {
            return Err("not a file of corrections (the first bytes do not match): give another path".to_owned());
        }
        let version = bytes.get(8..).and_then(<[u8]>::first_chunk).map(|version| u32::from_le_bytes(*version));
        if let Some(version) = version.filter(|version| *version > VERSION) {
            return Err(format!("format {version}, this version reads up to {VERSION}: update the app"));
        }
        let unread = |note: &str| Ok(Contents { note: Some(note.to_owned()), ..Contents::default() });
        let Some((header, mut rest)) = bytes.split_first_chunk::<HEADER>() else {
            return unread("the header is cut short: the corrections are lost");
        };
        if header[HEADER - CHECKSUM..] != checksum(&header[..HEADER - CHECKSUM]) {
            return unread("the header is damaged: the corrections are lost");
        }
        if *header != self::header(identity) {
            return unread("the corrections are of another model: they are left out");
        }
        let (mut entries, mut records, mut damaged) = (VecDeque::new(), 0, 0);
        while let Some((record, after)) = split(rest, identity.dim) {
            rest = after;
            records += 1;
            match parse(record, identity.dim) {
                Parsed::Entry(entry) => entries.push_back(entry),
                Parsed::Damaged => damaged += 1,
                Parsed::Unknown => {}
            }
            if entries.len() > MAX_CORRECTIONS {
                entries.pop_front();
            }
        }
        let is_sound = damaged == 0 && rest.is_empty();
        let note = || format!("{damaged} damaged corrections and {} bytes at the end are left out", rest.len());
        let note = (!is_sound).then(note);
        Ok(Contents { entries: entries.into(), records, is_sound, note })
    }
}

/// The bytes of a file with these corrections.
pub(super) fn bytes(identity: &Identity, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = header(identity).to_vec();
    entries.iter().for_each(|entry| bytes.extend(record(entry)));
    bytes
}

/// The bytes of a correction.
pub(super) fn record(entry: &Entry) -> Vec<u8> {
    let length = FRAME + entry.code.len() + entry.listing.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_le_bytes());
    bytes.extend(REMEMBER.to_le_bytes());
    bytes.extend(entry.time.to_le_bytes());
    bytes.extend(entry.code.iter().map(|&value| value as u8));
    bytes.extend(entry.listing.as_bytes());
    let checksum = checksum(&bytes);
    bytes.extend(checksum);
    bytes
}

fn header(identity: &Identity) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&(identity.dim as u32).to_le_bytes());
    header[16..48].copy_from_slice(&identity.model.0);
    let checksum = checksum(&header[..HEADER - CHECKSUM]);
    header[HEADER - CHECKSUM..].copy_from_slice(&checksum);
    header
}

/// The first bytes of the BLAKE3 hash: they find damage, they do not prove who wrote something.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut first = [0; CHECKSUM];
    first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECKSUM]);
    first
}

/// Splits off a record of a possible length; `None` where there is no whole one.
fn split(bytes: &[u8], dim: usize) -> Option<(&[u8], &[u8])> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let id = length.checked_sub(FRAME + dim)?;
    if id == 0 || id > MAX_LISTING_ID { None } else { bytes.split_at_checked(length) }
}

enum Parsed {
    Entry(Entry),
    Damaged,
    /// Of a kind that a later version may add.
    Unknown,
}

/// Reads a record that [`split`] has found.
fn parse(record: &[u8], dim: usize) -> Parsed {
    let fields = || {
        let (body, sum) = record.split_last_chunk::<CHECKSUM>()?;
        let (_, body) = body.split_first_chunk::<4>().filter(|_| *sum == checksum(body))?;
        let (kind, body) = body.split_first_chunk()?;
        let (time, body) = body.split_first_chunk()?;
        let (code, listing) = body.split_at_checked(dim)?;
        Some((u32::from_le_bytes(*kind), u64::from_le_bytes(*time), code, std::str::from_utf8(listing).ok()?))
    };
    match fields() {
        Some((REMEMBER, time, code, listing)) => {
            let code = code.iter().map(|&byte| byte as i8).collect();
            Entry::of_code(listing, time, code).map_or(Parsed::Damaged, Parsed::Entry)
        }
        Some(_) => Parsed::Unknown,
        None => Parsed::Damaged,
    }
}
