//! Compares Magpie with its peers: each bench is a folder in `tests/peers` with `requirements.txt` and `run.py`.

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
    /// faiss, hnswlib, usearch, qdrant-edge and Magpie on the same vectors (-- --help for its options)
    Search {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
}

pub(crate) fn peers(bench: Peers) -> Outcome {
    match bench {
        Peers::Inference { options } => {
            let mut script = script("inference")?;
            run(script.arg("--runner").arg(example("inference_peer")?).args(options))
        }
        // The script builds Magpie's side itself: a workspace of its own, without the neural network.
        Peers::Search { options } => run(script("search")?.args(options)),
    }
}

/// Returns the command that runs a bench's script, in a Python environment of its own.
fn script(bench: &str) -> Result<Command, String> {
    let folder = root().join("tests/peers").join(bench);
    let python = environment(bench, &folder.join("requirements.txt"))?;
    let mut command = Command::new(python);
    command.arg(folder.join("run.py"));
    Ok(command)
}

/// Builds an example of the tests' package with the profile `dist`; returns its path.
fn example(name: &str) -> Result<PathBuf, String> {
    // The whole workspace, so that dependencies have the same features as in the benches and are built only once.
    let target = root().join("target");
    let build = ["build", "--workspace", "--example", name, "--profile", "dist", "--locked", "--target-dir"];
    run(cargo_command(build).arg(&target))?;
    Ok(target.join("dist/examples").join(name))
}

/// Returns the Python of `target/peers/<bench>/venv`. Makes the environment anew if the requirements have changed.
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
