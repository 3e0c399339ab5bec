//! The tests on ARM, built with a cross compiler and run under QEMU to execute the NEON kernels.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, PAGE, cargo, cargo_command, root, run};

/// ARM Linux, which QEMU can run and whose library sizes are close to Android's.
pub(crate) const TARGET: &str = "aarch64-unknown-linux-gnu";

const GCC: &str = "aarch64-linux-gnu-gcc";

/// Where Debian's cross packages install the C library for ARM; QEMU takes the dynamic loader from there.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";

/// The packages that hold [`GCC`], [`LIBRARIES`] and QEMU.
const PACKAGES: [&str; 3] = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user"];

/// NEON with dot products, as in phones since 2018.
const DOT: &str = "cortex-a76";

/// The CPUs that unit tests run on: [`DOT`], plain NEON as in many phones still in use, and all extensions that QEMU
/// has, such as the int8 matrix extension. SVE and pointer authentication are off.
const CPUS: [&str; 3] = [DOT, "cortex-a53", "max,sve=off,pauth=off"];

/// Seconds after which a test program counts as hung, even on a busy machine.
const HUNG: u32 = 900;

/// Packages and features of every build. They are the same whatever is run, so that one build serves all runs. tract is
/// left out, since it takes as long to compile as everything else and its code is not ours; networks are compiled ones.
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

/// The tests that run kernels on real packs and shards. The others use damaged files, which never reach a kernel.
const KERNEL_TESTS: [&str; 5] = ["parity::", "search_promises::", "photo_search::", "every_photo::", "compat::"];

/// The libraries that Debian's rustc is linked with, relative to its `/usr`.
const HOST_LIBRARIES: &str = "lib/x86_64-linux-gnu";

const NEEDS_RUST: &str = "install Rust's standard library for aarch64-unknown-linux-gnu, with `rustup target add` or \
                          from Debian's packages rustc-web and libstd-rust-web-dev:arm64";

/// Runs the tests on each of [`CPUS`], or only the core's unit tests whose names contain `filter`.
pub(crate) fn arm(filter: Option<&str>) -> Outcome {
    if cfg!(target_arch = "aarch64") {
        println!("this is an ARM machine: use `cargo xtask test`, which runs everything on it");
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
        test(DOT, &["--test", "it"], &KERNEL_TESTS)?;
    }
    CPUS.into_iter().try_for_each(|cpu| test(cpu, &["--lib"], filter.as_slice()))
}

/// Installs the tools that are missing.
pub(crate) fn prepare() -> Outcome {
    Tools::find().map(drop)
}

/// Compiles the packs that ship, for tests without the ONNX importer, with their golden cases. Returns their folder.
fn compiled_packs() -> Result<PathBuf, String> {
    // The whole workspace, so that dependencies have the same features as in the tests and are built only once.
    cargo(["build", "--workspace", "--features", PAGE, "--locked", "--target-dir", "target"])?;
    let packs = root().join("target/arm/packs");
    for name in ["default", "fast"] {
        let (pack, compiled) = (root().join("models/packs").join(name), packs.join(name));
        let mut magpie = Command::new(root().join("target/debug/magpie"));
        run(magpie.args(["model", "compile"]).arg(&pack).arg("--out").arg(&compiled))?;
        run(Command::new("cp").arg("-R").arg(pack.join("golden")).arg(&compiled))?;
    }
    Ok(packs)
}

/// The tools that build for ARM.
pub(crate) struct Tools {
    /// Rust with a standard library for ARM, if the machine's own has none.
    rust: Option<PathBuf>,
}

impl Tools {
    /// Finds the tools and installs those that are missing.
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

/// Makes a cargo command use the Rust of [`debians_rust`].
pub(crate) fn use_rust(command: &mut Command, rust: &Path) {
    command.env("RUSTC", rust.join("bin/rustc")).env("LD_LIBRARY_PATH", rust.join(HOST_LIBRARIES));
}

/// Whether the machine's Rust can build for ARM, as after `rustup target add`.
fn has_standard_library() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    printed.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// Whether this program is installed.
pub(crate) fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn has_tools() -> bool {
    runs(GCC) && runs("qemu-aarch64") && Path::new(LIBRARIES).join("lib/libc.so.6").exists()
}

/// Unpacks Debian's Rust and the matching standard library for ARM under `target`, not into the machine's `/usr`, so
/// that the machine's own Rust stays the default. Returns the unpacked `/usr`.
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
    // Moved out of here when complete. apt does not create its own folders.
    let unfinished = folder.join("unfinished");
    let packages = unfinished.join("packages");
    for part in [&packages, &unfinished.join("lists/partial"), &unfinished.join("cache/archives/partial")] {
        fs::create_dir_all(part).map_err(failed)?;
    }

    // Separate package lists, because the machine's own do not include ARM's packages.
    let apt = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-o", "APT::Architectures::=amd64", "-o", "APT::Architectures::=arm64"]);
        command.arg("-o").arg(format!("Dir::State::Lists={}", unfinished.join("lists").display()));
        command.arg("-o").arg(format!("Dir::Cache={}", unfinished.join("cache").display()));
        command.args(["-o", "APT::Sandbox::User="]).args(args).current_dir(&packages);
        command
    };
    run(&mut apt("apt-get", &["update", "--quiet=2"])).map_err(|e| format!("{e}; {NEEDS_RUST}"))?;
    // The names of both packages contain their version.
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

/// Installs Debian's packages. Without root or apt, the error says what to install.
pub(crate) fn install(packages: &[&str]) -> Outcome {
    let names = packages.join(" ");
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root || !Path::new("/usr/bin/apt-get").exists() {
        return Err(format!("install Debian's packages {names} as root, or their equivalents on another Linux"));
    }
    println!("installing Debian's packages {names}");
    run(Command::new("apt-get").args(["update", "--quiet=2"]))?;
    run(Command::new("apt-get")
        .args(["install", "--yes", "--quiet=2", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}
