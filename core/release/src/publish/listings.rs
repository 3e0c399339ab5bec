//! What was published, and what has changed since.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::hash::Digest;
use crate::manifest::FileEntry;

/// The listings of a catalogue: id, and a hash over all that a shard holds of it.
pub type Listings = BTreeMap<String, Digest>;

/// When a new base is better than one more delta.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Most listings that deltas hold or remove, as a share of the catalogue's.
    pub share: f64,
    /// Most deltas.
    pub deltas: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { share: 0.15, deltas: 8 }
    }
}

/// What a publisher remembers of the release that it published last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Publication {
    /// Hash over whatever all parts have to agree in: columns, filters, thumbnails, model.
    pub settings: Option<Digest>,
    /// Columns that searches can filter by.
    pub filters: Vec<String>,
    /// Of those, the columns that hold words.
    pub words: Vec<String>,
    /// The base, then the deltas.
    pub parts: Vec<PublishedPart>,
}

/// A part of a release, as its publisher remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PublishedPart {
    /// The shard.
    pub shard: Option<FileEntry>,
    /// The listings in it.
    pub listings: Listings,
    /// The file with the ids that it removes.
    pub removed_file: Option<FileEntry>,
    /// The ids that it removes.
    pub removed: BTreeSet<String>,
}

/// What to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The same files again, with a new date.
    Nothing,
    /// A delta after the first `parts` parts.
    Delta {
        /// Number of parts that stay.
        parts: usize,
        /// New and changed listings.
        listings: BTreeSet<String>,
        /// Listings that are gone.
        removed: BTreeSet<String>,
    },
    /// All listings.
    Base,
}

impl Publication {
    /// The listings that a search over the first `parts` parts finds.
    fn live(&self, parts: usize) -> BTreeMap<&str, Digest> {
        let mut live = BTreeMap::new();
        for part in self.parts.iter().take(parts) {
            part.removed.iter().for_each(|id| {
                live.remove(id.as_str());
            });
            live.extend(part.listings.iter().map(|(id, hash)| (id.as_str(), *hash)));
        }
        live
    }

    /// Decides what to publish so that phones have the listings of `now`. `compact` merges all deltas into one.
    pub fn change(&self, settings: Digest, now: &Listings, limits: &Limits, compact: bool) -> Change {
        if self.parts.is_empty() || self.settings != Some(settings) {
            return Change::Base;
        }
        let all = self.parts.len();
        let parts = if compact && all > 2 { 1 } else { all };
        let live = self.live(parts);
        let is_new = |(id, hash): &(&String, &Digest)| live.get(id.as_str()) != Some(*hash);
        let listings: BTreeSet<String> = now.iter().filter(is_new).map(|(id, _)| id.clone()).collect();
        let is_gone = |id: &&&str| !now.contains_key(**id);
        let removed: BTreeSet<String> = live.keys().filter(is_gone).map(|id| (*id).to_owned()).collect();
        if listings.is_empty() && removed.is_empty() {
            // With nothing left of the deltas, the base alone says it.
            return if parts == all { Change::Nothing } else { Change::Delta { parts, listings, removed } };
        }
        let held = |part: &PublishedPart| part.listings.len() + part.removed.len();
        let held = self.parts[1..parts].iter().map(held).sum::<usize>() + listings.len() + removed.len();
        match parts > limits.deltas || held as f64 > limits.share * now.len() as f64 {
            true => Change::Base,
            false => Change::Delta { parts, listings, removed },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Digest = Digest([1; 32]);

    fn listings(ids: &[(&str, u8)]) -> Listings {
        ids.iter().map(|(id, version)| ((*id).to_owned(), Digest([*version; 32]))).collect()
    }

    fn part(ids: &[(&str, u8)], removed: &[&str]) -> PublishedPart {
        let removed = removed.iter().map(|id| (*id).to_owned()).collect();
        PublishedPart { listings: listings(ids), removed, ..PublishedPart::default() }
    }

    fn published(parts: Vec<PublishedPart>) -> Publication {
        Publication { settings: Some(SETTINGS), parts, ..Publication::default() }
    }

    fn delta(parts: usize, changed: &[&str], gone: &[&str]) -> Change {
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Change::Delta { parts, listings: set(changed), removed: set(gone) }
    }

    #[test]
    fn new_changed_and_removed_listings_are_found() {
        let all = Limits { share: 9.0, deltas: 8 };
        let base = published(vec![part(&[("a", 1), ("b", 1), ("c", 1)], &[])]);
        let change = |of: &Publication, now: &[(&str, u8)]| of.change(SETTINGS, &listings(now), &all, false);
        assert_eq!(change(&base, &[("a", 1), ("b", 1), ("c", 1)]), Change::Nothing);
        assert_eq!(change(&base, &[("a", 2), ("b", 1), ("d", 1)]), delta(1, &["a", "d"], &["c"]));
        // What a delta removed may come back, and what it changed may be as before.
        let more = published(vec![base.parts[0].clone(), part(&[("a", 2), ("d", 1)], &["c"])]);
        assert_eq!(change(&more, &[("a", 2), ("b", 1), ("d", 1)]), Change::Nothing);
        assert_eq!(change(&more, &[("a", 1), ("b", 1), ("c", 1)]), delta(2, &["a", "c"], &["d"]));
    }

    #[test]
    fn a_new_base_comes_with_other_settings_many_changes_or_many_deltas() {
        let ids: Vec<String> = (0..100).map(|i| format!("m{i}")).collect();
        let with = |changed: usize| -> Vec<(&str, u8)> {
            ids.iter().enumerate().map(|(at, id)| (id.as_str(), u8::from(at < changed))).collect()
        };
        let limits = Limits::default();
        let base = published(vec![part(&with(0), &[])]);
        let change = |of: &Publication, changed: usize| of.change(SETTINGS, &listings(&with(changed)), &limits, false);
        assert!(matches!(change(&base, 15), Change::Delta { .. }));
        assert_eq!(change(&base, 16), Change::Base);
        assert_eq!(base.change(Digest([2; 32]), &listings(&with(0)), &limits, false), Change::Base);
        assert_eq!(Publication::default().change(SETTINGS, &listings(&with(0)), &limits, false), Change::Base);
        let mut parts = vec![base.parts[0].clone()];
        parts.extend((0..8).map(|_| part(&[("m0", 1)], &[])));
        assert_eq!(change(&published(parts.clone()), 2), Change::Base);
        parts.pop();
        assert!(matches!(change(&published(parts), 2), Change::Delta { parts: 8, .. }));
    }

    #[test]
    fn compacting_makes_one_delta_of_all() {
        let limits = Limits { share: 9.0, deltas: 8 };
        let three =
            published(vec![part(&[("a", 1), ("b", 1)], &[]), part(&[("a", 2)], &[]), part(&[("c", 1)], &["b"])]);
        let now = listings(&[("a", 2), ("c", 1)]);
        assert_eq!(three.change(SETTINGS, &now, &limits, true), delta(1, &["a", "c"], &["b"]));
        assert_eq!(three.change(SETTINGS, &now, &limits, false), Change::Nothing);
        let two = published(three.parts[..2].to_vec());
        assert_eq!(two.change(SETTINGS, &listings(&[("a", 2), ("b", 1)]), &limits, true), Change::Nothing);
    }
}
