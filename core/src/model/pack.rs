//! A model pack: manifest and network, checked against each other.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::manifest::Manifest;
use crate::error::{Error, ModelError, Result};

/// Largest network file that is read.
const MAX_NETWORK: u64 = 512 << 20;

/// Largest manifest that is read.
const MAX_MANIFEST: u64 = 8 << 20;

/// A model pack in memory: the network is the one that the manifest describes.
#[derive(Debug, Clone)]
pub struct Pack {
    manifest: Manifest,
    network: Vec<u8>,
}

impl Pack {
    /// Reads the pack in `folder`: `manifest.json` and the network file that it names.
    ///
    /// # Errors
    /// [`Error::Io`] where a file cannot be read, [`Error::Model`] where the two do not fit together.
    pub fn open(folder: impl AsRef<Path>) -> Result<Pack> {
        let folder = folder.as_ref();
        let json = read(&folder.join("manifest.json"), MAX_MANIFEST)?;
        let manifest = Manifest::parse(&json)?;
        let network = read(&folder.join(&manifest.network.file), MAX_NETWORK)?;
        Pack::checked(manifest, network)
    }

    /// A pack from the contents of its two files, e.g. out of an app's assets.
    ///
    /// # Errors
    /// [`Error::Model`] where the manifest is wrong or the two do not fit together.
    pub fn from_bytes(manifest: &[u8], network: Vec<u8>) -> Result<Pack> {
        Pack::checked(Manifest::parse(manifest)?, network)
    }

    fn checked(manifest: Manifest, network: Vec<u8>) -> Result<Pack> {
        manifest.check_network(&network)?;
        Ok(Pack { manifest, network })
    }

    /// What the network takes and gives.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The ONNX file.
    pub fn network(&self) -> &[u8] {
        &self.network
    }
}

/// Reads at most `limit` bytes; a longer file is refused rather than cut.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(ModelError::Load(format!("{} is larger than {limit} bytes", path.display())).into());
    }
    Ok(bytes)
}
