//! What the commands print: tables, JSON and progress.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use magpie_core::attributes::Attribute;
use magpie_core::confidence::Confidence;
use magpie_core::listing::Listing;
use magpie_core::model::Manifest;
use serde::Serialize;

use crate::console::printable;
use crate::failure::{CommandFailure, Result};

/// The version of all JSON that is printed: `docs/json.schema.json` describes it. New members do not change it.
const SCHEMA_VERSION: u32 = 1;

/// What is printed, with its version first.
#[derive(Serialize)]
struct Versioned<T> {
    schema_version: u32,
    #[serde(flatten)]
    value: T,
}

impl<T> Versioned<T> {
    fn new(value: T) -> Versioned<T> {
        Versioned { schema_version: SCHEMA_VERSION, value }
    }
}

/// Prints a value, which is an object, as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    outln!("{}", serde_json::to_string(&Versioned::new(value)).map_err(|e| CommandFailure::new(e.to_string()))?);
    Ok(())
}

/// Returns a failure as one line of JSON.
pub(crate) fn failure(failure: &CommandFailure) -> String {
    let CommandFailure { message, hint, code } = failure;
    let error = serde_json::json!({ "error": { "code": code, "message": message, "hint": hint } });
    serde_json::to_string(&Versioned::new(error)).unwrap_or_default()
}

/// Returns a path as it stands in JSON. A name that is not UTF-8 has U+FFFD in place of what cannot be written.
pub(crate) fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Creates a progress bar on standard error. It is hidden if `quiet`, or if standard error is not a terminal.
pub(crate) fn progress(length: usize, label: &'static str, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(length as u64), target);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message(label)
}

/// Formats rows as aligned columns. A column whose header starts with `>` is right-aligned, without the `>`.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let right: Vec<bool> = headers.iter().map(|header| header.starts_with('>')).collect();
    let headers: Vec<String> = headers.iter().map(|header| header.trim_start_matches('>').to_owned()).collect();
    let width = |at: usize| {
        let cells = std::iter::once(&headers).chain(rows).filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headers.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&headers).chain(rows) {
        let cells = row.iter().enumerate().map(|(at, cell)| {
            // Padded by hand: a width in a format string may be 65,535 at most, and a cell of a feed may be longer.
            let padding = " ".repeat(widths[at] - cell.chars().count());
            let cell = printable(cell);
            if right[at] { padding + &cell } else { cell + &padding }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Formats a time in milliseconds: three decimals below 1 ms, one above.
pub(crate) fn ms(time: Duration) -> String {
    let ms = millis(time);
    let digits = if ms < 1.0 { 3 } else { 1 };
    format!("{ms:.digits$} ms")
}

/// Returns a time in milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Formats a size in bytes, kB (1000 bytes) or MB.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} bytes"),
        10_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// Returns a listing's price and currency; either may be missing.
pub(crate) fn price(listing: &Listing) -> String {
    let get = |field| listing.get(field).unwrap_or_default();
    format!("{} {}", get("price"), get("currency")).trim().to_owned()
}

/// Formats attributes with their labels and probabilities. A head that withholds its label is "not sure".
pub(crate) fn attributes<'a>(attributes: impl Iterator<Item = &'a Attribute>) -> String {
    let text = |attribute: &Attribute| {
        let Attribute { name, label, probability } = attribute;
        format!("{name} {} ({:.0} %)", label.as_deref().unwrap_or("not sure"), 100.0 * probability)
    };
    attributes.map(text).collect::<Vec<_>>().join(", ")
}

/// Says whether there is a good match, and how likely it is. `None` if the pack is not calibrated.
pub(crate) fn confidence(confidence: Option<Confidence>, manifest: &Manifest) -> Option<String> {
    let (Confidence { probability, enough }, calibration) = (confidence?, manifest.confidence.as_ref()?);
    let (percent, threshold) = (100.0 * probability, 100.0 * calibration.threshold);
    Some(match enough {
        true => format!("confidence {percent:.0} %"),
        false => format!("no good match: confidence {percent:.0} %, below the threshold of {threshold:.0} %"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["bcd".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["x", ">nn"], &rows), "x    nn\na    10\nbcd   2\n");
        let long = [vec!["x".repeat(70_000), "1".to_owned()], vec!["\u{1b}[2J".to_owned(), "2".to_owned()]];
        let text = table(&["title", "n"], &long);
        assert!(text.lines().all(|line| line.chars().count() == 70_003), "{}", text.len());
        assert!(text.contains("\n\u{fffd}[2J "));
    }
}
