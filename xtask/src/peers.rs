//! Magpie beside what else there is: each bench is a folder of `tests/peers` with `requirements.txt` and `run.py`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Subcommand;

use crate::{Outcome, cargo_command, root, run};

#[derive(Subcommand)]
pub(crate) enum Peers {
    /// LiteRT, ONNX Runtime, tract and Magpie on the same weights (-- --help for its options)
    Inference {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
}

pub(crate) fn peers(bench: Peers) -> Outcome {
    match bench {
        Peers::Inference { options } => measure("inference", "inference_peer", &options),
    }
}

/// Runs a bench in a Python environment of its own. Magpie's side is an example of the tests' package.
fn measure(bench: &str, example: &str, options: &[OsString]) -> Outcome {
    let folder = root().join("tests/peers").join(bench);
    let python = environment(bench, &folder.join("requirements.txt"))?;
    // The whole workspace, so that dependencies are built with the same features as for the benches, once.
    let target = root().join("target");
    let build = ["build", "--workspace", "--example", example, "--profile", "dist", "--locked", "--target-dir"];
    run(cargo_command(build).arg(&target))?;
    let runner = target.join("dist/examples").join(example);
    run(Command::new(python).arg(folder.join("run.py")).arg("--runner").arg(runner).args(options))
}

/// The Python of `target/peers/<bench>/venv`, with the packages that are required now.
fn environment(bench: &str, requirements: &Path) -> Result<PathBuf, String> {
    let venv = root().join("target/peers").join(bench).join("venv");
    let python = venv.join("bin/python");
    let installed = venv.join("requirements.txt");
    let read = |path: &Path| std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
    let wanted = read(requirements)?;
    if read(&installed).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))?;
    std::fs::write(&installed, wanted).map_err(|e| format!("{}: {e}", installed.display()))?;
    Ok(python)
}
