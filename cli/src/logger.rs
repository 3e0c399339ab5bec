//! Sends the log of Magpie's own crates to standard error.

use log::{Level, LevelFilter, Log, Metadata, Record};

struct ToStderr;

static LOGGER: ToStderr = ToStderr;

impl Log for ToStderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The network host logs much that is of no use here, except what is wrong.
        metadata.target().starts_with("magpie") || metadata.level() <= Level::Error
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("{}: {}", record.level().as_str().to_lowercase(), record.args());
        }
    }

    fn flush(&self) {}
}

pub(crate) fn init(verbose: bool) {
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Warn });
    }
}
