//! Reads catalogue tables: CSV, JSON Lines or an XML feed, one row per photo or per listing, as shops' feeds come.

mod csv_rows;
mod fetch;
mod header;
mod json_rows;
mod listings;
mod money;
mod photos;
mod text;
mod xml_rows;

use std::fs::File;
use std::path::Path;

pub(crate) use fetch::PhotoFetcher;
pub(crate) use header::ColumnNames;
pub(crate) use photos::{PhotoFolder, read_photo};

use crate::failure::{CommandFailure, Result};

/// A catalogue table in memory.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct CatalogTable {
    /// Names of the columns other than the listing's id and photo.
    pub(crate) fields: Vec<String>,
    /// The usable rows.
    pub(crate) rows: Vec<CatalogRow>,
    /// The unusable rows, with the reason.
    pub(crate) broken: Vec<SkippedRow>,
    /// What the user should know about how the table was read.
    pub(crate) notes: Vec<String>,
}

/// One row of the table: a photo of a listing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CatalogRow {
    /// Line in the file, from 1.
    pub(crate) line: u64,
    pub(crate) listing_id: String,
    pub(crate) photo: String,
    /// In the order of [`CatalogTable::fields`]; empty where a value is missing.
    pub(crate) values: Vec<String>,
}

/// A skipped row.
#[derive(Debug, PartialEq, serde::Serialize)]
pub(crate) struct SkippedRow {
    pub(crate) line: u64,
    pub(crate) reason: String,
}

impl SkippedRow {
    /// The failure of a command with `--strict`.
    pub(crate) fn strict_failure(&self) -> CommandFailure {
        CommandFailure {
            message: format!("line {}: {}", self.line, self.reason),
            hint: Some("--strict stops at the first row that cannot be used"),
            code: 1,
        }
    }
}

impl CatalogTable {
    /// Reads a table; `-` is standard input. JSON Lines are recognised by the name's ending (`.jsonl`, `.ndjson`, also
    /// before `.gz` or `.zst`) or by a first character `{`, XML by a first character `<`; everything else is CSV.
    pub(crate) fn open(path: &Path, names: &ColumnNames) -> Result<CatalogTable> {
        let text = if is_stdin(path) {
            text::read(std::io::stdin().lock())
        } else {
            let file = File::open(path).map_err(|e| CommandFailure::io(path, e))?;
            let kind = file.metadata().map_err(|e| CommandFailure::io(path, e))?.file_type();
            if !kind.is_file() {
                return Err(CommandFailure::io(path, "expected a table, this is not a file"));
            }
            text::read(file)
        };
        let text = text.map_err(|e| CommandFailure::io(path, e))?;
        let name = path.to_string_lossy().to_lowercase();
        let plain = name.trim_end_matches(".gz").trim_end_matches(".zst");
        let json = plain.ends_with(".jsonl") || plain.ends_with(".ndjson") || text.text.trim_start().starts_with('{');
        let xml = text.text.trim_start().starts_with('<');
        let mut catalog = match (json, xml) {
            (true, _) => json_rows::read(&text.text, names),
            (false, true) => xml_rows::read(&text.text, names),
            (false, false) => CatalogTable::from_csv(&text.text, names),
        }
        .map_err(|e| CommandFailure::io(path, e))?;
        catalog.notes.extend(text.note);
        Ok(catalog)
    }

    /// Reads CSV.
    pub(crate) fn from_csv(text: &str, names: &ColumnNames) -> Result<CatalogTable, String> {
        csv_rows::read(text, names)
    }

    fn push(&mut self, row: CatalogRow) {
        let missing = [("listing_id", &row.listing_id), ("photo", &row.photo)].into_iter().find(|(_, v)| v.is_empty());
        match missing {
            Some((name, _)) => self.broken.push(SkippedRow { line: row.line, reason: format!("{name} is missing") }),
            None => self.rows.push(row),
        }
    }

    fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field == name)
    }
}

/// Whether a file's name stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Joins names with commas.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
