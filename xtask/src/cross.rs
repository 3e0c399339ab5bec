//! Checks, without the SDKs, that the library for apps compiles for Android and iOS. Nothing is linked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::{Outcome, arm, cargo_command, debian, root, run};

const TARGETS: [&str; 2] = ["aarch64-linux-android", "aarch64-apple-ios"];

/// Debian's package of Rust's source, of the version that [`arm::debians_rust`] unpacks. The standard library is
/// checked from it.
const SOURCE: &str = "rust-web-src";

/// A stand-in for the C compiler: Linux's compiler, without the options for Apple's SDK. Its output is never linked.
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
        // Lets the stable compiler build the standard library, which only nightly may do otherwise.
        check.env("RUSTC_BOOTSTRAP", "1");
        arm::use_rust(&mut check, &rust);
        check.env(format!("CC_{}", target.replace('-', "_")), &compiler);
        // Any folder will do: without SDKROOT, the build scripts ask Xcode for one.
        check.env("SDKROOT", &target_folder).env("IPHONEOS_DEPLOYMENT_TARGET", "16.0");
        println!("for {target}:");
        run(&mut check)?;
    }
    Ok(())
}

/// Unpacks Rust's source next to Debian's Rust, unless it is there already.
fn source(rust: &Path) -> Outcome {
    if rust.join("lib/rustlib/src/rust/library/std/Cargo.toml").exists() {
        return Ok(());
    }
    debian::unpack(SOURCE, &rust.join(".."))
}

/// Writes the stand-in for the C compiler into a folder; returns its path.
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
