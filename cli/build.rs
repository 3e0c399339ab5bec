//! Embeds the demo catalogue's pictures, so that the binary runs the demo without other files.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    let mut table = String::from("&[\n");
    for folder in ["photos", "queries"] {
        let path = Path::new(&root).join("demo").join(folder);
        println!("cargo::rerun-if-changed={}", path.display());
        let entries = fs::read_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("a UTF-8 name"))
            .filter(|name| name.ends_with(".jpg"))
            .collect();
        names.sort();
        for name in names {
            let file = path.join(&name);
            writeln!(table, "    ({:?}, include_bytes!({:?})),", format!("{folder}/{name}"), file.display())
                .expect("writing to a string cannot fail");
        }
    }
    table.push_str("]\n");
    fs::write(Path::new(&out).join("demo_pictures.rs"), table).expect("a writable OUT_DIR");
}
