//! A list of results that does not flicker.

use std::collections::{BTreeMap, BTreeSet};

/// How strongly a list resists changes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SteadySettings {
    /// Length of the list.
    pub size: usize,
    /// A listing moves above another at once if its score is higher by more than this.
    pub margin: f32,
    /// With a smaller lead, it has to be ahead in this many consecutive searches.
    pub wins: u32,
    /// A listing that is not found any more stays in the list for this many searches.
    pub stay: u32,
}

impl Default for SteadySettings {
    fn default() -> Self {
        SteadySettings { size: 10, margin: 0.03, wins: 3, stay: 2 }
    }
}

impl SteadySettings {
    /// Sets the length of the list.
    #[must_use]
    pub fn with_size(mut self, size: usize) -> SteadySettings {
        self.size = size;
        self
    }

    /// Sets the lead in score by which a listing moves above another at once.
    #[must_use]
    pub fn with_margin(mut self, margin: f32) -> SteadySettings {
        self.margin = margin;
        self
    }

    /// Sets in how many consecutive searches a listing has to be ahead with a smaller lead.
    #[must_use]
    pub fn with_wins(mut self, wins: u32) -> SteadySettings {
        self.wins = wins;
        self
    }

    /// Sets for how many searches a listing that is not found any more stays in the list.
    #[must_use]
    pub fn with_stay(mut self, stay: u32) -> SteadySettings {
        self.stay = stay;
        self
    }
}

/// A listing on the list, with its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The listing's id.
    pub id: String,
    /// The score in the last search that found it.
    pub score: f32,
}

/// A list that follows the results of successive searches without flickering.
///
/// For each search:
///
/// 1. Results beyond twice the list's length, scores that are not finite, and repeated ids are dropped. If the first
///    listing shown is not among the results, and at most half of the others are, the camera shows something else: the
///    list starts from scratch.
/// 2. Listings get their score in this search. A listing that was not found keeps its score, and is removed after more
///    than `stay` consecutive searches without it.
/// 3. New listings are appended, ordered by score, then id.
/// 4. From the top, each listing moves up past those above it while its score is higher by more than `margin`, or has
///    been higher in the last `wins` searches including this one. Listings that are not shown take part in this.
///
/// A first result whose score is lower than another's is one that the user has corrected. It counts as ahead of all by
/// more than `margin`, and does so for `stay` more searches.
///
/// The list shows the first `size` listings. The same results give the same lists.
///
/// ```
/// use magpie_image::live::{Steady, SteadySettings};
///
/// let mut steady = Steady::new(SteadySettings::default().with_margin(0.03));
/// steady.update([("mug", 0.80), ("bowl", 0.79)]);
/// // The bowl is ahead by too little to move up at once.
/// assert_eq!(steady.update([("bowl", 0.81), ("mug", 0.80)])[0].id, "mug");
/// assert_eq!(steady.update([("bowl", 0.90), ("mug", 0.80)])[0].id, "bowl");
/// ```
#[derive(Debug, Clone)]
pub struct Steady {
    settings: SteadySettings,
    entries: Vec<Entry>,
    /// For how many consecutive searches a listing (first) has been ahead of one that stands above it (second).
    ahead: BTreeMap<(String, String), u32>,
}

#[derive(Debug, Clone)]
struct Entry {
    id: String,
    score: f32,
    /// Searches since it was last found.
    missed: u32,
    /// Searches for which it still counts as corrected.
    corrected: u32,
}

impl Entry {
    /// What decides its place: the score, above all cosines where the user has corrected it.
    fn rank(&self) -> f32 {
        if self.corrected > 0 { self.score + CORRECTED } else { self.score }
    }
}

/// More than the difference of two cosines.
const CORRECTED: f32 = 3.0;

impl Steady {
    /// An empty list.
    pub fn new(settings: SteadySettings) -> Steady {
        Steady { settings, entries: Vec::new(), ahead: BTreeMap::new() }
    }

    /// Takes the results of a search as ids and scores, best first, and returns the list to show.
    pub fn update<'a>(&mut self, results: impl IntoIterator<Item = (&'a str, f32)>) -> Vec<Ranked> {
        let most = self.settings.size.saturating_mul(2);
        let mut found = BTreeMap::new();
        let mut first: Option<(&str, f32)> = None;
        let mut is_corrected = false;
        for (id, score) in results.into_iter().filter(|(_, score)| score.is_finite()).take(most) {
            found.entry(id).or_insert(score);
            is_corrected |= first.get_or_insert((id, score)).1 < score;
        }
        let corrected = first.map(|(id, _)| id).filter(|_| is_corrected);
        let stay = self.settings.stay;
        let still = |id: &str, before: u32| match corrected {
            Some(first) if first == id => stay.saturating_add(1),
            // One at a time.
            Some(_) => 0,
            None => before.saturating_sub(1),
        };
        if !found.is_empty() && self.is_elsewhere(|id| found.contains_key(id)) {
            self.clear();
        }
        for entry in &mut self.entries {
            entry.corrected = still(&entry.id, entry.corrected);
            match found.remove(entry.id.as_str()) {
                Some(score) => (entry.score, entry.missed) = (score, 0),
                None => entry.missed = entry.missed.saturating_add(1),
            }
        }
        self.entries.retain(|entry| entry.missed <= self.settings.stay);
        let entry = |(id, score): (&str, f32)| Entry { id: id.to_owned(), score, missed: 0, corrected: still(id, 0) };
        let mut new: Vec<Entry> = found.into_iter().map(entry).collect();
        // The map gave them in the order of their ids, and the sort is stable.
        new.sort_by(|a, b| b.rank().total_cmp(&a.rank()));
        self.entries.append(&mut new);
        self.count();
        self.order();
        self.forget();
        self.entries.iter().take(self.settings.size).map(|e| Ranked { id: e.id.clone(), score: e.score }).collect()
    }

    /// Empties the list, for example because the user points the camera at something else.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.ahead.clear();
    }

    /// Whether the results are of another thing than the list shows. A few listings may resemble both.
    fn is_elsewhere(&self, is_found: impl Fn(&str) -> bool) -> bool {
        let shown = &self.entries[..self.entries.len().min(self.settings.size)];
        let Some((first, others)) = shown.split_first() else { return false };
        let again = others.iter().filter(|entry| is_found(&entry.id)).count();
        !is_found(&first.id) && 2 * again <= others.len()
    }

    /// Counts for each pair in how many consecutive searches the lower listing has been ahead of the upper one.
    fn count(&mut self) {
        let before = std::mem::take(&mut self.ahead);
        for (place, lower) in self.entries.iter().enumerate() {
            for upper in self.entries[..place].iter().filter(|upper| lower.rank() > upper.rank()) {
                let pair = (lower.id.clone(), upper.id.clone());
                let wins = before.get(&pair).copied().unwrap_or(0).saturating_add(1);
                self.ahead.insert(pair, wins);
            }
        }
    }

    /// Moves listings up past those that they may pass.
    fn order(&mut self) {
        for start in 1..self.entries.len() {
            let mut place = start;
            while place > 0 && self.passes(&self.entries[place], &self.entries[place - 1]) {
                self.entries.swap(place, place - 1);
                place -= 1;
            }
        }
    }

    /// Whether the lower listing may move above the upper one.
    fn passes(&self, lower: &Entry, upper: &Entry) -> bool {
        let won = || self.ahead.get(&(lower.id.clone(), upper.id.clone())).copied().unwrap_or(0);
        let lead = lower.rank() - upper.rank();
        lead > 0.0 && (lead > self.settings.margin || won() >= self.settings.wins)
    }

    /// Drops listings and counts beyond twice the list's length, so that memory is bounded.
    fn forget(&mut self) {
        self.entries.truncate(self.settings.size.saturating_mul(2));
        let known: BTreeSet<&str> = self.entries.iter().map(|entry| entry.id.as_str()).collect();
        self.ahead.retain(|(lower, upper), _| known.contains(lower.as_str()) && known.contains(upper.as_str()));
    }
}
