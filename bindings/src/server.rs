//! A server that searches may ask: what is known of it, what to do with it, and how that ended.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use magpie_core::engine;
use magpie_core::remote::{self, Ended, MAX_REPLY_BYTES, Origin, Reason};

/// What is known of one server from earlier searches: how fast it answers, whether it is down. One for each server, kept
/// as long as the app runs; any number of searches may share it. Its URL and its token are the host's.
#[derive(Debug, uniffi::Object)]
pub struct Server {
    origin: Mutex<Origin>,
    /// The start of the clock that its exchanges run on.
    begun: Instant,
}

#[uniffi::export]
impl Server {
    /// A server of which nothing is known.
    #[uniffi::constructor]
    pub fn new() -> Arc<Server> {
        // The standard library's hash keys are random: the seed spreads the retries of different devices.
        let seed = RandomState::new().hash_one(0);
        Arc::new(Server { origin: Mutex::new(Origin::new(seed)), begun: Instant::now() })
    }
}

impl Server {
    pub(crate) fn origin(&self) -> MutexGuard<'_, Origin> {
        // What a panic left behind can be used all the same.
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// The longest body of a reply that is read, in bytes. Hosts stop there and report [`Trouble::TooLarge`].
#[uniffi::export]
pub fn max_reply_bytes() -> u32 {
    MAX_REPLY_BYTES as u32
}

/// What the phone can reach, as the host knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Connectivity {
    /// Nothing.
    Offline,
    /// A network that costs by the byte.
    Metered,
    /// Any other network.
    Unmetered,
}

/// What the user allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum AskSetting {
    /// Ask where it may help.
    WhenUseful,
    /// The same, but not on metered networks.
    UnmeteredOnly,
    /// Never.
    Never,
}

/// What asking depends on beside what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct AskOptions {
    /// What can be reached.
    pub connectivity: Connectivity,
    /// What the user allows.
    pub setting: AskSetting,
    /// What the server's answer may take with all retries, in milliseconds from the phone's own search on.
    #[uniffi(default = 1500)]
    pub deadline_ms: u32,
}

/// Why the server is asked, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum AskReason {
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

/// Who found a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Source {
    /// The phone, in its shard.
    Shard,
    /// The server.
    Server,
    /// Both.
    Both,
}

/// How asking ended.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum AskedEnd {
    /// The server was not asked.
    NotAsked,
    /// It did not end yet.
    Pending,
    /// With an answer.
    Answered,
    /// Without one.
    Failed {
        /// `unreachable`, `untrusted`, `broken`, `timed_out`, `busy`, `server_error`, `refused`, `wrong_model`,
        /// `too_large`, `bad_reply`, `resting` or `cancelled`.
        name: String,
        /// The same in English, for developers.
        reason: String,
    },
}

/// Whether a server was asked, and how that ended.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Asked {
    /// Why it was asked, or not.
    pub reason: AskReason,
    /// How that ended.
    pub ended: AskedEnd,
    /// Requests that were sent.
    pub requests: u32,
    /// How long it took, in milliseconds; 0 where it was not asked.
    pub took_ms: f64,
}

/// What to do next. Times are in milliseconds, from the return of the call that gave the step.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum AskStep {
    /// Post the request, and report what became of it, or call `advance` after `wait_ms` at the latest.
    Send {
        /// To be named in the report.
        attempt: u32,
        /// What to send with it, beside the token.
        headers: Vec<HttpHeader>,
        /// Give the attempt up after this.
        timeout_ms: u32,
        /// When to call `advance` if nothing else happens.
        wait_ms: u32,
    },
    /// Report what happens, or call `advance` after `wait_ms` at the latest.
    Wait {
        /// When to call `advance` if nothing else happens.
        wait_ms: u32,
    },
    /// The results are there. Give up all requests that are under way.
    Done,
}

/// A header of a request.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HttpHeader {
    /// Its name, in small letters.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Why an attempt brought no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Trouble {
    /// No connection: no route, no name, refused, or no TLS where there has to be.
    Unreachable,
    /// The server's certificate is not one that is trusted, is for another name, or is not valid now.
    Untrusted,
    /// The connection ended before the response did.
    Broken,
    /// The attempt's time was over.
    TimedOut,
    /// The body is longer than [`max_reply_bytes`].
    TooLarge,
}

impl AskOptions {
    /// In the core's terms.
    pub(crate) fn read(self) -> engine::AskOptions {
        let mut options = engine::AskOptions::on(match self.connectivity {
            Connectivity::Offline => remote::Connectivity::Offline,
            Connectivity::Metered => remote::Connectivity::Metered,
            Connectivity::Unmetered => remote::Connectivity::Unmetered,
        });
        options.setting = match self.setting {
            AskSetting::WhenUseful => remote::Setting::WhenUseful,
            AskSetting::UnmeteredOnly => remote::Setting::UnmeteredOnly,
            AskSetting::Never => remote::Setting::Never,
        };
        options.deadline = Duration::from_millis(self.deadline_ms.into());
        options
    }
}

impl From<Reason> for AskReason {
    fn from(reason: Reason) -> AskReason {
        match reason {
            Reason::NotAllowed => AskReason::NotAllowed,
            Reason::Offline => AskReason::Offline,
            Reason::ServerResting => AskReason::ServerResting,
            Reason::NoTime => AskReason::NoTime,
            Reason::GoodEnough => AskReason::GoodEnough,
            Reason::FilterUnknown => AskReason::FilterUnknown,
            Reason::NothingFound => AskReason::NothingFound,
            Reason::CategoryMissing => AskReason::CategoryMissing,
            Reason::TooFew => AskReason::TooFew,
            // A reason of a later core is one to doubt.
            _ => AskReason::Doubtful,
        }
    }
}

impl From<remote::Source> for Source {
    fn from(source: remote::Source) -> Source {
        match source {
            remote::Source::Local => Source::Shard,
            remote::Source::Server => Source::Server,
            remote::Source::Both => Source::Both,
        }
    }
}

impl From<Option<Ended>> for AskedEnd {
    fn from(ended: Option<Ended>) -> AskedEnd {
        match ended {
            None => AskedEnd::NotAsked,
            Some(Ended::Answered) => AskedEnd::Answered,
            Some(Ended::Failed(failure)) => {
                AskedEnd::Failed { name: failure.name().to_owned(), reason: failure.to_string() }
            }
        }
    }
}

impl From<Trouble> for remote::Trouble {
    fn from(trouble: Trouble) -> remote::Trouble {
        match trouble {
            Trouble::Unreachable => remote::Trouble::Unreachable,
            Trouble::Untrusted => remote::Trouble::Untrusted,
            Trouble::Broken => remote::Trouble::Broken,
            Trouble::TimedOut => remote::Trouble::TimedOut,
            Trouble::TooLarge => remote::Trouble::TooLarge,
        }
    }
}
