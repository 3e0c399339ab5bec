//! Types for asking a server: its state, the options, the steps of an exchange, and the outcome.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use magpie_core::engine;
use magpie_core::remote::{self, Ended, MAX_REPLY_BYTES, Origin, Reason};
pub use magpie_core::remote::{Connectivity, Setting as AskSetting, Trouble};

/// The state of one server, learned from earlier searches: its latency and its circuit breaker. Keep one object per
/// server for the lifetime of the app; any number of searches may share it. The host keeps the server's URL and token.
#[derive(Debug, uniffi::Object)]
pub struct ServerState {
    origin: Mutex<Origin>,
    /// The origin of the clock that its exchanges use.
    begun: Instant,
}

#[uniffi::export]
impl ServerState {
    /// Creates a server about which nothing is known yet.
    #[uniffi::constructor]
    pub fn new() -> Arc<ServerState> {
        // The standard library's hash keys are random, so this seed spreads the retries of different devices.
        let seed = RandomState::new().hash_one(0);
        Arc::new(ServerState { origin: Mutex::new(Origin::new(seed)), begun: Instant::now() })
    }
}

impl ServerState {
    pub(crate) fn origin(&self) -> MutexGuard<'_, Origin> {
        // The state stays usable after a panic.
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// The longest accepted body of a reply, in bytes. Hosts stop reading there and report [`Trouble::TooLarge`].
#[uniffi::export]
pub fn max_reply_bytes() -> u32 {
    MAX_REPLY_BYTES as u32
}

/// The phone's network connection, as the host reports it.
#[uniffi::remote(Enum)]
pub enum Connectivity {
    /// No network.
    Offline,
    /// A network that is billed by volume.
    Metered,
    /// Any other network.
    Unmetered,
}

/// When the user allows a server to be asked.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum AskSetting {
    /// Ask when it is likely to improve the results.
    WhenUseful,
    /// As `WhenUseful`, but not on metered networks.
    UnmeteredOnly,
    /// Never ask.
    Never,
}

/// When and for how long to ask a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct AskOptions {
    /// The phone's current network.
    pub connectivity: Connectivity,
    /// What the user allows.
    pub setting: AskSetting,
    /// How long the server's answer may take, retries included, in milliseconds from the end of the phone's own search.
    #[uniffi(default = 1500)]
    pub deadline_ms: u32,
}

/// Why a server is asked or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum AskReason {
    /// Not asked: the user's setting does not allow it, at all or on this network.
    NotAllowed,
    /// Not asked: there is no network.
    Offline,
    /// Not asked: the server failed repeatedly or sent `Retry-After`, and its circuit breaker is open.
    ServerResting,
    /// Not asked: the deadline is too short for an answer.
    NoTime,
    /// Not asked: the phone's answer is good enough.
    GoodEnough,
    /// Asked: the filter names columns that are missing from the phone's catalogue.
    FilterUnknown,
    /// Asked: the phone found nothing.
    NothingFound,
    /// Asked: the phone's catalogue has too few listings of the photo's category.
    CategoryMissing,
    /// Asked: the phone found fewer listings than requested.
    TooFew,
    /// Asked: the phone's first listing is probably wrong.
    Doubtful,
}

/// Who found a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Source {
    /// The phone, in its own shard.
    Shard,
    /// The server.
    Server,
    /// Both.
    Both,
}

/// How a request to a server ended.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum AskedEnd {
    /// The server was not asked.
    NotAsked,
    /// The request is in progress.
    Pending,
    /// The server answered.
    Answered,
    /// The server did not answer.
    Failed {
        /// A stable identifier: `unreachable`, `untrusted`, `broken`, `timed_out`, `busy`, `server_error`, `refused`,
        /// `wrong_model`, `too_large`, `bad_reply`, `resting` or `cancelled`.
        name: String,
        /// The same in English, for developers.
        reason: String,
    },
}

/// Whether a server was asked, and with what outcome.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Asked {
    /// Why the server was asked or not.
    pub reason: AskReason,
    /// How the request ended.
    pub ended: AskedEnd,
    /// The number of HTTP requests sent.
    pub requests: u32,
    /// How long it took, in milliseconds; 0 if the server was not asked.
    pub took_ms: f64,
}

/// What the host does next. Times are in milliseconds from the return of the call that returned the step.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum AskStep {
    /// Post the request, and report its outcome, or call `advance` after `wait_ms` at the latest.
    Send {
        /// Identifies the attempt in the report.
        attempt: u32,
        /// The headers to send, besides the token.
        headers: Vec<HttpHeader>,
        /// Abandon the attempt after this time.
        timeout_ms: u32,
        /// When to call `advance` if nothing else happens.
        wait_ms: u32,
    },
    /// Report the next event, or call `advance` after `wait_ms` at the latest.
    Wait {
        /// When to call `advance` if nothing else happens.
        wait_ms: u32,
    },
    /// The results are complete. Abandon all requests in progress.
    Done,
}

/// A header of a request.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HttpHeader {
    /// The header's name, in lower case.
    pub name: String,
    /// The header's value.
    pub value: String,
}

/// Why an attempt got no response.
#[uniffi::remote(Enum)]
pub enum Trouble {
    /// No connection: no route, unknown host, connection refused, or no TLS on a port that should have it.
    Unreachable,
    /// The server's certificate is not trusted, is for another host name, or is not valid now.
    Untrusted,
    /// The connection broke before the response was complete.
    Broken,
    /// The attempt timed out.
    TimedOut,
    /// The body is longer than [`max_reply_bytes`].
    TooLarge,
}

impl AskOptions {
    /// Converts to the core's options.
    pub(crate) fn read(self) -> engine::AskOptions {
        let mut options = engine::AskOptions::on(self.connectivity);
        options.setting = self.setting;
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
            // Reasons that a later core may add.
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
