//! Measures the size of the library that apps ship, by crate.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::arm::{TARGET, Tools, install, runs};
use crate::{Outcome, root, run};

/// Flavours of the library: name, cargo's arguments, description.
const FLAVOURS: [(&str, &[&str], &str); 2] = [
    ("lean", &["--no-default-features"], "reads compiled packs"),
    ("full", &[], "reads any ONNX file too, through tract"),
];

/// Links as android/build-native.sh does, except for the format of packed relocations: Android had its own before
/// Linux. A cross compiler does not find LLVM's linker without `-B`.
const LINKER: [&str; 3] = ["-fuse-ld=lld", "-B/usr/bin/", "-Wl,--icf=all,--pack-dyn-relocs=relr"];

/// Number of crates that are listed.
const LISTED: usize = 12;

/// Builds both flavours for ARM and writes `bindings/SIZE.md`.
pub(crate) fn size(only: Option<&str>) -> Outcome {
    if let Some(only) = only.filter(|only| FLAVOURS.iter().all(|(name, ..)| name != only)) {
        return Err(format!("'{only}' is not a flavour; expected lean or full"));
    }
    let tools = Tools::find()?;
    if !runs("ld.lld") {
        install(&["lld"])?;
    }
    let mut page = String::from(
        "# Size of the library\n\n`cargo xtask size` writes this: `libmagpie_ffi.so` in the profile `phone` for ARM Linux, \
         stripped. For Android it\nis about as large: the code is the same, the C library another.\n",
    );
    for (name, flags, what) in FLAVOURS {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let mut build = tools.cargo(["rustc", "--package", "magpie-ffi", "--lib", "--profile", "phone", "--locked"]);
        build.args(flags).args(["--target-dir", "target", "--"]);
        build.args(LINKER.iter().flat_map(|argument| ["-C".to_owned(), format!("link-arg={argument}")]));
        // Stripped separately, since the symbols tell which crate code and data belong to.
        run(build.env("CARGO_PROFILE_PHONE_STRIP", "none"))?;
        let library = root().join("target").join(TARGET).join("phone/libmagpie_ffi.so");
        let stripped = library.with_extension("stripped");
        run(Command::new("aarch64-linux-gnu-strip").arg("-o").arg(&stripped).arg(&library))?;
        let bytes = std::fs::metadata(&stripped).map_err(|e| format!("{}: {e}", stripped.display()))?.len();
        println!("{name}: {bytes} bytes");
        let _ = write!(page, "\n## {name}: {:.2} MB\n\n{what}. Code and data by crate:\n\n", bytes as f64 / 1e6);
        page.push_str("| crate | kB |\n|---|---:|\n");
        for (part, bytes) in parts(&library)?.into_iter().take(LISTED) {
            let _ = writeln!(page, "| {part} | {} |", bytes / 1000);
        }
    }
    if only.is_some() {
        print!("{page}");
        return Ok(());
    }
    let path = root().join("bindings/SIZE.md");
    std::fs::write(&path, page).map_err(|e| format!("{}: {e}", path.display()))
}

/// Returns the bytes of each crate's symbols, largest first. Symbols without a Rust name count as C.
fn parts(library: &Path) -> Result<Vec<(String, u64)>, String> {
    let nm = ["--print-size", "--defined-only", "--demangle", "--radix=d"];
    let output = Command::new("aarch64-linux-gnu-nm").args(nm).arg(library).output().map_err(|e| format!("nm: {e}"))?;
    let mut sizes = BTreeMap::<String, u64>::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // The columns are address, size, kind and name.
        let mut words = line.splitn(4, ' ');
        if let (Some(_), Some(size), Some(_), Some(name)) = (words.next(), words.next(), words.next(), words.next())
            && let Ok(size) = size.parse::<u64>()
        {
            *sizes.entry(owner(name).to_owned()).or_default() += size;
        }
    }
    let mut sizes: Vec<_> = sizes.into_iter().collect();
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    Ok(sizes)
}

/// Returns the crate that a demangled name begins with: `a` for `<a::B as c::D>::e`.
fn owner(name: &str) -> &str {
    let Some(end) = name.find("::") else { return if name.starts_with("ZSTD") { "zstd (C)" } else { "C and data" } };
    let start = name[..end].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
    &name[start..end]
}
