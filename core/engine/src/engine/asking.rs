//! A search that may ask a server: the phone's own search first, and then what the policy makes of it.

use std::time::Duration;

use super::{Engine, Matches, Picture, SearchOptions, SearchResults, Stages, run};
use crate::confidence::Confidence;
use crate::error::{Error, FilterError, Result};
use crate::image::Frame;
use crate::model::Output;
use crate::remote::{
    Answer, Ask, Connectivity, Exchange, Judgement, Limits, Origin, Question, SearchRequest, Setting, Situation,
    Thresholds, decide,
};
use crate::search::Per;

/// What asking a server depends on beside what is found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AskOptions {
    /// What can be reached.
    pub connectivity: Connectivity,
    /// What the user allows.
    pub setting: Setting,
    /// What the server's answer may take with all retries, from [`Asking::begin`] on.
    pub deadline: Duration,
    /// See [`Situation::coverage`].
    pub coverage: Option<f32>,
    /// What is good enough.
    pub thresholds: Thresholds,
}

impl AskOptions {
    /// The defaults for a network.
    pub fn on(connectivity: Connectivity) -> AskOptions {
        AskOptions {
            connectivity,
            setting: Setting::default(),
            deadline: Limits::default().deadline,
            coverage: None,
            thresholds: Thresholds::default(),
        }
    }
}

/// What the phone found, and what it takes to ask a server for the same.
#[derive(Debug, Clone)]
pub struct Asking {
    /// What the phone found. No listing, and no confidence, where the filter names columns that its shard does not have.
    pub local: SearchResults,
    request: SearchRequest,
    wanted: usize,
    per: Option<Per>,
    filter_unknown: bool,
    options: AskOptions,
}

/// Whether the server is asked.
#[derive(Debug, Clone)]
pub enum Begun {
    /// It is not: this is the answer.
    Answer(Answer),
    /// It is, with [`Asking::body`].
    Exchange {
        /// To be driven by the host.
        exchange: Box<Exchange>,
        /// Whether what the phone found is worth showing meanwhile.
        show_local: bool,
    },
}

impl Engine {
    /// Searches with a photo, and gets ready to ask a server. Both sides search with the query as it travels, so that
    /// scores and order are the same.
    ///
    /// # Errors
    /// As [`Engine::search_photo`]; that the filter or the groups name a column that the shard does not have is an error
    /// only where the options rule out that a server is asked.
    pub fn ask_photo(&self, photo: &[u8], options: &SearchOptions, ask: &AskOptions) -> Result<Asking> {
        self.ask(Picture::Photo(photo), options, ask)
    }

    /// The same with a camera frame; of the search's options the limits do not matter.
    ///
    /// # Errors
    /// As [`Engine::ask_photo`].
    pub fn ask_frame(&self, frame: &Frame<'_>, options: &SearchOptions, ask: &AskOptions) -> Result<Asking> {
        self.ask(Picture::Frame(frame), options, ask)
    }

    fn ask(&self, picture: Picture<'_>, options: &SearchOptions, ask: &AskOptions) -> Result<Asking> {
        let mut stages = Stages::default();
        let Output { embedding, attributes } = run(&self.model, picture, options, &mut stages)?;
        let request = SearchRequest::new(&embedding, options.filter.as_ref(), &options.search);
        // Never zero: the embedding is of unit length.
        let query = request.embedding.embedding(request.model_id).unwrap_or(embedding);
        let may_ask = ask.setting.forbids(ask.connectivity).is_none();
        let (matches, filter_unknown) = match self.find(&query, options, &mut stages) {
            // The server may have a column that the shard does not have.
            Err(Error::Filter(FilterError::UnknownColumn { .. })) if may_ask => {
                (Matches { listings: Vec::new(), confidence: None }, true)
            }
            other => (other?, false),
        };
        let Matches { listings, confidence } = matches;
        let local = SearchResults { listings, confidence, attributes, stages };
        let (wanted, per) = (options.search.k, options.search.per.clone());
        Ok(Asking { local, request, wanted, per, filter_unknown, options: ask.clone() })
    }
}

impl Asking {
    /// Decides, and begins an exchange where the server is asked. `now` is a time of the clock that `origin`'s exchanges
    /// run on.
    pub fn begin(&self, origin: &Origin, now: Duration) -> Begun {
        let listings = &self.local.listings;
        let score = || listings.first().map(|first| Judgement::Score(first.score));
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
        let verdict = decide(&situation, &self.options.thresholds);
        if verdict.ask == Ask::No {
            return Begun::Answer(Answer::local(listings.clone(), verdict.reason));
        }
        let mut limits = Limits::on(self.options.connectivity);
        limits.deadline = self.options.deadline;
        let question = Question { model_id: self.request.model_id, k: self.request.k as usize, per: self.per.clone() };
        let exchange = Box::new(Exchange::new(question, limits, listings.clone(), verdict.reason, now));
        Begun::Exchange { exchange, show_local: verdict.ask == Ask::ShowLocalFirst }
    }

    /// The body to post, JSON: the same bytes for every attempt.
    pub fn body(&self) -> String {
        self.request.body()
    }

    /// The confidence in the answer's first listing: that of the phone's search, where the answer begins with the same
    /// listing. What only the server found is not judged, and `None`.
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
        Found { score, listing: Listing { id: id.to_owned(), photos: vec![photo.clone()], photo, fields: Vec::new() } }
    }

    /// A search for two listings of which two were found.
    fn asking(change: impl FnOnce(&mut Asking)) -> Asking {
        let embedding = Embedding::new(&[0.5, -0.25, 0.125], MODEL).expect("finite");
        let mut options = SearchOptions::default();
        options.search.k = 2;
        let mut asking = Asking {
            local: SearchResults {
                listings: vec![found("b", 0.8), found("a", 0.5)],
                confidence: Some(Confidence { probability: 0.9, enough: true }),
                attributes: Attributes(Vec::new()),
                stages: Stages::default(),
            },
            request: SearchRequest::new(&embedding, None, &options.search),
            wanted: 2,
            per: None,
            filter_unknown: false,
            options: AskOptions::on(Connectivity::Unmetered),
        };
        change(&mut asking);
        asking
    }

    fn doubtful(asking: &mut Asking) {
        asking.local.confidence = Some(Confidence { probability: 0.3, enough: false });
    }

    /// Why the server is asked, and whether the local listings are shown; or the answer where it is not.
    fn begin(asking: &Asking) -> Result<(Reason, bool), Answer> {
        match asking.begin(&Origin::new(1), NOW) {
            Begun::Answer(answer) => Err(answer),
            Begun::Exchange { exchange, show_local } => Ok((exchange.reason(), show_local)),
        }
    }

    #[test]
    fn a_good_answer_is_the_answer() {
        let asking = asking(|_| ());
        let answer = begin(&asking).expect_err("not asked");
        assert_eq!((answer.reason, &answer.ended, answer.sends), (Reason::GoodEnough, &None, 0));
        assert!(answer.listings.iter().all(|sourced| sourced.source == Source::Local));
        assert_eq!(asking.confidence_in(&answer), asking.local.confidence);
    }

    #[test]
    fn doubt_asks_and_shows_and_nothing_asks_and_waits() {
        assert_eq!(begin(&asking(doubtful)), Ok((Reason::Doubtful, true)));
        // The score counts only where there is no confidence.
        let scored = |score| {
            asking(|asking| {
                asking.local.confidence = None;
                asking.local.listings[0].score = score;
            })
        };
        assert_eq!(begin(&scored(0.65)), Ok((Reason::Doubtful, true)));
        assert!(begin(&scored(0.8)).is_err());
        let none = asking(|asking| {
            asking.local.listings.clear();
            asking.local.confidence = Some(Confidence::NONE);
        });
        assert_eq!(begin(&none), Ok((Reason::NothingFound, false)));
        let unknown = asking(|asking| {
            asking.local.listings.clear();
            (asking.local.confidence, asking.filter_unknown) = (None, true);
        });
        assert_eq!(begin(&unknown), Ok((Reason::FilterUnknown, false)));
        let few = asking(|asking| asking.wanted = 3);
        assert_eq!(begin(&few), Ok((Reason::TooFew, true)));
    }

    #[test]
    fn what_forbids_asking_leaves_the_local_listings() {
        let reason = |change: fn(&mut AskOptions)| {
            let answer = begin(&asking(|asking| {
                doubtful(asking);
                change(&mut asking.options);
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
        let Begun::Exchange { mut exchange, .. } = asking(doubtful).begin(&origin, NOW) else { panic!("not asked") };
        let Action::Send { attempt, .. } = exchange.handle(Event::Clock, NOW, &mut origin) else { panic!("not sent") };
        assert_eq!(exchange.handle(Event::Reply { attempt, reply: busy }, NOW, &mut origin), Action::Done);
        let Begun::Answer(answer) = asking(doubtful).begin(&origin, NOW) else { panic!("asked while it rests") };
        assert_eq!((answer.reason, answer.listings.len()), (Reason::ServerResting, 2));
    }

    #[test]
    fn the_exchange_has_the_deadline_the_question_and_the_local_listings() {
        let mut origin = Origin::new(1);
        let asking = asking(|asking| {
            doubtful(asking);
            asking.options.deadline = Duration::from_millis(300);
        });
        let begin = |origin: &Origin| match asking.begin(origin, NOW) {
            Begun::Exchange { exchange, .. } => exchange,
            Begun::Answer(answer) => panic!("not asked: {answer:?}"),
        };
        let mut exchange = begin(&origin);
        let action = exchange.handle(Event::Clock, NOW, &mut origin);
        let (attempt, time) = (Attempt(0), Duration::from_millis(300));
        assert_eq!(action, Action::Send { attempt, timeout: time, until: NOW + time });
        let reply = SearchReply { model_id: MODEL, catalog: String::new(), listings: vec![found("z", 0.9).into()] };
        let body = serde_json::to_vec(&reply).expect("plain values");
        let reply = Reply { status: 200, retry_after: None, body: &body };
        assert_eq!(exchange.handle(Event::Reply { attempt, reply }, NOW, &mut origin), Action::Done);
        let answer = exchange.into_answer();
        let ids: Vec<_> = answer.listings.iter().map(|s| (s.found.listing.id.as_str(), s.source)).collect();
        assert_eq!(ids, [("z", Source::Server), ("b", Source::Local)]);
        assert_eq!(asking.confidence_in(&answer), None, "nothing here judges what the server found");

        let mut exchange = begin(&origin);
        exchange.handle(Event::Clock, NOW, &mut origin);
        exchange.handle(Event::Failed { attempt, trouble: Trouble::TooLarge }, NOW, &mut origin);
        let answer = exchange.into_answer();
        assert_eq!((answer.listings.len(), &answer.ended), (2, &Some(Ended::Failed(Failure::TooLarge))));
        assert_eq!(asking.confidence_in(&answer), asking.local.confidence);
    }
}
