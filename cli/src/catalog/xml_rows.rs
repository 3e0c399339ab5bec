//! Feeds in XML: RSS with Google's `g:` elements, or Atom. An `item` or `entry` is a row, its elements are the values.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::escape::{resolve_xml_entity, unescape};
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::header::{ColumnNames, Header};
use super::{CatalogRow, CatalogTable, SkippedRow};

/// Elements within each other.
const MAX_DEPTH: usize = 32;
/// Bytes of a value.
const MAX_VALUE: usize = 1 << 20;
/// Different names of elements in items.
const MAX_COLUMNS: usize = 1024;
/// Cells of the table: one of each column in each row, also where an item has no such element.
const MAX_CELLS: usize = 1 << 26;

/// Reads a feed. Prefixes of names are left out, so `g:price` is the column `price`. Where an item has an element several
/// times, its values are joined, photos by `|`. Elements within the elements of an item are left out.
///
/// Entities that a document type defines could expand a few bytes to gigabytes, and no feed needs them: a feed with a
/// document type is refused.
pub(super) fn read(text: &str, names: &ColumnNames) -> Result<CatalogTable, String> {
    let mut reader = Reader::from_str(text);
    let mut items = Items::default();
    let mut place = Place { text, line: 1, at: 0 };
    loop {
        let line = place.line_at(reader.buffer_position() as usize);
        let failed = |reason: &dyn std::fmt::Display| format!("line {line}: {reason}");
        match reader.read_event().map_err(|e| failed(&e))? {
            Event::Start(tag) => items.open(&tag, line).map_err(|e| failed(&e))?,
            Event::Empty(tag) => {
                items.open(&tag, line).map_err(|e| failed(&e))?;
                items.close();
            }
            Event::End(_) => items.close(),
            Event::Text(text) => items.add(&text.into_inner()).map_err(|e| failed(&e))?,
            Event::CData(text) => items.add(&text.into_inner()).map_err(|e| failed(&e))?,
            Event::GeneralRef(entity) => items.add(&resolved(&entity)).map_err(|e| failed(&e))?,
            Event::DocType(_) => return Err(failed(&"a feed with a document type (<!DOCTYPE) is not read: remove it")),
            Event::Eof if items.depth > 0 => return Err(failed(&"the feed ends within an element: it is cut short")),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    items.table(names)
}

/// What a reference stands for. Those that XML does not define, such as `&nbsp;`, stay as they are.
fn resolved(entity: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = entity.resolve_char_ref() {
        return character.to_string();
    }
    let name: &str = entity;
    resolve_xml_entity(name).map_or_else(|| format!("&{name};"), str::to_owned)
}

/// Finds lines of places in a text, in ascending order.
struct Place<'a> {
    text: &'a str,
    line: u64,
    at: usize,
}

impl Place<'_> {
    fn line_at(&mut self, at: usize) -> u64 {
        let passed = self.text.as_bytes().get(self.at..at).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = self.at.max(at);
        self.line
    }
}

/// The items of a feed, as they are read.
#[derive(Default)]
struct Items {
    depth: usize,
    columns: Vec<String>,
    places: HashMap<String, usize>,
    /// Line and values of each item: column and text, in the order of the feed.
    items: Vec<(u64, Vec<FeedValue>)>,
    /// The depth of the item that is open.
    item: Option<usize>,
    /// The element that is open in it.
    value: Option<FeedValue>,
}

/// An element of an item.
struct FeedValue {
    column: usize,
    /// Whether it is one of Google's own (`g:id`), which count before a standard's element of the same name.
    is_google: bool,
    text: String,
}

impl Items {
    fn open(&mut self, tag: &BytesStart<'_>, line: u64) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("elements are nested more than {MAX_DEPTH} deep"));
        }
        let name = tag.local_name();
        let name: &str = name.as_ref();
        match self.item {
            None if matches!(name, "item" | "entry") => {
                self.item = Some(self.depth);
                self.items.push((line, Vec::new()));
            }
            Some(item) if self.depth == item + 1 => {
                let column = self.column(name)?;
                // Atom has addresses in an attribute.
                let address = tag.try_get_attribute("href").ok().flatten();
                let address = address.and_then(|href| Some(unescape(&href.value).ok()?.into_owned()));
                let attribute = |name| tag.try_get_attribute(name).ok().flatten().map(|found| found.value);
                // Atom's links to other things than the page of the item.
                let is_other = attribute("rel").is_some_and(|rel| &*rel != "alternate");
                let is_google = tag.name().prefix().is_some_and(|prefix| prefix.as_ref() == "g");
                self.value = (!is_other).then(|| FeedValue { column, is_google, text: address.unwrap_or_default() });
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self) {
        if self.item == Some(self.depth) {
            self.item = None;
        } else if self.item.is_some_and(|item| self.depth == item + 1)
            && let (Some(mut value), Some((_, values))) = (self.value.take(), self.items.last_mut())
        {
            value.text = value.text.trim().to_owned();
            if !value.text.is_empty() {
                values.push(value);
            }
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let inside = self.item.is_some_and(|item| self.depth == item + 1);
        if let Some(value) = self.value.as_mut().filter(|_| inside) {
            value.text.push_str(text);
            if value.text.len() > MAX_VALUE {
                return Err(format!("a value has more than {MAX_VALUE} bytes"));
            }
        }
        Ok(())
    }

    fn column(&mut self, name: &str) -> Result<usize, String> {
        if let Some(&known) = self.places.get(name) {
            return Ok(known);
        }
        let at = self.columns.len();
        if at == MAX_COLUMNS {
            return Err(format!("items have more than {MAX_COLUMNS} different elements"));
        }
        self.columns.push(name.to_owned());
        self.places.insert(name.to_owned(), at);
        Ok(at)
    }

    fn table(self, names: &ColumnNames) -> Result<CatalogTable, String> {
        if self.items.is_empty() {
            return Err("line 1: the feed has no <item> or <entry>".to_owned());
        }
        let header = Header::new(&self.columns.iter().map(String::as_str).collect::<Vec<_>>(), names)?;
        let fields: Vec<String> = header.fields.iter().map(|(_, name)| name.clone()).collect();
        if self.items.len().saturating_mul(fields.len()) > MAX_CELLS {
            let (items, columns) = (self.items.len(), fields.len());
            return Err(format!("{items} items with {columns} different elements are too many; divide the feed"));
        }
        let mut catalog = CatalogTable { fields, ..CatalogTable::default() };
        for (line, values) in self.items {
            let value = |at: usize| {
                let of_column = || values.iter().filter(|value| value.column == at);
                let google = of_column().any(|value| value.is_google);
                let mut found: Vec<&str> = Vec::new();
                for value in of_column().filter(|value| value.is_google == google) {
                    if !found.contains(&value.text.as_str()) {
                        found.push(&value.text);
                    }
                }
                found.join(if at == header.photo { "|" } else { ", " })
            };
            if values.is_empty() {
                catalog.broken.push(SkippedRow { line, reason: "the item is empty".to_owned() });
                continue;
            }
            let row = CatalogRow {
                line,
                listing_id: value(header.id),
                photo: value(header.photo),
                values: header.fields.iter().map(|(at, _)| value(*at)).collect(),
            };
            catalog.push(row);
        }
        Ok(catalog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<CatalogTable, String> {
        read(text, &ColumnNames::default())
    }

    const FEED: &str = r#"<?xml version="1.0"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0">
<channel>
  <title>A shop</title>
  <item>
    <g:id>m1</g:id>
    <title>Mug &amp; saucer &#8211; <![CDATA[<blue>]]></title>
    <g:image_link>https://cdn.example/a.jpg?x=1&amp;y=2</g:image_link>
    <g:price>18.00 EUR</g:price>
    <g:shipping><g:country>FI</g:country></g:shipping>
  </item>
  <item><g:id>m2</g:id><g:image_link>b.jpg</g:image_link><g:image_link>c.jpg</g:image_link>
    <g:product_type/><title>Two&nbsp;photos</title></item>
  <item/>
</channel>
</rss>
"#;

    #[test]
    fn the_items_of_a_merchant_feed_are_rows() {
        let catalog = table(FEED).expect("a feed");
        assert_eq!(catalog.fields, ["title", "price", "shipping", "category"]);
        let [one, two] = &catalog.rows[..] else { panic!("{catalog:?}") };
        assert_eq!((one.line, one.listing_id.as_str()), (5, "m1"));
        assert_eq!(one.photo, "https://cdn.example/a.jpg?x=1&y=2");
        assert_eq!(one.values, ["Mug & saucer \u{2013} <blue>", "18.00 EUR", "", ""]);
        assert_eq!((two.photo.as_str(), two.values[0].as_str()), ("b.jpg|c.jpg", "Two&nbsp;photos"));
        assert_eq!(catalog.broken, [SkippedRow { line: 14, reason: "the item is empty".to_owned() }]);
    }

    #[test]
    fn entries_of_atom_are_rows() {
        let feed = r#"<feed><entry><id>m1</id><link href="https://x/1"/><image_link>a.jpg</image_link></entry></feed>"#;
        let catalog = table(feed).expect("a feed");
        assert_eq!(
            (catalog.fields, &catalog.rows[0].values[..]),
            (vec!["url".to_owned()], &["https://x/1".to_owned()][..])
        );
    }

    #[test]
    fn an_element_of_google_counts_before_a_standards_of_the_same_name() {
        let feed = r#"<feed xmlns:g="http://base.google.com/ns/1.0"><entry>
            <id>tag:shop,1</id><g:id>m1</g:id><title>Mug</title><g:title>Mug</g:title><title>Mug</title>
            <link rel="self" href="https://shop/feed"/><link href="https://shop/m1"/>
            <g:image_link>a.jpg</g:image_link></entry></feed>"#;
        let catalog = table(feed).expect("a feed");
        let row = &catalog.rows[0];
        assert_eq!((row.listing_id.as_str(), row.photo.as_str()), ("m1", "a.jpg"));
        let value =
            |name: &str| catalog.fields.iter().position(|field| field == name).map(|at| row.values[at].as_str());
        assert_eq!((value("title"), value("url")), (Some("Mug"), Some("https://shop/m1")));
    }

    #[test]
    fn bombs_and_feeds_that_are_cut_short_are_refused_with_their_line() {
        let bomb = "<!DOCTYPE rss [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]>\n<rss><item><id>&b;</id></item></rss>";
        assert!(table(bomb).expect_err("a document type").starts_with("line 1: a feed with a document type"));
        let deep = format!("<rss>\n{}", "<a>".repeat(100_000));
        assert_eq!(table(&deep).expect_err("deep"), "line 2: elements are nested more than 32 deep");
        let long = format!("<rss><item><id>{}</id></item></rss>", "x".repeat((1 << 20) + 1));
        assert!(table(&long).expect_err("long").contains("more than 1048576 bytes"));
        let wide: String = (0..1025).map(|at| format!("<a{at}>1</a{at}>")).collect();
        assert!(table(&format!("<rss><item>{wide}</item></rss>")).expect_err("wide").contains("1024 different"));
        for cut in [FEED.find("</channel>").expect("there"), FEED.find("m2").expect("there")] {
            let error = table(&FEED[..cut]).expect_err("cut short");
            assert!(error.starts_with("line 1"), "{error}");
        }
        assert!(table("<html><body>Not found</body></html>").expect_err("a page").contains("no <item>"));
        for feed in ["<rss><item></rss>", "<", "<rss", "<rss><item><id>&</id></item></rss>"] {
            assert!(table(feed).is_err(), "{feed}");
        }
    }
}
