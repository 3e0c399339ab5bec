//! The signed envelope: exact bytes, and signatures over them. The bytes are specified in `core/docs/RELEASE_FORMAT.md`.

use ed25519_dalek::{Signature, VerifyingKey};

use crate::error::{Error, Result};
use crate::hash::PublicKey;

/// Most bytes of an envelope: a host reads no more than this.
pub const MAX_ENVELOPE_BYTES: usize = 256 << 10;
/// Most signatures of an envelope, which bounds the work of checking them.
pub const MAX_SIGNATURES: usize = 16;

const HEADER_LEN: usize = 12;
const SIGNATURE_LEN: usize = 32 + 64;

/// What an envelope holds. Its magic bytes are signed too, so that one cannot be passed off as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest,
    Keys,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Kind::Manifest => b"MAGPIE\x1aR",
            Kind::Keys => b"MAGPIE\x1aK",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Manifest => "manifest",
            Kind::Keys => "keys document",
        }
    }
}

/// An envelope whose layout is right. Its payload must not be used before [`Envelope::verify`].
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    kind: Kind,
    /// Magic bytes, length and payload.
    signed: &'a [u8],
    signatures: Vec<(PublicKey, &'a [u8; 64])>,
}

impl<'a> Envelope<'a> {
    pub(crate) fn parse(kind: Kind, bytes: &'a [u8]) -> Result<Envelope<'a>> {
        let wrong = |detail: String| Err(Error::malformed(kind.name(), detail));
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return wrong(format!("more than {MAX_ENVELOPE_BYTES} bytes"));
        }
        if !bytes.starts_with(kind.magic()) {
            return wrong("the first bytes do not match".to_owned());
        }
        let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk::<4>()?) as usize);
        let lengths = number(8).and_then(|payload| {
            let end = HEADER_LEN.checked_add(payload)?;
            Some((end, number(end)?))
        });
        let Some((end, count)) = lengths else {
            return wrong(format!("{} bytes are too few: it is cut short", bytes.len()));
        };
        if !(1..=MAX_SIGNATURES).contains(&count) {
            return wrong(format!("{count} signatures, expected 1 to {MAX_SIGNATURES}"));
        }
        let expected = end + 4 + count * SIGNATURE_LEN;
        if bytes.len() != expected {
            return wrong(format!("{} bytes, expected {expected}", bytes.len()));
        }
        let entries = bytes[end + 4..].as_chunks::<SIGNATURE_LEN>().0;
        let signatures: Vec<(PublicKey, &[u8; 64])> =
            entries.iter().filter_map(|entry| Some((PublicKey(*entry.first_chunk()?), entry.last_chunk()?))).collect();
        if signatures.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return wrong("the signatures are not in the order of their keys".to_owned());
        }
        Ok(Envelope { kind, signed: &bytes[..end], signatures })
    }

    pub(crate) fn payload(&self) -> &'a [u8] {
        &self.signed[HEADER_LEN..]
    }

    /// Checks that at least `threshold` of the trusted keys have signed.
    pub(crate) fn verify(&self, trusted: &[PublicKey], threshold: usize) -> Result<()> {
        // No key appears twice, so each counts once.
        let trusted = self.signatures.iter().filter(|(key, _)| trusted.contains(key));
        let valid = trusted.filter(|(key, signature)| is_valid(key, self.signed, signature)).count();
        match valid >= threshold.max(1) {
            true => Ok(()),
            false => Err(Error::Untrusted { what: self.kind.name(), valid, needed: threshold.max(1) }),
        }
    }
}

fn is_valid(key: &PublicKey, signed: &[u8], signature: &[u8; 64]) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(&key.0) else { return false };
    // Strict: refuses weak keys and the second forms of signatures.
    key.verify_strict(signed, &Signature::from_bytes(signature)).is_ok()
}

/// Writes an envelope around a payload.
#[cfg(feature = "publish")]
pub(crate) fn seal(kind: Kind, payload: &[u8], keys: &[&ed25519_dalek::SigningKey]) -> Result<Vec<u8>> {
    use ed25519_dalek::Signer;
    let mut bytes = kind.magic().to_vec();
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(payload);
    let mut signatures: Vec<([u8; 32], [u8; 64])> =
        keys.iter().map(|key| (key.verifying_key().to_bytes(), key.sign(&bytes).to_bytes())).collect();
    signatures.sort_unstable();
    signatures.dedup();
    bytes.extend((signatures.len() as u32).to_le_bytes());
    for (key, signature) in signatures {
        bytes.extend(key);
        bytes.extend(signature);
    }
    // What a reader would refuse is not published.
    Envelope::parse(kind, &bytes)?;
    Ok(bytes)
}

#[cfg(all(test, feature = "publish"))]
mod tests {
    use super::*;
    use crate::testing::key;

    #[test]
    fn an_envelope_is_trusted_only_if_enough_known_keys_signed_these_bytes() {
        let [a, b, c] = [1, 2, 3].map(key);
        let [pa, pb, pc] = [&a, &b, &c].map(|key| PublicKey(key.verifying_key().to_bytes()));
        let sealed = seal(Kind::Manifest, b"{}", &[&a, &b]).unwrap();
        let envelope = Envelope::parse(Kind::Manifest, &sealed).unwrap();
        assert_eq!(envelope.payload(), b"{}");
        for (trusted, threshold, enough) in [
            (vec![pa], 1, true),
            (vec![pa, pb], 2, true),
            (vec![pa, pc], 2, false),
            (vec![pc], 1, false),
            (vec![], 0, false),
        ] {
            assert_eq!(envelope.verify(&trusted, threshold).is_ok(), enough, "{trusted:?} {threshold}");
        }
        // Signed as one kind, it is not the other.
        let mut other = sealed.clone();
        other[7] = b'K';
        let envelope = Envelope::parse(Kind::Keys, &other).unwrap();
        assert!(matches!(envelope.verify(&[pa], 1), Err(Error::Untrusted { valid: 0, needed: 1, .. })));
    }

    #[test]
    fn no_byte_can_be_changed_added_or_cut() {
        let sealed = seal(Kind::Manifest, b"{\"sequence\":1}", &[&key(1)]).unwrap();
        let public = PublicKey(key(1).verifying_key().to_bytes());
        let accepts =
            |bytes: &[u8]| Envelope::parse(Kind::Manifest, bytes).and_then(|e| e.verify(&[public], 1)).is_ok();
        assert!(accepts(&sealed));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(!accepts(&changed), "byte {at}");
            assert!(!accepts(&sealed[..at]), "cut at {at}");
        }
        assert!(!accepts(&[&sealed[..], b"x"].concat()));
        let mut huge = sealed.clone();
        huge[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(!accepts(&huge));
    }
}
