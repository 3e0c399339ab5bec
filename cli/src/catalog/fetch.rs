//! Photos that a table gives by address, fetched once and kept in a folder.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use magpie_core::image::DecodeLimits;
use magpie_release::Digest;
use ureq::http::{HeaderMap, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, http::Response};

use crate::failure::{CommandFailure, Result};

/// Attempts for each photo.
const ATTEMPTS: u32 = 4;
/// Redirects that an attempt follows.
const REDIRECTS: u32 = 5;
/// The pause before the second attempt; each further one is four times as long.
const PAUSE: Duration = Duration::from_millis(250);

/// Fetches photos into a folder. A photo that is there is not fetched again, so a build that was interrupted goes on.
#[derive(Debug)]
pub(crate) struct PhotoFetcher {
    folder: PathBuf,
    agent: Agent,
    limit: u64,
    /// What became of each address, so that none is asked twice in a run.
    outcomes: Mutex<HashMap<Digest, Outcome>>,
}

/// The file of an address, or why it cannot be had, once that is known.
type Outcome = Arc<OnceLock<Result<PathBuf, String>>>;

/// What an attempt came to.
enum Attempt {
    Complete,
    /// Another attempt may help.
    Failed(String),
    /// No other attempt would help.
    Refused(String),
}

impl PhotoFetcher {
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn new(folder: &Path) -> Result<PhotoFetcher> {
        std::fs::create_dir_all(folder).map_err(|e| CommandFailure::io(folder, e))?;
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(RootCerts::WebPki).build())
            .http_status_as_error(false)
            // Followed by hand, to look at each address.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_global(Some(Duration::from_secs(600)))
            .user_agent(concat!("magpie/", env!("CARGO_PKG_VERSION")));
        let limit = DecodeLimits::default().max_bytes;
        Ok(PhotoFetcher {
            folder: folder.to_path_buf(),
            agent: config.build().into(),
            limit,
            outcomes: Mutex::default(),
        })
    }

    /// Returns the file of the photo at an address, and fetches it if it is not there.
    ///
    /// # Errors
    /// Why the photo cannot be had.
    pub(crate) fn fetch(&self, address: &str) -> Result<PathBuf, String> {
        let name = Digest::of(address.as_bytes());
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = Arc::clone(outcomes.entry(name).or_default());
        drop(outcomes);
        outcome.get_or_init(|| self.fetch_once(address, self.folder.join(name.to_string()))).clone()
    }

    fn fetch_once(&self, address: &str, path: PathBuf) -> Result<PathBuf, String> {
        if path.is_file() {
            return Ok(path);
        }
        let (mut bytes, mut etag, mut pause) = (Vec::new(), None, PAUSE);
        for attempt in 1.. {
            match self.attempt(address, &mut bytes, &mut etag) {
                Attempt::Complete => break,
                Attempt::Refused(reason) => return Err(reason),
                Attempt::Failed(reason) if attempt == ATTEMPTS => return Err(format!("{reason} ({attempt} attempts)")),
                Attempt::Failed(reason) => log::debug!("a photo is fetched again: {reason}"),
            }
            std::thread::sleep(pause);
            pause *= 4;
        }
        let failed = |e: io::Error| format!("{}: {e}", self.folder.display());
        // Under another name first: a file with this name is always a whole one.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed)?;
        file.write_all(&bytes).map_err(failed)?;
        file.persist(&path).map_err(|e| failed(e.error))?;
        Ok(path)
    }

    /// Requests what is missing of a photo.
    fn attempt(&self, address: &str, bytes: &mut Vec<u8>, etag: &mut Option<String>) -> Attempt {
        let response = match self.follow(address, bytes.len(), etag.as_deref()) {
            Ok(response) => response,
            Err(attempt) => return attempt,
        };
        let status = response.status().as_u16();
        let header = |name: &str| text(response.headers(), name).map(str::to_owned);
        let from = bytes.len() as u64;
        let whole =
            header("content-range").filter(|_| status == 206).and_then(|range| rest(&range)).map(|(_, all)| all);
        match status {
            200 => bytes.clear(),
            // The rest of the same photo.
            206 if from > 0
                && header("etag") == *etag
                && header("content-range").and_then(|range| rest(&range)).is_some_and(|(first, _)| first == from) => {}
            206 | 416 => {
                bytes.clear();
                return Attempt::Failed("the server answers with another part of the photo".to_owned());
            }
            429 | 500.. => return Attempt::Failed(format!("HTTP status {status}")),
            _ => return Attempt::Refused(format!("HTTP status {status}")),
        }
        if let Some(kind) = header("content-type").filter(|kind| kind.starts_with("text/")) {
            return Attempt::Refused(format!("the server answers with {kind}, not with a photo"));
        }
        // Only a strong tag says that the parts are of the same photo.
        *etag = header("etag").filter(|tag| tag.starts_with('"'));
        let room = self.limit - bytes.len() as u64;
        let read = response.into_body().into_reader().take(room + 1).read_to_end(bytes);
        if bytes.len() as u64 > self.limit {
            return Attempt::Refused(format!("the photo has more than the {} bytes allowed", self.limit));
        }
        match read {
            // A server may send less than it was asked for.
            Ok(_) if whole.is_some_and(|whole| whole != bytes.len() as u64) => {
                Attempt::Failed("the server sends only a part of the photo".to_owned())
            }
            Ok(_) => Attempt::Complete,
            Err(error) => {
                if etag.is_none() {
                    bytes.clear();
                }
                Attempt::Failed(error.to_string())
            }
        }
    }

    /// Sends a request for a photo from a place on, and follows redirects as long as they are of the same scheme, or from
    /// http to https.
    fn follow(&self, address: &str, from: usize, etag: Option<&str>) -> Result<Response<Body>, Attempt> {
        let mut uri = address_of(address).map_err(Attempt::Refused)?;
        for _ in 0..=REDIRECTS {
            let mut request = self.agent.get(&uri).header("accept-encoding", "identity").header("accept", "image/*");
            if let Some(etag) = etag.filter(|_| from > 0) {
                request = request.header("range", format!("bytes={from}-")).header("if-range", etag);
            }
            let response = request.call().map_err(|e| Attempt::Failed(e.to_string()))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let to = text(response.headers(), "location").unwrap_or_default();
            uri = redirected(&uri, to).map_err(Attempt::Refused)?;
        }
        Err(Attempt::Refused(format!("more than {REDIRECTS} redirects")))
    }
}

/// The first byte and the length of the whole file of a `content-range`.
fn rest(range: &str) -> Option<(u64, u64)> {
    let (places, whole) = range.strip_prefix("bytes ")?.split_once('/')?;
    Some((places.split_once('-')?.0.parse().ok()?, whole.parse().ok()?))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn address_of(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.trim().parse().map_err(|e| format!("not an address: {e}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err("not an address of http or https".to_owned()),
    }
}

fn redirected(from: &Uri, to: &str) -> Result<Uri, String> {
    let scheme = from.scheme_str().unwrap_or_default();
    let whole = match (to.strip_prefix("//"), from.authority()) {
        (Some(_), _) => format!("{scheme}:{to}"),
        (None, Some(authority)) if to.starts_with('/') => format!("{scheme}://{authority}{to}"),
        _ => to.to_owned(),
    };
    let uri =
        address_of(&whole).map_err(|_| "it is redirected to what is not an address of http or https".to_owned())?;
    if scheme == "https" && uri.scheme_str() != Some("https") {
        return Err("it is redirected from https to http".to_owned());
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc;

    use super::*;

    /// A server that answers one request after the other with these texts, and what it was asked.
    fn serve(answers: Vec<String>) -> (String, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (asked, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(count @ 1..) = stream.read(&mut buffer) else { break };
                    request.extend(&buffer[..count]);
                }
                let _ = asked.send(String::from_utf8_lossy(&request).to_lowercase());
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        (url, requests)
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n{body}")
    }

    #[test]
    fn a_photo_is_fetched_in_parts_if_need_be_and_only_once() {
        let first = answer("200 OK", "content-length: 10\r\netag: \"a\"\r\n", "12345");
        let rest =
            answer("206 Partial", "content-length: 5\r\netag: \"a\"\r\ncontent-range: bytes 5-9/10\r\n", "67890");
        let (url, requests) = serve(vec![first, rest]);
        let folder = tempfile::tempdir().expect("a folder");
        let fetcher = PhotoFetcher::new(&folder.path().join("photos")).expect("a folder");
        let path = fetcher.fetch(&format!("{url}/a.jpg")).expect("a photo");
        assert_eq!(std::fs::read(&path).expect("a file"), b"1234567890");
        assert!(!requests.recv().expect("a request").contains("range:"));
        let second = requests.recv().expect("a request");
        assert!(second.contains("range: bytes=5-") && second.contains("if-range: \"a\""), "{second}");
        // The server is gone by now.
        assert_eq!(fetcher.fetch(&format!("{url}/a.jpg")), Ok(path));
    }

    #[test]
    fn parts_of_other_photos_are_not_put_together() {
        let first = || answer("200 OK", "content-length: 10\r\netag: \"a\"\r\n", "12345");
        let other =
            answer("206 Partial", "content-length: 5\r\netag: \"b\"\r\ncontent-range: bytes 5-9/10\r\n", "fghij");
        let short = answer("206 Partial", "content-length: 1\r\netag: \"a\"\r\ncontent-range: bytes 5-5/10\r\n", "6");
        let rest = answer("206 Partial", "content-length: 4\r\netag: \"a\"\r\ncontent-range: bytes 6-9/10\r\n", "7890");
        let whole = answer("200 OK", "content-length: 3\r\n", "new");
        let folder = tempfile::tempdir().expect("a folder");
        let fetcher = PhotoFetcher::new(folder.path()).expect("a folder");
        for (answers, expected) in [(vec![first(), other, whole], "new"), (vec![first(), short, rest], "1234567890")] {
            let (url, _requests) = serve(answers);
            let path = fetcher.fetch(&format!("{url}/a.jpg")).expect("a photo");
            assert_eq!(std::fs::read_to_string(path).expect("a file"), expected);
        }
    }

    #[test]
    fn what_is_not_a_photo_of_the_web_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut fetcher = PhotoFetcher::new(folder.path()).expect("a folder");
        fetcher.limit = 8;
        let refused = |answers: Vec<String>| {
            let (url, _requests) = serve(answers);
            fetcher.fetch(&format!("{url}/a.jpg")).expect_err("no photo")
        };
        let redirect = |to: &str| answer("302 Found", &format!("location: {to}\r\ncontent-length: 0\r\n"), "");
        assert_eq!(refused(vec![answer("404 Not Found", "content-length: 0\r\n", "")]), "HTTP status 404");
        assert!(refused(vec![redirect("file:///etc/passwd")]).contains("not an address of http"));
        assert!(refused(vec![redirect("ftp://x/a.jpg")]).contains("not an address of http"));
        assert!(refused(vec![redirect("/a.jpg"); 6]).contains("more than 5 redirects"));
        assert!(refused(vec![answer("200 OK", "", "123456789")]).contains("more than the 8 bytes"));
        assert!(refused(vec![answer("200 OK", "content-type: text/html\r\n", "oops")]).contains("text/html"));
        assert!(fetcher.fetch("ftp://x/a.jpg").is_err() && fetcher.fetch("http://").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
        let https: Uri = "https://x/a".parse().expect("an address");
        assert_eq!(redirected(&https, "http://x/b"), Err("it is redirected from https to http".to_owned()));
        assert_eq!(redirected(&https, "/b").map(|uri| uri.to_string()), Ok("https://x/b".to_owned()));
        assert_eq!(redirected(&https, "//y/b").map(|uri| uri.to_string()), Ok("https://y/b".to_owned()));
    }
}
