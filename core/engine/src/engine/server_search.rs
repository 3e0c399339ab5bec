//! A search that may ask a server: the local search comes first, then the policy decides.

use std::time::Duration;

use super::embed::{Embedded, Picture, run};
use super::facade::Engine;
use super::options::SearchOptions;
use super::results::{Matches, SearchResults};
use super::stages::Stages;
use crate::confidence::Confidence;
use crate::error::{Error, FilterError, Result};
use crate::image::Frame;
use crate::model::Output;
use crate::remote::{
    Answer, Ask, Connectivity, Exchange, ExchangeLimits, Judgement, Origin, Question, SearchRequest, Setting,
    Situation, Thresholds, decide,
};
use crate::search::Per;

/// The options of asking a server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AskOptions {
    /// The phone's network connection.
    pub connectivity: Connectivity,
    /// The user's setting.
    pub setting: Setting,
    /// The time for the server's answer, including retries, counted from [`ServerSearch::begin`].
    pub deadline: Duration,
    /// See [`Situation::coverage`].
    pub coverage: Option<f32>,
    /// When local results are good enough.
    pub thresholds: Thresholds,
}

impl AskOptions {
    /// The defaults for a network connection.
    pub fn on(connectivity: Connectivity) -> AskOptions {
        AskOptions {
            connectivity,
            setting: Setting::default(),
            deadline: ExchangeLimits::default().deadline,
            coverage: None,
            thresholds: Thresholds::default(),
        }
    }

    /// Sets the user's setting.
    #[must_use]
    pub fn with_setting(mut self, setting: Setting) -> AskOptions {
        self.setting = setting;
        self
    }

    /// Sets the time for the server's answer, including retries.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> AskOptions {
        self.deadline = deadline;
        self
    }

    /// Sets the share of the full catalogue that the phone has, see [`Situation::coverage`].
    #[must_use]
    pub fn with_coverage(mut self, coverage: impl Into<Option<f32>>) -> AskOptions {
        self.coverage = coverage.into();
        self
    }

    /// Sets when local results are good enough.
    #[must_use]
    pub fn with_thresholds(mut self, thresholds: Thresholds) -> AskOptions {
        self.thresholds = thresholds;
        self
    }
}

/// The local results of a search, and what it takes to run the same search on a server.
#[derive(Debug, Clone)]
pub struct ServerSearch {
    /// The local results: no listings and no confidence if the filter names columns that the local shard does not have.
    pub local: SearchResults,
    request: SearchRequest,
    wanted: usize,
    per: Option<Per>,
    filter_unknown: bool,
    options: AskOptions,
}

/// The decision whether to ask a server.
#[derive(Debug, Clone)]
pub enum Begun {
    /// The server is not asked: this is the answer.
    Answer(Answer),
    /// The server is asked, with [`ServerSearch::body`].
    Exchange {
        /// The exchange, for the host to drive.
        exchange: Box<Exchange>,
        /// Whether the local results are worth showing meanwhile.
        show_local: bool,
    },
}

impl Engine {
    /// Searches with a photo, and prepares the request to a server. Both sides search with the quantised query, so that
    /// their scores and rankings are comparable.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use magpie_core::engine::{AskOptions, Begun};
    /// use magpie_core::remote::{Connectivity, Origin};
    /// # use magpie_core::engine::{Engine, SearchOptions};
    /// # use magpie_core::model::{Model, Pack};
    /// # use magpie_core::shard::Shard;
    /// # fn main() -> Result<(), magpie_core::Error> {
    /// # let model = Model::load(&Pack::open("models/packs/default")?)?;
    /// # let engine = Engine::new(model, Shard::open("catalogue.magpie")?)?;
    /// # let (photo, now) = (Vec::new(), Duration::ZERO);
    /// let origin = Origin::new(17);
    /// let ask = AskOptions::on(Connectivity::Unmetered);
    /// let search = engine.ask_photo(&photo, &SearchOptions::default(), &ask)?;
    /// match search.begin(&origin, now) {
    ///     Begun::Answer(answer) => println!("{} listings, {}", answer.listings.len(), answer.reason),
    ///     // Drive the exchange as the example `ask_server` does, and send `search.body()`.
    ///     Begun::Exchange { exchange, .. } => println!("{}", exchange.reason()),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Engine::search_photo`]. A filter or limit on a column that the shard does not have is an error only if
    /// `ask` rules out that a server is asked.
    pub fn ask_photo(&self, photo: &[u8], options: &SearchOptions, ask: &AskOptions) -> Result<ServerSearch> {
        self.ask(Picture::Photo(photo), options, ask)
    }

    /// As [`Engine::ask_photo`], with a camera frame. The limits in `options` are ignored.
    ///
    /// # Errors
    /// As [`Engine::ask_photo`].
    pub fn ask_frame(&self, frame: &Frame<'_>, options: &SearchOptions, ask: &AskOptions) -> Result<ServerSearch> {
        self.ask(Picture::Frame(frame), options, ask)
    }

    fn ask(&self, picture: Picture<'_>, options: &SearchOptions, ask: &AskOptions) -> Result<ServerSearch> {
        let mut stages = Stages::default();
        let Embedded { output, incomplete } = run(self.model(), picture, options, &mut stages)?;
        let Output { embedding, attributes } = output;
        let request = SearchRequest::new(&embedding, options.filter.as_ref(), &options.search);
        let query = request.embedding.embedding(request.model_id);
        debug_assert!(query.is_some(), "an embedding has unit length, and its quantised form is not zero");
        let query = query.unwrap_or(embedding);
        let may_ask = ask.setting.forbids(ask.connectivity).is_none();
        let (matches, filter_unknown) = match self.find(&query, options, &mut stages) {
            // The server may have the column that the shard lacks.
            Err(Error::Filter(FilterError::UnknownColumn { .. })) if may_ask => (Matches::new(Vec::new(), None), true),
            other => (other?, false),
        };
        let Matches { listings, confidence, complete } = matches;
        let local = SearchResults { listings, confidence, attributes, stages, complete, photo_incomplete: incomplete };
        let (wanted, per) = (options.search.k, options.search.per.clone());
        Ok(ServerSearch { local, request, wanted, per, filter_unknown, options: ask.clone() })
    }
}

impl ServerSearch {
    /// Decides whether to ask the server, and if so, begins an exchange. `now` is the time on the clock that all
    /// exchanges of `origin` share.
    pub fn begin(&self, origin: &Origin, now: Duration) -> Begun {
        let listings = &self.local.listings;
        let score = || {
            let judgement = |score, corrected| if corrected { Judgement::Corrected } else { Judgement::Score(score) };
            listings.first().map(|first| judgement(first.score, first.corrected))
        };
        let confidence = self.local.confidence.map(|confidence| Judgement::Confidence(confidence.probability));
        let situation = Situation {
            connectivity: self.options.connectivity,
            setting: self.options.setting,
            resting: origin.resting(now).is_some(),
            time_left: self.options.deadline,
            wanted: self.wanted,
            found: listings.len(),
            filter_unknown: self.filter_unknown,
            coverage: self.options.coverage,
            judgement: confidence.or_else(score),
        };
        let decision = decide(&situation, &self.options.thresholds);
        if decision.ask == Ask::No {
            return Begun::Answer(Answer::local(listings.clone(), decision.reason));
        }
        let mut limits = ExchangeLimits::on(self.options.connectivity);
        limits.deadline = self.options.deadline;
        let question = Question { model_id: self.request.model_id, k: self.request.k as usize, per: self.per.clone() };
        let exchange = Box::new(Exchange::new(question, limits, listings.clone(), decision.reason, now));
        Begun::Exchange { exchange, show_local: decision.ask == Ask::ShowLocalFirst }
    }

    /// Returns the body of the request: JSON, the same bytes for every attempt.
    pub fn body(&self) -> String {
        self.request.body()
    }

    /// Returns the confidence in the answer's first listing: that of the local search if it has the same first listing,
    /// otherwise `None`. Listings that only the server found are not judged.
    pub fn confidence_in(&self, answer: &Answer) -> Option<Confidence> {
        let first = answer.listings.first().map(|sourced| &sourced.found.listing.id);
        let same = first == self.local.listings.first().map(|found| &found.listing.id);
        self.local.confidence.filter(|_| same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Embedding;
    use crate::ModelId;
    use crate::attributes::Attributes;
    use crate::listing::{Found, Listing};
    use crate::remote::{Action, Attempt, Ended, Event, Failure, Reason, Reply, SearchReply, Source, Trouble};

    const MODEL: ModelId = ModelId([7; 32]);
    const NOW: Duration = Duration::from_secs(9);

    fn found(id: &str, score: f32) -> Found {
        let photo = format!("{id}.jpg");
        Found::new(score, Listing { id: id.to_owned(), photos: vec![photo.clone()], photo, fields: Vec::new() })
    }

    /// A search that requested two listings and found two.
    fn search(change: impl FnOnce(&mut ServerSearch)) -> ServerSearch {
        let embedding = Embedding::new(&[0.5, -0.25, 0.125], MODEL).expect("finite");
        let options = SearchOptions::new(2);
        let mut search = ServerSearch {
            local: SearchResults {
                listings: vec![found("b", 0.8), found("a", 0.5)],
                confidence: Some(Confidence { probability: 0.9, enough: true }),
                attributes: Attributes(Vec::new()),
                stages: Stages::default(),
                complete: true,
                photo_incomplete: false,
            },
            request: SearchRequest::new(&embedding, None, &options.search),
            wanted: 2,
            per: None,
            filter_unknown: false,
            options: AskOptions::on(Connectivity::Unmetered),
        };
        change(&mut search);
        search
    }

    fn doubtful(search: &mut ServerSearch) {
        search.local.confidence = Some(Confidence { probability: 0.3, enough: false });
    }

    /// Why the server is asked, and whether the local listings are shown; or the answer if it is not asked.
    fn begin(search: &ServerSearch) -> Result<(Reason, bool), Answer> {
        match search.begin(&Origin::new(1), NOW) {
            Begun::Answer(answer) => Err(answer),
            Begun::Exchange { exchange, show_local } => Ok((exchange.reason(), show_local)),
        }
    }

    #[test]
    fn good_local_results_are_the_answer() {
        let search = search(|_| ());
        let answer = begin(&search).expect_err("not asked");
        assert_eq!((answer.reason, &answer.ended, answer.sends), (Reason::GoodEnough, &None, 0));
        assert!(answer.listings.iter().all(|sourced| sourced.source == Source::Local));
        assert_eq!(search.confidence_in(&answer), search.local.confidence);
    }

    #[test]
    fn doubtful_results_are_shown_meanwhile_and_missing_ones_are_waited_for() {
        assert_eq!(begin(&search(doubtful)), Ok((Reason::Doubtful, true)));
        // The score counts only without a confidence.
        let scored = |score| {
            search(|search| {
                search.local.confidence = None;
                search.local.listings[0].score = score;
            })
        };
        assert_eq!(begin(&scored(0.65)), Ok((Reason::Doubtful, true)));
        assert!(begin(&scored(0.8)).is_err());
        let none = search(|search| {
            search.local.listings.clear();
            search.local.confidence = Some(Confidence::NONE);
        });
        assert_eq!(begin(&none), Ok((Reason::NothingFound, false)));
        let unknown = search(|search| {
            search.local.listings.clear();
            (search.local.confidence, search.filter_unknown) = (None, true);
        });
        assert_eq!(begin(&unknown), Ok((Reason::FilterUnknown, false)));
        let few = search(|search| search.wanted = 3);
        assert_eq!(begin(&few), Ok((Reason::TooFew, true)));
    }

    #[test]
    fn the_local_listings_remain_where_asking_is_ruled_out() {
        let reason = |change: fn(&mut AskOptions)| {
            let answer = begin(&search(|search| {
                doubtful(search);
                change(&mut search.options);
            }));
            let answer = answer.expect_err("not asked");
            assert_eq!(answer.listings.len(), 2);
            answer.reason
        };
        assert_eq!(reason(|o| o.connectivity = Connectivity::Offline), Reason::Offline);
        assert_eq!(reason(|o| o.setting = Setting::Never), Reason::NotAllowed);
        let unmetered = |o: &mut AskOptions| {
            (o.setting, o.connectivity) = (Setting::UnmeteredOnly, Connectivity::Metered);
        };
        assert_eq!(reason(unmetered), Reason::NotAllowed);
        assert_eq!(reason(|o| o.deadline = Duration::from_millis(10)), Reason::NoTime);

        let mut origin = Origin::new(1);
        let busy = Reply { status: 503, retry_after: Some(Duration::from_secs(60)), body: b"" };
        let Begun::Exchange { mut exchange, .. } = search(doubtful).begin(&origin, NOW) else { panic!("not asked") };
        let Action::Send { attempt, .. } = exchange.handle(Event::Clock, NOW, &mut origin) else { panic!("not sent") };
        assert_eq!(exchange.handle(Event::Reply { attempt, reply: busy }, NOW, &mut origin), Action::Done);
        let Begun::Answer(answer) = search(doubtful).begin(&origin, NOW) else {
            panic!("asked although the breaker is open")
        };
        assert_eq!((answer.reason, answer.listings.len()), (Reason::ServerResting, 2));
    }

    #[test]
    fn the_exchange_has_the_deadline_the_request_and_the_local_listings() {
        let mut origin = Origin::new(1);
        let search = search(|search| {
            doubtful(search);
            search.options.deadline = Duration::from_millis(300);
        });
        let begin = |origin: &Origin| match search.begin(origin, NOW) {
            Begun::Exchange { exchange, .. } => exchange,
            Begun::Answer(answer) => panic!("not asked: {answer:?}"),
        };
        let mut exchange = begin(&origin);
        let action = exchange.handle(Event::Clock, NOW, &mut origin);
        let (attempt, time) = (Attempt(0), Duration::from_millis(300));
        assert_eq!(action, Action::Send { attempt, timeout: time, until: NOW + time });
        let reply = SearchReply::new(MODEL, String::new(), vec![found("z", 0.9).into()]);
        let body = serde_json::to_vec(&reply).expect("plain values");
        let reply = Reply { status: 200, retry_after: None, body: &body };
        assert_eq!(exchange.handle(Event::Reply { attempt, reply }, NOW, &mut origin), Action::Done);
        let answer = exchange.into_answer();
        let ids: Vec<_> = answer.listings.iter().map(|s| (s.found.listing.id.as_str(), s.source)).collect();
        assert_eq!(ids, [("z", Source::Server), ("b", Source::Local)]);
        assert_eq!(search.confidence_in(&answer), None, "the server's listings are not judged");

        let mut exchange = begin(&origin);
        exchange.handle(Event::Clock, NOW, &mut origin);
        exchange.handle(Event::Failed { attempt, trouble: Trouble::TooLarge }, NOW, &mut origin);
        let answer = exchange.into_answer();
        assert_eq!((answer.listings.len(), &answer.ended), (2, &Some(Ended::Failed(Failure::TooLarge))));
        assert_eq!(search.confidence_in(&answer), search.local.confidence);
    }
}
