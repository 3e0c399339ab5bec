//! Tests with engines that are not part of the project: fetched and started for them, and left out of other runs.

use std::process::Command;

use crate::{Outcome, cargo, root, run};

/// An engine beside the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// Three nodes of OpenSearch with its k-NN plugin; needs Maven and Java 17 or later
    Opensearch,
}

/// Fetches an engine and runs the tests that need it.
pub(crate) fn test(engine: Engine) -> Outcome {
    let Engine::Opensearch = engine;
    let pom = root().join("server/tests/opensearch/pom.xml");
    run(Command::new("mvn").args(["--batch-mode", "--quiet", "--file"]).arg(pom).arg("package"))?;
    let test = ["test", "--package", "magpie-server", "--test", "opensearch", "--locked"];
    cargo(test.iter().chain(&["--", "--ignored", "--nocapture", "--test-threads", "1"]))
}
