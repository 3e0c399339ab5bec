//! The project's tasks: `cargo xtask check`, `cargo xtask test` and so on, the same on a desk and in CI.

mod arm;
mod engines;
mod peers;

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;

/// Version of cargo-deny that is installed where there is none.
const CARGO_DENY: &str = "0.20.2";

/// A workspace of its own: what is measured is the core without the network.
const SEARCH_RUNNER: &str = "tests/peers/search/runner/Cargo.toml";

/// The server's page is an extra: what serves apps alone does without it.
const PAGE: &str = "magpie-server/page";

/// The project's tasks
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Formatting, lints, documentation, feature sets, dependency rules: everything but the tests
    Check,
    /// All tests: Rust's, and the training package's where its Python environment is set up
    Test {
        /// Only the tests with this engine, which other runs leave out
        #[arg(long)]
        engine: Option<engines::Engine>,
    },
    /// The core's tests on ARM, so that NEON code is run; installs what is missing for it
    Arm {
        /// Only the core's unit tests whose names contain this
        filter: Option<String>,
    },
    /// Compile and run the benches once, as a test that they work
    BenchSmoke,
    /// Measure: prints the benches' tables
    Bench,
    /// Measure beside what else there is: sets the peers up, prints a table, ends with the ratios
    #[command(subcommand)]
    Peers(peers::Peers),
    /// Licences, sources and duplicates of dependencies; installs cargo-deny where it is missing
    Deny,
    /// Format all code
    Fmt,
    /// Everything that CI does
    Ci,
}

type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let outcome = match Task::parse() {
        Task::Check => check(),
        Task::Test { engine: None } => test(),
        Task::Test { engine: Some(engine) } => engines::test(engine),
        Task::Arm { filter } => arm::arm(filter.as_deref()),
        Task::BenchSmoke => bench(&["--smoke"]),
        Task::Bench => bench(&[]),
        Task::Peers(bench) => peers::peers(bench),
        Task::Deny => deny(),
        Task::Fmt => cargo(["fmt", "--all"]).and_then(|()| cargo(["fmt", "--manifest-path", SEARCH_RUNNER])),
        Task::Ci => check().and_then(|()| test()).and_then(|()| arm::arm(None)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Outcome {
    cargo(["fmt", "--all", "--check"])?;
    let workspace = ["clippy", "--workspace", "--all-targets", "--features", PAGE, "--locked"];
    cargo(workspace.iter().chain(&["--", "--deny", "warnings"]))?;
    // The server as it is built for a catalogue: without its page.
    cargo(["clippy", "--package", "magpie-server", "--locked", "--", "--deny", "warnings"])?;
    // The server and the lean phone build leave features out; the workspace build above turns all of them on.
    for features in [&["--no-default-features"][..], &["--no-default-features", "--features", "build"], &[]] {
        let args = ["clippy", "--package", "magpie-core", "--locked"].iter().chain(features);
        cargo(args.chain(&["--", "--deny", "warnings"]))?;
    }
    // Outside the workspace: the core as a server has it.
    cargo(["fmt", "--check", "--manifest-path", SEARCH_RUNNER])?;
    let lints = ["clippy", "--locked", "--target-dir", "target/lean", "--manifest-path", SEARCH_RUNNER];
    cargo(lints.iter().chain(&["--", "--deny", "warnings"]))?;
    run(cargo_command(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "--deny warnings"))?;
    deny()
}

fn test() -> Outcome {
    cargo(["test", "--workspace", "--features", PAGE, "--locked"])?;
    bench(&["--smoke"])?;
    python_tests()
}

/// Benches are ordinary programs (`harness = false`) that run each case once when asked for smoke.
fn bench(args: &[&str]) -> Outcome {
    let smoke = args.contains(&"--smoke");
    let profile = if smoke { "dev" } else { "dist" };
    // The whole workspace, so that dependencies are built with the same features as for the tests, once.
    let base = [
        "bench",
        "--workspace",
        "--bench",
        "stages",
        "--bench",
        "search",
        "--features",
        "magpie-core/build",
        "--locked",
    ];
    cargo(base.iter().chain(&["--profile", profile, "--"]).chain(args))
}

fn deny() -> Outcome {
    let installed = cargo_command(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if !installed {
        cargo(["install", "cargo-deny", "--version", CARGO_DENY, "--locked"])?;
    }
    // Advisories need a database from the network: `cargo deny check` on a desk looks at them too.
    cargo(["deny", "--workspace", "--all-features", "check", "bans", "licenses", "sources"])
}

/// The training package's own tests; using the shipped pack needs no Python, so that a machine without one passes.
fn python_tests() -> Outcome {
    let python = match env::var_os("MAGPIE_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => root().join("models/.venv/bin/python"),
    };
    let import = Command::new(&python).args(["-c", "import torch, onnxruntime, pytest"]).output();
    if !import.is_ok_and(|output| output.status.success()) {
        println!("skipped: models/tests (models/README.md says how to set up their environment)");
        return Ok(());
    }
    run(Command::new(python).args(["-m", "pytest", "--quiet", "tests"]).current_dir(root().join("models")))
}

fn cargo(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Outcome {
    run(&mut cargo_command(args))
}

fn cargo_command(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

fn run(command: &mut Command) -> Outcome {
    println!("+ {command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(e) => Err(format!("{command:?}: {e}")),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
