//! Unpacks single packages of Debian, without installing them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Outcome, root, run};

/// Downloads a package and unpacks it into a folder.
pub(crate) fn unpack(package: &str, into: &Path) -> Outcome {
    let folder = root().join("target/debian").join(package);
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    fs::create_dir_all(into).map_err(failed)?;
    // Without root this fails, and the lists that are there have to do.
    let _ = run(Command::new("apt-get").args(["update", "--quiet=2"]));
    let mut download = Command::new("apt-get");
    run(download.args(["-o", "APT::Sandbox::User=", "download", "--quiet=2", package]).current_dir(&folder))?;
    for package in fs::read_dir(&folder).map_err(failed)?.flatten() {
        run(Command::new("dpkg").arg("--extract").arg(package.path()).arg(into))?;
    }
    fs::remove_dir_all(&folder).map_err(failed)
}
