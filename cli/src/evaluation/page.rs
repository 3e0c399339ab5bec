//! The page of an evaluation: what went wrong, what nearly did, and what went right.

use magpie_core::engine::Engine;
use magpie_core::image::{DecodeLimits, decode};

use super::Outcome;
use super::figures::{Figures, verdict};
use crate::catalog::PhotoFolder;
use crate::output;
use crate::results_page::{self, Card, CardResult, Pictures, Section, escape};
use crate::thumbnail::thumbnail;

/// Photos of each section, evenly spread over those that there are, so that the page stays a few megabytes.
const MOST_CARDS: usize = 60;
/// Listings beside each photo.
const RESULTS: usize = 5;
/// Longer side of the shoppers' photos on the page, in pixels.
const PHOTO_SIDE: u32 = 192;

/// Renders the page. `category` is the column by which a wrong listing is a near miss.
pub(crate) fn html(
    engine: &Engine,
    photos: &PhotoFolder,
    outcomes: &[Outcome],
    figures: &Figures,
    category: Option<&str>,
) -> String {
    let near = |outcome: &&Outcome| {
        let wanted = category.and_then(|column| outcome.right.as_ref()?.get(column));
        let first = category.and_then(|column| outcome.found.first()?.listing.get(column));
        wanted.is_some() && wanted == first
    };
    let known: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.right.is_some()).collect();
    let (right, wrong): (Vec<&Outcome>, Vec<&Outcome>) = known.iter().partition(|outcome| outcome.rank == Some(1));
    let (near, far): (Vec<&Outcome>, Vec<&Outcome>) = wrong.into_iter().partition(near);
    let absent: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.right.is_none()).collect();
    let same = category.map_or_else(String::new, |column| format!(", of the right {column}"));
    let groups = [
        ("Another listing is first".to_owned(), far),
        (format!("Another listing is first{same}"), near),
        ("The catalogue does not have the listing".to_owned(), absent),
        ("The right listing is first".to_owned(), right),
    ];
    let mut pictures = Pictures::new();
    let mut sections = Vec::new();
    for (name, group) in groups.into_iter().filter(|(_, group)| !group.is_empty()) {
        let shown = MOST_CARDS.min(group.len());
        let picked = (0..shown).filter_map(|at| group.get(at * group.len() / shown));
        let cards = picked.map(|outcome| card(engine, photos, outcome, &mut pictures)).collect();
        let of = if shown < group.len() { format!("{shown} of {}", group.len()) } else { shown.to_string() };
        sections.push(Section { heading: format!("{name} ({of})"), cards });
    }
    let introduction = format!(
        "<p>{} shoppers’ photos, searched in <b>{}</b> with {}.</p>\n<pre>{}</pre>\n",
        figures.photos,
        escape(engine.catalog().name()),
        escape(&engine.model().manifest().name),
        escape(&figures.text(None)),
    );
    results_page::html("Magpie evaluation", &introduction, &sections, &pictures)
}

fn card(engine: &Engine, photos: &PhotoFolder, outcome: &Outcome, pictures: &mut Pictures) -> Card {
    let photo = format!("query/{}", outcome.query.photo);
    if !pictures.contains_key(&photo) {
        let recipe = &engine.model().manifest().input;
        let limits = DecodeLimits::default();
        let small = photos.read(&outcome.query.photo).ok().and_then(|bytes| {
            let decoded = decode(&bytes, None, recipe, &limits).ok()?;
            thumbnail(&decoded, &bytes, PHOTO_SIDE, recipe, &limits).ok()
        });
        small.map(|jpeg| pictures.insert(photo.clone(), jpeg));
    }
    let results = outcome.found.iter().take(RESULTS).map(|found| {
        let (id, name) = (&found.listing.id, &found.listing.photo);
        let picture = format!("listing/{id}/{name}");
        if !pictures.contains_key(&picture)
            && let Ok(Some(jpeg)) = engine.thumbnail(id, name)
        {
            pictures.insert(picture.clone(), jpeg.to_vec());
        }
        CardResult::new(found, picture, *id == outcome.query.listing_id)
    });
    let results = results.collect();
    let labels = output::attributes(outcome.attributes.0.iter().filter(|attribute| attribute.label.is_some()));
    let title = outcome.right.as_ref().map(results_page::title).unwrap_or_else(|| outcome.query.listing_id.clone());
    let note = if labels.is_empty() { title } else { format!("{title}; seen: {labels}") };
    Card { photo, verdict: verdict(outcome), note, results }
}
