//! The figures of an evaluation.

use std::collections::BTreeMap;

use magpie_core::listing::Listing;
use magpie_core::model::Manifest;
use serde::Serialize;

use super::probability::ConfidenceReport;
use super::{DEPTH, Outcome};
use crate::output;

/// The number of listings, other than the right one, that are compared with it.
const OTHERS: usize = 5;

/// What an evaluation measured. Shares are from 0 to 1.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    /// Photos that were searched with.
    pub(crate) photos: usize,
    /// Those whose listing the catalogue has. Only they count in the shares below.
    pub(crate) in_catalogue: usize,
    #[serde(flatten)]
    pub(crate) hits: Hits,
    /// The 95 % interval of `hit_at_1` (Wilson's), for photos that are independent of each other.
    pub(crate) hit_at_1_interval: (f64, f64),
    /// The mean of 1 / rank of the right listing; 0 where it is beyond the first hundred.
    pub(crate) mean_reciprocal_rank: f64,
    /// For each compared column, the share of the five best other listings that have the right listing's value.
    pub(crate) others_share: BTreeMap<String, f64>,
    pub(crate) confidence: Option<ConfidenceReport>,
    pub(crate) attributes: Vec<AttributeFigures>,
    /// The hits for each value of the column that the user named.
    pub(crate) groups: Vec<Group>,
}

/// How often the right listing is among the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Hits {
    pub(crate) hit_at_1: f64,
    pub(crate) hit_at_5: f64,
    pub(crate) hit_at_10: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) value: String,
    pub(crate) photos: usize,
    #[serde(flatten)]
    pub(crate) hits: Hits,
}

/// How far the labels of an attribute head agree with the catalogue's column of the same name.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct AttributeFigures {
    pub(crate) name: String,
    /// Photos whose listing has a value in that column that is one of the head's labels.
    pub(crate) photos: usize,
    /// Photos whose listing has another value there, which the head cannot name.
    pub(crate) other_values: usize,
    /// Share of `photos` for which the head gives a label; `None` without photos.
    pub(crate) said: Option<f64>,
    /// Share of those labels that are the listing's value; `None` if none is given.
    pub(crate) right_where_said: Option<f64>,
}

/// What to report in addition to the hits.
pub(crate) struct Wishes<'a> {
    /// Columns in which other listings are compared with the right one.
    pub(crate) same: &'a [String],
    /// The group of a photo.
    pub(crate) group: Option<&'a dyn Fn(&Outcome) -> String>,
}

impl Figures {
    pub(crate) fn of(outcomes: &[Outcome], manifest: &Manifest, wishes: &Wishes<'_>) -> Figures {
        let present: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.right.is_some()).collect();
        let reciprocal = |outcome: &&Outcome| outcome.rank.map_or(0.0, |rank| 1.0 / rank as f64);
        let hits = Hits::of(&present);
        let mut groups: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
        if let Some(group) = wishes.group {
            present.iter().for_each(|outcome| groups.entry(group(outcome)).or_default().push(outcome));
        }
        Figures {
            photos: outcomes.len(),
            in_catalogue: present.len(),
            hits,
            hit_at_1_interval: wilson(hits.hit_at_1, present.len()),
            mean_reciprocal_rank: mean(present.iter().map(reciprocal)),
            others_share: wishes.same.iter().map(|column| (column.clone(), others_share(&present, column))).collect(),
            confidence: manifest.confidence.as_ref().and_then(|found| ConfidenceReport::of(outcomes, found)),
            attributes: manifest
                .heads
                .iter()
                .filter_map(|h| AttributeFigures::of(&present, &h.name, &h.labels))
                .collect(),
            groups: groups
                .into_iter()
                .map(|(value, group)| Group { value, photos: group.len(), hits: Hits::of(&group) })
                .collect(),
        }
    }

    /// Formats the figures for reading.
    pub(crate) fn text(&self, by: Option<&str>) -> String {
        let Hits { hit_at_1, hit_at_5, hit_at_10 } = self.hits;
        let (low, high) = self.hit_at_1_interval;
        let mut text = format!(
            "right listing: first {} ({} to {} with 95 % confidence), in five {}, in ten {}\n\
             mean reciprocal rank {:.3}\n",
            percent(hit_at_1),
            percent(low),
            percent(high),
            percent(hit_at_5),
            percent(hit_at_10),
            self.mean_reciprocal_rank
        );
        if self.in_catalogue < self.photos {
            let missing = self.photos - self.in_catalogue;
            text.push_str(&format!("{missing} of the photos show a listing that the catalogue does not have\n"));
        }
        if !self.others_share.is_empty() {
            let shares = self.others_share.iter().map(|(column, share)| format!("{column} {}", percent(*share)));
            let shares = shares.collect::<Vec<_>>().join(", ");
            text.push_str(&format!("the five best other listings have the same value as the right one: {shares}\n"));
        }
        if let Some(by) = by {
            let row = |group: &Group| {
                let hits = [group.hits.hit_at_1, group.hits.hit_at_5, group.hits.hit_at_10].map(percent);
                [vec![group.value.clone(), group.photos.to_string()], hits.to_vec()].concat()
            };
            let rows: Vec<_> = self.groups.iter().map(row).collect();
            text.push_str(&format!("\n{}", output::table(&[by, ">photos", ">first", ">in five", ">in ten"], &rows)));
        }
        if !self.attributes.is_empty() {
            let row = |found: &AttributeFigures| {
                let AttributeFigures { name, photos, other_values, .. } = found;
                let shares = [found.said, found.right_where_said];
                let shares = shares.map(|share| share.map_or_else(|| "-".to_owned(), percent));
                [vec![name.clone(), photos.to_string()], shares.to_vec(), vec![other_values.to_string()]].concat()
            };
            let rows: Vec<_> = self.attributes.iter().map(row).collect();
            let header = ["attribute", ">photos", ">label given", ">right where given", ">of a value without label"];
            text.push_str(&format!("\n{}", output::table(&header, &rows)));
        }
        if let Some(confidence) = &self.confidence {
            text.push_str(&format!("\n{}", confidence.text()));
        }
        text
    }
}

impl Hits {
    fn of(outcomes: &[&Outcome]) -> Hits {
        let share = |within: usize| {
            mean(outcomes.iter().map(|outcome| f64::from(u8::from(outcome.rank.is_some_and(|rank| rank <= within)))))
        };
        Hits { hit_at_1: share(1), hit_at_5: share(5), hit_at_10: share(10) }
    }
}

impl AttributeFigures {
    /// `None` if no listing has a value in the column.
    fn of(outcomes: &[&Outcome], name: &str, labels: &[String]) -> Option<AttributeFigures> {
        let (mut photos, mut other_values, mut said, mut right) = (0, 0, 0, 0);
        for outcome in outcomes {
            let Some(value) = outcome.right.as_ref().and_then(|listing| listing.get(name)) else { continue };
            if !labels.iter().any(|label| same(label, value)) {
                other_values += 1;
                continue;
            }
            photos += 1;
            if let Some(label) = outcome.attributes.get(name).and_then(|found| found.label.as_ref()) {
                said += 1;
                right += usize::from(same(label, value));
            }
        }
        let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
        let (said, right_where_said) = (share(said, photos), share(right, said));
        (photos + other_values > 0).then(|| AttributeFigures {
            name: name.to_owned(),
            photos,
            other_values,
            said,
            right_where_said,
        })
    }
}

/// The share of the best other listings that have the right listing's value in a column, over the listings that have
/// one.
fn others_share(outcomes: &[&Outcome], column: &str) -> f64 {
    let mut shares = Vec::new();
    for outcome in outcomes {
        let Some(value) = outcome.right.as_ref().and_then(|listing| listing.get(column)) else { continue };
        let agrees =
            |listing: &Listing| f64::from(u8::from(listing.get(column).is_some_and(|other| same(other, value))));
        let others: Vec<f64> = outcome.others(OTHERS).map(agrees).collect();
        if !others.is_empty() {
            shares.push(mean(others.into_iter()));
        }
    }
    mean(shares.into_iter())
}

fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1);
    values.sum::<f64>() / count as f64
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Wilson's 95 % interval of a share of `count` trials; 0 to 1 without trials.
fn wilson(share: f64, count: usize) -> (f64, f64) {
    if count == 0 {
        return (0.0, 1.0);
    }
    // The 97.5 % quantile of the normal distribution.
    let (n, z) = (count as f64, 1.959_964);
    let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / (1.0 + z * z / n);
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// Why a photo is wrong or how far down its listing is, for the page and for people.
pub(crate) fn verdict(outcome: &Outcome) -> String {
    match (outcome.rank, &outcome.right) {
        (Some(1), _) => "the right listing is first".to_owned(),
        (Some(rank), _) => format!("the right listing has rank {rank}"),
        (None, Some(_)) => format!("the right listing is not among the first {DEPTH}"),
        (None, None) => "the catalogue does not have this listing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CatalogRow;
    use magpie_core::attributes::{Attribute, Attributes};
    use magpie_core::listing::Found;

    fn listing(id: &str, colour: &str) -> Listing {
        let fields = vec![("colour".into(), colour.to_owned())];
        Listing { id: id.to_owned(), photo: String::new(), photos: Vec::new(), fields }
    }

    fn outcome(id: &str, found: &[(&str, &str)], known: bool, said: Option<&str>) -> Outcome {
        let colour = found.iter().find(|(other, _)| *other == id).map_or("red", |(_, colour)| colour);
        let row = |(at, (id, colour)): (usize, &(&str, &str))| Found::new(0.9 - at as f32 / 10.0, listing(id, colour));
        let query = CatalogRow { line: 1, listing_id: id.to_owned(), photo: "a.jpg".to_owned(), values: Vec::new() };
        let attribute = Attribute { name: "colour".to_owned(), label: said.map(str::to_owned), probability: 0.9 };
        Outcome {
            rank: found.iter().position(|(other, _)| *other == id).map(|at| at + 1),
            found: found.iter().enumerate().map(row).collect(),
            right: known.then(|| listing(id, colour)),
            attributes: Attributes(vec![attribute]),
            query,
        }
    }

    #[test]
    fn figures_count_only_photos_whose_listing_the_catalogue_has() {
        let outcomes = [
            outcome("a", &[("a", "Red"), ("b", "red"), ("c", "blue")], true, Some("red")),
            outcome("b", &[("a", "red"), ("b", "red"), ("c", "blue")], true, Some("blue")),
            outcome("gone", &[("a", "red")], false, None),
        ];
        let mut manifest: Manifest =
            serde_json::from_slice(&crate::assets::manifest(None).expect("the embedded pack")).expect("a manifest");
        manifest.heads.retain(|head| head.name == "colour");
        let group = |outcome: &Outcome| outcome.query.listing_id.clone();
        let wishes = Wishes { same: &["colour".to_owned(), "none".to_owned()], group: Some(&group) };
        let figures = Figures::of(&outcomes, &manifest, &wishes);
        assert_eq!((figures.photos, figures.in_catalogue), (3, 2));
        assert_eq!(figures.hits, Hits { hit_at_1: 0.5, hit_at_5: 1.0, hit_at_10: 1.0 });
        assert_eq!(figures.mean_reciprocal_rank, 0.75);
        assert_eq!(figures.others_share["colour"], 0.5);
        assert_eq!(figures.others_share["none"], 0.0);
        let colour = &figures.attributes[0];
        assert_eq!((colour.photos, colour.other_values), (2, 0));
        assert_eq!((colour.said, colour.right_where_said), (Some(1.0), Some(0.5)));
        assert_eq!(figures.groups.len(), 2);
        assert_eq!((figures.groups[0].value.as_str(), figures.groups[0].hits.hit_at_1), ("a", 1.0));
        let text = figures.text(Some("listing"));
        assert!(text.contains("first 50.0 %") && text.contains("1 of the photos show a listing"), "{text}");
    }

    #[test]
    fn the_interval_is_wilsons() {
        let (low, high) = wilson(0.9, 100);
        // Brown, Cai and DasGupta (2001) give 0.826 to 0.945 for 90 of 100.
        assert!((low - 0.8256).abs() < 1e-3 && (high - 0.9448).abs() < 1e-3, "{low} {high}");
        assert_eq!(wilson(1.0, 0), (0.0, 1.0));
        assert!(wilson(1.0, 10).1 <= 1.0);
    }
}
