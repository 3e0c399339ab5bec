//! CSV tables: the delimiter, quotes that are never closed, rows.

use super::header::{ColumnNames, Header};
use super::{CatalogRow, CatalogTable, SkippedRow};

const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// Reads CSV (RFC 4180) with a header line. The delimiter is the one that is most frequent in the header.
pub(super) fn read(text: &str, names: &ColumnNames) -> Result<CatalogTable, String> {
    let delimiter = delimiter(text);
    if let Some(line) = unclosed_quote(text, delimiter) {
        return Err(format!(
            "line {line}: a quote (\") is opened here and not closed; close it, or double it if it is text"
        ));
    }
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).delimiter(delimiter).trim(csv::Trim::All).from_reader(text.as_bytes());
    let columns = reader.headers().map_err(|e| e.to_string())?.clone();
    let header = Header::new(&columns.iter().collect::<Vec<_>>(), names)?;
    let fields = header.fields.iter().map(|(_, name)| name.clone()).collect();
    let mut catalog = CatalogTable { fields, ..CatalogTable::default() };
    for record in reader.records() {
        let record = record.map_err(|e| e.to_string())?;
        debug_assert!(record.position().is_some(), "a record that was read has a position");
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != columns.len() {
            let reason = format!("{} values for {} columns", record.len(), columns.len());
            catalog.broken.push(SkippedRow { line, reason });
            continue;
        }
        let values = header.fields.iter().map(|(at, _)| record[*at].to_owned()).collect();
        let (listing_id, photo) = (record[header.id].to_owned(), record[header.photo].to_owned());
        catalog.push(CatalogRow { line, listing_id, photo, values });
    }
    Ok(catalog)
}

fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let mut quoted = false;
    let mut counts = [0; DELIMITERS.len()];
    for byte in header.bytes() {
        quoted ^= byte == b'"';
        if let Some(at) = DELIMITERS.iter().position(|d| *d == byte).filter(|_| !quoted) {
            counts[at] += 1;
        }
    }
    // The first of the most frequent ones.
    (0..DELIMITERS.len()).rev().max_by_key(|at| counts[*at]).map_or(b',', |at| DELIMITERS[at])
}

/// The line, from 1, of a quote that opens a value and is never closed, or that is closed by a quote in another line with
/// more text after it: that one was meant to open a value too. All rows between the two would be one value.
fn unclosed_quote(text: &str, delimiter: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut line, mut at, mut value_starts) = (1, 0, true);
    while at < bytes.len() {
        match bytes[at] {
            b'"' if value_starts => {
                let opened = line;
                at += 1;
                loop {
                    match bytes.get(at) {
                        None => return Some(opened),
                        Some(b'"') if bytes.get(at + 1) == Some(&b'"') => at += 1,
                        Some(b'"') => break,
                        Some(b'\n') => line += 1,
                        Some(_) => {}
                    }
                    at += 1;
                }
                let ends = |byte: &u8| *byte == delimiter || matches!(byte, b'\r' | b'\n' | b' ');
                if line > opened && !bytes.get(at + 1).is_none_or(ends) {
                    return Some(opened);
                }
                value_starts = false;
            }
            b'\n' => (line, value_starts) = (line + 1, true),
            byte if byte == delimiter => value_starts = true,
            // Blanks before a quote belong to it, as the reader trims them.
            b' ' => {}
            _ => value_starts = false,
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<CatalogTable, String> {
        read(text, &ColumnNames::default())
    }

    #[test]
    fn rows_are_read_and_broken_ones_reported() {
        let text = "listing_id,title,photo\nm1,\"A \"\"mug\"\", red\",a.jpg\n,x,b.jpg\nm2,y\n m3 ,é, c.jpg\n";
        let catalog = table(text).expect("a header");
        assert_eq!(catalog.fields, ["title"]);
        let rows: Vec<_> =
            catalog.rows.iter().map(|r| (r.line, &*r.listing_id, &*r.photo, r.values[0].as_str())).collect();
        assert_eq!(rows, [(2, "m1", "a.jpg", "A \"mug\", red"), (5, "m3", "c.jpg", "é")]);
        let broken: Vec<_> = catalog.broken.iter().map(|b| (b.line, b.reason.as_str())).collect();
        assert_eq!(broken, [(3, "listing_id is missing"), (4, "2 values for 3 columns")]);
    }

    #[test]
    fn the_header_line_tells_the_delimiter() {
        for delimiter in [",", ";", "\t", "|"] {
            let text = ["listing_id", "photo", "title\nm1", "a.jpg", "one\n"].join(delimiter);
            let row = &table(&text).expect("a header").rows[0];
            assert_eq!((row.photo.as_str(), row.values[0].as_str()), ("a.jpg", "one"));
        }
        assert_eq!(delimiter("\"a;b;c\",d\n"), b',');
    }

    #[test]
    fn a_quote_that_is_never_closed_is_an_error_with_its_line() {
        let rest = "L3,c.jpg,Three\n".repeat(30);
        let never = format!("listing_id,photo,title\nL1,a.jpg,\"One, two\"\nL2,b.jpg,\"Two\n{rest}");
        assert!(table(&never).expect_err("never closed").starts_with("line 3: a quote"));
        let later = format!("listing_id,photo,title\nL2,b.jpg,\"Two\n{rest}L4,d.jpg,\"Four\"\n");
        assert!(table(&later).expect_err("closed by the next").starts_with("line 2: a quote"));
        for fine in ["L1,a.jpg,\"two\nlines\"\n", "L1,a.jpg,5\" pipe\n", "L1,a.jpg, \"x\" \nL2,b.jpg,\"\"\n"] {
            assert!(table(&format!("listing_id,photo,title\n{fine}")).is_ok(), "{fine}");
        }
    }
}
