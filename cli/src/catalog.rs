//! Reads catalogue tables: CSV or JSON Lines, one row per photo.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::failure::{CommandFailure, Result};

/// Columns that are not filters by default, since nearly every listing has a value of its own.
const NOT_FILTERS: [&str; 2] = ["title", "url"];

/// A catalogue table in memory.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct CatalogTable {
    /// Names of the columns other than `listing_id` and `photo`.
    pub(crate) fields: Vec<String>,
    /// The usable rows.
    pub(crate) rows: Vec<CatalogRow>,
    /// The unusable rows, with the reason.
    pub(crate) broken: Vec<SkippedRow>,
}

/// One row of the table: a photo of a listing.
#[derive(Debug, PartialEq)]
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

impl CatalogTable {
    /// Reads a `.csv` or `.jsonl` file.
    pub(crate) fn open(path: &Path) -> Result<CatalogTable> {
        let file = File::open(path).map_err(|e| CommandFailure::io(path, e))?;
        let catalog = match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => CatalogTable::from_csv(file),
            Some("jsonl" | "ndjson") => CatalogTable::from_json_lines(BufReader::new(file)),
            _ => return Err(CommandFailure::usage(format!("{}: expected a .csv or .jsonl file", path.display()))),
        };
        catalog.map_err(|e| CommandFailure::io(path, e))
    }

    /// Reads CSV (RFC 4180) with a header line.
    pub(crate) fn from_csv(from: impl Read) -> Result<CatalogTable, String> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(from);
        let header = reader.headers().map_err(|e| e.to_string())?.clone();
        let column = |name: &str| {
            let found = header.iter().position(|column| column == name);
            found.ok_or_else(|| format!("line 1: the column '{name}' is missing; found {}", list(header.iter())))
        };
        let (id, photo) = (column("listing_id")?, column("photo")?);
        if let Some((_, twice)) =
            header.iter().enumerate().find(|(at, name)| header.iter().take(*at).any(|n| n == *name))
        {
            return Err(format!("line 1: the column '{twice}' appears twice"));
        }
        let fields: Vec<usize> = (0..header.len()).filter(|&at| at != id && at != photo).collect();
        let mut catalog = CatalogTable {
            fields: fields.iter().map(|&at| header[at].to_owned()).collect(),
            ..CatalogTable::default()
        };
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(e) if matches!(e.kind(), csv::ErrorKind::Utf8 { .. }) => {
                    let line = line_of(e.position());
                    catalog.broken.push(SkippedRow { line, reason: "the text is not UTF-8".to_owned() });
                    continue;
                }
                Err(e) => return Err(e.to_string()),
            };
            let line = line_of(record.position());
            if record.len() != header.len() {
                let reason = format!("{} values for {} columns", record.len(), header.len());
                catalog.broken.push(SkippedRow { line, reason });
                continue;
            }
            let values = fields.iter().map(|&at| record[at].to_owned()).collect();
            catalog.push(CatalogRow {
                line,
                listing_id: record[id].to_owned(),
                photo: record[photo].to_owned(),
                values,
            });
        }
        Ok(catalog)
    }

    /// Reads one JSON object per line. Strings, numbers and booleans are values; `null` means a missing value.
    pub(crate) fn from_json_lines(from: impl BufRead) -> Result<CatalogTable, String> {
        let mut catalog = CatalogTable::default();
        let mut positions: HashMap<String, usize> = HashMap::new();
        for (line, text) in (1..).zip(from.lines()) {
            let text = text.map_err(|e| format!("line {line}: {e}"))?;
            if text.trim().is_empty() {
                continue;
            }
            let object: serde_json::Map<String, serde_json::Value> = match serde_json::from_str(&text) {
                Ok(object) => object,
                Err(e) => {
                    catalog.broken.push(SkippedRow { line, reason: e.to_string() });
                    continue;
                }
            };
            let mut row = CatalogRow { line, listing_id: String::new(), photo: String::new(), values: Vec::new() };
            let mut bad = None;
            for (name, value) in object {
                let value = match value {
                    serde_json::Value::Null => String::new(),
                    serde_json::Value::String(text) => text,
                    serde_json::Value::Number(number) => number.to_string(),
                    serde_json::Value::Bool(truth) => truth.to_string(),
                    _ => {
                        bad = Some(format!("'{name}' is a list or object, expected a string, number or boolean"));
                        continue;
                    }
                };
                match name.as_str() {
                    "listing_id" => row.listing_id = value,
                    "photo" => row.photo = value,
                    _ => {
                        let next = positions.len();
                        let at = *positions.entry(name).or_insert_with_key(|name| {
                            catalog.fields.push(name.clone());
                            next
                        });
                        row.values.resize(row.values.len().max(at + 1), String::new());
                        row.values[at] = value;
                    }
                }
            }
            match bad {
                Some(reason) => catalog.broken.push(SkippedRow { line, reason }),
                None => catalog.push(row),
            }
        }
        for row in &mut catalog.rows {
            row.values.resize(catalog.fields.len(), String::new());
        }
        Ok(catalog)
    }

    fn push(&mut self, row: CatalogRow) {
        let missing = [("listing_id", &row.listing_id), ("photo", &row.photo)].into_iter().find(|(_, v)| v.is_empty());
        match missing {
            Some((name, _)) => self.broken.push(SkippedRow { line: row.line, reason: format!("{name} is missing") }),
            None => self.rows.push(row),
        }
    }

    /// Returns the columns that searches can filter by unless `--filters` names others: at most `limit`, with category,
    /// price and currency first.
    pub(crate) fn default_filters(&self, limit: usize) -> Vec<String> {
        let mut filters: Vec<String> =
            self.fields.iter().filter(|name| !NOT_FILTERS.contains(&name.as_str())).cloned().collect();
        filters.sort_by_key(|name| !["category", "price", "currency"].contains(&name.as_str()));
        filters.truncate(limit);
        filters
    }
}

/// Returns the line of a record, from 1. Records that come from a reader have a position.
fn line_of(position: Option<&csv::Position>) -> u64 {
    debug_assert!(position.is_some(), "a record without a position");
    position.map_or(0, csv::Position::line)
}

/// Joins names with commas.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_rows_are_read_and_broken_ones_reported() {
        let text = "listing_id,title,photo\nm1,\"A \"\"mug\"\", red\",a.jpg\n,x,b.jpg\nm2,y\nm3,é,c.jpg\n";
        let catalog = CatalogTable::from_csv(text.as_bytes()).expect("a header");
        assert_eq!(catalog.fields, ["title"]);
        let rows: Vec<_> = catalog.rows.iter().map(|r| (r.line, r.photo.as_str(), r.values[0].as_str())).collect();
        assert_eq!(rows, [(2, "a.jpg", "A \"mug\", red"), (5, "c.jpg", "é")]);
        let broken: Vec<_> = catalog.broken.iter().map(|b| (b.line, b.reason.as_str())).collect();
        assert_eq!(broken, [(3, "listing_id is missing"), (4, "2 values for 3 columns")]);
    }

    #[test]
    fn csv_without_the_two_columns_is_refused() {
        let error = CatalogTable::from_csv(&b"id,photo\n1,a\n"[..]).expect_err("no listing_id");
        assert_eq!(error, "line 1: the column 'listing_id' is missing; found id, photo");
        assert!(CatalogTable::from_csv(&b"listing_id,photo,a,a\n"[..]).expect_err("twice").contains("twice"));
        let latin1 = CatalogTable::from_csv(&b"listing_id,photo\nm\xe9,a.jpg\nok,b.jpg\n"[..]).expect("a header");
        assert_eq!((latin1.rows.len(), latin1.broken.len()), (1, 1));
    }

    #[test]
    fn json_lines_may_differ_in_their_fields() {
        let text = concat!(
            r#"{"listing_id":"m1","photo":"a.jpg","price":9.5,"new":true}"#,
            "\n\n",
            r#"{"photo":"b.jpg","listing_id":7,"title":"B","price":null}"#,
            "\n{oops}\n",
            r#"{"listing_id":"m2","photo":"c.jpg","tags":["x"]}"#,
        );
        let catalog = CatalogTable::from_json_lines(text.as_bytes()).expect("lines");
        assert_eq!(catalog.fields, ["price", "new", "title"]);
        assert_eq!(catalog.rows[0].values, ["9.5", "true", ""]);
        assert_eq!(
            (catalog.rows[1].listing_id.as_str(), &catalog.rows[1].values[..]),
            ("7", &["", "", "B"].map(str::to_owned)[..])
        );
        assert_eq!(catalog.broken.iter().map(|b| b.line).collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn filters_start_with_the_usual_ones() {
        let fields = ["title", "colour", "price", "url", "category"].map(str::to_owned).to_vec();
        let catalog = CatalogTable { fields, ..CatalogTable::default() };
        assert_eq!(catalog.default_filters(16), ["price", "category", "colour"]);
        assert_eq!(catalog.default_filters(1), ["price"]);
    }
}
