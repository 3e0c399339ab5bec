//! Tests the Kotlin package on a JVM, with the library built for this machine.

use std::path::Path;
use std::process::Command;

use crate::bindings::{Bindings, bindings};
use crate::releases::releases;
use crate::{Outcome, arm, root, run};

/// Debian's packages of Maven and Java.
const PACKAGES: [&str; 2] = ["maven", "default-jdk-headless"];

/// The oldest usable Java: the Kotlin sources are compiled for it, and OpenSearch needs it.
const JAVA: u32 = 17;

/// Log levels: Maven's warnings, ktlint's findings (it runs through Ant), and the tests that Surefire ran.
const LOG: [&str; 3] = [
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.org.apache.maven.plugins.antrun=info",
    "-Dorg.slf4j.simpleLogger.log.org.apache.maven.plugin.surefire=info",
];

/// Builds what the Kotlin tests need and runs them: style, API and the README's program. Compiles the Android parts.
pub(crate) fn test() -> Outcome {
    tools()?;
    let bindings = bindings("kotlin", false)?;
    let data = root().join("target/kotlin");
    bindings.golden_embeddings(&data)?;
    bindings.phone_catalog(&data)?;
    let Bindings { library, sources } = bindings;
    demo(&library.join("magpie"), &data)?;
    releases(&library.join("magpie"), &data)?;
    let given = |name: &str, folder: &Path| format!("-Dmagpie.{name}={}", folder.display());
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--no-transfer-progress", "--file", "android/pom.xml"]).args(LOG);
    maven.args([given("library", &library), given("sources", &sources), given("data", &data)]);
    run(maven.args(["clean", "test"]).current_dir(root()))
}

/// Builds the demo's shard, with thumbnails.
fn demo(magpie: &Path, data: &Path) -> Outcome {
    let mut build = Command::new(magpie);
    build.args(["build", "--catalog", "cli/demo/catalog.csv", "--images", "cli/demo/photos", "--thumbnails", "128"]);
    run(build.args(["--name", "demo", "--strict", "--out"]).arg(data.join("demo.magpie")).current_dir(root()))
}

/// Installs Maven and Java if they are missing, and checks Java's version.
pub(crate) fn tools() -> Outcome {
    let runs = |program| Command::new(program).arg("-version").output().is_ok_and(|output| output.status.success());
    if !runs("mvn") || !runs("java") {
        arm::install(&PACKAGES)?;
    }
    match java() {
        Some(version) if version < JAVA => Err(format!("Java {version} is too old: version {JAVA} or later is needed")),
        _ => Ok(()),
    }
}

/// Returns the major version of Maven's Java, from its line `Java version: 17.0.15, vendor: Debian, ...`; `None` if
/// Maven does not print it.
fn java() -> Option<u32> {
    let output = Command::new("mvn").arg("-version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Java version: "))?;
    line.split(['.', ',']).next()?.parse().ok()
}
