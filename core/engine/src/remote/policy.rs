//! Decides whether to ask a server.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// The phone's network connection, as reported by the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connectivity {
    /// No network.
    Offline,
    /// A network that charges by volume.
    Metered,
    /// Any other network.
    Unmetered,
}

/// The user's setting: when a server may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Setting {
    /// Whenever it may improve the results.
    #[default]
    WhenUseful,
    /// As `WhenUseful`, but not on metered networks.
    UnmeteredOnly,
    /// Never.
    Never,
}

impl Setting {
    /// Returns why no server is asked on this network, whatever the phone finds; `None` where one may be asked.
    pub fn forbids(self, connectivity: Connectivity) -> Option<Reason> {
        match (self, connectivity) {
            (Setting::Never, _) | (Setting::UnmeteredOnly, Connectivity::Metered) => Some(Reason::NotAllowed),
            (_, Connectivity::Offline) => Some(Reason::Offline),
            _ => None,
        }
    }
}

/// How good the first local listing is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Judgement {
    /// The calibrated probability that the first listing is right, 0 to 1.
    Confidence(f32),
    /// Without a calibration: the first listing's cosine to the photo, -1 to 1.
    Score(f32),
    /// The user has named it for a photo like this one.
    Corrected,
}

/// Everything that the decision depends on, except the thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct Situation {
    /// The network connection.
    pub connectivity: Connectivity,
    /// The user's setting.
    pub setting: Setting,
    /// Whether the server's circuit breaker is open ([`Origin::resting`](super::Origin::resting)).
    pub resting: bool,
    /// The time left until the deadline.
    pub time_left: Duration,
    /// The number of listings requested.
    pub wanted: usize,
    /// The number of listings that the phone found.
    pub found: usize,
    /// Whether the filter names columns that the phone's shard does not have.
    pub filter_unknown: bool,
    /// The share of the full catalogue's listings in the photo's category that the phone has, 0 to 1; `None` if
    /// unknown.
    pub coverage: Option<f32>,
    /// How good the first listing is; `None` if nothing was found.
    pub judgement: Option<Judgement>,
}

/// The thresholds of the decision: when local results are good enough.
///
/// The default scores were measured with the default pack, on 227 validation photos of shoppers against 61 products: a
/// first listing with a score of at least 0.70 was right in 93 % of cases (0.65: 89 %), and 9 % of photos whose product
/// had been removed still reached that score (0.65: 23 %). Other models need thresholds of their own. Confidences are
/// calibrated probabilities and comparable between packs; in half of the searches behind a calibration, the catalogue
/// lacks the product. The default coverage is a guess.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Thresholds {
    /// The least time left that is worth a request.
    pub least_time: Duration,
    /// The least coverage at which the phone's catalogue counts as complete.
    pub coverage: f32,
    /// The least confidence at which the local results are good enough.
    pub confidence: f32,
    /// As `confidence`, on a metered network.
    pub metered_confidence: f32,
    /// The least score at which the local results are good enough, without a calibration.
    pub score: f32,
    /// As `score`, on a metered network.
    pub metered_score: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            least_time: Duration::from_millis(100),
            coverage: 0.5,
            confidence: 0.8,
            metered_confidence: 0.5,
            score: 0.7,
            metered_score: 0.65,
        }
    }
}

impl Thresholds {
    /// Sets the least time left that is worth a request.
    #[must_use]
    pub fn with_least_time(mut self, least_time: Duration) -> Thresholds {
        self.least_time = least_time;
        self
    }

    /// Sets the least coverage at which the phone's catalogue counts as complete.
    #[must_use]
    pub fn with_coverage(mut self, coverage: f32) -> Thresholds {
        self.coverage = coverage;
        self
    }

    /// Sets the least confidence at which the local results are good enough, on an unmetered and on a metered network.
    #[must_use]
    pub fn with_confidence(mut self, unmetered: f32, metered: f32) -> Thresholds {
        (self.confidence, self.metered_confidence) = (unmetered, metered);
        self
    }

    /// Sets the least score at which the local results are good enough, on an unmetered and on a metered network.
    #[must_use]
    pub fn with_score(mut self, unmetered: f32, metered: f32) -> Thresholds {
        (self.score, self.metered_score) = (unmetered, metered);
        self
    }
}

/// Whether to ask a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Do not ask: the local results are the answer.
    No,
    /// Ask, and show the local results meanwhile.
    ShowLocalFirst,
    /// Ask; there are no local results worth showing.
    Yes,
}

/// Why a server is asked, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Not asked: the user's setting forbids it, on this network or at all.
    NotAllowed,
    /// Not asked: there is no network.
    Offline,
    /// Not asked: the circuit breaker is open, because the server failed or sent `retry-after`.
    ServerResting,
    /// Not asked: too little time is left until the deadline.
    NoTime,
    /// Not asked: the local results are good enough.
    GoodEnough,
    /// Asked: the phone cannot apply the filter.
    FilterUnknown,
    /// Asked: the phone found nothing.
    NothingFound,
    /// Asked: the phone has too few listings of the photo's category.
    CategoryMissing,
    /// Asked: the phone found fewer listings than requested.
    TooFew,
    /// Asked: the first listing is probably wrong.
    Doubtful,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NotAllowed => "not asked: the settings do not allow it",
            Reason::Offline => "not asked: there is no network",
            Reason::ServerResting => "not asked: the server failed recently",
            Reason::NoTime => "not asked: there is not enough time left",
            Reason::GoodEnough => "not asked: the local results are good enough",
            Reason::FilterUnknown => "asked: the filter names columns that the local catalogue does not have",
            Reason::NothingFound => "asked: nothing was found locally",
            Reason::CategoryMissing => "asked: the local catalogue has too few listings of the category",
            Reason::TooFew => "asked: fewer listings were found locally than requested",
            Reason::Doubtful => "asked: the first local listing is doubtful",
        })
    }
}

/// A decision with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AskDecision {
    /// Whether to ask.
    pub ask: Ask,
    /// The reason.
    pub reason: Reason,
}

/// Decides whether to ask a server. The first rule that applies decides, in the order of this function.
pub fn decide(situation: &Situation, thresholds: &Thresholds) -> AskDecision {
    let metered = situation.connectivity == Connectivity::Metered;
    let decision = |ask, reason| AskDecision { ask, reason };
    // Reasons not to ask.
    if let Some(reason) = situation.setting.forbids(situation.connectivity) {
        return decision(Ask::No, reason);
    }
    if situation.resting {
        return decision(Ask::No, Reason::ServerResting);
    }
    if situation.time_left < thresholds.least_time {
        return decision(Ask::No, Reason::NoTime);
    }
    if situation.wanted == 0 {
        return decision(Ask::No, Reason::GoodEnough);
    }
    // The user has said which listing is right: that needs no server, whatever else one might find.
    if situation.judgement == Some(Judgement::Corrected) && situation.found > 0 {
        return decision(Ask::No, Reason::GoodEnough);
    }
    // Reasons to ask.
    if situation.filter_unknown {
        return decision(Ask::Yes, Reason::FilterUnknown);
    }
    let Some(judgement) = situation.judgement.filter(|_| situation.found > 0) else {
        return decision(Ask::Yes, Reason::NothingFound);
    };
    if situation.coverage.is_some_and(|coverage| coverage < thresholds.coverage) {
        return decision(Ask::ShowLocalFirst, Reason::CategoryMissing);
    }
    let (confidence, score) = match metered {
        true => (thresholds.metered_confidence, thresholds.metered_score),
        false => (thresholds.confidence, thresholds.score),
    };
    let good = match judgement {
        Judgement::Confidence(found) => found >= confidence,
        Judgement::Score(found) => found >= score,
        Judgement::Corrected => true,
    };
    if !good {
        return decision(Ask::ShowLocalFirst, Reason::Doubtful);
    }
    // The first listing is probably right; more listings are not worth the cost of a metered network.
    if situation.found < situation.wanted && !metered {
        return decision(Ask::ShowLocalFirst, Reason::TooFew);
    }
    decision(Ask::No, Reason::GoodEnough)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn good() -> Situation {
        Situation {
            connectivity: Connectivity::Unmetered,
            setting: Setting::WhenUseful,
            resting: false,
            time_left: Duration::from_secs(1),
            wanted: 10,
            found: 10,
            filter_unknown: false,
            coverage: Some(1.0),
            judgement: Some(Judgement::Confidence(0.9)),
        }
    }

    fn reason(change: impl FnOnce(&mut Situation)) -> Reason {
        let mut situation = good();
        change(&mut situation);
        decide(&situation, &Thresholds::default()).reason
    }

    #[test]
    fn every_reason_occurs() {
        assert_eq!(reason(|_| ()), Reason::GoodEnough);
        assert_eq!(reason(|s| s.setting = Setting::Never), Reason::NotAllowed);
        assert_eq!(reason(|s| s.setting = Setting::UnmeteredOnly), Reason::GoodEnough);
        assert_eq!(reason(|s| s.connectivity = Connectivity::Offline), Reason::Offline);
        assert_eq!(reason(|s| s.resting = true), Reason::ServerResting);
        assert_eq!(reason(|s| s.time_left = Duration::from_millis(50)), Reason::NoTime);
        assert_eq!(reason(|s| s.filter_unknown = true), Reason::FilterUnknown);
        assert_eq!(reason(|s| (s.found, s.judgement) = (0, None)), Reason::NothingFound);
        assert_eq!(reason(|s| s.coverage = Some(0.1)), Reason::CategoryMissing);
        assert_eq!(reason(|s| s.coverage = None), Reason::GoodEnough);
        assert_eq!(reason(|s| s.judgement = Some(Judgement::Confidence(0.6))), Reason::Doubtful);
        assert_eq!(reason(|s| s.judgement = Some(Judgement::Score(0.67))), Reason::Doubtful);
        assert_eq!(reason(|s| s.judgement = Some(Judgement::Confidence(f32::NAN))), Reason::Doubtful);
        assert_eq!(reason(|s| s.found = 3), Reason::TooFew);
        assert_eq!(reason(|s| (s.wanted, s.found, s.judgement) = (0, 0, None)), Reason::GoodEnough);
        let corrected = Some(Judgement::Corrected);
        assert_eq!(reason(|s| (s.found, s.coverage, s.judgement) = (1, Some(0.0), corrected)), Reason::GoodEnough);
        assert_eq!(reason(|s| (s.found, s.judgement) = (0, corrected)), Reason::NothingFound);
    }

    #[test]
    fn a_metered_network_is_used_less_often() {
        let metered = |change: fn(&mut Situation)| {
            reason(|s| {
                s.connectivity = Connectivity::Metered;
                change(s);
            })
        };
        assert_eq!(metered(|s| s.setting = Setting::UnmeteredOnly), Reason::NotAllowed);
        assert_eq!(metered(|s| s.judgement = Some(Judgement::Confidence(0.6))), Reason::GoodEnough);
        assert_eq!(metered(|s| s.judgement = Some(Judgement::Score(0.67))), Reason::GoodEnough);
        assert_eq!(metered(|s| s.judgement = Some(Judgement::Score(0.63))), Reason::Doubtful);
        assert_eq!(metered(|s| s.found = 3), Reason::GoodEnough);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::cases(256)))]

        #[test]
        fn nothing_is_asked_where_it_must_not_be(
            never in any::<bool>(), offline in any::<bool>(), resting in any::<bool>(), ms in 0u64..300,
            found in 0usize..12, confidence in 0f32..1.0, filter_unknown in any::<bool>(),
        ) {
            let mut situation = good();
            situation.setting = if never { Setting::Never } else { Setting::WhenUseful };
            situation.connectivity = if offline { Connectivity::Offline } else { Connectivity::Metered };
            (situation.resting, situation.time_left) = (resting, Duration::from_millis(ms));
            (situation.found, situation.filter_unknown) = (found, filter_unknown);
            situation.judgement = Some(Judgement::Confidence(confidence));
            let decision = decide(&situation, &Thresholds::default());
            if never || offline || resting || ms < 100 {
                prop_assert_eq!(decision.ask, Ask::No);
            } else if found == 0 {
                prop_assert_eq!(decision.ask, Ask::Yes);
            }
        }
    }
}
