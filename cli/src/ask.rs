//! Asks a server: performs the single requests that the core's state machine wants, each on a thread of its own.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use magpie_core::engine::{Begun, ServerSearch};
use magpie_core::remote::{
    Action, Answer, Attempt, DEADLINE_HEADER, Event, Exchange, MAX_REPLY_BYTES, Origin, Reply, SEARCH_PATH, Trouble,
    retry_after,
};
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Error};

/// A server, and what is known of it.
pub(crate) struct Server {
    url: String,
    token: Option<String>,
    agent: Agent,
    origin: Origin,
    begun: Instant,
}

/// What an attempt brought.
struct Outcome {
    attempt: Attempt,
    got: Result<Response, Trouble>,
}

struct Response {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Server {
    /// The server at a URL such as `https://shop.example`; `trusted` are the authorities whose certificates are trusted,
    /// Mozilla's where `None`.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub(crate) fn new(url: &str, token: Option<String>, trusted: Option<RootCerts>) -> Result<Server, String> {
        let fault = || format!("'{url}' is no URL of a server: expected https://HOST or http://HOST:PORT");
        let parsed: Uri = url.parse().map_err(|_| fault())?;
        if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.host().is_none() || parsed.query().is_some()
        {
            return Err(fault());
        }
        if parsed.scheme_str() == Some("http") && token.is_some() {
            log::warn!("the token is sent without encryption");
        }
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(trusted.unwrap_or(RootCerts::WebPki)).build())
            .http_status_as_error(false)
            // A redirect would carry query and token to a server that nobody named.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("magpie/", env!("CARGO_PKG_VERSION")));
        Ok(Server {
            url: format!("{}{SEARCH_PATH}", url.trim_end_matches('/')),
            token,
            agent: config.build().into(),
            origin: Origin::new(RandomState::new().hash_one(url)),
            begun: Instant::now(),
        })
    }

    /// The time of the clock that this server's exchanges run on.
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The answer to a search: the server's too, where the policy says so.
    pub(crate) fn ask(&mut self, asking: &ServerSearch) -> Answer {
        match asking.begin(&self.origin, self.now()) {
            Begun::Answer(answer) => answer,
            Begun::Exchange { exchange, .. } => self.drive(*exchange, &asking.body()),
        }
    }

    /// Drives an exchange to its end. Threads of attempts that are given up end by themselves, within their timeouts.
    fn drive(&mut self, mut exchange: Exchange, body: &str) -> Answer {
        let (tell, told): (Sender<Outcome>, Receiver<Outcome>) = channel();
        let mut action = exchange.handle(Event::Clock, self.now(), &mut self.origin);
        loop {
            let until = match action {
                Action::Done => return exchange.into_answer(),
                Action::Wait { until } => until,
                Action::Send { attempt, timeout, until } => {
                    self.send(attempt, timeout, body.to_owned(), tell.clone());
                    until
                }
            };
            // `tell` is still here: the only error is that the time is over.
            let outcome = told.recv_timeout(until.saturating_sub(self.now())).ok();
            let event = match &outcome {
                None => Event::Clock,
                Some(Outcome { attempt, got: Err(trouble) }) => Event::Failed { attempt: *attempt, trouble: *trouble },
                Some(Outcome { attempt, got: Ok(Response { status, retry_after, body }) }) => {
                    let reply = Reply { status: *status, retry_after: *retry_after, body };
                    Event::Reply { attempt: *attempt, reply }
                }
            };
            action = exchange.handle(event, self.now(), &mut self.origin);
        }
    }

    fn send(&self, attempt: Attempt, timeout: Duration, body: String, tell: Sender<Outcome>) {
        let (agent, url, token) = (self.agent.clone(), self.url.clone(), self.token.clone());
        let failed = tell.clone();
        let work = move || {
            let got = perform(&agent, &url, token.as_deref(), timeout, &body);
            // Nobody listens any more where the exchange has ended.
            let _ = tell.send(Outcome { attempt, got });
        };
        if std::thread::Builder::new().name("ask".to_owned()).spawn(work).is_err() {
            let _ = failed.send(Outcome { attempt, got: Err(Trouble::Unreachable) });
        }
    }
}

/// One request.
fn perform(agent: &Agent, url: &str, token: Option<&str>, time: Duration, body: &str) -> Result<Response, Trouble> {
    let mut request = agent
        .post(url)
        .config()
        .timeout_global(Some(time))
        .build()
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header(DEADLINE_HEADER, time.as_millis().to_string());
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut response = request.send(body).map_err(|e| trouble(&e))?;
    let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let retry_after = header.and_then(retry_after);
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(MAX_REPLY_BYTES as u64).read_to_vec();
    Ok(Response { status, retry_after, body: body.map_err(|e| trouble(&e))? })
}

/// The certificates of a PEM file.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn certificates(path: &Path) -> Result<RootCerts, String> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let bytes = fs::read(path).map_err(|e| failed(&e))?;
    let mut found: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&bytes) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| failed(&e))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(failed(&"there is no certificate (PEM) in it"));
    }
    Ok(RootCerts::Specific(Arc::new(found)))
}

fn trouble(error: &Error) -> Trouble {
    // Never the request: it holds the token.
    log::debug!("asking the server: {error}");
    match error {
        Error::Timeout(_) => Trouble::TimedOut,
        Error::BodyExceedsLimit(_) | Error::LargeResponseHeader(..) => Trouble::TooLarge,
        Error::Io(e) if is_distrust(e) => Trouble::Untrusted,
        Error::Io(e) => match e.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Trouble::TimedOut,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Trouble::Broken,
            _ => Trouble::Unreachable,
        },
        Error::Protocol(_) | Error::BodyStalled => Trouble::Broken,
        _ => Trouble::Unreachable,
    }
}

/// Whether a handshake ended at the server's certificate. What TLS says comes inside of an I/O error.
fn is_distrust(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

#[cfg(test)]
mod tests;
