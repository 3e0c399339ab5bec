//! The log: lines are written by a thread of their own, so that nothing that reads them can hold up a request.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

use crate::settings::Settings;

/// Lines that wait to be written; more are dropped and counted. A line takes a few hundred bytes.
const WAITING: usize = 8192;

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Writes the log to standard error from here on. The lines that wait are written when the guard is dropped.
///
/// A full disk, a closed pipe or a reader that has stopped loses lines, never an answer.
pub fn start(settings: &Settings) -> WorkerGuard {
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING).lossy(true).finish(std::io::stderr());
    // Set once: a process has one log.
    let _ = DROPPED.set(writer.error_counter());
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_max_level(settings.log).with_writer(writer);
    let log = log.with_target(false).with_ansi(colours);
    if settings.log_json {
        log.json().flatten_event(true).with_span_list(false).init()
    } else {
        log.init()
    }
    guard
}

/// The number of lines that were dropped.
pub(crate) fn dropped() -> u64 {
    DROPPED.get().map_or(0, |counter| counter.dropped_lines() as u64)
}
