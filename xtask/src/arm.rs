//! The tests on ARM: built with a cross compiler and run under QEMU, so that the NEON kernels are executed.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, cargo_command, root, run};

/// ARM Linux: what QEMU runs, and near enough to Android for sizes.
pub(crate) const TARGET: &str = "aarch64-unknown-linux-gnu";

const GCC: &str = "aarch64-linux-gnu-gcc";

/// Where Debian's cross packages put ARM's C library; QEMU takes the dynamic loader from there.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";

/// The packages that hold [`GCC`], [`LIBRARIES`] and QEMU.
const PACKAGES: [&str; 3] = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user"];

/// NEON with dot products, as in phones since 2018.
const DOT: &str = "cortex-a76";

/// The CPUs that unit tests run on: [`DOT`], NEON and nothing beyond it, as in many phones that are still in use, and
/// everything that QEMU knows, the matrix extension among it.
const CPUS: [&str; 3] = [DOT, "cortex-a53", "max,sve=off,pauth=off"];

/// Seconds after which a test program counts as hung, on a busy machine too.
const HUNG: u32 = 900;

/// Built together whatever is run, so that one set of features, and so one build, serves all runs. Without tract, which
/// takes as long to compile as all the rest, and is not ours: networks are compiled ones.
const BUILT: [&str; 16] = [
    "--package",
    "magpie-cpu",
    "--package",
    "magpie-int8",
    "--package",
    "magpie-index",
    "--package",
    "magpie-image",
    "--package",
    "magpie-core",
    "--package",
    "magpie-tests",
    "--no-default-features",
    "--features",
    "magpie-core/build,magpie-core/model",
    "--locked",
];

/// The tests that run kernels on real packs and shards. The others try damaged files, which no kernel sees.
const PROMISES: [&str; 5] = ["parity::", "search_promises::", "photo_search::", "every_photo::", "compat::"];

/// Inside Debian's `/usr`, what its rustc is linked with.
const HOST_LIBRARIES: &str = "lib/x86_64-linux-gnu";

const NEEDS_RUST: &str = "needed is Rust's standard library for aarch64-unknown-linux-gnu, from `rustup target add` or \
                          from Debian's packages rustc-web and libstd-rust-web-dev:arm64";

/// Runs the tests on each kind of ARM CPU, or only the core's unit tests whose names contain `filter`.
pub(crate) fn arm(filter: Option<&str>) -> Outcome {
    if cfg!(target_arch = "aarch64") {
        println!("this is an ARM machine: `cargo xtask test` runs everything on it");
        return Ok(());
    }
    let tools = Tools::find()?;
    let packs = compiled_packs()?;
    let test = |cpu: &str, tests: &[&str], filters: &[&str]| {
        let mut command = tools.cargo(["test"]);
        command.args(BUILT).args(tests).arg("--").args(filters).env("MAGPIE_PACKS", &packs);
        let runner = format!("timeout --foreground --kill-after=5 {HUNG} qemu-aarch64 -L {LIBRARIES} -cpu {cpu}");
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner);
        println!("on ARM, CPU {cpu}:");
        run(&mut command)
    };
    if filter.is_none() {
        test(DOT, &["--test", "it"], &PROMISES)?;
    }
    CPUS.into_iter().try_for_each(|cpu| test(cpu, &["--lib"], filter.as_slice()))
}

/// Installs what is missing.
pub(crate) fn prepare() -> Outcome {
    Tools::find().map(drop)
}

/// The packs that ship, compiled, with their golden cases: what the tests run without the ONNX importer.
fn compiled_packs() -> Result<PathBuf, String> {
    let packs = root().join("target/arm/packs");
    for name in ["default", "fast"] {
        let (pack, compiled) = (root().join("models/packs").join(name), packs.join(name));
        // As the tests are built, so that what they built is used.
        let mut compile = cargo_command(["run", "--package", "magpie-cli", "--locked", "--", "model", "compile"]);
        run(compile.arg(&pack).arg("--out").arg(&compiled))?;
        run(Command::new("cp").arg("-R").arg(pack.join("golden")).arg(&compiled))?;
    }
    Ok(packs)
}

/// What builds for ARM.
pub(crate) struct Tools {
    /// Rust with a standard library for ARM, where the machine's own has none.
    rust: Option<PathBuf>,
}

impl Tools {
    /// Installs what is missing.
    pub(crate) fn find() -> Result<Tools, String> {
        if !has_tools() {
            install(&PACKAGES)?;
        }
        Ok(Tools { rust: if has_standard_library() { None } else { Some(debians_rust()?) } })
    }

    /// A cargo command that builds for [`TARGET`].
    pub(crate) fn cargo<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = cargo_command(args);
        command.args(["--target", TARGET]);
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", GCC);
        command.env("CC_aarch64_unknown_linux_gnu", GCC);
        if let Some(rust) = &self.rust {
            use_rust(&mut command, rust);
        }
        command
    }
}

/// Has a cargo command use the Rust of [`debians_rust`].
pub(crate) fn use_rust(command: &mut Command, rust: &Path) {
    command.env("RUSTC", rust.join("bin/rustc")).env("LD_LIBRARY_PATH", rust.join(HOST_LIBRARIES));
}

/// Whether the Rust that everything else is built with can build for ARM: `rustup target add` makes it so.
fn has_standard_library() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    printed.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// Whether there is such a program.
pub(crate) fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn has_tools() -> bool {
    runs(GCC) && runs("qemu-aarch64") && Path::new(LIBRARIES).join("lib/libc.so.6").exists()
}

/// Debian's Rust and its standard library for ARM, which come from one source: a `/usr` under `target`, so that the
/// machine's own Rust stays the one that is found.
pub(crate) fn debians_rust() -> Result<PathBuf, String> {
    let folder = root().join("target/arm");
    let rust = folder.join("rust/usr");
    let started =
        Command::new(rust.join("bin/rustc")).arg("-V").env("LD_LIBRARY_PATH", rust.join(HOST_LIBRARIES)).output();
    if started.is_ok_and(|output| output.status.success()) {
        return Ok(rust);
    }
    println!("Rust has no standard library for {TARGET} (`rustup target add {TARGET}`): unpacking Debian's Rust");
    let failed = |e: io::Error| format!("{}: {e}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    // Moved out of here when it is complete. apt does not make its folders.
    let unfinished = folder.join("unfinished");
    let packages = unfinished.join("packages");
    for part in [&packages, &unfinished.join("lists/partial"), &unfinished.join("cache/archives/partial")] {
        fs::create_dir_all(part).map_err(failed)?;
    }

    // Package lists of our own, because the machine's have none of ARM's packages.
    let apt = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-o", "APT::Architectures::=amd64", "-o", "APT::Architectures::=arm64"]);
        command.arg("-o").arg(format!("Dir::State::Lists={}", unfinished.join("lists").display()));
        command.arg("-o").arg(format!("Dir::Cache={}", unfinished.join("cache").display()));
        command.args(["-o", "APT::Sandbox::User="]).args(args).current_dir(&packages);
        command
    };
    run(&mut apt("apt-get", &["update", "--quiet=2"])).map_err(|e| format!("{e}; {NEEDS_RUST}"))?;
    // Both packages have their version in the name.
    let dependency = |of: &str, prefix: &str| {
        let output = apt("apt-cache", &["depends", of]).output().map_err(|e| format!("apt-cache: {e}"))?;
        let names = String::from_utf8_lossy(&output.stdout);
        let mut names = names.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let found = names.find(|name| name.starts_with(prefix)).map(str::to_owned);
        found.ok_or_else(|| format!("package {of} depends on no {prefix}; {NEEDS_RUST}"))
    };
    let library = dependency("libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = dependency(&library, "libllvm")?;
    install(&[&llvm])?;
    let wanted = ["rustc-web", &library, "libstd-rust-web-dev", "libstd-rust-web-dev:arm64"];
    run(apt("apt-get", &["download", "--quiet=2"]).args(wanted))?;
    for package in fs::read_dir(&packages).map_err(failed)?.flatten() {
        run(Command::new("dpkg").arg("--extract").arg(package.path()).arg(unfinished.join("rust")))?;
    }
    fs::rename(unfinished.join("rust"), folder.join("rust")).map_err(failed)?;
    fs::remove_dir_all(unfinished).map_err(failed)?;
    Ok(rust)
}

/// Installs Debian's packages; says what to do where it can't.
pub(crate) fn install(packages: &[&str]) -> Outcome {
    let names = packages.join(" ");
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root || !Path::new("/usr/bin/apt-get").exists() {
        return Err(format!(
            "needed are Debian's packages {names}, or what holds the same on another Linux: install them as root"
        ));
    }
    println!("installing Debian's packages {names}");
    run(Command::new("apt-get").args(["update", "--quiet=2"]))?;
    run(Command::new("apt-get")
        .args(["install", "--yes", "--quiet=2", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}
