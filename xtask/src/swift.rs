//! Builds and tests the Swift package, with the README's program. Installs Swift if it is missing.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bindings::Bindings;
use crate::releases::releases;
use crate::{Outcome, arm, root, run, xcframework};

/// The oldest major version of Swift that the package is written for.
const MAJOR: u32 = 6;

/// The Debian release that has this Swift. This machine's own release does not matter.
const RELEASE: &str = "trixie";

/// The hand-written sources, which `swift format` checks.
const HAND_WRITTEN: [&str; 4] = ["ios/Package.swift", "ios/Sources/Magpie", "ios/Tests", "ios/Sample"];

/// Debian's Swift, and packages that it needs but does not depend on.
const PACKAGES: &str = "swiftlang,libc6-dev,libstdc++-14-dev";

/// Enters the tree `$1`, mounts the folder `$2` at the same path in it, and runs the other arguments there as a
/// command. The mounts end with the command, since it runs in a mount namespace of its own.
const ENTER: &str = r#"
tree=$1 folder=$2
shift 2
mkdir -p "$tree$folder"
mount --rbind "$folder" "$tree$folder"
mount --rbind /dev "$tree/dev"
mount -t proc proc "$tree/proc"
exec chroot "$tree" sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"#;

/// Environment variables that are passed on to the tests.
const PASSED_ON: [&str; 2] = ["MAGPIE_TEST_SECONDS", "MAGPIE_LIBRARY"];

/// Installs Swift if this machine has none that is new enough.
pub(crate) fn prepare() -> Outcome {
    if has_swift() { Ok(()) } else { tree().map(drop) }
}

/// Builds what the tests need, runs the README's program with the README's commands, and then the tests.
pub(crate) fn test() -> Outcome {
    if cfg!(target_os = "macos") {
        // On a Mac the package links with this framework.
        xcframework::xcframework(None)?;
    }
    readme_program()?;
    // The README's commands have built these.
    let made = Bindings { library: root().join("target/debug"), sources: root().join("target/bindings/swift") };
    let data = root().join("target/swift");
    made.golden_embeddings(&data)?;
    made.phone_catalog(&data)?;
    releases(&made.library.join("magpie"), &data)?;
    inside("swift", ["format", "lint", "--strict", "--recursive"].iter().chain(&HAND_WRITTEN))?;
    parse_sample()?;
    let args = ["test", "--package-path", "ios", "--scratch-path", "target/swift/build", "--disable-xctest"];
    // One test at a time: some keep all cores busy, others ask servers and have deadlines.
    inside("swift", args.iter().chain(&["--no-parallel", "-Xswiftc", "-warnings-as-errors"]))
}

/// Runs `swift` at the repository's root: this machine's own, or else Debian's in a tree under `target/swift`.
pub(crate) fn swift(args: &[String]) -> Outcome {
    inside("swift", args)
}

/// Writes the manifest and the program of the package's README to files, and runs the README's commands.
fn readme_program() -> Outcome {
    let path = root().join("ios/README.md");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let block = |start: &str| block(&text, start).ok_or(format!("{}: no block starts with {start}", path.display()));
    let package = root().join("target/swift/search");
    let sources = package.join("Sources/search");
    let failed = |e: io::Error| format!("{}: {e}", package.display());
    fs::create_dir_all(&sources).map_err(failed)?;
    fs::write(package.join("Package.swift"), block("// swift-tools-version")?).map_err(failed)?;
    fs::write(sources.join("main.swift"), block("import Foundation")?).map_err(failed)?;
    let mut printed = Vec::new();
    for line in block("cargo xtask bindings")?.lines() {
        println!("+ {line}");
        let output = Command::new("sh").args(["-ec", line]).current_dir(root()).stderr(Stdio::inherit()).output();
        let output = output.map_err(|e| format!("{line}: {e}"))?;
        if !output.status.success() {
            return Err(format!("{line}: {}", output.status));
        }
        printed = output.stdout;
    }
    // The last command runs the program, which prints a score and a listing per line.
    let printed = String::from_utf8_lossy(&printed);
    print!("{printed}");
    let first = printed.lines().find(|line| line.starts_with(|first: char| first.is_ascii_digit()));
    match first {
        Some(line) if line.contains("mug-01") => Ok(()),
        found => Err(format!("the README's program found {found:?} first, not mug-01")),
    }
}

/// Returns the fenced block of a Markdown text whose first line starts with `start`.
fn block<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let blocks = text.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.split_once('\n')).find(|(_, body)| body.starts_with(start)).map(|(_, body)| body)
}

/// Checks the syntax of the sample. Only a Mac can compile it.
fn parse_sample() -> Outcome {
    let folder = root().join("ios/Sample");
    let files = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let files = files.filter_map(|file| Some(file.ok()?.path()));
    let files: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|end| end == "swift")).collect();
    inside("swiftc", [Path::new("-parse")].into_iter().chain(files.iter().map(PathBuf::as_path)))
}

/// Runs a program of the Swift toolchain at the repository's root.
fn inside(program: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Outcome {
    let mut command = command(program)?;
    // Print the program and its arguments only, not how the tree is entered.
    print!("+ {program}");
    for arg in args {
        print!(" {}", arg.as_ref().display());
        command.arg(arg);
    }
    println!();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program}: {status}")),
        Err(e) => Err(format!("{program}: {e}")),
    }
}

/// Returns a command that runs a program of the Swift toolchain at the repository's root.
fn command(program: &str) -> Result<Command, String> {
    if has_swift() {
        let mut own = Command::new(program);
        own.current_dir(root());
        return Ok(own);
    }
    let tree = tree()?;
    let mut inside = Command::new("unshare");
    inside
        .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", ENTER, "sh"])
        .arg(tree)
        .args([root().as_os_str(), program.as_ref()]);
    // The tree does not inherit this machine's environment.
    inside.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root").env("LANG", "C.UTF-8");
    inside.envs(PASSED_ON.iter().filter_map(|name| Some((name, env::var_os(name)?))));
    Ok(inside)
}

/// Whether this machine has a Swift that is new enough.
fn has_swift() -> bool {
    let printed = Command::new("swift").arg("--version").output();
    printed.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_once("Swift version ").and_then(|(_, rest)| rest.split('.').next()?.parse().ok());
        version.is_some_and(|major: u32| major >= MAJOR)
    })
}

/// Returns the folder of the tree with Debian's Swift. Makes it if it does not exist: about 2.5 GB, two minutes.
fn tree() -> Result<PathBuf, String> {
    let folder = root().join("target/swift");
    let tree = folder.join("tree");
    if tree.exists() {
        return Ok(tree);
    }
    println!("Swift {MAJOR} not found: installing Debian {RELEASE} with Swift in {}", tree.display());
    let hint = |e: String| format!("{e}; or install Swift {MAJOR} from swift.org so that `swift` is found");
    arm::install(&["mmdebstrap"]).map_err(hint)?;
    let failed = |e: io::Error| format!("{}: {e}", folder.display());
    // Renamed to the tree's path once it is complete.
    let unfinished = folder.join("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(failed)?;
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    let include = format!("--include={PACKAGES}");
    let mut make = Command::new("mmdebstrap");
    make.args(["--variant=apt", "--quiet", &include, RELEASE]).arg(&unfinished).arg(mirror().map_err(hint)?);
    run(&mut make).map_err(hint)?;
    fs::rename(&unfinished, &tree).map_err(failed)?;
    Ok(tree)
}

/// Returns the URL of the mirror that this machine gets Debian packages from. It has every release.
fn mirror() -> Result<String, String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]);
    let output = targets.output().map_err(|e| format!("{targets:?}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Security updates have another label, and an archive of their own.
    let found = text.lines().find_map(|line| line.strip_prefix("Debian "));
    found.map(str::to_owned).ok_or_else(|| "apt has no Debian archive configured".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_a_program_of_ten_lines() {
        let text = fs::read_to_string(root().join("ios/README.md")).expect("a README");
        let program = block(&text, "import Foundation").expect("a program");
        assert_eq!(program.lines().count(), 10);
        assert!(block(&text, "// swift-tools-version").is_some_and(|manifest| manifest.contains("../../../ios")));
        assert!(block(&text, "no such block").is_none());
    }
}
