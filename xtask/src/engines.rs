//! Tests with external search engines. They are downloaded and started for these tests only; other runs leave them out.

use std::process::Command;

use crate::{Outcome, PAGE, cargo, kotlin, root, run};

/// An external engine that the server can search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExternalEngine {
    /// Three nodes of OpenSearch with its k-NN plugin; installs Maven and Java 17 if they are missing
    Opensearch,
}

/// Downloads OpenSearch, and what the build of the Kotlin package needs.
pub(crate) fn prepare() -> Outcome {
    kotlin::tools()?;
    fetch_opensearch()
}

/// Downloads OpenSearch with Maven.
fn fetch_opensearch() -> Outcome {
    let pom = root().join("server/tests/opensearch/pom.xml");
    run(Command::new("mvn").args(["--batch-mode", "--quiet", "--file"]).arg(pom).arg("package"))
}

/// Downloads an engine and runs the tests that need it.
pub(crate) fn test(engine: ExternalEngine) -> Outcome {
    let ExternalEngine::Opensearch = engine;
    kotlin::tools()?;
    fetch_opensearch()?;
    // The whole workspace, so that dependencies have the same features as in the other tests and are built only once.
    let test = ["test", "--workspace", "--features", PAGE, "--locked", "--test", "it"];
    cargo(test.iter().chain(&["--", "opensearch::", "--ignored", "--nocapture", "--test-threads", "1"]))
}
