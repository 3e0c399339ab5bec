//! The project's tasks: `cargo xtask check`, `cargo xtask test` and so on, the same on a developer's machine and in CI.

mod arm;
mod bindings;
mod cross;
mod debian;
mod engines;
mod kotlin;
mod operations;
mod peers;
mod releases;
mod size;
mod swift;
mod xcframework;

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;

/// Version of cargo-deny to install where it is missing.
const CARGO_DENY: &str = "0.20.2";

/// A separate workspace, so that the core is measured without the network.
const SEARCH_RUNNER: &str = "tests/peers/search/runner/Cargo.toml";

/// The feature with the server's web page; a server for apps alone leaves it out.
const PAGE: &str = "magpie-server/page";

/// The project's tasks
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Check formatting, lints, documentation, feature sets and dependency rules: everything but the tests
    Check,
    /// Run all Rust tests, and the training package's if its Python environment is set up; or only one side's
    Test {
        /// Only the tests of this side
        #[arg(conflicts_with = "engine")]
        side: Option<Side>,
        /// Only the tests with this search engine, which other runs leave out
        #[arg(long)]
        engine: Option<engines::ExternalEngine>,
    },
    /// Run the core's tests on emulated ARM CPUs, for the NEON kernels; installs the tools that are missing
    Arm {
        /// Only the core's unit tests whose names contain this
        filter: Option<String>,
    },
    /// Compile and run the benches once, as a test that they work
    BenchSmoke,
    /// Build the library that apps load for this machine, and generate the Kotlin and Swift sources: target/bindings
    Bindings {
        /// Build as it ships, without debug checks
        #[arg(long)]
        release: bool,
    },
    /// Run Swift: the machine's own, or else Debian's, unpacked once under target/swift
    Swift {
        /// Arguments for `swift`, such as build, test or run
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        args: Vec<String>,
    },
    /// On a Mac: build the library for Apple's systems as ios/MagpieFFI.xcframework, and the package for publication
    Xcframework {
        /// Where the archive will be published: the package then downloads it from there
        #[arg(long)]
        url: Option<String>,
    },
    /// Check that the library for apps compiles for Android and iOS, with Debian's Rust and without their SDKs
    Cross {
        /// The full library, with the ONNX importer, instead of the lean one
        #[arg(long)]
        full: bool,
    },
    /// Build the library that apps ship for ARM, and write its size and largest parts to bindings/SIZE.md
    Size {
        /// Measure only `lean` or `full`, and only print the result
        flavour: Option<String>,
    },
    /// Test the server's alert rules with Prometheus' tool, and check its systemd unit: server/operations
    Operations,
    /// Run the benches and print their tables
    Bench,
    /// Compare with other engines: set them up, measure, and print a table and the ratios
    #[command(subcommand)]
    Peers(peers::Peers),
    /// Check licences, sources and duplicates of dependencies; installs cargo-deny if it is missing
    Deny,
    /// Format all code
    Fmt,
    /// Install what the other tests need besides Rust: Debian's packages, its Swift and its Rust for ARM, OpenSearch.
    /// The tests install these themselves if needed; CI runs this while it compiles
    Prepare,
    /// Run `.ci/run`, which is all that CI does
    Ci,
}

/// A side whose tests need a separate build.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Side {
    /// The Kotlin package, on a JVM; installs Maven and Java if they are missing
    Kotlin,
    /// The Swift package, with the machine's Swift or Debian's; installs it if it is missing
    Swift,
}

type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let outcome = match Task::parse() {
        Task::Check => check(),
        Task::Test { side: None, engine: None } => test(),
        Task::Test { side: Some(Side::Kotlin), .. } => kotlin::test(),
        Task::Test { side: Some(Side::Swift), .. } => swift::test(),
        Task::Test { engine: Some(engine), .. } => engines::test(engine),
        Task::Arm { filter } => arm::arm(filter.as_deref()),
        Task::BenchSmoke => bench(&["--smoke"]),
        Task::Bindings { release } => ["kotlin", "swift"].into_iter().try_for_each(|language| {
            let made = bindings::bindings(language, release)?;
            println!("{language}: {} for {}", made.sources.display(), made.library.display());
            Ok(())
        }),
        Task::Swift { args } => swift::swift(&args),
        Task::Xcframework { url } => xcframework::xcframework(url.as_deref()),
        Task::Cross { full } => cross::cross(full),
        Task::Size { flavour } => size::size(flavour.as_deref()),
        Task::Operations => operations::operations(),
        Task::Bench => bench(&[]),
        Task::Peers(bench) => peers::peers(bench),
        Task::Deny => deny(),
        Task::Fmt => cargo(["fmt", "--all"]).and_then(|()| cargo(["fmt", "--manifest-path", SEARCH_RUNNER])),
        Task::Prepare => prepare(),
        Task::Ci => run(Command::new("bash").arg(root().join(".ci/run"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Prepares one side after the other and continues if one fails, since its test will report what is missing.
fn prepare() -> Outcome {
    type Side = (&'static str, fn() -> Outcome);
    let sides: [Side; 3] = [("ARM", arm::prepare), ("OpenSearch", engines::prepare), ("Swift", swift::prepare)];
    let failed = sides.map(|(name, prepare)| prepare().map_err(|e| eprintln!("{name}: {e}")).is_err());
    if failed.contains(&true) { Err("not everything was fetched".to_owned()) } else { Ok(()) }
}

fn check() -> Outcome {
    cargo(["fmt", "--all", "--check"])?;
    let workspace = ["clippy", "--workspace", "--all-targets", "--features", PAGE, "--locked"];
    cargo(workspace.iter().chain(&["--", "--deny", "warnings"]))?;
    // The server without its page, as it is built for apps.
    cargo(["clippy", "--package", "magpie-server", "--locked", "--", "--deny", "warnings"])?;
    // The server and the lean phone build leave features out, but the workspace build above enables all of them.
    let lean = ["clippy", "--package", "magpie-core", "--locked", "--no-default-features"];
    for features in ["", "image", "model", "build"] {
        cargo(lean.iter().chain(&["--features", features, "--", "--deny", "warnings"]))?;
    }
    let phone = ["clippy", "--package", "magpie-release", "--locked", "--no-default-features"];
    cargo(phone.iter().chain(&["--", "--deny", "warnings"]))?;
    // Outside the workspace: the core with the features that the search runner uses.
    cargo(["fmt", "--check", "--manifest-path", SEARCH_RUNNER])?;
    let lints = ["clippy", "--locked", "--target-dir", "target/lean", "--manifest-path", SEARCH_RUNNER];
    cargo(lints.iter().chain(&["--", "--deny", "warnings"]))?;
    let doc = ["doc", "--workspace", "--features", PAGE, "--no-deps", "--locked"];
    run(cargo_command(doc).env("RUSTDOCFLAGS", "--deny warnings"))?;
    deny()
}

fn test() -> Outcome {
    cargo(["test", "--workspace", "--features", PAGE, "--locked"])?;
    bench(&["--smoke"])?;
    python_tests()
}

/// Benches are ordinary programs (`harness = false`) that run each case once with `--smoke`.
fn bench(args: &[&str]) -> Outcome {
    let smoke = args.contains(&"--smoke");
    let profile = if smoke { "dev" } else { "dist" };
    // With `--workspace`, so that dependencies have the same features as in the tests and are built only once.
    let base = [
        "bench",
        "--workspace",
        "--bench",
        "stages",
        "--bench",
        "frames",
        "--bench",
        "photos",
        "--bench",
        "search",
        "--features",
        "magpie-index/build",
        "--locked",
    ];
    cargo(base.iter().chain(&["--profile", profile, "--"]).chain(args))
}

fn deny() -> Outcome {
    // Installed under `target`, so that it is compiled once; a debug build takes a third of the time.
    let tools = root().join("target/tools");
    let installed = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let mut deny = cargo_command(["deny"]);
    if !installed(cargo_command(["deny", "--version"]).env("PATH", with_tools(&tools)?)) {
        let install = ["install", "cargo-deny", "--version", CARGO_DENY, "--locked", "--debug", "--root"];
        run(cargo_command(install).arg(&tools).env("CARGO_TARGET_DIR", root().join("target/cargo-deny")))?;
    }
    // Advisories need a database from the network; run `cargo deny check` to check them too.
    deny.args(["--workspace", "--all-features", "check", "bans", "licenses", "sources"]);
    run(deny.env("PATH", with_tools(&tools)?))
}

/// `PATH` with the tools that the project installed appended.
fn with_tools(tools: &Path) -> Result<OsString, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(env::split_paths(&path).chain([tools.join("bin")])).map_err(|e| format!("PATH: {e}"))
}

/// Runs the training package's tests. Skips them without its Python environment, which the shipped pack does not need.
fn python_tests() -> Outcome {
    let python = match env::var_os("MAGPIE_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => root().join("models/.venv/bin/python"),
    };
    let import = Command::new(&python).args(["-c", "import torch, onnxruntime, pytest"]).output();
    if !import.is_ok_and(|output| output.status.success()) {
        println!("skipped: models/tests (see models/README.md for setting up their environment)");
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
