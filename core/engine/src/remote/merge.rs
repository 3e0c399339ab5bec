//! Merges local and remote listings into one ranking.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::Serialize;

use super::policy::Reason;
use super::reply::Ended;
use crate::listing::Found;
use crate::search::Per;

/// Who found a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The phone.
    Local,
    /// The server.
    Server,
    /// Both.
    Both,
}

/// A listing with its source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sourced {
    /// Its source.
    pub source: Source,
    /// The listing.
    #[serde(flatten)]
    pub found: Found,
}

/// The answer to a search, whether or not a server was asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Answer {
    /// Best first; ties in the order of listing ids.
    pub listings: Vec<Sourced>,
    /// Why the server was asked, or not.
    pub reason: Reason,
    /// How the exchange ended; `None` where the server was not asked.
    pub ended: Option<Ended>,
    /// The number of requests sent.
    pub sends: u32,
    /// Whether one of them was a hedged request.
    pub hedged: bool,
}

impl Answer {
    /// The answer where the server is not asked.
    pub fn local(local: Vec<Found>, reason: Reason) -> Answer {
        let listings = tagged(local, Source::Local).collect();
        Answer::new(listings, reason, None)
    }

    /// An answer without any requests sent, e.g. for a test of code that shows it.
    pub fn new(listings: Vec<Sourced>, reason: Reason, ended: Option<Ended>) -> Answer {
        Answer { listings, reason, ended, sends: 0, hedged: false }
    }
}

fn tagged(listings: Vec<Found>, source: Source) -> impl Iterator<Item = Sourced> {
    listings.into_iter().map(move |found| Sourced { source, found })
}

/// Returns the best `k` listings of both sides, by descending score, then listing id: the order of each side by itself. A
/// corrected listing of the phone stays first.
///
/// Scores on both sides are cosines to the same query and therefore comparable. A listing that both sides found appears
/// once, with the higher score and its photo; its fields are the server's, which are newer than the phone's. `per` is
/// applied to the merged ranking, by the fields of the listings. Near-duplicates between the two sides are not removed,
/// since that takes their vectors.
///
/// ```
/// use magpie_core::listing::{Found, Listing};
/// use magpie_core::remote::{Source, merge};
///
/// let found = |id: &str, score| {
///     let (photo, photos) = ("1.jpg".to_owned(), vec!["1.jpg".to_owned()]);
///     Found::new(score, Listing { id: id.to_owned(), photo, photos, fields: Vec::new() })
/// };
/// let merged = merge(vec![found("a", 0.8), found("b", 0.5)], vec![found("a", 0.8), found("c", 0.7)], 2, None);
/// let ranking: Vec<_> = merged.iter().map(|sourced| (sourced.found.listing.id.as_str(), sourced.source)).collect();
/// assert_eq!(ranking, [("a", Source::Both), ("c", Source::Server)]);
/// ```
pub fn merge(local: Vec<Found>, remote: Vec<Found>, k: usize, per: Option<&Per>) -> Vec<Sourced> {
    let mut merged: Vec<Sourced> = tagged(remote, Source::Server).collect();
    let places: HashMap<String, usize> =
        merged.iter().enumerate().map(|(at, sourced)| (sourced.found.listing.id.clone(), at)).collect();
    for sourced in tagged(local, Source::Local) {
        match places.get(&sourced.found.listing.id).and_then(|&at| merged.get_mut(at)) {
            Some(both) => {
                both.source = Source::Both;
                both.found.corrected = sourced.found.corrected;
                if sourced.found.score > both.found.score {
                    both.found.score = sourced.found.score;
                    both.found.listing.photo = sourced.found.listing.photo;
                }
            }
            None => merged.push(sourced),
        }
    }
    merged.sort_by(|a, b| rank(&a.found, &b.found));
    if let Some(per) = per {
        let mut counts: HashMap<String, usize> = HashMap::new();
        merged.retain(|sourced| {
            let Some(value) = sourced.found.listing.get(&per.column) else { return true };
            let count = counts.entry(value.to_owned()).or_default();
            *count += 1;
            *count <= per.most
        });
    }
    merged.truncate(k);
    merged
}

fn rank(a: &Found, b: &Found) -> Ordering {
    let by_score = || b.score.total_cmp(&a.score).then_with(|| a.listing.id.cmp(&b.listing.id));
    b.corrected.cmp(&a.corrected).then_with(by_score)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Listing;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn found(id: u8, score: f32, title: &str) -> Found {
        let fields = vec![("title".into(), title.to_owned())];
        let (id, photo) = (format!("{id:03}"), format!("{title}.jpg"));
        Found::new(score, Listing { id, photos: vec![photo.clone()], photo, fields })
    }

    fn side(title: &'static str) -> impl Strategy<Value = Vec<Found>> {
        // Few different scores, so that ties are frequent.
        prop::collection::btree_map(0u8..40, -10i8..10, 0..30).prop_map(move |scores| {
            let mut side: Vec<Found> =
                scores.into_iter().map(|(id, score)| found(id, f32::from(score) / 10.0, title)).collect();
            side.sort_by(rank);
            side
        })
    }

    fn ids(side: &[Found]) -> BTreeSet<&str> {
        side.iter().map(|found| found.listing.id.as_str()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(256)))]

        #[test]
        fn what_is_merged_is_the_best_of_both_once_each(local in side("local"), remote in side("server"), k in 0usize..50) {
            let merged = merge(local.clone(), remote.clone(), k, None);
            let all: BTreeSet<&str> = ids(&local).union(&ids(&remote)).copied().collect();
            prop_assert_eq!(merged.len(), k.min(all.len()));
            for pair in merged.windows(2) {
                prop_assert_eq!(rank(&pair[0].found, &pair[1].found), Ordering::Less);
            }
            let score = |side: &[Found], id: &str| side.iter().find(|f| f.listing.id == id).map(|f| f.score);
            for sourced in &merged {
                let id = sourced.found.listing.id.as_str();
                let (here, there) = (score(&local, id), score(&remote, id));
                let source = match (here, there) {
                    (Some(_), Some(_)) => Source::Both,
                    (Some(_), None) => Source::Local,
                    _ => Source::Server,
                };
                prop_assert_eq!(sourced.source, source);
                let best = here.unwrap_or(f32::MIN).max(there.unwrap_or(f32::MIN));
                prop_assert_eq!(sourced.found.score, best);
                let texts = if there.is_some() { "server" } else { "local" };
                prop_assert_eq!(sourced.found.listing.get("title"), Some(texts));
            }
            // Listings that were cut off rank after all that remain.
            if let Some(last) = merged.last() {
                let kept: BTreeSet<&str> = merged.iter().map(|s| s.found.listing.id.as_str()).collect();
                for left in local.iter().chain(&remote).filter(|f| !kept.contains(f.listing.id.as_str())) {
                    prop_assert_eq!(rank(&last.found, left), Ordering::Less);
                }
            }
        }

        #[test]
        fn merging_with_nothing_or_with_itself_changes_nothing(local in side("one")) {
            let plain = |merged: Vec<Sourced>| merged.into_iter().map(|s| s.found).collect::<Vec<_>>();
            prop_assert_eq!(&plain(merge(local.clone(), Vec::new(), 100, None)), &local);
            prop_assert_eq!(&plain(merge(Vec::new(), local.clone(), 100, None)), &local);
            prop_assert_eq!(&plain(merge(local.clone(), local.clone(), 100, None)), &local);
        }
    }

    #[test]
    fn a_corrected_listing_stays_first() {
        let corrected = |id| Found { corrected: true, ..found(id, 0.3, "local") };
        let remote = vec![found(4, 0.95, "server"), found(5, 0.6, "server")];
        for (id, source) in [(1, Source::Local), (5, Source::Both)] {
            let merged = merge(vec![corrected(id), found(2, 0.8, "local")], remote.clone(), 2, None);
            let ids: Vec<&str> = merged.iter().map(|sourced| sourced.found.listing.id.as_str()).collect();
            assert_eq!(ids, [format!("{id:03}").as_str(), "004"]);
            assert!(merged[0].found.corrected && merged[0].source == source && !merged[1].found.corrected);
        }
    }

    #[test]
    fn the_limit_per_value_applies_to_both_sides_together() {
        let local = vec![found(1, 0.9, "a"), found(2, 0.8, "b"), found(3, 0.7, "")];
        let remote = vec![found(4, 0.95, "a"), found(5, 0.6, "b"), found(6, 0.5, "")];
        let per = Per { column: "title".to_owned(), most: 1 };
        let merged = merge(local, remote, 10, Some(&per));
        let ids: Vec<&str> = merged.iter().map(|s| s.found.listing.id.as_str()).collect();
        assert_eq!(ids, ["004", "002", "003", "006"]);
    }
}
