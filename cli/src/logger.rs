//! Logs to standard error: everything of Magpie's own crates, only errors of others.

use log::{Level, LevelFilter, Log, Metadata, Record};

struct ToStderr;

static LOGGER: ToStderr = ToStderr;

impl Log for ToStderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Other crates, tract above all, log much that users do not need.
        metadata.target().starts_with("magpie") || metadata.level() <= Level::Error
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            errln!("{}: {}", record.level().as_str().to_lowercase(), record.args());
        }
    }

    fn flush(&self) {}
}

pub(crate) fn init(verbose: bool) {
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Warn });
    }
}
