//! Builds the library for Apple's systems, and the Swift package for publication. Needs a Mac with Xcode and rustup.
//! Apart from the tests below, nothing here has been run yet.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::{Outcome, bindings, cargo_command, root, run};

/// The platforms and the targets of each. The libraries of all targets of a platform are merged into one file.
const PLATFORMS: [(&str, &[&str]); 3] = [
    ("ios", &["aarch64-apple-ios"]),
    ("ios-simulator", &["aarch64-apple-ios-sim", "x86_64-apple-ios"]),
    ("macos", &["aarch64-apple-darwin", "x86_64-apple-darwin"]),
];

/// The oldest supported systems, as in `ios/Package.swift`.
const OLDEST: [(&str, &str); 2] = [("IPHONEOS_DEPLOYMENT_TARGET", "16.0"), ("MACOSX_DEPLOYMENT_TARGET", "13.0")];

/// The text in `ios/Package.swift` that names the local library.
const LOCAL: &str = r#".binaryTarget(name: "MagpieFFI", path: "MagpieFFI.xcframework")"#;

/// Builds `ios/MagpieFFI.xcframework` with the phone profile, archives it and prints the archive's checksum. With a
/// `url`, also writes a package to `target/xcframework/Magpie` that downloads the archive from there.
pub(crate) fn xcframework(url: Option<&str>) -> Outcome {
    if !cfg!(target_os = "macos") {
        return Err("an XCFramework can only be built on a Mac with Xcode".to_owned());
    }
    let made = bindings::bindings("swift", false)?;
    let folder = root().join("target/xcframework");
    let headers = folder.join("headers");
    let failed = |e: io::Error| format!("{}: {e}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    fs::create_dir_all(&headers).map_err(failed)?;
    fs::copy(made.sources.join("MagpieFFI.h"), headers.join("MagpieFFI.h")).map_err(failed)?;
    fs::copy(made.sources.join("MagpieFFI.modulemap"), headers.join("module.modulemap")).map_err(failed)?;

    let framework = root().join("ios/MagpieFFI.xcframework");
    if framework.exists() {
        fs::remove_dir_all(&framework).map_err(failed)?;
    }
    let mut create = Command::new("xcodebuild");
    create.arg("-create-xcframework");
    for (platform, targets) in PLATFORMS {
        let mut lipo = Command::new("lipo");
        lipo.arg("-create");
        for target in targets {
            build(target)?;
            lipo.arg(root().join("target").join(target).join("phone/libmagpie_ffi.a"));
        }
        let library = folder.join(platform).join("libmagpie_ffi.a");
        fs::create_dir_all(folder.join(platform)).map_err(failed)?;
        run(lipo.arg("-output").arg(&library))?;
        create.arg("-library").arg(library).arg("-headers").arg(&headers);
    }
    run(create.arg("-output").arg(&framework))?;

    let archive = folder.join("MagpieFFI.xcframework.zip");
    run(Command::new("ditto").args(["-c", "-k", "--keepParent"]).arg(&framework).arg(&archive))?;
    let output = Command::new("swift").args(["package", "compute-checksum"]).arg(&archive).output();
    let checksum = output.map_err(|e| format!("swift package compute-checksum: {e}"))?.stdout;
    let checksum = String::from_utf8_lossy(&checksum).trim().to_owned();
    println!("{}: {checksum}", archive.display());
    url.map_or(Ok(()), |url| publish(&folder.join("Magpie"), url, &checksum))
}

/// Builds the static library for one target.
fn build(target: &str) -> Outcome {
    run(Command::new("rustup").args(["target", "add", target]))?;
    let mut build = cargo_command(["rustc", "--package", "magpie-ffi", "--lib", "--crate-type", "staticlib"]);
    run(build.args(["--profile", "phone", "--locked", "--target", target]).envs(OLDEST))
}

/// Writes the package with its generated sources and a manifest that names the archive.
fn publish(into: &Path, url: &str, checksum: &str) -> Outcome {
    let failed = |e: io::Error| format!("{}: {e}", into.display());
    let ios = root().join("ios");
    fs::create_dir_all(into).map_err(failed)?;
    run(Command::new("cp").arg("-R").args(["Sources", "README.md"].map(|name| ios.join(name))).arg(into))?;
    let manifest = fs::read_to_string(ios.join("Package.swift")).map_err(failed)?;
    let manifest = published(&manifest, url, checksum).ok_or("ios/Package.swift has no line for the binary target")?;
    fs::write(into.join("Package.swift"), manifest).map_err(failed)
}

/// Returns the manifest with the archive instead of the local framework, and without the tests, which need the
/// repository. `None` if it does not name the local framework.
fn published(manifest: &str, url: &str, checksum: &str) -> Option<String> {
    let remote = format!(r#".binaryTarget(name: "MagpieFFI", url: "{url}", checksum: "{checksum}")"#);
    let lines = manifest.lines().filter(|line| !line.contains(".testTarget("));
    let lines = lines.map(|line| line.replacen(LOCAL, &remote, 1) + "\n");
    manifest.contains(LOCAL).then(|| lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_manifest_names_archive_and_checksum() {
        let manifest = fs::read_to_string(root().join("ios/Package.swift")).expect("a manifest");
        let made = published(&manifest, "https://example.com/MagpieFFI.zip", "0123abcd").expect("a binary target");
        assert!(made.contains(r#"url: "https://example.com/MagpieFFI.zip", checksum: "0123abcd""#));
        assert!(!made.contains("MagpieFFI.xcframework") && !made.contains("testTarget"));
        assert_eq!(made.lines().count(), manifest.lines().count() - 1);
    }
}
