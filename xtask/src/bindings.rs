//! Builds the library that Kotlin and Swift load, and generates the sources for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, PAGE, cargo, root, run};

/// Prefix of the demo listings that the phone's shard has in tests with a server: mugs only.
const ON_THE_PHONE: &str = "mug-";

/// The compiled library and the generated sources.
pub(crate) struct Bindings {
    /// Folder of `libmagpie_ffi`.
    pub(crate) library: PathBuf,
    /// Folder of the generated sources.
    pub(crate) sources: PathBuf,
}

/// Builds the library for this machine and writes the sources of a language, `kotlin` or `swift`.
pub(crate) fn bindings(language: &str, release: bool) -> Result<Bindings, String> {
    let target = root().join("target");
    // The whole workspace, so that dependencies have the same features as in the tests and are built only once.
    let mut build = vec!["build", "--workspace", "--features", PAGE, "--locked", "--target-dir", "target"];
    let profile = if release { "release" } else { "debug" };
    if release {
        build.push("--release");
    }
    cargo(build)?;
    let library = target.join(profile);
    let into = target.join("bindings").join(language);
    // Remove the sources of an earlier interface.
    if into.exists() {
        fs::remove_dir_all(&into).map_err(|e| format!("{}: {e}", into.display()))?;
    }
    let name = format!("{}magpie_ffi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let mut generate = Command::new(library.join("magpie-bindgen"));
    generate.args(["generate", "--no-format", "--language", language, "--out-dir"]).arg(&into);
    // Without this file, the generator asks cargo about every crate.
    generate.arg("--config").arg(root().join("bindings/bindgen.toml")).arg(library.join(name));
    run(generate.current_dir(root()))?;
    if language == "swift" {
        put_into_swift_package(&into)?;
    }
    Ok(Bindings { library, sources: into })
}

/// Copies the generated sources to where the Swift package expects them.
fn put_into_swift_package(sources: &Path) -> Outcome {
    let into = root().join("ios/Sources");
    let files = [
        ("MagpieGenerated.swift", "MagpieGenerated/MagpieGenerated.swift"),
        ("MagpieFFI.h", "MagpieFFI/MagpieFFI.h"),
        // SwiftPM finds a module map only by this name.
        ("MagpieFFI.modulemap", "MagpieFFI/module.modulemap"),
    ];
    for (from, to) in files {
        let (from, to) = (sources.join(from), into.join(to));
        let failed = |e: io::Error| format!("{}: {e}", to.display());
        let text = fs::read(&from).map_err(|e| format!("{}: {e}", from.display()))?;
        // Unchanged files keep their time stamps, so that they are not built again.
        if fs::read(&to).is_ok_and(|old| old == text) {
            continue;
        }
        to.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        fs::write(&to, text).map_err(failed)?;
    }
    Ok(())
}

impl Bindings {
    /// Writes the embeddings that those of both languages must match to the bit: `golden.npy` has the embeddings that
    /// the command line makes of the pack's golden photos, `golden.txt` the paths of these photos.
    pub(crate) fn golden_embeddings(&self, into: &Path) -> Outcome {
        let golden = root().join("models/packs/default/golden");
        let failed = |e: io::Error| format!("{}: {e}", golden.display());
        let mut photos: Vec<PathBuf> = Vec::new();
        for case in fs::read_dir(&golden).map_err(failed)? {
            let case = case.map_err(failed)?.path();
            photos.extend(["photo.jpg", "photo.png"].map(|name| case.join(name)).into_iter().filter(|p| p.is_file()));
        }
        photos.sort();
        let lines: String = photos.iter().map(|photo| format!("{}\n", photo.display())).collect();
        let list = into.join("golden.txt");
        fs::create_dir_all(into)
            .and_then(|()| fs::write(&list, lines))
            .map_err(|e| format!("{}: {e}", list.display()))?;
        let mut embed = Command::new(self.library.join("magpie"));
        embed.arg("embed").arg("--list").arg(&list).arg("--out").arg(into.join("golden.npy"));
        run(embed.current_dir(root()))
    }

    /// Builds `phone.magpie`, the phone's shard in tests that ask a server: some of the demo's listings, without its
    /// last column, `shop`.
    pub(crate) fn phone_catalog(&self, into: &Path) -> Outcome {
        let demo = root().join("cli/demo/catalog.csv");
        let failed = |file: &Path, e: io::Error| format!("{}: {e}", file.display());
        let all = fs::read_to_string(&demo).map_err(|e| failed(&demo, e))?;
        let kept = all.lines().enumerate().filter(|(at, line)| *at == 0 || line.starts_with(ON_THE_PHONE));
        // Shop names have no commas, so the last comma precedes the last column.
        let rows = kept.filter_map(|(_, line)| Some(format!("{}\n", line.rsplit_once(',')?.0)));
        let table = into.join("phone.csv");
        fs::write(&table, rows.collect::<String>()).map_err(|e| failed(&table, e))?;
        let mut build = Command::new(self.library.join("magpie"));
        build.arg("build").arg("--catalog").arg(&table).args(["--images", "cli/demo/photos", "--name", "demo"]);
        run(build.args(["--strict", "--out"]).arg(into.join("phone.magpie")).current_dir(root()))
    }
}
