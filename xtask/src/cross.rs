//! Whether the library for apps compiles for the systems of phones: checked, not linked, without their SDKs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, arm, cargo_command, root, run};

const TARGETS: [&str; 2] = ["aarch64-linux-android", "aarch64-apple-ios"];

/// Rust's own source, of the version that [`arm::debians_rust`] unpacks: the standard library is checked with it.
const SOURCE: &str = "rust-web-src";

/// C parts are compiled by Linux's compiler as a stand-in: a check does not link. It gets no word of Apple's SDK.
const STAND_IN: &str = r#"#!/bin/sh
for arg do
    shift
    case $skip in 1) skip=; continue ;; esac
    case $arg in
        -isysroot | -arch) skip=1 ;;
        --target=* | -m*-version-min=*) ;;
        *) set -- "$@" "$arg" ;;
    esac
done
exec aarch64-linux-gnu-gcc "$@"
"#;

/// Checks the lean library, or the full one, for Android and iOS.
pub(crate) fn cross(full: bool) -> Outcome {
    arm::Tools::find()?;
    let rust = arm::debians_rust()?;
    source(&rust)?;
    let target_folder = root().join("target/cross");
    let compiler = stand_in(&target_folder)?;
    for target in TARGETS {
        let mut check = cargo_command(["check", "--package", "magpie-ffi", "--locked", "--target", target]);
        check.args(["-Z", "build-std=std,panic_unwind", "--target-dir"]).arg(&target_folder);
        if !full {
            check.arg("--no-default-features");
        }
        // Building the standard library is nightly's alone, for no reason that matters here.
        check.env("RUSTC_BOOTSTRAP", "1");
        arm::use_rust(&mut check, &rust);
        check.env(format!("CC_{}", target.replace('-', "_")), &compiler);
        // Some folder: without it, the build scripts ask for Xcode.
        check.env("SDKROOT", &target_folder).env("IPHONEOS_DEPLOYMENT_TARGET", "16.0");
        println!("for {target}:");
        run(&mut check)?;
    }
    Ok(())
}

/// Unpacks Rust's source beside Debian's Rust, once.
fn source(rust: &Path) -> Outcome {
    if rust.join("lib/rustlib/src/rust/library/std/Cargo.toml").exists() {
        return Ok(());
    }
    let folder = root().join("target/arm/source");
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    let mut download = Command::new("apt-get");
    run(download.args(["-o", "APT::Sandbox::User=", "download", "--quiet=2", SOURCE]).current_dir(&folder))?;
    for package in fs::read_dir(&folder).map_err(failed)?.flatten() {
        run(Command::new("dpkg").arg("--extract").arg(package.path()).arg(rust.join("..")))?;
    }
    fs::remove_dir_all(&folder).map_err(failed)
}

fn stand_in(folder: &Path) -> Result<PathBuf, String> {
    let path = folder.join("cc");
    let write = || {
        fs::create_dir_all(folder)?;
        fs::write(&path, STAND_IN)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    };
    write().map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}
