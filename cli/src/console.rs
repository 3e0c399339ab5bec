//! Standard output and standard error, which may be closed or full at any time.
//!
//! `println!` panics if it cannot write. Here a command goes on without its output, and `main` reports the failure: a
//! reader that has seen enough, such as `head`, ends a command quietly; a full disk is an error.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// The first failure to write to standard output. Nothing is written after it.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes to standard output. Call it by the macros `out!` and `outln!`.
pub(crate) fn write_out(text: fmt::Arguments<'_>) {
    let mut failure = FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
    if failure.is_none() {
        *failure = io::stdout().write_fmt(text).err();
    }
}

/// Writes to standard error. A failure is ignored: this is where failures are reported.
pub(crate) fn write_error(text: fmt::Arguments<'_>) {
    let _ = io::stderr().write_fmt(text);
}

/// Writes what is still buffered, and returns the first failure, except that of a reader that has left.
pub(crate) fn finish() -> io::Result<()> {
    let flushed = io::stdout().flush();
    let first = FAILURE.lock().unwrap_or_else(PoisonError::into_inner).take();
    match first.map_or(flushed, Err) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Replaces control characters, which could move the cursor or change the terminal's settings, by U+FFFD. Titles come
/// from feeds that anybody may have written.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Like `print!`, without its panic.
macro_rules! out {
    ($($text:tt)*) => { $crate::console::write_out(format_args!($($text)*)) };
}

/// Like `println!`, without its panic.
macro_rules! outln {
    ($($text:tt)*) => { $crate::console::write_out(format_args!("{}\n", format_args!($($text)*))) };
}

/// Like `eprintln!`, without its panic.
macro_rules! errln {
    ($($text:tt)*) => { $crate::console::write_error(format_args!("{}\n", format_args!($($text)*))) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mred\u{7}\r\nb\u{9b}"), "a\u{fffd}[31mred\u{fffd}\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(printable("Tasse, grün"), "Tasse, grün");
    }
}
