//! Secret keys, and what they sign.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use ed25519_dalek::SigningKey;

use crate::envelope::{Kind, seal};
use crate::error::{Error, Result};
use crate::hash::{PublicKey, read};
use crate::keys::{KeySet, KeysDocument};
use crate::manifest::Manifest;

const WHAT: &str = "secret key";
const PREFIX: &str = "magpie-secret-key-1 ";

/// The secret key of a publisher.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Makes a key from the system's random numbers.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the system has none.
    pub fn new() -> Result<SecretKey> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Error::malformed(WHAT, e.to_string()))?;
        Ok(SecretKey::from_seed(seed))
    }

    /// The key of these 32 secret bytes.
    pub fn from_seed(seed: [u8; 32]) -> SecretKey {
        SecretKey(SigningKey::from_bytes(&seed))
    }

    /// The public key, for apps to pin.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`], without the file's contents.
    pub fn open(path: &Path) -> Result<SecretKey> {
        let text = fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let seed = text.strip_prefix(PREFIX).and_then(|rest| read(rest.trim_end()));
        let wrong =
            || Error::malformed(WHAT, format!("{} is not a key file; make one with 'magpie key new'", path.display()));
        seed.map(SecretKey::from_seed).ok_or_else(wrong)
    }

    /// Writes a new key file that only its owner may read.
    ///
    /// # Errors
    /// [`Error::Io`], also where the file exists: a key is never overwritten.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let hex = PublicKey(self.0.to_bytes()).to_string();
        let written = options.open(path).and_then(|mut file| {
            file.write_all(format!("{PREFIX}{hex}\n").as_bytes())?;
            file.sync_all()
        });
        written.map_err(|e| Error::io(path, e))
    }
}

/// Signs a manifest.
///
/// # Errors
/// [`Error::Malformed`] where a reader would refuse it.
pub fn sign_manifest(manifest: &Manifest, keys: &[SecretKey]) -> Result<Vec<u8>> {
    manifest.check()?;
    sign(Kind::Manifest, serde_json::to_vec(manifest), keys)
}

/// Signs a keys document: `keys` replace the set whose `version` is one less, and enough keys of that set have to sign.
///
/// # Errors
/// [`Error::Malformed`].
pub fn sign_keys(catalog: &str, keys: &KeySet, signers: &[SecretKey]) -> Result<Vec<u8>> {
    sign(Kind::Keys, serde_json::to_vec(&KeysDocument::of(catalog, keys)), signers)
}

fn sign(kind: Kind, payload: serde_json::Result<Vec<u8>>, keys: &[SecretKey]) -> Result<Vec<u8>> {
    let payload = payload.map_err(|e| Error::malformed(kind.name(), e.to_string()))?;
    seal(kind, &payload, &keys.iter().map(|key| &key.0).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = SecretKey::new().unwrap();
        key.write(&path).unwrap();
        assert_eq!(SecretKey::open(&path).unwrap().public(), key.public());
        assert_ne!(SecretKey::new().unwrap().public(), key.public());
        assert!(matches!(key.write(&path), Err(Error::Io { .. })));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, "hello").unwrap();
        let error = SecretKey::open(&path).err().unwrap().to_string();
        assert!(error.contains("magpie key new") && !error.contains("hello"), "{error}");
    }
}
