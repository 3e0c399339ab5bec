//! Writes the compatibility file for the format that this version writes; see `tests/compat/README.md`.

use magpie_core::shard::FORMAT_WRITTEN;
use magpie_tests::{compat, repository};

fn main() -> Result<(), magpie_core::IndexError> {
    let path = repository().join(format!("tests/compat/v{FORMAT_WRITTEN}.magpie"));
    if path.exists() {
        // Apps in the field may hold such a shard, so the file of a format is written only once.
        println!("{} exists and is not overwritten", path.display());
        return Ok(());
    }
    compat::write(&path)?;
    println!("{}", path.display());
    Ok(())
}
