//! A page of queries next to their results, in one self-contained HTML file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use magpie_core::listing::{Found, Listing};

use crate::output;

const STYLE: &str = include_str!("results_page.css");

/// The JPEG bytes of each picture on the page, by name.
pub(crate) type Pictures = BTreeMap<String, Vec<u8>>;

/// One query and its results.
pub(crate) struct Card {
    /// Name of the shopper's photo in [`Pictures`].
    pub(crate) photo: String,
    /// What became of the query, as text.
    pub(crate) verdict: String,
    /// More about it, in small print.
    pub(crate) note: String,
    pub(crate) results: Vec<CardResult>,
}

pub(crate) struct CardResult {
    /// Name of the listing's photo in [`Pictures`]; a grey box is shown where it is not there.
    pub(crate) photo: String,
    pub(crate) title: String,
    pub(crate) price: String,
    pub(crate) score: f32,
    /// Whether this is the listing that the photo shows.
    pub(crate) right: bool,
}

impl CardResult {
    /// A result whose picture has this name.
    pub(crate) fn new(found: &Found, photo: String, right: bool) -> CardResult {
        let Found { score, listing, .. } = found;
        CardResult { photo, title: title(listing), price: output::price(listing), score: *score, right }
    }
}

/// The title of a listing, or its id where it has none.
pub(crate) fn title(listing: &Listing) -> String {
    listing.get("title").unwrap_or(&listing.id).to_owned()
}

/// Cards under a heading; the heading may be empty.
pub(crate) struct Section {
    pub(crate) heading: String,
    pub(crate) cards: Vec<Card>,
}

/// Renders the page. `introduction` is HTML; everything else is text. Each picture is embedded once, as the background
/// image of a CSS class.
pub(crate) fn html(heading: &str, introduction: &str, sections: &[Section], pictures: &Pictures) -> String {
    let mut classes = String::new();
    let mut numbers = BTreeMap::new();
    for (number, (name, jpeg)) in pictures.iter().enumerate() {
        let data = BASE64_STANDARD.encode(jpeg);
        let _ = writeln!(classes, ".p{number}{{background-image:url(data:image/jpeg;base64,{data})}}");
        numbers.insert(name.as_str(), number);
    }
    let mut body = String::new();
    for section in sections {
        if !section.heading.is_empty() {
            let _ = writeln!(body, "<h2>{}</h2>", escape(&section.heading));
        }
        section.cards.iter().for_each(|card| body.push_str(&render(card, &numbers)));
    }
    let heading = escape(heading);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{heading}</title>\n\
         <style>\n{STYLE}{classes}</style>\n</head>\n<body>\n<header>\n<h1>{heading}</h1>\n{introduction}</header>\n\
         <main>\n{body}</main>\n</body>\n</html>\n"
    )
}

fn render(card: &Card, numbers: &BTreeMap<&str, usize>) -> String {
    let picture = |name: &str, text: &str| {
        let class = numbers.get(name).map_or_else(|| "none".to_owned(), |number| format!("p{number}"));
        format!("<div class=\"picture {class}\" role=\"img\" aria-label=\"{}\"></div>", escape(text))
    };
    let mut text = format!(
        "<section>\n<figure class=\"query\">{}<figcaption>{}<br><small>{}</small></figcaption></figure>\n<ol>\n",
        picture(&card.photo, "shopper's photo"),
        escape(&card.verdict),
        escape(&card.note),
    );
    for result in &card.results {
        let _ = writeln!(
            text,
            "<li{}><figure>{}<figcaption>{}<br><b>{}</b> <small>{:.3}</small></figcaption></figure></li>",
            if result.right { " class=\"right\"" } else { "" },
            picture(&result.photo, &result.title),
            escape(&result.title),
            escape(&result.price),
            result.score,
        );
    }
    text.push_str("</ol>\n</section>\n");
    text
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_a_missing_picture_leaves_a_box() {
        let result = CardResult {
            photo: "gone.jpg".to_owned(),
            title: "<b> & \"x\"".to_owned(),
            price: String::new(),
            score: 0.5,
            right: true,
        };
        let (verdict, note) = ("first".to_owned(), "<i>".to_owned());
        let card = Card { photo: "a.jpg".to_owned(), verdict, note, results: vec![result] };
        let sections = [Section { heading: "A & B".to_owned(), cards: vec![card] }];
        let pictures = Pictures::from([("a.jpg".to_owned(), vec![1])]);
        let page = html("x", "", &sections, &pictures);
        for part in ["&lt;b&gt; &amp; &quot;x&quot;", "<h2>A &amp; B</h2>", "&lt;i&gt;", "picture none", "picture p0"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<i>"));
    }
}
