//! W3C Trace Context without an SDK. The server does not export spans; its log lines, its requests to the search engine
//! and its responses carry the ids of trace and span, so that other systems can correlate theirs.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The trace context, read from requests and sent to the search engine.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Vendor-specific trace data, forwarded unchanged.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The trace context of a response; defined by a draft of the standard's next level.
pub(crate) const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");
/// An id that OpenSearch writes into its slow logs and task lists.
const OPAQUE_ID: HeaderName = HeaderName::from_static("x-opaque-id");

/// Longest `tracestate` to forward, in bytes: the standard asks to propagate at least 512.
const LONGEST_STATE: usize = 512;
/// The known flags: sampled, and random trace id.
const FLAGS: u8 = 0b11;
/// The flags of a new trace: its id is random, and this server does not decide to sample it.
const RANDOM: u8 = 0b10;

tokio::task_local! {
    /// The trace of the request that the current task handles.
    static CURRENT: Trace;
}

/// A trace and a span in it. Neither id is ever zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    trace: u128,
    span: u64,
    flags: u8,
    state: Option<HeaderValue>,
}

impl Trace {
    /// Creates the server's span for a request: in the request's trace if it has a valid one, else in a new trace.
    pub(crate) fn of(headers: &HeaderMap) -> Trace {
        let one = |name: &HeaderName| {
            let mut all = headers.get_all(name).iter();
            // A repeated header is ambiguous, and ignored.
            all.next().filter(|_| all.next().is_none())
        };
        let given = one(&TRACEPARENT).and_then(|value| parse(value.as_bytes()));
        match given {
            Some((trace, flags)) => {
                let state = one(&TRACESTATE).filter(|value| value.len() <= LONGEST_STATE).cloned();
                Trace { trace, span: random(), flags: flags & FLAGS, state }
            }
            None => {
                let trace = u128::from(random()) << 64 | u128::from(random());
                Trace { trace, span: random(), flags: RANDOM, state: None }
            }
        }
    }

    /// The trace id in hexadecimal.
    pub(crate) fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The span id in hexadecimal.
    pub(crate) fn span_id(&self) -> String {
        format!("{:016x}", self.span)
    }

    /// The value of `traceparent` or `traceresponse`.
    pub(crate) fn header(&self) -> HeaderValue {
        let text = format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags);
        // Hexadecimal digits and dashes are always a valid header value.
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// Runs a future with this as the current trace.
    pub(crate) async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }
}

/// Adds the current trace, if there is one, to an outgoing request. Each call creates a new span, so that retries can
/// be told apart.
pub(crate) fn propagate(headers: &mut HeaderMap) {
    // An error means that there is no current request: this is a load, or a check for a newer index.
    let _ = CURRENT.try_with(|trace| {
        let child = Trace { span: random(), ..trace.clone() };
        if let Ok(id) = HeaderValue::from_str(&child.trace_id()) {
            headers.insert(OPAQUE_ID, id);
        }
        headers.insert(TRACEPARENT, child.header());
        if let Some(state) = child.state {
            headers.insert(TRACESTATE, state);
        }
    });
}

/// Parses a `traceparent` into trace id and flags; `None` if it does not follow the standard. The caller's span id is
/// checked, but not needed.
fn parse(text: &[u8]) -> Option<(u128, u8)> {
    // "00-" 32 digits "-" 16 digits "-" 2 digits; later versions may append more after another dash.
    let (fields, rest) = text.split_at_checked(55)?;
    let [version, trace, span, flags] = [0..2, 3..35, 36..52, 53..55].map(|digits| number(&fields[digits]));
    let (version, trace, span, flags) = (version?, trace?, span?, flags?);
    let dashes = [2, 35, 52].iter().all(|&at| fields[at] == b'-');
    let ended = rest.is_empty() || (version > 0 && rest[0] == b'-');
    (dashes && ended && version != 0xff && trace != 0 && span != 0).then_some((trace, flags as u8))
}

/// Parses lowercase hexadecimal digits.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Some(number << 4 | u128::from(digit - b'a' + 10)),
        _ => None,
    })
}

/// A random number other than zero; unique enough for ids, not cryptographically secure.
fn random() -> u64 {
    static KEYS: OnceLock<RandomState> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    KEYS.get_or_init(RandomState::new).hash_one(NEXT.fetch_add(1, Ordering::Relaxed)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(values: &[(&HeaderName, &[u8])]) -> HeaderMap {
        let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).expect("a value");
        values.iter().map(|(name, bytes)| ((*name).clone(), value(bytes))).fold(HeaderMap::new(), |mut map, (n, v)| {
            map.append(n, v);
            map
        })
    }

    #[test]
    fn a_request_keeps_its_trace_and_gets_a_new_span() {
        let state = (&TRACESTATE, &b"shop=7"[..]);
        let trace = Trace::of(&headers(&[(&TRACEPARENT, SOUND.as_bytes()), state]));
        assert_eq!(trace.trace_id(), &SOUND[3..35]);
        assert_ne!(trace.span_id(), &SOUND[36..52]);
        assert_eq!(trace.state.as_ref().map(HeaderValue::as_bytes), Some(&b"shop=7"[..]));
        let written = trace.header();
        assert_eq!(parse(written.as_bytes()), Some((trace.trace, 1)));
        assert!(written.to_str().is_ok_and(|text| text.contains(&trace.span_id())));
        // A tracestate without traceparent is ignored, and so is one that is too long.
        assert_eq!(Trace::of(&headers(&[state])).state, None);
        let long = vec![b'a'; LONGEST_STATE + 1];
        assert_eq!(Trace::of(&headers(&[(&TRACEPARENT, SOUND.as_bytes()), (&TRACESTATE, &long)])).state, None);
    }

    #[test]
    fn an_invalid_traceparent_starts_a_new_trace() {
        let later = format!("01{}-more", &SOUND[2..]);
        assert!(parse(later.as_bytes()).is_some() && parse(&later.as_bytes()[..55]).is_some());
        let changed = |at: usize, to: &str| format!("{}{to}{}", &SOUND[..at], &SOUND[at + to.len()..]);
        for text in [
            String::new(),
            SOUND[..54].to_owned(),
            format!("{SOUND}-more"),
            format!("{later}x").replace("-more", "more"),
            format!(" {SOUND}"),
            changed(0, "ff"),
            changed(0, "0x"),
            changed(2, "_"),
            changed(3, "4BF9"),
            changed(3, &"0".repeat(32)),
            changed(36, &"0".repeat(16)),
            changed(40, "-"),
            changed(53, "+1"),
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(&[0xff; 55]), None);
        let twice = headers(&[(&TRACEPARENT, SOUND.as_bytes()), (&TRACEPARENT, SOUND.as_bytes())]);
        let fresh = Trace::of(&twice);
        assert!(fresh.trace_id() != SOUND[3..35] && fresh.flags == RANDOM);
    }

    #[test]
    fn requests_without_a_trace_get_different_ones() {
        let traces: HashSet<u128> = (0..1000).map(|_| Trace::of(&HeaderMap::new()).trace).collect();
        assert!(traces.len() == 1000 && !traces.contains(&0));
    }
}
