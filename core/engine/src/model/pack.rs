//! A model pack: manifest and network, checked against each other.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::compiled;
#[cfg(feature = "onnx")]
use super::fault::NetworkFault;
#[cfg(feature = "onnx")]
use super::import;
use super::manifest::Manifest;
use crate::error::{Error, ModelError, Result};

/// Largest network file that is read, in bytes.
const MAX_NETWORK: u64 = 512 << 20;

/// Largest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 8 << 20;

/// A model pack in memory. The network has been checked against the manifest.
#[derive(Debug, Clone)]
pub struct Pack {
    manifest: Manifest,
    form: Form,
    network: Vec<u8>,
}

/// The file format of a pack's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An ONNX file.
    Onnx,
    /// A compiled network, which [`Pack::compiled`] makes from the ONNX file.
    Compiled,
}

impl Pack {
    /// Reads the pack in `folder`: `manifest.json` and the compiled network. Where the compiled network is missing or
    /// unusable, reads the ONNX file that the manifest names.
    ///
    /// ```no_run
    /// use magpie_core::model::Pack;
    ///
    /// # fn main() -> Result<(), magpie_core::Error> {
    /// let pack = Pack::open("models/packs/default")?;
    /// println!("{}: {} dimensions", pack.manifest().name, pack.manifest().embedding.dim);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read, [`Error::Model`] if the manifest is invalid or the network does not
    /// match it.
    pub fn open(folder: impl AsRef<Path>) -> Result<Pack> {
        let folder = folder.as_ref();
        Pack::find(|name| Some(folder.join(name)))
    }

    /// Reads a pack whose files lie under other names, such as their hashes: each has its name in the pack, and its path.
    ///
    /// # Errors
    /// As [`Pack::open`].
    pub fn open_files(files: &[(String, PathBuf)]) -> Result<Pack> {
        Pack::find(|name| files.iter().find(|(of_pack, _)| of_pack == name).map(|(_, path)| path.clone()))
    }

    fn find(path_of: impl Fn(&str) -> Option<PathBuf>) -> Result<Pack> {
        let needed = |name: &str| path_of(name).ok_or_else(|| ModelError::Load(format!("the pack has no {name}")));
        let json = read(&needed("manifest.json")?, MAX_MANIFEST)?;
        let manifest = Manifest::parse(&json)?;
        if let Some(path) = path_of(compiled::FILE).filter(|path| path.exists()) {
            let checked =
                read(&path, MAX_NETWORK).and_then(|bytes| Ok(compiled::check(&manifest, &bytes).map(|()| bytes)?));
            let has_onnx =
                || cfg!(feature = "onnx") && path_of(&manifest.network.file).is_some_and(|onnx| onnx.exists());
            match checked {
                Ok(network) => return Ok(Pack { manifest, form: Form::Compiled, network }),
                // E.g. left behind by an earlier model.
                Err(error) if has_onnx() => log::warn!("{}: {error}", path.display()),
                Err(error) => return Err(error),
            }
        }
        let network = read(&needed(&manifest.network.file)?, MAX_NETWORK)?;
        manifest.check_network(&network)?;
        Ok(Pack { manifest, form: Form::Onnx, network })
    }

    /// Makes a pack from the contents of its two files, e.g. an app's assets. The network may be ONNX or compiled.
    ///
    /// # Errors
    /// [`Error::Model`] if the manifest is invalid or the network does not match it.
    pub fn from_bytes(manifest: &[u8], network: Vec<u8>) -> Result<Pack> {
        let manifest = Manifest::parse(manifest)?;
        let form = if compiled::is_compiled(&network) { Form::Compiled } else { Form::Onnx };
        match form {
            Form::Onnx => manifest.check_network(&network)?,
            Form::Compiled => compiled::check(&manifest, &network)?,
        }
        Ok(Pack { manifest, form, network })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The file format of the network.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The bytes of the network file, in the format [`Pack::form`].
    pub fn network(&self) -> &[u8] {
        &self.network
    }

    /// Compiles the network. Store the result as [`Pack::COMPILED_FILE`] in the folder of the manifest.
    ///
    /// # Errors
    /// [`Error::Model`] if the project's own kernels do not support all of the network; it names unsupported nodes.
    #[cfg(feature = "onnx")]
    pub fn compiled(&self) -> Result<Vec<u8>> {
        let compile = || match self.form {
            Form::Compiled => Ok(self.network.clone()),
            Form::Onnx => compiled::write(&import::graph(&self.manifest, &self.network)?, self.manifest.model_id),
        };
        Ok(compile().map_err(|fault: NetworkFault| ModelError::Load(format!("it cannot be compiled: {fault}")))?)
    }

    /// The file name of the compiled network.
    pub const COMPILED_FILE: &str = compiled::FILE;
}

/// Reads a file of at most `limit` bytes; a longer one is an error.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    // Reserves the file's size at once: a growing vector takes up to twice as much memory.
    let size = file.metadata().map_or(0, |data| data.len()).min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(ModelError::Load(format!("{} is larger than {limit} bytes", path.display())).into());
    }
    Ok(bytes)
}
