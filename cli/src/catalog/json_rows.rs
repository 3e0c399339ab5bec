//! JSON Lines tables: one object per line.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::header::{ColumnNames, Header};
use super::{CatalogRow, CatalogTable, SkippedRow};

/// Reads one JSON object per line. Strings, numbers and booleans are values; `null` means a missing value. A list of
/// strings may hold the photos.
pub(super) fn read(text: &str, names: &ColumnNames) -> Result<CatalogTable, String> {
    let mut catalog = CatalogTable::default();
    let mut objects: Vec<(u64, Map<String, Value>)> = Vec::new();
    // Objects may differ in their fields: the header is all names, in the order in which they appear.
    let mut known: HashSet<String> = HashSet::new();
    let mut columns: Vec<String> = Vec::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(object) => {
                columns.extend(object.keys().filter(|name| known.insert((*name).clone())).cloned());
                objects.push((line, object));
            }
            Err(e) => catalog.broken.push(SkippedRow { line, reason: e.to_string() }),
        }
    }
    if objects.is_empty() {
        return Ok(catalog);
    }
    let header = Header::new(&columns.iter().map(String::as_str).collect::<Vec<_>>(), names)?;
    catalog.fields = header.fields.iter().map(|(_, name)| name.clone()).collect();
    for (line, mut object) in objects {
        let mut value = |at: usize| text_of(object.remove(&columns[at]), at == header.photo, &columns[at]);
        let row = (|| {
            let (listing_id, photo) = (value(header.id)?, value(header.photo)?);
            let values = header.fields.iter().map(|(at, _)| value(*at)).collect::<Result<_, String>>()?;
            Ok::<_, String>(CatalogRow { line, listing_id, photo, values })
        })();
        match row {
            Ok(row) => catalog.push(row),
            Err(reason) => catalog.broken.push(SkippedRow { line, reason }),
        }
    }
    Ok(catalog)
}

fn text_of(value: Option<Value>, is_photo: bool, name: &str) -> Result<String, String> {
    Ok(match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(truth)) => truth.to_string(),
        Some(Value::Array(items)) if is_photo && items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).map(str::trim).collect::<Vec<_>>().join("|")
        }
        Some(_) => return Err(format!("'{name}' is a list or object, expected a string, number or boolean")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_may_differ_in_their_fields() {
        let text = concat!(
            r#"{"listing_id":"m1","photo":"a.jpg","price":9.5,"new":true}"#,
            "\n\n",
            r#"{"photo":"b.jpg","listing_id":7,"title":"B","price":null}"#,
            "\n{oops}\n",
            r#"{"listing_id":"m2","photo":"c.jpg","tags":["x"]}"#,
            "\n",
            r#"{"listing_id":"m3","photo":["d.jpg","e.jpg"]}"#,
        );
        let catalog = read(text, &ColumnNames::default()).expect("lines");
        assert_eq!(catalog.fields, ["price", "new", "title", "tags"]);
        assert_eq!(catalog.rows[0].values, ["9.5", "true", "", ""]);
        assert_eq!((catalog.rows[1].listing_id.as_str(), catalog.rows[1].values[2].as_str()), ("7", "B"));
        let photos: Vec<&str> = catalog.rows[2..].iter().map(|row| row.photo.as_str()).collect();
        assert_eq!(photos, ["d.jpg|e.jpg"]);
        assert_eq!(catalog.broken.iter().map(|b| b.line).collect::<Vec<_>>(), [4, 5]);
    }
}
