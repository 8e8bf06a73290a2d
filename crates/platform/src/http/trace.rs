//! Request ids and W3C trace context (<https://www.w3.org/TR/trace-context/>).

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderName, HeaderValue};

/// `traceparent`: in, the caller's span; out, ours.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `X-Request-Id`: the caller's if it sent a usable one, otherwise our span id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_LENGTH_MAX: usize = 128;

/// Where a request stands in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; the caller's if it sent one. Never zero.
    pub trace_id: u128,
    /// The span of this server's work. Never zero.
    pub span_id: u64,
    /// The caller's span.
    pub parent_id: Option<u64>,
    /// Whether the caller, or we as the first, record the trace.
    pub sampled: bool,
}

impl TraceContext {
    /// Continues the trace that the headers name, or begins one.
    pub fn begin(headers: &HeaderMap) -> Self {
        let parent = headers.get(TRACEPARENT).and_then(|value| parse_traceparent(value.as_bytes()));
        match parent {
            Some((trace_id, parent_id, sampled)) => {
                Self { trace_id, span_id: random_id(), parent_id: Some(parent_id), sampled }
            }
            None => Self {
                trace_id: (u128::from(random_id()) << 64) | u128::from(random_id()),
                span_id: random_id(),
                parent_id: None,
                sampled: true,
            },
        }
    }

    /// The trace id as 32 lower-case hexadecimal digits.
    pub fn trace_id_hex(&self) -> impl AsRef<str> + fmt::Display + use<> {
        Hex::<32>::new(self.trace_id)
    }

    /// The value of `traceparent` for those we answer or call.
    pub fn to_traceparent(&self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&Hex::<32>::new(self.trace_id).0);
        text[36..52].copy_from_slice(&Hex::<16>::new(u128::from(self.span_id)).0);
        text[54] = b'0' + u8::from(self.sampled);
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// The caller's request id if it is short and printable, otherwise the span id.
    pub fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let usable = |value: &&HeaderValue| {
            let bytes = value.as_bytes();
            (1..=REQUEST_ID_LENGTH_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
        };
        headers.get(X_REQUEST_ID).filter(usable).cloned().unwrap_or_else(|| {
            let hex = Hex::<16>::new(u128::from(self.span_id));
            HeaderValue::from_bytes(&hex.0).unwrap_or_else(|_| HeaderValue::from_static(""))
        })
    }
}

/// Lower-case hexadecimal digits without an allocation.
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    fn new(mut number: u128) -> Self {
        let mut digits = [b'0'; N];
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789abcdef"[(number & 0xf) as usize];
            number >>= 4;
        }
        Self(digits)
    }
}

impl<const N: usize> AsRef<str> for Hex<N> {
    fn as_ref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_ref())
    }
}

/// `version-trace-parent-flags`: a later version than 00 may have more fields, and is read as far as 00 goes.
pub(crate) fn parse_traceparent(value: &[u8]) -> Option<(u128, u64, bool)> {
    let version = hex(value.get(0..2)?)?;
    let length_allowed =
        if version == 0 { value.len() == 55 } else { value.len() == 55 || value.get(55) == Some(&b'-') };
    let dashes = [2, 35, 52].into_iter().all(|at| value.get(at) == Some(&b'-'));
    if version == 0xff || !length_allowed || !dashes {
        return None;
    }
    let trace_id = hex(&value[3..35])?;
    let parent_id = u64::try_from(hex(&value[36..52])?).ok()?;
    let flags = hex(&value[53..55])?;
    (trace_id != 0 && parent_id != 0).then_some((trace_id, parent_id, flags & 1 == 1))
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(value))
    })
}

/// Ids need to be unlikely to collide, not secret: a keyed hash of a counter, with the key from the system.
fn random_id() -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    KEY.hash_one(COUNTER.fetch_add(1, Ordering::Relaxed)).max(1)
}

/// What log lines, problems and calls to others need to know of the request they belong to.
#[derive(Clone, Debug)]
pub struct CurrentRequest {
    /// Where it stands in its trace.
    pub trace: TraceContext,
    /// What it is called.
    pub id: HeaderValue,
}

tokio::task_local! {
    /// Set around every handler. Cheaper than a span: it costs nothing until somebody logs.
    pub(crate) static CURRENT: CurrentRequest;
}

/// The request that the running task works on, if it is a request's.
pub fn current_request() -> Option<CurrentRequest> {
    CURRENT.try_with(Clone::clone).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn a_trace_is_continued_with_a_span_of_our_own() {
        let trace = TraceContext::begin(&headers("traceparent", PARENT));
        assert_eq!(trace.trace_id_hex().as_ref(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.parent_id, Some(0x00f0_67aa_0ba9_02b7));
        assert_ne!(Some(trace.span_id), trace.parent_id);
        assert!(trace.sampled);
    }

    #[test]
    fn what_is_not_a_trace_context_begins_a_new_trace() {
        for value in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            let trace = TraceContext::begin(&headers("traceparent", value));
            assert_eq!(trace.parent_id, None, "{value}");
            assert_ne!(trace.trace_id, 0);
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = PARENT.replacen("00", "cc", 1) + "-more";
        assert!(TraceContext::begin(&headers("traceparent", &later)).parent_id.is_some());
    }

    #[test]
    fn a_usable_request_id_is_kept_and_others_are_replaced() {
        let id = |value: &str| {
            let headers = headers("x-request-id", value);
            TraceContext::begin(&headers).request_id(&headers).to_str().unwrap().to_owned()
        };
        assert_eq!(id("order-7"), "order-7");
        for value in ["", "two words", &"x".repeat(129)] {
            assert_eq!(id(value).len(), 16, "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_trace_context_survives_being_sent(trace_id in 1_u128.., span_id in 1_u64.., sampled: bool) {
            let sent = TraceContext { trace_id, span_id, parent_id: None, sampled };
            let received = parse_traceparent(sent.to_traceparent().as_bytes());
            prop_assert_eq!(received, Some((trace_id, span_id, sampled)));
        }

        #[test]
        fn no_header_makes_the_parser_panic(value: Vec<u8>) {
            let _ = parse_traceparent(&value);
        }
    }
}
