//! The options of a search.

/// Most listings that one search returns.
pub const MAX_K: usize = 10_000;

/// Limits the number of results in each group of listings that share a value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Per {
    /// The filter column to group by.
    pub column: String,
    /// Most listings of a group; listings without a value are not limited.
    pub most: usize,
}

/// How many listings a search returns, which conditions they meet, and how thorough it is.
///
/// ```
/// use magpie_index::search::SearchParams;
/// let params = SearchParams::new(20).with_recall(0.99).with_min_score(0.5);
/// assert_eq!(params.k, 20);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SearchParams {
    /// Number of listings to return, at most [`MAX_K`].
    pub k: usize,
    /// Share of the nearest photos that the search should find, 0 to 1. The builder has measured the probes and
    /// re-ranked photos that this takes; 1 scores every photo.
    pub recall: f32,
    /// Inverted lists to probe, overriding `recall`.
    pub probes: Option<usize>,
    /// Photos to re-rank by their byte codes, overriding `recall`.
    pub rerank: Option<usize>,
    /// Omits listings below this score; fewer than `k` may remain.
    pub min_score: Option<f32>,
    /// Omits a listing whose photo has at least this cosine to the photo of a better listing. 0.97 is about the same
    /// photo again.
    pub near_duplicates: Option<f32>,
    /// Limits the number of listings that share a value of a column.
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
    /// Returns the default options for `k` listings.
    pub fn new(k: usize) -> SearchParams {
        SearchParams { k, ..SearchParams::default() }
    }

    /// Sets [`SearchParams::recall`]: the share of the nearest photos to find, 0 to 1.
    #[must_use]
    pub fn with_recall(mut self, recall: f32) -> SearchParams {
        self.recall = recall;
        self
    }

    /// Sets the number of lists to probe and of photos to re-rank, overriding [`SearchParams::recall`].
    #[must_use]
    pub fn with_effort(mut self, probes: usize, rerank: usize) -> SearchParams {
        (self.probes, self.rerank) = (Some(probes), Some(rerank));
        self
    }

    /// Omits listings below this score.
    #[must_use]
    pub fn with_min_score(mut self, score: f32) -> SearchParams {
        self.min_score = Some(score);
        self
    }

    /// Omits a listing whose photo has at least this cosine to the photo of a better listing.
    #[must_use]
    pub fn without_near_duplicates(mut self, cosine: f32) -> SearchParams {
        self.near_duplicates = Some(cosine);
        self
    }

    /// Returns at most `most` listings for each value of a column.
    #[must_use]
    pub fn with_at_most_per(mut self, column: &str, most: usize) -> SearchParams {
        self.per = Some(Per { column: column.to_owned(), most });
        self
    }
}
