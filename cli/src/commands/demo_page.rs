//! The demo's page: each query next to its results, in one self-contained HTML file.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use magpie_core::engine::SearchResults;

use crate::failure::Result;
use crate::{assets, output};

const STYLE: &str = include_str!("demo_page.css");

/// Attributes below this probability are not shown.
const SURE: f32 = 0.5;

/// A shopper's photo, and the listing that it shows.
pub(crate) struct DemoQuery {
    pub(crate) photo: String,
    pub(crate) listing_id: String,
    pub(crate) bytes: &'static [u8],
}

/// A query and its results.
pub(crate) struct DemoAnswer {
    pub(crate) query: DemoQuery,
    pub(crate) results: SearchResults,
    /// Rank of the right listing among the results, from 1; `None` if it was not found.
    pub(crate) place: Option<usize>,
}

/// The measurements of a demo run.
pub(crate) struct Summary {
    pub(crate) listings: u64,
    pub(crate) photos: u64,
    pub(crate) shard_bytes: u64,
    pub(crate) model: String,
    pub(crate) build: Duration,
    /// Share of queries whose right listing is first, and among the first five.
    pub(crate) hit_1: f64,
    pub(crate) hit_5: f64,
    /// Median time of each stage.
    pub(crate) stages: Vec<(&'static str, Duration)>,
}

/// Renders the page. Each picture is embedded once, as the background image of a CSS class.
pub(super) fn html(summary: &Summary, answers: &[DemoAnswer]) -> Result<String> {
    let mut pictures = BTreeSet::new();
    let mut body = String::new();
    for answer in answers {
        body.push_str(&card(answer, &mut pictures));
    }
    let stages = summary.stages.iter().map(|(name, time)| format!("{name} {}", output::ms(*time)));
    let mut classes = String::new();
    for name in &pictures {
        let data = BASE64_STANDARD.encode(assets::demo_picture(name)?);
        let _ = writeln!(classes, ".{}{{background-image:url(data:image/jpeg;base64,{data})}}", class(name));
    }
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Magpie demo</title>\n\
         <style>\n{STYLE}{classes}</style>\n</head>\n<body>\n<header>\n<h1>Magpie demo</h1>\n\
         <p>This machine searched a catalogue with {} shoppers’ photos. The catalogue has {} listings ({} photos, {}), \
         the model is {}. The right listing is first for <b>{:.0} %</b> of the photos and among the first five for \
         <b>{:.0} %</b>. All pictures are renders made by the project. Attributes are shown from a probability of \
         {:.0} %; the model never saw such goods, so take them as hints.</p>\n\
         <p>Median times: {}.</p>\n</header>\n<main>\n{body}</main>\n</body>\n</html>\n",
        answers.len(),
        summary.listings,
        summary.photos,
        output::bytes(summary.shard_bytes),
        escape(&summary.model),
        100.0 * summary.hit_1,
        100.0 * summary.hit_5,
        100.0 * SURE,
        stages.collect::<Vec<_>>().join(", "),
    ))
}

/// Renders one query with its results, and adds the names of its pictures to `pictures`.
fn card(answer: &DemoAnswer, pictures: &mut BTreeSet<String>) -> String {
    let mut picture = |name: String, text: &str| {
        let tag =
            format!("<div class=\"picture {}\" role=\"img\" aria-label=\"{}\"></div>", class(&name), escape(text));
        pictures.insert(name);
        tag
    };
    let verdict = match answer.place {
        Some(1) => "the right listing is first".to_owned(),
        Some(place) => format!("the right listing has rank {place}"),
        None => "the right listing is not among the first five".to_owned(),
    };
    let attributes = answer.results.attributes.0.iter().filter(|a| a.label.is_some() && a.probability >= SURE);
    let mut card = format!(
        "<section>\n<figure class=\"query\">{}<figcaption>{}<br><small>{}</small></figcaption></figure>\n<ol>\n",
        picture(format!("queries/{}", answer.query.photo), "shopper's photo"),
        escape(&verdict),
        escape(&output::attributes(attributes)),
    );
    for found in &answer.results.listings {
        let listing = &found.listing;
        let title = listing.get("title").unwrap_or_default();
        let right = if listing.id == answer.query.listing_id { " class=\"right\"" } else { "" };
        let _ = writeln!(
            card,
            "<li{right}><figure>{}<figcaption>{}<br><b>{}</b> <small>{:.3}</small></figcaption></figure></li>",
            picture(format!("photos/{}", listing.photo), title),
            escape(title),
            escape(&output::price(listing)),
            found.score,
        );
    }
    card.push_str("</ol>\n</section>\n");
    card
}

/// Returns the CSS class of a picture: its name with all but ASCII letters and digits replaced by `_`.
fn class(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        assert_eq!(escape("<b> & \"x\""), "&lt;b&gt; &amp; &quot;x&quot;");
    }
}
