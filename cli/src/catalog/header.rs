//! Column names: which column is the listing's id, which its photo, and the usual names of shops' feeds.

use super::list;

/// Columns of known feeds, as `magpie` names them. The first of them that the header has is used, so names that say
/// more come first. Compared without case, and with `_` for blanks and hyphens.
const ID: &[&str] = &["listing_id", "id", "handle", "sku", "item_sku", "variant_sku", "offer_id", "product_id"];
const PHOTO: &[&str] = &[
    "photo",
    "image_link",
    "image_src",
    "images",
    "image",
    "main_image_url",
    "base_image",
    "image1",
    "image_url",
    "variant_image",
    "photo_url",
    "picture",
];
const OTHERS: &[(&str, &[&str])] = &[
    ("title", &["title", "name", "item_name", "product_name"]),
    (
        "category",
        &["category", "google_product_category", "product_type", "product_category", "categories", "item_type", "type"],
    ),
    ("price", &["price", "variant_price", "regular_price", "standard_price"]),
    ("currency", &["currency", "currency_code"]),
    ("url", &["url", "link", "product_url", "permalink"]),
];

/// What the user says about the columns: `--id-column`, `--photo-column`, `--map`.
#[derive(Debug, Default, Clone)]
pub(crate) struct ColumnNames {
    pub(crate) id: Option<String>,
    pub(crate) photo: Option<String>,
    /// Name in the table, name in the catalogue.
    pub(crate) renamed: Vec<(String, String)>,
}

/// Where the values of a row stand in the table.
#[derive(Debug, PartialEq)]
pub(crate) struct Header {
    pub(crate) id: usize,
    pub(crate) photo: usize,
    /// Position and name of each further column.
    pub(crate) fields: Vec<(usize, String)>,
}

fn folded(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

impl Header {
    /// Finds the columns by their names in the table.
    pub(crate) fn new(found: &[&str], names: &ColumnNames) -> Result<Header, String> {
        let trimmed: Vec<&str> = found.iter().map(|name| name.trim()).collect();
        let folded: Vec<String> = found.iter().map(|name| folded(name)).collect();
        let at = |name: &str| {
            trimmed
                .iter()
                .position(|column| *column == name)
                .or_else(|| folded.iter().position(|f| *f == self::folded(name)))
        };
        let existing = |name: &str, option: &str| {
            at(name)
                .ok_or_else(|| format!("line 1: {option}: the column '{name}' is missing; found {}", named(&trimmed)))
        };
        let column = |wanted: &Option<String>, known: &[&str], option: &str| match wanted {
            Some(name) => existing(name, option),
            None => known.iter().find_map(|name| at(name)).ok_or_else(|| {
                let (name, columns) = (known[0], named(&trimmed));
                format!("line 1: the column '{name}' is missing; found {columns}; name it with {option}")
            }),
        };
        let id = column(&names.id, ID, "--id-column")?;
        let photo = column(&names.photo, PHOTO, "--photo-column")?;
        let mut fields: Vec<(usize, String)> = Vec::new();
        let mut renamed: Vec<(usize, &str)> = Vec::new();
        for (from, to) in &names.renamed {
            renamed.push((existing(from, "--map")?, to));
        }
        for (name, known) in OTHERS {
            let taken = renamed.iter().any(|(_, to)| to == name) || trimmed.contains(name);
            let first = known.iter().find_map(|known| at(known)).filter(|at| *at != id && *at != photo && !taken);
            renamed.extend(first.map(|at| (at, *name)));
        }
        for (position, name) in trimmed.iter().enumerate() {
            if position == id || position == photo {
                continue;
            }
            let name = renamed.iter().find(|(at, _)| *at == position).map_or(*name, |(_, to)| to);
            if name.is_empty() {
                // A column without a name cannot be shown or searched. Spreadsheets leave such at the end of a table.
                continue;
            }
            if fields.iter().any(|(_, other)| other == name) {
                return Err(format!("line 1: the column '{name}' appears twice; rename one with --map"));
            }
            fields.push((position, name.to_owned()));
        }
        Ok(Header { id, photo, fields })
    }
}

fn named(columns: &[&str]) -> String {
    list(columns.iter().copied().filter(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &str) -> Result<Header, String> {
        Header::new(&names.split(',').collect::<Vec<_>>(), &ColumnNames::default())
    }

    #[test]
    fn headers_of_shops_feeds_are_recognised() {
        // Shopify, WooCommerce, Etsy, Google Merchant and Facebook, Magento, Amazon.
        for (names, id, photo, title) in [
            ("Handle,Title,Vendor,Variant Price,Image Src", 0, 4, 1),
            ("ID,Type,SKU,Name,Regular price,Categories,Images", 0, 6, 3),
            ("TITLE,DESCRIPTION,PRICE,CURRENCY_CODE,IMAGE1,SKU", 5, 4, 0),
            ("id,title,description,link,image_link,price", 0, 4, 1),
            ("sku,name,price,categories,base_image", 0, 4, 1),
            ("item_sku,item_name,standard_price,main_image_url", 0, 3, 1),
        ] {
            let header = header(names).expect(names);
            assert_eq!((header.id, header.photo), (id, photo), "{names}");
            let named = |name: &str| header.fields.iter().find(|(_, n)| n == name).map(|(at, _)| *at);
            assert_eq!(named("title"), Some(title), "{names}");
        }
        let woo = header("ID,Type,SKU,Name,Regular price,Categories,Images").expect("a header");
        let fields: Vec<&str> = woo.fields.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(fields, ["Type", "SKU", "title", "price", "category"]);
    }

    #[test]
    fn columns_can_be_named_and_renamed() {
        let names = ColumnNames {
            id: Some("Nr".to_owned()),
            photo: Some("Bild".to_owned()),
            renamed: vec![("Farbe".to_owned(), "colour".to_owned())],
        };
        let columns = ["Nr", "Bild", "Farbe", "photo"];
        let header = Header::new(&columns, &names).expect("a header");
        assert_eq!(header.fields, [(2, "colour".to_owned()), (3, "photo".to_owned())]);
        let missing = Header::new(&["Nr"], &names).expect_err("no Bild");
        assert_eq!(missing, "line 1: --photo-column: the column 'Bild' is missing; found Nr");
    }

    #[test]
    fn unusable_headers_are_refused() {
        let missing = header("name,photo").expect_err("no id");
        assert_eq!(missing, "line 1: the column 'listing_id' is missing; found name, photo; name it with --id-column");
        assert!(header("listing_id,photo,a,a").expect_err("twice").contains("'a' appears twice"));
        assert_eq!(header("listing_id,photo,,,title").expect("a header").fields, [(4, "title".to_owned())]);
    }
}
