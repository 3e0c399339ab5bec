//! Bearer tokens and their rate limits.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Instant;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use crate::problem::Refusal;

/// Shortest token that is accepted, in bytes: shorter ones can be guessed.
const SHORTEST: usize = 16;

/// The accepted bearer tokens, each with its own rate limit. If it is empty, no token is required.
#[derive(Debug)]
pub struct Tokens {
    known: RwLock<HashMap<[u8; 32], TokenEntry>>,
    per_second: f64,
    burst: f64,
}

#[derive(Debug)]
struct TokenEntry {
    name: String,
    bucket: Mutex<TokenBucket>,
}

/// A token bucket: how many requests may be sent at once, as of the last one.
#[derive(Debug, Clone, Copy)]
struct TokenBucket {
    saved: f64,
    at: Instant,
}

impl Tokens {
    /// No token is required.
    pub fn open() -> Tokens {
        Tokens { known: RwLock::default(), per_second: 0.0, burst: 0.0 }
    }

    /// Parses a token file. Each token allows `per_second` requests a second, and `burst` requests at once.
    ///
    /// # Errors
    /// What is wrong with the text: see [`Tokens::replace`].
    pub fn new(text: &str, per_second: f64, burst: f64) -> Result<Tokens, String> {
        let tokens = Tokens { known: RwLock::default(), per_second: per_second.max(0.001), burst: burst.max(1.0) };
        tokens.replace(text)?;
        Ok(tokens)
    }

    /// Reads and parses a token file: see [`Tokens::new`].
    ///
    /// # Errors
    /// The path, and what is wrong with the file.
    pub fn read(path: &Path, per_second: f64, burst: f64) -> Result<Tokens, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Tokens::new(&text, per_second, burst).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Replaces the tokens by those of a text with one `name token` per line; a word that begins with `#` starts a
    /// comment. Tokens that stay keep the state of their rate limit.
    ///
    /// # Errors
    /// The line number, and what is wrong with the line; never the token. The old tokens then stay.
    pub fn replace(&self, text: &str) -> Result<(), String> {
        let mut fresh = HashMap::new();
        let now = Instant::now();
        for (number, line) in (1..).zip(text.lines()) {
            // A token may contain `#`, but not begin with it.
            let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
            let (name, token) = match words[..] {
                [] => continue,
                [name, token] => (name, token),
                _ => return Err(format!("line {number}: expected a name and a token")),
            };
            if token.len() < SHORTEST {
                return Err(format!("line {number}: a token has at least {SHORTEST} characters"));
            }
            let bucket = Mutex::new(TokenBucket { saved: self.burst, at: now });
            if let Some(other) = fresh.insert(key(token), TokenEntry { name: name.to_owned(), bucket }) {
                return Err(format!("line {number}: {name} has the token of {}; each needs its own", other.name));
            }
        }
        if fresh.is_empty() {
            return Err("the file has no token".to_owned());
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (key, holder) in &mut fresh {
            if let Some(old) = known.remove(key) {
                holder.bucket = old.bucket;
            }
        }
        *known = fresh;
        Ok(())
    }

    /// Checks a request's token and rate limit. Returns the name of the token's holder, or `None` if no token is
    /// required.
    pub(crate) fn admit(&self, headers: &HeaderMap, now: Instant) -> Result<Option<String>, Refusal> {
        if self.burst == 0.0 {
            return Ok(None);
        }
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(Refusal::Unauthorized),
        };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // Looked up by hash, so that the time of the lookup does not leak how much of a token was guessed.
        let holder = known.get(&key(token)).ok_or(Refusal::Unauthorized)?;
        let mut bucket = holder.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let earned = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        *bucket = TokenBucket { saved: (bucket.saved + earned).min(self.burst), at: now.max(bucket.at) };
        if bucket.saved < 1.0 {
            return Err(Refusal::TooOften(((1.0 - bucket.saved) / self.per_second).ceil() as u64));
        }
        bucket.saved -= 1.0;
        Ok(Some(holder.name.clone()))
    }
}

fn key(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::time::Duration;

    const ANN: &str = "correct-horse-battery";

    fn bearer(token: &str) -> HeaderMap {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("plain text");
        HeaderMap::from_iter([(AUTHORIZATION, value)])
    }

    #[test]
    fn a_token_is_accepted_up_to_its_rate_limit() {
        let tokens = Tokens::new(&format!("# apps\nann {ANN}\n\nbob staple-staple-staple # new\n"), 2.0, 3.0);
        let tokens = tokens.expect("a sound file");
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(tokens.admit(&bearer(ANN), now), Ok(Some("ann".to_owned())));
        }
        assert_eq!(tokens.admit(&bearer(ANN), now), Err(Refusal::TooOften(1)));
        assert_eq!(tokens.admit(&bearer("staple-staple-staple"), now), Ok(Some("bob".to_owned())));
        assert!(tokens.admit(&bearer(ANN), now + Duration::from_millis(500)).is_ok());
        assert!(tokens.admit(&bearer(ANN), now + Duration::from_millis(500)).is_err());
        // Reloading the file does not refill the bucket.
        tokens.replace(&format!("ann {ANN}")).expect("a sound file");
        assert!(tokens.admit(&bearer(ANN), now + Duration::from_millis(500)).is_err());
        assert_eq!(tokens.admit(&bearer("staple-staple-staple"), now), Err(Refusal::Unauthorized));
    }

    #[test]
    fn a_token_may_contain_a_hash_sign() {
        let tokens = Tokens::new("ann correct-horse#battery# # hers", 1.0, 9.0).expect("a sound file");
        assert!(tokens.admit(&bearer("correct-horse#battery#"), Instant::now()).is_ok());
        for cut in ["correct-horse", "correct-horse#battery"] {
            assert_eq!(tokens.admit(&bearer(cut), Instant::now()), Err(Refusal::Unauthorized));
        }
    }

    #[test]
    fn invalid_headers_and_files_are_rejected() {
        let tokens = Tokens::new(&format!("ann {ANN}"), 1.0, 1.0).expect("a sound file");
        for headers in [HeaderMap::new(), bearer(""), bearer("another-token-of-hers"), {
            HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Basic correct-horse-battery"))])
        }] {
            assert_eq!(tokens.admit(&headers, Instant::now()), Err(Refusal::Unauthorized));
        }
        let twice = format!("ann {ANN}\nbob {ANN}");
        for text in
            ["", "# nobody", "ann", "ann short", "ann correct-horse-battery extra", "ann #orrect-horse-battery", &twice]
        {
            let fault = tokens.replace(text).expect_err("an invalid file");
            assert!(!fault.contains("short") && !fault.contains("horse"), "{fault}");
        }
        assert!(Tokens::open().admit(&HeaderMap::new(), Instant::now()).is_ok());
    }
}
