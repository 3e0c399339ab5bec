//! Results that do not flicker.

use std::collections::{BTreeMap, BTreeSet};

/// How firmly a list holds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SteadySettings {
    /// Length of the list.
    pub size: usize,
    /// A listing passes the one above it at once if its score is higher by more than this.
    pub margin: f32,
    /// With less, it has to be ahead in this many searches in a row.
    pub wins: u32,
    /// A listing that a search does not find keeps its place for this many searches.
    pub stay: u32,
}

impl Default for SteadySettings {
    fn default() -> Self {
        SteadySettings { size: 10, margin: 0.03, wins: 3, stay: 2 }
    }
}

/// A listing in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The listing's id.
    pub id: String,
    /// The score of the last search that found it.
    pub score: f32,
}

/// A list that follows the results of one search after another without flickering.
///
/// With each search:
///
/// 1. Results beyond twice the list's length, scores that are no numbers, and an id's second result are left out. If
///    the first listing on show is not among the results, and no more than half of the others are, the camera looks at
///    something else: the list starts anew.
/// 2. Scores are those of this search. A listing that it did not find keeps its score, and goes after more than `stay`
///    searches in a row without it.
/// 3. New listings line up at the end, by score, then id.
/// 4. From the top, each listing moves up past those above it while it is ahead of them by more than `margin`, or has
///    been ahead of them in the last `wins` searches, this one included. Listings not on show take part in this.
///
/// The list is the first `size`. The same results give the same lists.
#[derive(Debug, Clone)]
pub struct Steady {
    settings: SteadySettings,
    entries: Vec<Entry>,
    /// For how many searches in a row a listing has been ahead of one that stands above it: (it, the other).
    ahead: BTreeMap<(String, String), u32>,
}

#[derive(Debug, Clone)]
struct Entry {
    id: String,
    score: f32,
    /// Searches since it was found.
    missed: u32,
}

impl Steady {
    /// An empty list.
    pub fn new(settings: SteadySettings) -> Steady {
        Steady { settings, entries: Vec::new(), ahead: BTreeMap::new() }
    }

    /// Takes the results of a search, best first, as ids and scores, and gives the list to show.
    pub fn update<'a>(&mut self, results: impl IntoIterator<Item = (&'a str, f32)>) -> Vec<Ranked> {
        let most = self.settings.size.saturating_mul(2);
        let mut found = BTreeMap::new();
        for (id, score) in results.into_iter().filter(|(_, score)| score.is_finite()).take(most) {
            found.entry(id).or_insert(score);
        }
        if !found.is_empty() && self.is_elsewhere(|id| found.contains_key(id)) {
            self.clear();
        }
        for entry in &mut self.entries {
            match found.remove(entry.id.as_str()) {
                Some(score) => (entry.score, entry.missed) = (score, 0),
                None => entry.missed = entry.missed.saturating_add(1),
            }
        }
        self.entries.retain(|entry| entry.missed <= self.settings.stay);
        let mut new: Vec<Entry> =
            found.into_iter().map(|(id, score)| Entry { id: id.to_owned(), score, missed: 0 }).collect();
        // Ids are in order already, and the sort keeps it.
        new.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.entries.append(&mut new);
        self.count();
        self.order();
        self.forget();
        self.entries.iter().take(self.settings.size).map(|e| Ranked { id: e.id.clone(), score: e.score }).collect()
    }

    /// Empties the list: the user has turned to something else.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.ahead.clear();
    }

    /// Whether what was found is something else than what is on show. A few listings may be like both.
    fn is_elsewhere(&self, is_found: impl Fn(&str) -> bool) -> bool {
        let shown = &self.entries[..self.entries.len().min(self.settings.size)];
        let Some((first, others)) = shown.split_first() else { return false };
        let again = others.iter().filter(|entry| is_found(&entry.id)).count();
        !is_found(&first.id) && 2 * again <= others.len()
    }

    /// Who is ahead of whom above it, and for how long.
    fn count(&mut self) {
        let before = std::mem::take(&mut self.ahead);
        for (place, lower) in self.entries.iter().enumerate() {
            for upper in self.entries[..place].iter().filter(|upper| lower.score > upper.score) {
                let pair = (lower.id.clone(), upper.id.clone());
                let wins = before.get(&pair).copied().unwrap_or(0).saturating_add(1);
                self.ahead.insert(pair, wins);
            }
        }
    }

    fn order(&mut self) {
        for start in 1..self.entries.len() {
            let mut place = start;
            while place > 0 && self.passes(&self.entries[place], &self.entries[place - 1]) {
                self.entries.swap(place, place - 1);
                place -= 1;
            }
        }
    }

    fn passes(&self, lower: &Entry, upper: &Entry) -> bool {
        let won = || self.ahead.get(&(lower.id.clone(), upper.id.clone())).copied().unwrap_or(0);
        lower.score > upper.score && (lower.score - upper.score > self.settings.margin || won() >= self.settings.wins)
    }

    /// Keeps what can still come up, so that the list's memory has a bound.
    fn forget(&mut self) {
        self.entries.truncate(self.settings.size.saturating_mul(2));
        let known: BTreeSet<&str> = self.entries.iter().map(|entry| entry.id.as_str()).collect();
        self.ahead.retain(|(lower, upper), _| known.contains(lower.as_str()) && known.contains(upper.as_str()));
    }
}
