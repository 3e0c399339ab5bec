//! Routing of log lines to Android's log or to the host.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Defects of the library, and files that cannot be used.
    Error,
    /// Possible problems.
    Warn,
    /// What was opened, and which inputs were refused.
    Info,
    /// Every call, with its times.
    Debug,
}

/// Receives log lines. Called on the thread that logs, so it must be fast.
#[uniffi::export(with_foreign)]
pub trait LogSink: Send + Sync {
    /// Receives one line, which contains nothing that a user photographed or typed.
    fn log(&self, level: LogLevel, module: String, line: String);
}

/// Starts logging, or changes level and destination. Without a sink, lines go to Android's log on Android and are
/// discarded elsewhere. Returns false if another Rust library in the app has already installed a logger.
#[uniffi::export]
pub fn start_logging(level: LogLevel, sink: Option<Arc<dyn LogSink>>) -> bool {
    *ROUTER.sink.write().unwrap_or_else(PoisonError::into_inner) = sink;
    let first = log::set_logger(&ROUTER).is_ok();
    let mut installed = ROUTER.installed.write().unwrap_or_else(PoisonError::into_inner);
    *installed |= first;
    if *installed {
        log::set_max_level(level.filter());
    }
    *installed
}

impl LogLevel {
    fn filter(self) -> LevelFilter {
        match self {
            LogLevel::Off => LevelFilter::Off,
            LogLevel::Error => LevelFilter::Error,
            LogLevel::Warn => LevelFilter::Warn,
            LogLevel::Info => LevelFilter::Info,
            LogLevel::Debug => LevelFilter::Debug,
        }
    }

    fn of(level: Level) -> LogLevel {
        match level {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug | Level::Trace => LogLevel::Debug,
        }
    }
}

static ROUTER: Router = Router { sink: RwLock::new(None), installed: RwLock::new(false) };

/// The process-wide logger installed in `log`.
struct Router {
    sink: RwLock<Option<Arc<dyn LogSink>>>,
    installed: RwLock<bool>,
}

impl Log for Router {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Lines of other libraries are not ours to forward.
        metadata.target().starts_with("magpie")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let sink = self.sink.read().unwrap_or_else(PoisonError::into_inner).clone();
        match sink {
            // A failing sink must not end the call that logged.
            Some(sink) => {
                let line = || sink.log(LogLevel::of(record.level()), record.target().into(), record.args().to_string());
                let _ = catch_unwind(AssertUnwindSafe(line));
            }
            None => system(record),
        }
    }

    fn flush(&self) {}
}

#[cfg(target_os = "android")]
fn system(record: &Record<'_>) {
    use std::sync::OnceLock;

    static LOGGER: OnceLock<android_logger::AndroidLogger> = OnceLock::new();
    let config = || android_logger::Config::default().with_tag("Magpie").with_max_level(LevelFilter::Debug);
    LOGGER.get_or_init(|| android_logger::AndroidLogger::new(config())).log(record);
}

/// Other systems have no default destination.
#[cfg(not(target_os = "android"))]
fn system(_record: &Record<'_>) {}
