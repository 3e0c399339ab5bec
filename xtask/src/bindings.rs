//! The library that Kotlin and Swift load, and the sources that are generated from it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, PAGE, cargo, root, run, swift};

/// The listings of the demo that the phone has where a server is asked: mugs alone.
const ON_THE_PHONE: &str = "mug-";

/// The compiled library and what was generated.
pub(crate) struct Bindings {
    /// Folder of `libmagpie_ffi`.
    pub(crate) library: PathBuf,
    /// Folder of the generated sources.
    pub(crate) sources: PathBuf,
}

/// Builds the library for this machine and writes the sources of a language, `kotlin` or `swift`.
pub(crate) fn bindings(language: &str, release: bool) -> Result<Bindings, String> {
    let target = root().join("target");
    // The whole workspace, so that dependencies are built with the same features as for the tests, once.
    let mut build = vec!["build", "--workspace", "--features", PAGE, "--locked", "--target-dir", "target"];
    let profile = if release { "release" } else { "debug" };
    if release {
        build.push("--release");
    }
    cargo(build)?;
    let library = target.join(profile);
    let into = target.join("bindings").join(language);
    // Nothing of an earlier interface may stay.
    if into.exists() {
        fs::remove_dir_all(&into).map_err(|e| format!("{}: {e}", into.display()))?;
    }
    let name = format!("{}magpie_ffi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let mut generate = Command::new(library.join("magpie-bindgen"));
    generate.args(["generate", "--no-format", "--language", language, "--out-dir"]).arg(&into);
    // Without it the generator asks cargo about every crate; the file says all that it needs.
    generate.arg("--config").arg(root().join("bindings/bindgen.toml")).arg(library.join(name));
    run(generate.current_dir(root()))?;
    if language == "swift" {
        swift::put_generated(&into)?;
    }
    Ok(Bindings { library, sources: into })
}

impl Bindings {
    /// What both languages' embeddings are compared with, to the bit: `golden.npy`, the embeddings that the command line
    /// makes of the pack's golden photos, and `golden.txt`, the paths of these photos.
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

    /// What tests that ask a server have on the phone: `phone.magpie`, with few of the demo's listings and without its
    /// last column, `shop`.
    pub(crate) fn phone_catalog(&self, into: &Path) -> Outcome {
        let demo = root().join("cli/demo/catalog.csv");
        let failed = |file: &Path, e: io::Error| format!("{}: {e}", file.display());
        let all = fs::read_to_string(&demo).map_err(|e| failed(&demo, e))?;
        let kept = all.lines().enumerate().filter(|(at, line)| *at == 0 || line.starts_with(ON_THE_PHONE));
        // No name of a shop has a comma.
        let rows = kept.filter_map(|(_, line)| Some(format!("{}\n", line.rsplit_once(',')?.0)));
        let table = into.join("phone.csv");
        fs::write(&table, rows.collect::<String>()).map_err(|e| failed(&table, e))?;
        let mut build = Command::new(self.library.join("magpie"));
        build.arg("build").arg("--catalog").arg(&table).args(["--images", "cli/demo/photos", "--name", "demo"]);
        run(build.args(["--strict", "--out"]).arg(into.join("phone.magpie")).current_dir(root()))
    }
}
