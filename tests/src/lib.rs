//! Shared by the tests in `tests/`: real packs, small real shards, pictures, and tools to damage them.

pub mod compat;
pub mod memory;
#[cfg(feature = "onnx")]
pub mod mutation;
#[cfg(feature = "onnx")]
pub mod net_kinds;
#[cfg(feature = "onnx")]
pub mod onnx_nets;
pub mod pictures;
pub mod shards;
#[cfg(feature = "onnx")]
pub mod treatment;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use magpie_core::model::{Model, Pack};
use rustix::time::{ClockId, clock_gettime};

/// Whether property tests and tests with hostile inputs run in full, as `MAGPIE_LONG=1` asks.
pub fn full() -> bool {
    std::env::var_os("MAGPIE_LONG").is_some_and(|value| value == "1")
}

/// The number of random cases that a test runs: all `of` them in a full run, else a tenth, but at least 8.
pub fn cases(of: u32) -> u32 {
    if full() { of } else { (of / 10).clamp(8.min(of), of) }
}

/// The CPU time of the calling thread. Unlike wall time, a test can bound it on a busy machine too.
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository")
}

/// The folder of the model packs: the one that `MAGPIE_PACKS` names, or else the packs that ship.
pub fn packs() -> PathBuf {
    std::env::var_os("MAGPIE_PACKS").map_or_else(|| repository().join("models/packs"), PathBuf::from)
}

/// The folders of all model packs, sorted by name.
pub fn pack_folders() -> Vec<PathBuf> {
    folders(&packs()).into_iter().filter(|f| f.join("manifest.json").is_file()).collect()
}

/// The folders inside a folder, sorted by name; empty if it does not exist.
pub fn folders(inside: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(inside).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The default pack that ships.
pub fn default_pack() -> &'static Pack {
    static PACK: OnceLock<Pack> = OnceLock::new();
    PACK.get_or_init(|| Pack::open(packs().join("default")).expect("the default pack opens"))
}

/// The network of the default pack, loaded once per process.
pub fn default_model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| Model::load(default_pack()).expect("the default pack loads"))
}
