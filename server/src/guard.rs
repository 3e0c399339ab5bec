//! Bearer tokens, what they allow, and their rate limits.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use crate::problem::Refusal;
use crate::token_file::{Scopes, TokenLine, key, parse};

/// The longest time that a token may have to wait for, because of searches that took long.
const LONGEST_DEBT: f64 = 60.0;

/// The accepted bearer tokens, each with its own rate limit. If it is empty, no token is required.
#[derive(Debug)]
pub struct Tokens {
    known: RwLock<HashMap<[u8; 32], TokenEntry>>,
    per_second: f64,
    burst: f64,
    /// CPU time of a search that is paid for with the request.
    paid: Duration,
}

#[derive(Debug)]
struct TokenEntry {
    line: TokenLine,
    bucket: Arc<Mutex<TokenBucket>>,
}

/// A token bucket: how many requests may be sent at once, as of the last one. Below zero after searches that took long.
#[derive(Debug, Clone, Copy)]
struct TokenBucket {
    saved: f64,
    at: Instant,
}

/// What a request needs a token for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Search,
    Admin,
}

/// A request with a valid token.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The name of the token's holder.
    pub(crate) name: String,
    /// Charges the token for CPU time.
    pub(crate) meter: Meter,
}

/// Why a request was not admitted.
#[derive(Debug, PartialEq)]
pub(crate) struct Denied {
    pub(crate) refusal: Refusal,
    /// The name of the token's holder, if the token is known.
    pub(crate) name: Option<String>,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Denied { refusal, name: None }
    }
}

/// Charges a token for the CPU time of one request's searches, beyond what the request itself pays for.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    bucket: Arc<Mutex<TokenBucket>>,
    taken: Arc<Mutex<Duration>>,
    paid: Duration,
    most_debt: f64,
}

impl Meter {
    /// Charges CPU time.
    pub(crate) fn spend(&self, time: Duration) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let before = taken.saturating_sub(self.paid);
        *taken = taken.saturating_add(time);
        let cost = (taken.saturating_sub(self.paid) - before).as_secs_f64() / self.paid.as_secs_f64();
        if cost > 0.0 {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.saved = (bucket.saved - cost).max(-self.most_debt);
        }
    }
}

impl Tokens {
    /// No token is required.
    pub fn open() -> Tokens {
        Tokens { known: RwLock::default(), per_second: 0.0, burst: 0.0, paid: Duration::MAX }
    }

    /// Parses a token file. Each token allows `per_second` requests a second, and `burst` requests at once; a search that
    /// takes more CPU time than `paid` counts as so many more requests.
    ///
    /// # Errors
    /// What is wrong with the text: see [`Tokens::replace`].
    pub fn new(text: &str, per_second: f64, burst: f64, paid: Duration) -> Result<Tokens, String> {
        let (per_second, burst, paid) = (per_second.max(0.001), burst.max(1.0), paid.max(Duration::from_nanos(1)));
        let tokens = Tokens { known: RwLock::default(), per_second, burst, paid };
        tokens.replace(text)?;
        Ok(tokens)
    }

    /// Reads and parses a token file: see [`Tokens::new`].
    ///
    /// # Errors
    /// The path, and what is wrong with the file.
    pub fn read(path: &Path, per_second: f64, burst: f64, paid: Duration) -> Result<Tokens, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Tokens::new(&text, per_second, burst, paid).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Replaces the tokens by those of a text with one token per line: see the README. Tokens that stay keep the state of
    /// their rate limit.
    ///
    /// # Errors
    /// The line number, and what is wrong with the line; never the token. The old tokens then stay.
    pub fn replace(&self, text: &str) -> Result<(), String> {
        let lines = parse(text)?;
        let now = Instant::now();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let full = || Arc::new(Mutex::new(TokenBucket { saved: self.burst, at: now }));
        let entry = |(key, line): ([u8; 32], TokenLine)| {
            let bucket = known.get(&key).map_or_else(full, |old| Arc::clone(&old.bucket));
            (key, TokenEntry { line, bucket })
        };
        let fresh = lines.into_iter().map(entry).collect();
        *known = fresh;
        Ok(())
    }

    /// Checks a request's token, what it allows, and its rate limit. Returns `None` if no token is required.
    pub(crate) fn admit(&self, headers: &HeaderMap, scope: Scope, now: Instant) -> Result<Option<Caller>, Denied> {
        if self.burst == 0.0 {
            return match scope {
                Scope::Search => Ok(None),
                // What everyone may do would be no protection.
                Scope::Admin => Err(Refusal::Forbidden("this needs a server with tokens").into()),
            };
        }
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(Refusal::Unauthorized.into()),
        };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // Looked up by hash, so that the time of the lookup does not leak how much of a token was guessed.
        let TokenEntry { line, bucket } = known.get(&key(token)).ok_or(Refusal::Unauthorized)?;
        let denied = |refusal| Err(Denied { refusal, name: Some(line.name.clone()) });
        if line.ends.is_some_and(|ends| unix_time() >= ends) {
            return denied(Refusal::Expired);
        }
        let Scopes { search, admin } = line.scopes;
        if !(if scope == Scope::Admin { admin } else { search }) {
            return denied(Refusal::Forbidden("the token does not allow this"));
        }
        let mut state = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let earned = now.saturating_duration_since(state.at).as_secs_f64() * self.per_second;
        *state = TokenBucket { saved: (state.saved + earned).min(self.burst), at: now.max(state.at) };
        if state.saved < 1.0 {
            let seconds = (1.0 - state.saved) / self.per_second;
            return denied(Refusal::TooOften(seconds.ceil() as u64));
        }
        state.saved -= 1.0;
        let meter = Meter {
            bucket: Arc::clone(bucket),
            taken: Arc::default(),
            paid: self.paid,
            most_debt: LONGEST_DEBT * self.per_second,
        };
        Ok(Some(Caller { name: line.name.clone(), meter }))
    }
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const ANN: &str = "correct-horse-battery";
    const BOB: &str = "staple-staple-staple";
    const PAID: Duration = Duration::from_millis(10);

    fn bearer(token: &str) -> HeaderMap {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("plain text");
        HeaderMap::from_iter([(AUTHORIZATION, value)])
    }

    /// The name of the token's holder, or why it is refused.
    fn admit(tokens: &Tokens, token: &str, now: Instant) -> Result<String, Refusal> {
        let admitted = tokens.admit(&bearer(token), Scope::Search, now);
        admitted.map(|caller| caller.expect("tokens are required").name).map_err(|denied| denied.refusal)
    }

    #[test]
    fn a_token_is_accepted_up_to_its_rate_limit() {
        let text = format!("# apps\nann {ANN}\n\nbob {BOB} # new\n");
        let tokens = Tokens::new(&text, 2.0, 3.0, PAID).expect("a sound file");
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(admit(&tokens, ANN, now), Ok("ann".to_owned()));
        }
        let denied = tokens.admit(&bearer(ANN), Scope::Search, now).expect_err("it is used up");
        assert_eq!(denied, Denied { refusal: Refusal::TooOften(1), name: Some("ann".to_owned()) });
        assert_eq!(admit(&tokens, BOB, now), Ok("bob".to_owned()));
        assert!(admit(&tokens, ANN, now + Duration::from_millis(500)).is_ok());
        assert!(admit(&tokens, ANN, now + Duration::from_millis(500)).is_err());
        // Reloading the file does not refill the bucket.
        tokens.replace(&format!("ann {ANN}")).expect("a sound file");
        assert!(admit(&tokens, ANN, now + Duration::from_millis(500)).is_err());
        assert_eq!(admit(&tokens, BOB, now), Err(Refusal::Unauthorized));
    }

    #[test]
    fn long_searches_count_as_many_requests() {
        let tokens = Tokens::new(&format!("ann {ANN}"), 1.0, 10.0, PAID).expect("a sound file");
        let now = Instant::now();
        let caller = || tokens.admit(&bearer(ANN), Scope::Search, now).expect("admitted").expect("a token");
        // Two searches of one request, which are paid for with it up to ten milliseconds.
        let meter = caller().meter;
        meter.spend(PAID / 2);
        meter.spend(PAID / 2);
        assert_eq!((0..8).filter(|_| admit(&tokens, ANN, now).is_ok()).count(), 8);
        // The last request takes as long as eleven.
        caller().meter.spend(11 * PAID);
        assert_eq!(admit(&tokens, ANN, now), Err(Refusal::TooOften(11)));
        assert!(admit(&tokens, ANN, now + Duration::from_secs(11)).is_ok());
        // However long a search takes, the token can be used again in about a minute.
        meter.spend(Duration::from_secs(3600));
        assert_eq!(admit(&tokens, ANN, now + Duration::from_secs(11)), Err(Refusal::TooOften(61)));
    }

    #[test]
    fn a_token_allows_what_its_scope_says_until_it_expires() {
        let text = format!("ann {ANN} scope=admin\nbob {BOB} expires=2001-01-01");
        let tokens = Tokens::new(&text, 1.0, 9.0, PAID).expect("a sound file");
        let now = Instant::now();
        assert!(matches!(admit(&tokens, ANN, now), Err(Refusal::Forbidden(_))));
        assert!(tokens.admit(&bearer(ANN), Scope::Admin, now).is_ok());
        assert_eq!(admit(&tokens, BOB, now), Err(Refusal::Expired));
        tokens.replace(&format!("ann {ANN}\nbob {BOB} expires=9999-12-31")).expect("a sound file");
        assert!(admit(&tokens, BOB, now).is_ok());
        assert!(tokens.admit(&bearer(ANN), Scope::Admin, now).is_err());
        // Without tokens, nobody is an administrator.
        assert!(Tokens::open().admit(&bearer(ANN), Scope::Admin, now).is_err());
    }

    #[test]
    fn a_token_may_contain_a_hash_sign() {
        let tokens = Tokens::new("ann correct-horse#battery# # hers", 1.0, 9.0, PAID).expect("a sound file");
        assert!(admit(&tokens, "correct-horse#battery#", Instant::now()).is_ok());
        for cut in ["correct-horse", "correct-horse#battery"] {
            assert_eq!(admit(&tokens, cut, Instant::now()), Err(Refusal::Unauthorized));
        }
    }

    #[test]
    fn invalid_headers_are_rejected() {
        let tokens = Tokens::new(&format!("ann {ANN}"), 1.0, 1.0, PAID).expect("a sound file");
        for headers in [HeaderMap::new(), bearer(""), bearer("another-token-of-hers"), {
            HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Basic correct-horse-battery"))])
        }] {
            let denied = tokens.admit(&headers, Scope::Search, Instant::now()).expect_err("no valid token");
            assert_eq!(denied, Denied::from(Refusal::Unauthorized));
        }
        // The hash of a token is not the token.
        let hash = crate::hash_token(ANN).expect("a token");
        let tokens = Tokens::new(&format!("ann {hash}"), 1.0, 9.0, PAID).expect("a sound file");
        assert_eq!(admit(&tokens, &hash, Instant::now()), Err(Refusal::Unauthorized));
        assert!(admit(&tokens, ANN, Instant::now()).is_ok());
        assert!(Tokens::open().admit(&HeaderMap::new(), Scope::Search, Instant::now()).is_ok_and(|c| c.is_none()));
    }
}
