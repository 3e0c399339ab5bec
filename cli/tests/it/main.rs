//! The `magpie` binary as its users run it, in one test program.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first thing that is wrong

mod commands;
#[cfg(unix)]
mod console;
mod corrections;
mod feeds;
mod killed;
mod pack;
mod photos;
mod releases;
mod schema;
mod server;
mod small;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn magpie(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_magpie")).args(args).output().unwrap()
}

/// Runs a command that succeeds; returns what it prints.
fn json(args: &[&str]) -> Value {
    let output = magpie(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value = serde_json::from_slice(&output.stdout).unwrap();
    schema::check(&value, args[0]);
    value
}

/// Runs a command that fails with this exit code; returns what it prints to standard error.
fn refused(args: &[&str], code: i32) -> String {
    let output = magpie(args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// Returns the path of a file of the demo, such as `queries/mug-01.jpg`.
fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(name)
}
