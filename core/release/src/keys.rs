//! Which keys are trusted: those that the app pins, and the keys documents that replace them.

use serde::{Deserialize, Serialize};

use crate::envelope::{Envelope, Kind, MAX_SIGNATURES};
use crate::error::{Error, Result};
use crate::hash::PublicKey;
use crate::manifest::{FORMAT_WRITTEN, MAX_NUMBER, check_catalog, payload};

/// The keys that may sign, and how many of them it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    /// 1 for the keys that the app pins at first; each keys document has the next number.
    pub version: u64,
    /// The public keys.
    pub keys: Vec<PublicKey>,
    /// Keys that have to sign a manifest.
    pub threshold: usize,
    /// Keys that have to sign the next keys document. With more than `threshold`, who steals a key that publishes cannot
    /// replace the others.
    pub rotation_threshold: usize,
    /// Lowest sequence that manifests may have under these keys.
    pub sequence: u64,
}

impl KeySet {
    /// Keys to pin in an app: one of them signs a manifest, most of them a keys document.
    pub fn new(keys: Vec<PublicKey>) -> KeySet {
        let rotation_threshold = keys.len() / 2 + 1;
        KeySet { version: 1, keys, threshold: 1, rotation_threshold, sequence: 1 }
    }

    /// Sets the number of keys that have to sign a manifest.
    #[must_use]
    pub fn with_threshold(mut self, threshold: usize) -> KeySet {
        self.threshold = threshold;
        self
    }

    /// Reads the keys document that follows these keys.
    ///
    /// # Errors
    /// [`Error::Untrusted`] where too few of these keys have signed it, [`Error::Malformed`], [`Error::TooNew`], or
    /// [`Error::WrongCatalog`].
    pub fn next(&self, catalog: Option<&str>, bytes: &[u8]) -> Result<KeySet> {
        let envelope = Envelope::parse(Kind::Keys, bytes)?;
        envelope.verify(&self.keys, self.rotation_threshold)?;
        let document: KeysDocument = payload(Kind::Keys.name(), envelope.payload())?;
        if let Some(expected) = catalog.filter(|name| *name != document.catalog) {
            return Err(Error::WrongCatalog { expected: expected.to_owned(), found: document.catalog });
        }
        document.check(self.version)
    }
}

/// The payload of a keys document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeysDocument {
    pub(crate) format: u32,
    pub(crate) catalog: String,
    pub(crate) version: u64,
    pub(crate) keys: Vec<PublicKey>,
    pub(crate) threshold: usize,
    pub(crate) rotation_threshold: usize,
    pub(crate) sequence: u64,
}

impl KeysDocument {
    #[cfg(feature = "publish")]
    pub(crate) fn of(catalog: &str, keys: &KeySet) -> KeysDocument {
        KeysDocument {
            format: FORMAT_WRITTEN,
            catalog: catalog.to_owned(),
            version: keys.version,
            keys: keys.keys.clone(),
            threshold: keys.threshold,
            rotation_threshold: keys.rotation_threshold,
            sequence: keys.sequence,
        }
    }

    fn check(self, before: u64) -> Result<KeySet> {
        let wrong = |detail: String| Err(Error::malformed(Kind::Keys.name(), detail));
        debug_assert!(self.format == FORMAT_WRITTEN, "`payload` has looked");
        check_catalog(Kind::Keys.name(), &self.catalog)?;
        if before >= MAX_NUMBER || self.version != before + 1 {
            return wrong(format!("version {}, expected {}", self.version, before.saturating_add(1)));
        }
        let mut distinct = self.keys.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != self.keys.len() || !(1..=MAX_SIGNATURES).contains(&distinct.len()) {
            return wrong(format!("{} keys, expected 1 to {MAX_SIGNATURES} different ones", self.keys.len()));
        }
        let possible = 1..=self.keys.len();
        if !possible.contains(&self.threshold) || !possible.contains(&self.rotation_threshold) {
            return wrong(format!(
                "thresholds {} and {} of {} keys",
                self.threshold,
                self.rotation_threshold,
                self.keys.len()
            ));
        }
        if !(1..=MAX_NUMBER).contains(&self.sequence) {
            return wrong(format!("sequence {}, expected 1 to {MAX_NUMBER}", self.sequence));
        }
        let KeysDocument { version, keys, threshold, rotation_threshold, sequence, .. } = self;
        Ok(KeySet { version, keys, threshold, rotation_threshold, sequence })
    }
}

/// Path in a release of the keys document with a version.
pub(crate) fn keys_path(version: u64) -> String {
    format!("keys-{version}")
}
