//! Tests with engines that are not part of the project: fetched and started for them, and left out of other runs.

use std::process::Command;

use crate::{Outcome, PAGE, cargo, kotlin, root, run};

/// An engine beside the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// Three nodes of OpenSearch with its k-NN plugin; installs Maven and Java 17 where they are missing
    Opensearch,
}

/// Fetches OpenSearch and what the Kotlin package is built with.
pub(crate) fn prepare() -> Outcome {
    kotlin::tools()?;
    fetch_opensearch()?;
    let kotlin = root().join("android/pom.xml");
    run(Command::new("mvn").args(["--batch-mode", "--quiet", "--file"]).arg(kotlin).arg("dependency:go-offline"))
}

fn fetch_opensearch() -> Outcome {
    let pom = root().join("server/tests/opensearch/pom.xml");
    run(Command::new("mvn").args(["--batch-mode", "--quiet", "--file"]).arg(pom).arg("package"))
}

/// Fetches an engine and runs the tests that need it.
pub(crate) fn test(engine: Engine) -> Outcome {
    let Engine::Opensearch = engine;
    kotlin::tools()?;
    fetch_opensearch()?;
    // The whole workspace, so that dependencies are built with the same features as for the other tests, once.
    let test = ["test", "--workspace", "--features", PAGE, "--locked", "--test", "opensearch"];
    cargo(test.iter().chain(&["--", "--ignored", "--nocapture", "--test-threads", "1"]))
}
