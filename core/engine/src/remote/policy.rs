//! Whether to ask a server, and why.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// What the phone can reach, as the host knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connectivity {
    /// Nothing.
    Offline,
    /// A network that costs by the byte.
    Metered,
    /// Any other network.
    Unmetered,
}

/// What the user allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Setting {
    /// Ask where it may help.
    #[default]
    WhenUseful,
    /// The same, but not on metered networks.
    UnmeteredOnly,
    /// Never.
    Never,
}

impl Setting {
    /// Why a server is not asked on such a network, whatever the phone finds; `None` where it may be.
    pub fn forbids(self, connectivity: Connectivity) -> Option<Reason> {
        match (self, connectivity) {
            (Setting::Never, _) | (Setting::UnmeteredOnly, Connectivity::Metered) => Some(Reason::NotAllowed),
            (_, Connectivity::Offline) => Some(Reason::Offline),
            _ => None,
        }
    }
}

/// How good the local answer is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Judgement {
    /// A calibrated probability that the first listing is right, 0 to 1.
    Confidence(f32),
    /// No calibration: the first listing's cosine to the photo, -1 to 1.
    Score(f32),
}

/// All that the decision depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Situation {
    /// What can be reached.
    pub connectivity: Connectivity,
    /// What the user allows.
    pub setting: Setting,
    /// Whether the server is to be left alone now ([`Origin::resting`](super::Origin::resting)).
    pub resting: bool,
    /// What is left of the time that the user waits.
    pub time_left: Duration,
    /// Listings asked for.
    pub wanted: usize,
    /// Listings that the phone found.
    pub found: usize,
    /// Whether the filter asks for columns that the phone's shard does not have.
    pub filter_unknown: bool,
    /// Share of the full catalogue's listings of the photo's category that the phone has, 0 to 1; `None` where unknown.
    pub coverage: Option<f32>,
    /// How good the first listing is; `None` where nothing was found.
    pub judgement: Option<Judgement>,
}

/// What is good enough.
///
/// The scores are those of the default pack: on 227 validation photos of shoppers against 61 products, a first listing of
/// at least 0.70 was right in 93 % of cases (0.65: 89 %), and 9 % of photos whose product was taken out still got that far
/// (23 %). A model of one's own needs its own. Confidences are probabilities, and mean the same for every pack that is
/// calibrated; half of the photos of a calibration are of products that the catalogue lacks. The coverage is a guess.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Thresholds {
    /// Less time than this is not worth a request.
    pub least_time: Duration,
    /// Coverage from which on the phone's catalogue counts as complete.
    pub coverage: f32,
    /// Confidence from which on the phone's answer stands.
    pub confidence: f32,
    /// The same on a metered network.
    pub metered_confidence: f32,
    /// Score from which on the phone's answer stands, where there is no confidence.
    pub score: f32,
    /// The same on a metered network.
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

/// Whether to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// The phone's answer is the answer.
    No,
    /// Ask, and show the phone's answer meanwhile.
    ShowLocalFirst,
    /// Ask; the phone has nothing worth showing.
    Yes,
}

/// Why the server is asked, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Not asked: the user does not want it, here or at all.
    NotAllowed,
    /// Not asked: there is no network.
    Offline,
    /// Not asked: the server failed lately, or asked to be left alone.
    ServerResting,
    /// Not asked: the answer would come too late.
    NoTime,
    /// Not asked: the phone's answer is good enough.
    GoodEnough,
    /// Asked: the phone cannot apply the filter.
    FilterUnknown,
    /// Asked: the phone found nothing.
    NothingFound,
    /// Asked: the phone has too little of the photo's category.
    CategoryMissing,
    /// Asked: fewer listings than wanted pass.
    TooFew,
    /// Asked: the first listing is probably not it.
    Doubtful,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NotAllowed => "not asked: it is not allowed to",
            Reason::Offline => "not asked: there is no network",
            Reason::ServerResting => "not asked: the server failed lately",
            Reason::NoTime => "not asked: there is no time for it",
            Reason::GoodEnough => "not asked: the answer here is good enough",
            Reason::FilterUnknown => "asked: the filter needs columns that are not here",
            Reason::NothingFound => "asked: nothing was found here",
            Reason::CategoryMissing => "asked: too little of the category is here",
            Reason::TooFew => "asked: fewer listings were found here than wanted",
            Reason::Doubtful => "asked: the first listing here is doubtful",
        })
    }
}

/// A decision with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether to ask.
    pub ask: Ask,
    /// Why.
    pub reason: Reason,
}

/// Decides whether to ask a server. The rules are tried in the order of this function; the first that fits decides.
pub fn decide(situation: &Situation, thresholds: &Thresholds) -> Verdict {
    let metered = situation.connectivity == Connectivity::Metered;
    let verdict = |ask, reason| Verdict { ask, reason };
    // What forbids asking.
    if let Some(reason) = situation.setting.forbids(situation.connectivity) {
        return verdict(Ask::No, reason);
    }
    if situation.resting {
        return verdict(Ask::No, Reason::ServerResting);
    }
    if situation.time_left < thresholds.least_time {
        return verdict(Ask::No, Reason::NoTime);
    }
    if situation.wanted == 0 {
        return verdict(Ask::No, Reason::GoodEnough);
    }
    // What calls for it.
    if situation.filter_unknown {
        return verdict(Ask::Yes, Reason::FilterUnknown);
    }
    let Some(judgement) = situation.judgement.filter(|_| situation.found > 0) else {
        return verdict(Ask::Yes, Reason::NothingFound);
    };
    if situation.coverage.is_some_and(|coverage| coverage < thresholds.coverage) {
        return verdict(Ask::ShowLocalFirst, Reason::CategoryMissing);
    }
    let (confidence, score) = match metered {
        true => (thresholds.metered_confidence, thresholds.metered_score),
        false => (thresholds.confidence, thresholds.score),
    };
    let good = match judgement {
        Judgement::Confidence(found) => found >= confidence,
        Judgement::Score(found) => found >= score,
    };
    if !good {
        return verdict(Ask::ShowLocalFirst, Reason::Doubtful);
    }
    // The first one is right; the others would be a luxury that one does not pay for.
    if situation.found < situation.wanted && !metered {
        return verdict(Ask::ShowLocalFirst, Reason::TooFew);
    }
    verdict(Ask::No, Reason::GoodEnough)
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
    fn each_reason_has_its_situation() {
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
    }

    #[test]
    fn metered_networks_are_used_for_less() {
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
            let verdict = decide(&situation, &Thresholds::default());
            if never || offline || resting || ms < 100 {
                prop_assert_eq!(verdict.ask, Ask::No);
            } else if found == 0 {
                prop_assert_eq!(verdict.ask, Ask::Yes);
            }
        }
    }
}
