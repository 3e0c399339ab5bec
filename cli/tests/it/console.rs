//! Standard output that is closed or full, and names that are not UTF-8, end no command with a panic.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

use crate::small::Small;
use crate::{json, magpie};

/// A command that prints more than one line.
fn inspect(small: &Small) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magpie"));
    command.args(["inspect", small.shard().as_str()]);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_reader_that_leaves_ends_a_command_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = inspect(Small::get()).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{:?}: {}", output.status, stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_with_a_message() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = inspect(Small::get()).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("magpie: cannot write the output: "), "{}", stderr(&output));
}

#[test]
fn messages_that_nobody_reads_do_not_stop_a_command() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_magpie"));
    let output = command.args(["inspect", "/no/such/shard"]).stderr(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_name_that_is_not_utf8_can_be_reported_as_json() {
    let small = Small::get();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join(OsStr::from_bytes(b"caf\xe9.magpie"));
    let (catalog, images) = (small.path("few-names.csv"), small.path("photos"));
    fs::write(&catalog, "listing_id,photo\nmug-01,mug-01-1.jpg\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_magpie"));
    command.args(["build", "--json", "--catalog", &catalog, "--images", &images, "--out"]).arg(&out);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(value["out"].as_str().unwrap().ends_with("caf\u{fffd}.magpie"), "{value}");
}

#[test]
fn control_characters_of_a_feed_do_not_reach_the_terminal() {
    let small = Small::get();
    let (catalog, images, shard) = (small.path("rude.csv"), small.path("photos"), small.path("rude.magpie"));
    fs::write(&catalog, "listing_id,photo,title\nmug-01,mug-01-1.jpg,\u{1b}[2Jgone\n").unwrap();
    json(&["build", "--catalog", &catalog, "--images", &images, "--out", &shard, "--json"]);
    let found = magpie(&["search", "--shard", &shard, "--photo", &small.path("photos/mug-01-1.jpg")]);
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(text.contains("\u{fffd}[2Jgone") && !text.contains('\u{1b}'), "{text:?}");
}
