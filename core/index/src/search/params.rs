//! What a search is asked for.

/// Most listings that one search returns.
pub const MAX_K: usize = 10_000;

/// At most so many listings for each value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Per {
    /// A filter column of the shard.
    pub column: String,
    /// Listings for each of its values; listings without a value are not counted.
    pub most: usize,
}

/// How many listings, which of them, and how hard to look.
///
/// ```
/// use magpie_index::search::SearchParams;
/// let params = SearchParams::new(20).with_recall(0.99).with_min_score(0.5);
/// assert_eq!(params.k, 20);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SearchParams {
    /// Listings wanted, at most [`MAX_K`].
    pub k: usize,
    /// The share of the nearest photos that the search should find, 0 to 1. The builder measured what that takes; 1
    /// scores every photo.
    pub recall: f32,
    /// Lists to probe, whatever `recall` says.
    pub probes: Option<usize>,
    /// Photos to score again by their int8 codes, whatever `recall` says.
    pub rerank: Option<usize>,
    /// Listings below this score are left out; `k` then need not be reached.
    pub min_score: Option<f32>,
    /// A listing is left out where its photo is this close, as a cosine, to the photo of a better one. 0.97 is about
    /// the same photo again.
    pub near_duplicates: Option<f32>,
    /// At most so many listings for each value of a column.
    pub per: Option<Per>,
}

impl Default for SearchParams {
    fn default() -> Self {
        SearchParams {
            k: 10,
            recall: 0.98,
            probes: None,
            rerank: None,
            min_score: None,
            near_duplicates: None,
            per: None,
        }
    }
}

impl SearchParams {
    /// The defaults, with this many listings wanted.
    pub fn new(k: usize) -> SearchParams {
        SearchParams { k, ..SearchParams::default() }
    }

    /// Sets the share of the nearest photos that the search should find, 0 to 1.
    #[must_use]
    pub fn with_recall(mut self, recall: f32) -> SearchParams {
        self.recall = recall;
        self
    }

    /// Sets the number of lists to probe, and of photos to score again, instead of what `recall` takes.
    #[must_use]
    pub fn with_effort(mut self, probes: usize, rerank: usize) -> SearchParams {
        (self.probes, self.rerank) = (Some(probes), Some(rerank));
        self
    }

    /// Leaves out listings below this score.
    #[must_use]
    pub fn with_min_score(mut self, score: f32) -> SearchParams {
        self.min_score = Some(score);
        self
    }

    /// Leaves out a listing whose photo is this close, as a cosine, to the photo of a better one.
    #[must_use]
    pub fn without_near_duplicates(mut self, cosine: f32) -> SearchParams {
        self.near_duplicates = Some(cosine);
        self
    }

    /// Takes at most `most` listings for each value of a column.
    #[must_use]
    pub fn with_at_most_per(mut self, column: &str, most: usize) -> SearchParams {
        self.per = Some(Per { column: column.to_owned(), most });
        self
    }
}
