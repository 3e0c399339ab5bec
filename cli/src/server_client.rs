//! Client of a catalogue server: sends the requests that the core's state machine asks for, each on its own thread.

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

/// A client of one server. Keeps what earlier requests have shown about the server.
pub(crate) struct ServerClient {
    url: String,
    token: Option<String>,
    agent: Agent,
    origin: Origin,
    started: Instant,
}

/// The result of one attempt.
struct AttemptOutcome {
    attempt: Attempt,
    result: Result<Response, Trouble>,
}

struct Response {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl ServerClient {
    /// Creates a client of the server at a URL such as `https://shop.example`. `trusted` holds the certificate
    /// authorities to trust, `None` for Mozilla's.
    ///
    /// # Errors
    /// A message if the URL is not that of a server.
    pub(crate) fn new(url: &str, token: Option<String>, trusted: Option<RootCerts>) -> Result<ServerClient, String> {
        let invalid = || format!("'{url}' is not the URL of a server: expected https://HOST or http://HOST:PORT");
        let parsed: Uri = url.parse().map_err(|_| invalid())?;
        if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.host().is_none() || parsed.query().is_some()
        {
            return Err(invalid());
        }
        if parsed.scheme_str() == Some("http") && token.is_some() {
            log::warn!("the token is sent without encryption");
        }
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(trusted.unwrap_or(RootCerts::WebPki)).build())
            .http_status_as_error(false)
            // A redirect would send the query and the token to a server that the user did not name.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("magpie/", env!("CARGO_PKG_VERSION")));
        Ok(ServerClient {
            url: format!("{}{SEARCH_PATH}", url.trim_end_matches('/')),
            token,
            agent: config.build().into(),
            origin: Origin::new(RandomState::new().hash_one(url)),
            started: Instant::now(),
        })
    }

    /// The clock of this client's exchanges: the time since the client was created.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Answers a search, with the server's listings too if the policy says to ask it.
    pub(crate) fn ask(&mut self, asking: &ServerSearch) -> Answer {
        match asking.begin(&self.origin, self.now()) {
            Begun::Answer(answer) => answer,
            Begun::Exchange { exchange, .. } => self.drive(*exchange, &asking.body()),
        }
    }

    /// Runs an exchange to its end. The threads of abandoned attempts end by themselves, within their timeouts.
    fn drive(&mut self, mut exchange: Exchange, body: &str) -> Answer {
        let (sender, receiver): (Sender<AttemptOutcome>, Receiver<AttemptOutcome>) = channel();
        let mut action = exchange.handle(Event::Clock, self.now(), &mut self.origin);
        loop {
            let until = match action {
                Action::Done => return exchange.into_answer(),
                Action::Wait { until } => until,
                Action::Send { attempt, timeout, until } => {
                    self.send(attempt, timeout, body.to_owned(), sender.clone());
                    until
                }
            };
            // `sender` is alive, so the only possible error is the timeout.
            let outcome = receiver.recv_timeout(until.saturating_sub(self.now())).ok();
            let event = match &outcome {
                None => Event::Clock,
                Some(AttemptOutcome { attempt, result: Err(trouble) }) => {
                    Event::Failed { attempt: *attempt, trouble: *trouble }
                }
                Some(AttemptOutcome { attempt, result: Ok(Response { status, retry_after, body }) }) => {
                    let reply = Reply { status: *status, retry_after: *retry_after, body };
                    Event::Reply { attempt: *attempt, reply }
                }
            };
            action = exchange.handle(event, self.now(), &mut self.origin);
        }
    }

    fn send(&self, attempt: Attempt, timeout: Duration, body: String, sender: Sender<AttemptOutcome>) {
        let (agent, url, token) = (self.agent.clone(), self.url.clone(), self.token.clone());
        let failed = sender.clone();
        let work = move || {
            let result = perform(&agent, &url, token.as_deref(), timeout, &body);
            // The receiver is gone if the exchange has ended.
            let _ = sender.send(AttemptOutcome { attempt, result });
        };
        if std::thread::Builder::new().name("ask".to_owned()).spawn(work).is_err() {
            let _ = failed.send(AttemptOutcome { attempt, result: Err(Trouble::Unreachable) });
        }
    }
}

/// Sends one request and reads the response.
fn perform(agent: &Agent, url: &str, token: Option<&str>, timeout: Duration, body: &str) -> Result<Response, Trouble> {
    let mut request = agent
        .post(url)
        .config()
        .timeout_global(Some(timeout))
        .build()
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header(DEADLINE_HEADER, timeout.as_millis().to_string());
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

/// Reads the certificates of a PEM file.
///
/// # Errors
/// A message that names the file if it cannot be read, is malformed, or holds no certificate.
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
        return Err(failed(&"the file holds no PEM certificate"));
    }
    Ok(RootCerts::Specific(Arc::new(found)))
}

fn trouble(error: &Error) -> Trouble {
    // Only the error is logged: the request holds the token.
    log::debug!("the request to the server failed: {error}");
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

/// Whether the TLS handshake failed because of the server's certificate. TLS errors come wrapped in I/O errors.
fn is_distrust(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

#[cfg(test)]
mod tests;
