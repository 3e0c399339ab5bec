//! The demo's page.

use std::time::Duration;

use magpie_core::engine::SearchResults;
use magpie_core::listing::Found;

use crate::failure::Result;
use crate::results_page::{self, Card, CardResult, Pictures, Section, escape};
use crate::{assets, output};

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

/// Renders the page.
pub(super) fn html(summary: &Summary, answers: &[DemoAnswer]) -> Result<String> {
    let mut pictures = Pictures::new();
    let cards = answers.iter().map(|answer| card(answer, &mut pictures)).collect::<Result<_>>()?;
    let stages = summary.stages.iter().map(|(name, time)| format!("{name} {}", output::ms(*time)));
    let introduction = format!(
        "<p>This machine searched a catalogue with {} shoppers’ photos. The catalogue has {} listings ({} photos, {}), \
         the model is {}. The right listing is first for <b>{:.0} %</b> of the photos and among the first five for \
         <b>{:.0} %</b>. All pictures are renders made by the project. Attributes are shown from a probability of \
         {:.0} %; the model never saw such goods, so take them as hints.</p>\n<p>Median times: {}.</p>\n",
        answers.len(),
        summary.listings,
        summary.photos,
        output::bytes(summary.shard_bytes),
        escape(&summary.model),
        100.0 * summary.hit_1,
        100.0 * summary.hit_5,
        100.0 * SURE,
        stages.collect::<Vec<_>>().join(", "),
    );
    let sections = [Section { heading: String::new(), cards }];
    Ok(results_page::html("Magpie demo", &introduction, &sections, &pictures))
}

/// One query with its results; adds its pictures to `pictures`.
fn card(answer: &DemoAnswer, pictures: &mut Pictures) -> Result<Card> {
    let mut picture = |name: String| -> Result<String> {
        let jpeg = assets::demo_picture(&name)?;
        pictures.entry(name.clone()).or_insert_with(|| jpeg.to_vec());
        Ok(name)
    };
    let verdict = match answer.place {
        Some(1) => "the right listing is first".to_owned(),
        Some(place) => format!("the right listing has rank {place}"),
        None => "the right listing is not among the first five".to_owned(),
    };
    let attributes = answer.results.attributes.0.iter().filter(|a| a.label.is_some() && a.probability >= SURE);
    let note = output::attributes(attributes);
    let photo = picture(format!("queries/{}", answer.query.photo))?;
    let result = |found: &Found| -> Result<CardResult> {
        let photo = picture(format!("photos/{}", found.listing.photo))?;
        Ok(CardResult::new(found, photo, found.listing.id == answer.query.listing_id))
    };
    let results = answer.results.listings.iter().map(result).collect::<Result<_>>()?;
    Ok(Card { photo, verdict, note, results })
}
