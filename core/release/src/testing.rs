//! What the unit tests of several modules share: keys that everybody knows, and releases in memory.

use std::collections::HashMap;

use ed25519_dalek::SigningKey;

use crate::envelope::{Kind, seal};
use crate::error::Result;
use crate::hash::{Digest, PublicKey};
use crate::keys::KeySet;
use crate::manifest::{Delta, FORMAT_WRITTEN, FileEntry, Manifest, ModelEntry, PackFile, Packed};
use crate::store::Store;
use crate::update::{Expected, Update};

/// A time inside of the validity of all test releases.
pub(crate) const NOW: u64 = 1_800_000_000;

/// A key for tests. Everybody knows it.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn public(seed: u8) -> PublicKey {
    PublicKey(key(seed).verifying_key().to_bytes())
}

/// The model of the test releases.
pub(crate) fn model() -> Digest {
    Digest([7; 32])
}

/// What a test app expects: the catalogue `shop`, signed by key 1.
pub(crate) fn expected() -> Expected {
    Expected::new(Some("shop".to_owned()), KeySet::new(vec![public(1)]), 2).with_model(model())
}

/// A release in memory.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) manifest: Manifest,
    pub(crate) files: HashMap<String, Vec<u8>>,
}

impl Release {
    /// A release with this base alone.
    pub(crate) fn new(sequence: u64, base: &[u8]) -> Release {
        let manifest = Manifest {
            format: FORMAT_WRITTEN,
            catalog: "shop".to_owned(),
            sequence,
            issued: NOW - 1000 + sequence,
            expires: NOW + 1000 + sequence,
            model: ModelEntry { id: model(), pack: Vec::new() },
            shard_format: 2,
            base: FileEntry::new(Digest::of(base), base.len() as u64),
            deltas: Vec::new(),
        };
        let mut release = Release { manifest, files: HashMap::new() };
        release.add(base);
        release
    }

    fn add(&mut self, bytes: &[u8]) -> FileEntry {
        let file = FileEntry::new(Digest::of(bytes), bytes.len() as u64);
        self.files.insert(file.path(), bytes.to_vec());
        file
    }

    pub(crate) fn with_delta(mut self, shard: Option<&[u8]>, removed: Option<&[u8]>) -> Release {
        let (shard, removed) = (shard.map(|bytes| self.add(bytes)), removed.map(|bytes| self.add(bytes)));
        self.manifest.deltas.push(Delta { base: self.manifest.base.hash, shard, removed });
        self
    }

    /// As [`Release::with_delta`]; the shard is fetched in a packed form, which is `packed`.
    pub(crate) fn with_packed_delta(self, shard: &[u8], packed: &[u8]) -> Release {
        let mut release = self.with_delta(Some(shard), None);
        let FileEntry { hash, bytes, .. } = release.add(packed);
        if let Some(shard) = release.manifest.deltas.last_mut().and_then(|delta| delta.shard.as_mut()) {
            release.files.remove(&shard.path());
            shard.packed = Some(Packed { hash, bytes });
        }
        release
    }

    pub(crate) fn with_pack(mut self, id: Digest, files: &[(&str, &[u8])]) -> Release {
        self.manifest.model.id = id;
        for (name, bytes) in files {
            let FileEntry { hash, bytes, .. } = self.add(bytes);
            self.manifest.model.pack.push(PackFile { name: (*name).to_owned(), hash, bytes });
        }
        self
    }

    /// The manifest, signed by key 1.
    pub(crate) fn signed(&self) -> Vec<u8> {
        self.signed_by(&[1])
    }

    pub(crate) fn signed_by(&self, keys: &[u8]) -> Vec<u8> {
        let keys: Vec<SigningKey> = keys.iter().copied().map(key).collect();
        let payload = serde_json::to_vec(&self.manifest).unwrap();
        seal(Kind::Manifest, &payload, &keys.iter().collect::<Vec<_>>()).unwrap()
    }

    /// Fetches all that an update asks for, in pieces of this size.
    pub(crate) fn feed(&self, update: &mut Update, piece: usize) -> Result<()> {
        while let Some(fetch) = update.next_fetch()? {
            let mut offset = fetch.offset as usize;
            for bytes in self.files[&fetch.path][offset..].chunks(piece) {
                update.receive(offset as u64, bytes)?;
                offset += bytes.len();
            }
        }
        Ok(())
    }

    /// Updates a store to this release.
    pub(crate) fn install(&self, store: &Store, piece: usize) -> Result<()> {
        let mut update = store.update(expected())?;
        update.manifest(&self.signed(), NOW)?;
        self.feed(&mut update, piece)?;
        update.install()
    }

    /// Whether a store has this release, whole.
    pub(crate) fn is_in(&self, store: &Store) -> bool {
        let manifest = store.verify(Some(&expected().keys)).unwrap();
        let current = store.current().unwrap().unwrap();
        manifest == self.manifest && current.sequence == self.manifest.sequence
    }
}
