//! From rows to listings: several photos in a cell, values that only some rows have, prices, filter columns.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::money::amount;
use super::{CatalogRow, CatalogTable, list};

/// Columns that are not filters by default, since nearly every listing has a value of its own.
const NOT_FILTERS: [&str; 2] = ["title", "url"];
/// A column of words is a filter by default if a shopper could choose from its values: not more than so many different
/// ones, or than half of the listings, and none longer than a label.
const MOST_CHOICES: usize = 256;
const LONGEST_LABEL: usize = 64;
/// A column is meant to hold numbers if at least this share of its values, in percent, are numbers.
const MOSTLY: usize = 80;

/// The columns that searches can filter by, and those that were left out, with the reason.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct FilterChoice {
    pub(crate) chosen: Vec<String>,
    pub(crate) left_out: Vec<String>,
}

impl CatalogTable {
    /// Makes a row for each photo of a cell that names several, separated by `|`, or by `,` or `;` if each part looks like
    /// a picture's name.
    pub(crate) fn split_photos(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        for row in rows {
            let photos = photos_of(&row.photo);
            if photos.len() < 2 {
                self.rows.push(row);
                continue;
            }
            self.rows.extend(photos.into_iter().map(|photo| CatalogRow { photo: photo.to_owned(), ..row.clone() }));
        }
    }

    /// Gives all rows of a listing the same values: each from the first row that has it. Returns the listings whose rows
    /// contradict each other.
    ///
    /// A row whose photo cannot be used may be the only one with the title, and feeds leave the cells of further rows
    /// empty.
    pub(crate) fn share_values(&mut self) -> Vec<String> {
        let mut values: HashMap<&str, Vec<String>> = HashMap::new();
        let mut conflicting: Vec<String> = Vec::new();
        let mut told: HashSet<&str> = HashSet::new();
        for row in &self.rows {
            let known = values.entry(&row.listing_id).or_insert_with(|| vec![String::new(); self.fields.len()]);
            for (known, value) in known.iter_mut().zip(&row.values) {
                if known.is_empty() {
                    known.clone_from(value);
                } else if !value.is_empty() && value != known && told.insert(&row.listing_id) {
                    conflicting.push(row.listing_id.clone());
                }
            }
        }
        let shared: Vec<Vec<String>> =
            self.rows.iter().map(|row| values.get(row.listing_id.as_str()).cloned().unwrap_or_default()).collect();
        for (row, values) in self.rows.iter_mut().zip(shared) {
            row.values = values;
        }
        conflicting
    }

    /// Writes the amounts of `price` and of the columns `insisted` as plain numbers. A currency that stands beside them
    /// becomes the column `currency` if the table has no such column. Of an insisted column, what is not a number is left
    /// out.
    pub(crate) fn read_amounts(&mut self, insisted: &[String]) {
        let columns: BTreeSet<&str> = insisted.iter().map(String::as_str).chain(["price"]).collect();
        let columns: Vec<(String, usize)> =
            columns.iter().filter_map(|name| Some(((*name).to_owned(), self.field(name)?))).collect();
        let mut currencies: Vec<Option<String>> = vec![None; self.rows.len()];
        for (name, at) in columns {
            let insist = insisted.contains(&name);
            let mut odd: Option<(u64, String, usize)> = None;
            for (row, currency) in self.rows.iter_mut().zip(&mut currencies) {
                let value = &mut row.values[at];
                if value.is_empty() {
                    continue;
                }
                match amount(value) {
                    Some(amount) => {
                        *value = amount.number;
                        *currency = currency.take().or(amount.currency.filter(|_| name == "price"));
                    }
                    None => {
                        let (_, _, count) = odd.get_or_insert_with(|| (row.line, value.clone(), 0));
                        *count += 1;
                        if insist {
                            value.clear();
                        }
                    }
                }
            }
            if let Some((line, value, count)) = odd {
                let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
                self.notes.push(match insist {
                    true => format!("{name}: line {line}: '{value}'{more} is not a number and is left out"),
                    false => odd_value(&name, line, &format!("'{value}'{more}")),
                });
            }
        }
        if self.field("currency").is_none() && currencies.iter().any(Option::is_some) {
            self.fields.push("currency".to_owned());
            for (row, currency) in self.rows.iter_mut().zip(currencies) {
                row.values.push(currency.unwrap_or_default());
            }
        }
    }

    /// Notes the columns that hold words because of a few odd values.
    pub(crate) fn note_odd_numbers(&mut self) {
        let mut notes = Vec::new();
        for (at, name) in self.fields.iter().enumerate().filter(|(_, name)| *name != "price") {
            let present = || self.rows.iter().filter(|row| !row.values[at].is_empty());
            let (count, numbers) = (present().count(), present().filter(|row| is_number(&row.values[at])).count());
            if numbers == count || numbers < 3 || numbers * 100 < count * MOSTLY {
                continue;
            }
            if let Some(row) = present().find(|row| !is_number(&row.values[at])) {
                notes.push(odd_value(name, row.line, &format!("'{}'", row.values[at])));
            }
        }
        self.notes.extend(notes);
    }

    /// The columns that searches can filter by unless `--filters` names others: at most `limit`, with category, price and
    /// currency first.
    pub(crate) fn default_filters(&self, limit: usize) -> FilterChoice {
        let listings = self.rows.iter().map(|row| row.listing_id.as_str()).collect::<HashSet<_>>().len();
        let mut choice = FilterChoice::default();
        let mut names: Vec<(usize, &String)> =
            self.fields.iter().enumerate().filter(|(_, name)| !NOT_FILTERS.contains(&name.as_str())).collect();
        names.sort_by_key(|(_, name)| !["category", "price", "currency"].contains(&name.as_str()));
        for (at, name) in names {
            let values: HashSet<&str> =
                self.rows.iter().map(|row| row.values[at].as_str()).filter(|value| !value.is_empty()).collect();
            let numbers = values.iter().all(|value| is_number(value));
            let (count, longest) = (values.len(), values.iter().map(|value| value.chars().count()).max().unwrap_or(0));
            if !numbers && longest > LONGEST_LABEL {
                choice.left_out.push(format!("{name} (values of up to {longest} characters)"));
            } else if !numbers && count > MOST_CHOICES && count * 2 > listings {
                choice.left_out.push(format!("{name} ({count} different values)"));
            } else if choice.chosen.len() == limit {
                choice.left_out.push(format!("{name} (a shard has at most {limit} filter columns)"));
            } else {
                choice.chosen.push(name.clone());
            }
        }
        choice
    }
}

impl FilterChoice {
    /// What was left out, for the user.
    pub(crate) fn note(&self) -> Option<String> {
        let left_out = list(self.left_out.iter().map(String::as_str));
        (!self.left_out.is_empty()).then(|| format!("not filter columns: {left_out}; choose with --filters"))
    }
}

/// Whether a shard holds the value as a number: `columns` of the builder decides in the same way.
fn is_number(value: &str) -> bool {
    value.parse::<f64>().is_ok_and(f64::is_finite)
}

/// What to tell of a value that keeps a column from holding numbers.
fn odd_value(column: &str, line: u64, value: &str) -> String {
    format!(
        "{column}: line {line}: {value} is not a number, so the column holds words and cannot be compared; --column \
         {column}=number leaves such values out"
    )
}

/// The names of photos in a cell.
fn photos_of(cell: &str) -> Vec<&str> {
    let parts = |separators: &[char]| -> Vec<&str> {
        cell.split(separators).map(str::trim).filter(|part| !part.is_empty()).collect()
    };
    let bars = parts(&['|', '\n']);
    if bars.len() > 1 {
        return bars;
    }
    let parts = parts(&[',', ';', '\n']);
    match parts.iter().all(|part| looks_like_picture(part)) {
        true => parts,
        false => vec![cell],
    }
}

fn looks_like_picture(name: &str) -> bool {
    let path = name.split(['?', '#']).next().unwrap_or(name);
    let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_lowercase());
    name.starts_with("http://")
        || name.starts_with("https://")
        || ending.is_some_and(|e| ["jpg", "jpeg", "png", "webp", "heic", "gif", "avif", "tif", "tiff"].contains(&&*e))
}

#[cfg(test)]
mod tests {
    use super::super::ColumnNames;
    use super::*;

    fn table(text: &str) -> CatalogTable {
        CatalogTable::from_csv(text, &ColumnNames::default()).expect("a table")
    }

    #[test]
    fn a_cell_may_name_several_photos() {
        assert_eq!(photos_of("a.jpg|b"), ["a.jpg", "b"]);
        assert_eq!(photos_of("a.jpg, b.PNG;c.webp"), ["a.jpg", "b.PNG", "c.webp"]);
        assert_eq!(photos_of("https://x/a?w=1,https://x/b"), ["https://x/a?w=1", "https://x/b"]);
        // A comma may be part of a name.
        assert_eq!(photos_of("mug, red.jpg"), ["mug, red.jpg"]);
        let mut catalog = table("listing_id,photo,title\nm1,a.jpg|b.jpg,One\n");
        catalog.split_photos();
        assert_eq!(catalog.rows.iter().map(|row| row.photo.as_str()).collect::<Vec<_>>(), ["a.jpg", "b.jpg"]);
    }

    #[test]
    fn a_value_comes_from_the_first_row_that_has_it() {
        let mut catalog =
            table("listing_id,photo,title,price\nm1,a.jpg,,\nm1,b.jpg,Mug,9\nm2,c.jpg,A,1\nm2,d.jpg,B,1\n");
        assert_eq!(catalog.share_values(), ["m2"]);
        let values: Vec<_> = catalog.rows.iter().map(|row| row.values.join("/")).collect();
        assert_eq!(values, ["Mug/9", "Mug/9", "A/1", "A/1"]);
    }

    #[test]
    fn prices_become_numbers_and_odd_ones_are_named() {
        let text = "listing_id,photo,price\na,a.jpg,18.00 EUR\nb,b.jpg,\"1.234,56\"\nc,c.jpg,POA\nd,d.jpg,\n";
        let mut catalog = table(text);
        catalog.read_amounts(&[]);
        assert_eq!(catalog.fields, ["price", "currency"]);
        let values: Vec<_> = catalog.rows.iter().map(|row| row.values.join("/")).collect();
        assert_eq!(values, ["18.00/EUR", "1234.56/", "POA/", "/"]);
        assert!(catalog.notes[0].starts_with("price: line 4: 'POA' is not a number, so"), "{:?}", catalog.notes);
        let mut insisted = table(text);
        insisted.read_amounts(&["price".to_owned()]);
        assert_eq!((insisted.rows[2].values[0].as_str(), insisted.notes.len()), ("", 1));
    }

    #[test]
    fn columns_that_are_nearly_numbers_are_named() {
        let mut catalog = table("listing_id,photo,size,shop\n1,a,1,1\n2,b,2,x\n3,c,3,y\n4,d,4,z\n5,e,4 1/2,z\n");
        catalog.note_odd_numbers();
        assert_eq!(catalog.notes.len(), 1);
        assert!(catalog.notes[0].starts_with("size: line 6: '4 1/2'"), "{:?}", catalog.notes);
    }

    #[test]
    fn filters_are_columns_that_a_shopper_could_choose_from() {
        let rows: String =
            (0..600).map(|i| format!("m{i},a.jpg,T{i},{i}.5,c{},{},s{i}\n", i % 9, "x".repeat(99))).collect();
        let catalog = table(&format!("listing_id,photo,title,price,category,text,sku\n{rows}"));
        let choice = catalog.default_filters(16);
        assert_eq!(choice.chosen, ["price", "category"]);
        assert_eq!(choice.left_out, ["text (values of up to 99 characters)", "sku (600 different values)"]);
        assert!(choice.note().is_some_and(|note| note.contains("sku (600")));
        assert_eq!(catalog.default_filters(1).chosen, ["price"]);
        assert_eq!(table("listing_id,photo,shop\na,a.jpg,x\n").default_filters(16).note(), None);
    }
}
