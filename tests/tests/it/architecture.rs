//! The design's dependency rules hold: no module and no crate is used where it must not be.

use std::path::{Path, PathBuf};
use std::process::Command;

use magpie_tests::repository;

/// The packages under `core/`.
const PACKAGES: &[&str] = &["cpu", "engine", "image", "index", "int8", "release"];

/// Package, module, and the modules of the same package that it may name. The compiler enforces the rules between
/// packages. The modules of packages that are not listed here may name each other.
const MAY_NAME: &[(&str, &str, &[&str])] = &[
    ("engine", "attributes", &[]),
    ("engine", "bench", &["engine", "error"]),
    ("engine", "confidence", &[]),
    ("engine", "corrections", &["error"]),
    (
        "engine",
        "engine",
        &[
            "attributes",
            "catalog",
            "confidence",
            "corrections",
            "error",
            "image",
            "listing",
            "model",
            "remote",
            "search",
            "shard",
        ],
    ),
    ("engine", "error", &[]),
    ("engine", "model", &["attributes", "confidence", "error", "recipe"]),
    ("engine", "remote", &["error", "listing", "search"]),
    // Re-exported by the facade.
    ("engine", "catalog", &[]),
    ("engine", "image", &[]),
    ("engine", "joined", &[]),
    ("engine", "listing", &[]),
    ("engine", "live", &[]),
    ("engine", "recipe", &[]),
    ("engine", "search", &[]),
    ("engine", "shard", &[]),
    ("engine", "vector", &[]),
    ("index", "builder", &["embedding", "error", "ids", "search", "shard", "vector"]),
    ("index", "catalog", &["error", "ids", "listing", "search", "shard"]),
    ("index", "embedding", &["ids", "vector"]),
    ("index", "error", &["ids"]),
    ("index", "ids", &[]),
    ("index", "joined", &["embedding", "error", "ids", "listing", "search", "shard", "vector"]),
    ("index", "listing", &["error", "ids", "search", "shard"]),
    ("index", "search", &["embedding", "error", "ids", "shard", "vector"]),
    ("index", "shard", &["embedding", "error", "ids", "vector"]),
    ("index", "testing", &[]),
    ("index", "vector", &[]),
    ("release", "disk", &["error", "faults"]),
    ("release", "envelope", &["error", "hash"]),
    ("release", "error", &["hash"]),
    ("release", "faults", &["disk"]),
    ("release", "hash", &[]),
    ("release", "incoming", &["error", "manifest", "packed", "store"]),
    ("release", "keys", &["envelope", "error", "hash", "manifest"]),
    ("release", "manifest", &["envelope", "error", "hash", "keys"]),
    ("release", "packed", &["hash", "manifest"]),
    ("release", "pointer", &["envelope", "hash", "manifest"]),
    ("release", "publish", &["disk", "envelope", "error", "hash", "keys", "manifest", "packed", "removed", "store"]),
    ("release", "removed", &["error"]),
    ("release", "store", &["disk", "envelope", "error", "hash", "keys", "manifest", "pointer", "removed"]),
    ("release", "testing", &["envelope", "error", "hash", "keys", "manifest", "store", "update"]),
    (
        "release",
        "update",
        &["envelope", "error", "hash", "incoming", "keys", "manifest", "pointer", "store", "testing", "faults", "disk"],
    ),
];

/// Crates that core must never depend on.
const KEPT_OUT: &[(&str, &[&str])] = &[
    ("async runtime", &["tokio", "async-std", "smol", "async-executor", "futures-executor"]),
    ("HTTP", &["hyper", "reqwest", "ureq", "curl", "isahc", "h2", "http", "axum", "tower"]),
    ("TLS", &["rustls", "native-tls", "openssl", "openssl-sys", "boring", "schannel", "security-framework"]),
    ("binding", &["uniffi", "uniffi_core", "jni", "pyo3", "wasm-bindgen"]),
];

struct Source {
    /// Relative to `core/`, such as `index/src/shard/reader.rs`.
    path: PathBuf,
    /// Numbered lines of code, without comments and up to the unit tests.
    code: Vec<(usize, String)>,
}

impl Source {
    fn part(&self, at: usize) -> &str {
        self.path.components().nth(at).unwrap().as_os_str().to_str().unwrap()
    }

    fn package(&self) -> &str {
        self.part(0)
    }

    fn module(&self) -> &str {
        self.part(2).trim_end_matches(".rs")
    }

    /// Places where the code has this as a whole word.
    fn naming(&self, word: &str) -> Vec<String> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let names = |line: &str| {
            line.match_indices(word).any(|(at, _)| {
                let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
                !before.is_some_and(is_part) && !after.is_some_and(is_part)
            })
        };
        let places = self.code.iter().filter(|(_, line)| names(line));
        places.map(|(number, line)| format!("{}:{number}: {}", self.path.display(), line.trim())).collect()
    }
}

/// Whether a file has the unit tests of a module: they may use what the module may not.
fn is_tests(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"))
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, root: &Path, into: &mut Vec<Source>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_tests(&path) {
                let text = std::fs::read_to_string(&path).unwrap();
                let lines = (1..).zip(text.lines());
                let lines = lines
                    .take_while(|(_, line)| !line.starts_with("#[cfg(test)]") && !line.starts_with("#[cfg(all(test"));
                let code = lines.map(|(n, line)| (n, line.split("//").next().unwrap().to_owned())).collect();
                into.push(Source { path: path.strip_prefix(root).unwrap().to_owned(), code });
            }
        }
    }
    let root = repository().join("core");
    let mut sources = Vec::new();
    for package in PACKAGES {
        walk(&root.join(package).join("src"), &root, &mut sources);
    }
    assert!(sources.len() > 100, "too few sources: has the core moved from {}?", root.display());
    sources
}

fn assert_empty(places: Vec<String>, rule: &str) {
    assert!(places.is_empty(), "{rule}:\n{}", places.join("\n"));
}

#[test]
fn only_the_model_names_tract() {
    let is_model = |source: &Source| source.package() == "engine" && source.module() == "model";
    let others = sources().into_iter().filter(|source| !is_model(source));
    let crates = ["tract", "tract_onnx", "tract_core", "tract_linalg"];
    assert_empty(
        others.flat_map(|source| crates.map(|name| source.naming(name)).concat()).collect(),
        "only core::model may",
    );
}

/// The one file that maps memory.
const MAP: &str = "index/src/shard/source.rs";

#[test]
fn only_the_shards_source_maps_memory() {
    let others = sources().into_iter().filter(|source| source.path != Path::new(MAP));
    assert_empty(others.flat_map(|source| source.naming("memmap2")).collect(), "only shard/source.rs may");
}

#[test]
fn only_memory_mapping_and_kernels_are_unsafe() {
    let may = |source: &Source| {
        source.path.parent().is_some_and(|folder| folder.ends_with("simd")) || source.path == Path::new(MAP)
    };
    let others = sources().into_iter().filter(|source| !may(source));
    let words = ["unsafe", "unsafe_code"];
    assert_empty(
        others.flat_map(|source| words.map(|word| source.naming(word)).concat()).collect(),
        "only shard/source.rs and folders called simd may",
    );
}

#[test]
fn modules_name_only_modules_that_the_design_allows() {
    let mut wrong = Vec::new();
    for source in sources().into_iter().filter(|source| source.module() != "lib") {
        let (package, module) = (source.package(), source.module());
        let mut of_package = MAY_NAME.iter().filter(|(of, ..)| *of == package).peekable();
        if of_package.peek().is_none() {
            continue;
        }
        let Some((.., allowed)) = of_package.clone().find(|(_, name, _)| *name == module) else {
            panic!("core/{package} has a new module '{module}': add it to MAY_NAME");
        };
        for (_, other, _) in of_package.filter(|(_, other, _)| *other != module && !allowed.contains(other)) {
            wrong.extend(source.naming(&format!("crate::{other}")));
        }
    }
    assert_empty(wrong, "a dependency that the design does not allow");
}

#[test]
fn remote_and_live_use_no_clock_sockets_or_threads() {
    let remote = sources().into_iter().filter(|source| ["remote", "live"].contains(&source.module()));
    let words = ["Instant", "SystemTime", "net", "thread", "io", "Mutex"];
    assert_empty(
        remote.flat_map(|source| words.map(|word| source.naming(word)).concat()).collect(),
        "the host has them",
    );
}

#[test]
fn core_depends_on_no_runtime_network_or_bindings() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["tree", "-p", "magpie-core", "-e", "normal", "--all-features", "--prefix", "none", "--offline"];
    let output =
        Command::new(cargo).args(arguments).args(["--target", "all"]).current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let crates: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(crates.contains(&"tract-onnx") && crates.contains(&"memmap2"), "this is not core's tree: {crates:?}");
    for (what, names) in KEPT_OUT {
        let found: Vec<_> = names.iter().filter(|name| crates.contains(name)).collect();
        assert!(found.is_empty(), "core depends on {found:?} ({what})");
    }
}
