//! Writes the compatibility file of the format that this version writes; see `tests/compat/README.md`.

use magpie_core::shard::FORMAT_WRITTEN;
use magpie_tests::{compat, repository};

fn main() -> Result<(), magpie_core::IndexError> {
    let path = repository().join(format!("tests/compat/v{FORMAT_WRITTEN}.magpie"));
    if path.exists() {
        // Apps in the field may hold such a shard: the file of a format is written once.
        println!("{} exists and stays as it is", path.display());
        return Ok(());
    }
    compat::write(&path)?;
    println!("{}", path.display());
    Ok(())
}
