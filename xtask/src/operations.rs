//! Checks the files with which the server is run and watched: `server/operations`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::{Outcome, debian, root, run};

/// Tests the alert rules with Prometheus' own tool, and checks the systemd unit where the machine has systemd.
pub(crate) fn operations() -> Outcome {
    let folder = root().join("server/operations");
    let promtool = promtool()?;
    run(Command::new(&promtool).args(["test", "rules", "alerts_test.yaml"]).current_dir(&folder))?;
    let config = ["check", "config", "--syntax-only", "prometheus.yaml"];
    run(Command::new(&promtool).args(config).current_dir(&folder))?;
    let unit = folder.join("magpie-server.service");
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("skipped: {} (this machine has no systemd)", unit.display());
        return Ok(());
    }
    // The unit names the installed program, which this machine does not have.
    let made = root().join("target/operations");
    let failed = |e: std::io::Error| format!("{}: {e}", made.display());
    fs::create_dir_all(&made).map_err(failed)?;
    let text = fs::read_to_string(&unit).map_err(failed)?.replace("/usr/local/bin/magpie-server", "/bin/true");
    let checked = made.join("magpie-server.service");
    fs::write(&checked, text).map_err(failed)?;
    run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&checked))
}

/// Prometheus' tool: the machine's own, or Debian's.
fn promtool() -> Result<PathBuf, String> {
    let own = PathBuf::from("promtool");
    if Command::new(&own).arg("--version").output().is_ok() {
        return Ok(own);
    }
    let tools = root().join("target/tools/prometheus");
    let promtool = tools.join("usr/bin/promtool");
    if !promtool.exists() {
        let hint = "promtool was not found, and could not be fetched from Debian: install Prometheus";
        debian::unpack("prometheus", &tools).map_err(|e| format!("{e}; {hint}"))?;
    }
    Ok(promtool)
}
