//! The Kotlin package on a JVM, against the library of this machine.

use std::path::Path;
use std::process::Command;

use crate::bindings::{Bindings, bindings};
use crate::{Outcome, arm, root, run};

/// Debian's packages that hold Maven and a Java that Kotlin compiles for.
const PACKAGES: [&str; 2] = ["maven", "default-jdk-headless"];

/// The oldest Java that the Kotlin sources are compiled for, and that OpenSearch runs on.
const JAVA: u32 = 17;

/// Of Maven what went wrong, of ktlint what it found (through Ant), of Surefire which tests ran.
const LOG: [&str; 3] = [
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.org.apache.maven.plugins.antrun=info",
    "-Dorg.slf4j.simpleLogger.log.org.apache.maven.plugin.surefire=info",
];

/// Builds what the Kotlin tests need and runs them: style, API, the README's program; the Android parts are compiled.
pub(crate) fn test() -> Outcome {
    tools()?;
    let bindings = bindings("kotlin", false)?;
    let data = root().join("target/kotlin");
    bindings.golden_embeddings(&data)?;
    bindings.phone_catalog(&data)?;
    let Bindings { library, sources } = bindings;
    demo(&library.join("magpie"), &data)?;
    let given = |name: &str, folder: &Path| format!("-Dmagpie.{name}={}", folder.display());
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--no-transfer-progress", "--file", "android/pom.xml"]).args(LOG);
    maven.args([given("library", &library), given("sources", &sources), given("data", &data)]);
    run(maven.args(["clean", "test"]).current_dir(root()))
}

/// The demo's shard, with thumbnails.
fn demo(magpie: &Path, data: &Path) -> Outcome {
    let mut build = Command::new(magpie);
    build.args(["build", "--catalog", "cli/demo/catalog.csv", "--images", "cli/demo/photos", "--thumbnails", "128"]);
    run(build.args(["--name", "demo", "--strict", "--out"]).arg(data.join("demo.magpie")).current_dir(root()))
}

/// Sees to Maven and Java.
pub(crate) fn tools() -> Outcome {
    let runs = |program| Command::new(program).arg("-version").output().is_ok_and(|output| output.status.success());
    if !runs("mvn") || !runs("java") {
        arm::install(&PACKAGES)?;
    }
    match java() {
        Some(version) if version < JAVA => Err(format!("Java {version} is too old: needed is {JAVA} or later")),
        _ => Ok(()),
    }
}

/// The major version of the Java that Maven takes, where Maven tells: `Java version: 17.0.15, vendor: Debian, ...`.
fn java() -> Option<u32> {
    let output = Command::new("mvn").arg("-version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Java version: "))?;
    line.split(['.', ',']).next()?.parse().ok()
}
