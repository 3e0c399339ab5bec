//! A model pack: manifest and network, checked against each other.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::compiled;
#[cfg(feature = "onnx")]
use super::import;
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
    form: Form,
    network: Vec<u8>,
}

/// What the network of a pack is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An ONNX file.
    Onnx,
    /// Layers of the project's own kernels, made of the ONNX file by [`Pack::compiled`].
    Compiled,
}

impl Pack {
    /// Reads the pack in `folder`: `manifest.json` and the compiled network beside it, or the ONNX file that the manifest
    /// names where there is none, or none that is of use.
    ///
    /// # Errors
    /// [`Error::Io`] where a file cannot be read, [`Error::Model`] where the two do not fit together.
    pub fn open(folder: impl AsRef<Path>) -> Result<Pack> {
        let folder = folder.as_ref();
        let json = read(&folder.join("manifest.json"), MAX_MANIFEST)?;
        let manifest = Manifest::parse(&json)?;
        let onnx = folder.join(&manifest.network.file);
        let path = folder.join(compiled::FILE);
        if path.exists() {
            let checked =
                read(&path, MAX_NETWORK).and_then(|bytes| Ok(compiled::check(&manifest, &bytes).map(|()| bytes)?));
            match checked {
                Ok(network) => return Ok(Pack { manifest, form: Form::Compiled, network }),
                // Left there by an earlier model, say.
                Err(error) if cfg!(feature = "onnx") && onnx.exists() => log::warn!("{}: {error}", path.display()),
                Err(error) => return Err(error),
            }
        }
        let network = read(&onnx, MAX_NETWORK)?;
        manifest.check_network(&network)?;
        Ok(Pack { manifest, form: Form::Onnx, network })
    }

    /// A pack from the contents of its two files, e.g. out of an app's assets. The network may be compiled or not.
    ///
    /// # Errors
    /// [`Error::Model`] where the manifest is wrong or the two do not fit together.
    pub fn from_bytes(manifest: &[u8], network: Vec<u8>) -> Result<Pack> {
        let manifest = Manifest::parse(manifest)?;
        let form = if compiled::is_compiled(&network) { Form::Compiled } else { Form::Onnx };
        match form {
            Form::Onnx => manifest.check_network(&network)?,
            Form::Compiled => compiled::check(&manifest, &network)?,
        }
        Ok(Pack { manifest, form, network })
    }

    /// What the network takes and gives.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the network is kept as.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The network: an ONNX file, or a compiled one.
    pub fn network(&self) -> &[u8] {
        &self.network
    }

    /// The compiled network, to be kept as [`Pack::COMPILED_FILE`] beside the manifest.
    ///
    /// # Errors
    /// [`Error::Model`] where the project's own kernels do not run all of the network; it says what not.
    #[cfg(feature = "onnx")]
    pub fn compiled(&self) -> Result<Vec<u8>> {
        let compile = || match self.form {
            Form::Compiled => Ok(self.network.clone()),
            Form::Onnx => compiled::write(&import::graph(&self.manifest, &self.network)?, self.manifest.model_id),
        };
        Ok(compile().map_err(|reason| ModelError::Load(format!("it cannot be compiled: {reason}")))?)
    }

    /// Name of the compiled network's file.
    pub const COMPILED_FILE: &str = compiled::FILE;
}

/// Reads at most `limit` bytes; a longer file is refused rather than cut.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    // As large as it says that it is: a vector that grows takes up to twice as much.
    let size = file.metadata().map_or(0, |data| data.len()).min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(ModelError::Load(format!("{} is larger than {limit} bytes", path.display())).into());
    }
    Ok(bytes)
}
