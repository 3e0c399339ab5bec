//! Limits that make sense, and what the process is allowed to use.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::downloads::MOST_DOWNLOADS;
use crate::serve::ADMIN_CONNECTIONS;

/// Checks a number: a limit that rejects everything, or none at all, is a mistake that shows late.
pub(crate) fn within<T: PartialOrd + Copy + Display>(
    flag: &str,
    given: Option<T>,
    default: T,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let value = given.unwrap_or(default);
    match range.contains(&value) {
        true => Ok(value),
        false => Err(format!("{flag} is {value}, expected {} to {}", range.start(), range.end())),
    }
}

pub(crate) fn ms(flag: &str, given: Option<u64>, default: u64, least: u64) -> Result<Duration, String> {
    within(flag, given, default, least..=3_600_000).map(Duration::from_millis)
}

/// Where Linux says what this process may use.
const OPEN_FILES: &str = "/proc/self/limits";
/// Files that are open besides connections: downloads of a release, monitoring, shards, logs, the runtime's own.
const OTHER_FILES: usize = MOST_DOWNLOADS + ADMIN_CONNECTIONS + 128;

/// Reads how many files this process may open; `None` where that is not known, or unlimited.
fn read_open_files(path: &str) -> Option<usize> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many files this process may open.
pub(crate) fn open_files() -> Option<usize> {
    read_open_files(OPEN_FILES)
}

/// The limit on connections: a connection needs an open file, and a server without any is an outage.
pub(crate) fn connections(given: Option<usize>, files: Option<usize>) -> Result<usize, String> {
    let most = files.map_or(1 << 20, |files| files.saturating_sub(OTHER_FILES));
    let default = 4096.min(most.max(16));
    let value = within("--max-connections", given, default, 1..=1 << 20)?;
    if given.is_some() && value > most {
        let files = files.unwrap_or_default();
        return Err(format!(
            "--max-connections is {value}, but this process may open {files} files, and needs {OTHER_FILES} for itself: \
             raise the limit (ulimit -n), or allow at most {most}"
        ));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_need_open_files() {
        assert_eq!(connections(None, None), Ok(4096));
        assert_eq!(connections(None, Some(1024)), Ok(576));
        assert_eq!(connections(Some(576), Some(1024)), Ok(576));
        let fault = connections(Some(1000), Some(1024)).expect_err("too many");
        assert!(fault.contains("1024") && fault.contains("at most 576"), "{fault}");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("limits");
        let of = |text: &str| {
            std::fs::write(&path, text).expect("a writable folder");
            read_open_files(path.to_str().expect("a plain name"))
        };
        assert_eq!(
            of("Limit  Soft Limit  Hard Limit  Units\nMax open files            1024       4096   files\n"),
            Some(1024)
        );
        assert_eq!(of("Max open files            unlimited     unlimited    files\n"), None);
        assert_eq!(of("text"), None);
        assert_eq!(read_open_files("/no/such/file"), None);
    }
}
