//! One try: sign, send, and say what came of it.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822};
use metrics::histogram;
use paddock_platform::{config::Section, problem::error_chain};
use reqwest::redirect::Policy;

use super::{
    DeliveryAttempt, DeliveryId, SigningSecret, WebhookOptions,
    metrics::JOBS_WEBHOOK_ATTEMPT_DURATION_SECONDS,
    resolver::{Resolver, parse_url, refusal_in},
    secret::signatures,
};

/// How long a receiver may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection that nobody uses is kept: an address is checked again after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read.
const ANSWER_SIZE_MAX: usize = 4 << 10;
/// Characters of it that are kept.
const ANSWER_LEN_MAX: usize = 300;
/// A receiver that asks for more is asked again after this time.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);
/// How long a receiver that says no more than that it has too much is left alone.
const THROTTLE_DEFAULT: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("Paddock-Webhooks/", env!("CARGO_PKG_VERSION"));

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver has it.
    Delivered,
    /// It has not.
    Failed,
    /// It has too much, and wants to be left alone for this long.
    Throttled(Duration),
    /// It wants to be told no more.
    Gone,
}

/// A try, as it is noted, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) attempt: DeliveryAttempt,
    pub(super) verdict: Verdict,
    /// Not sooner than after this time, as the receiver asked.
    pub(super) retry_after: Option<Duration>,
}

/// Sends deliveries. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    client: reqwest::Client,
    resolver: Resolver,
    options: Section<WebhookOptions>,
}

impl Sender {
    pub(super) fn new(options: Section<WebhookOptions>, resolver: Resolver) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .dns_resolver(resolver.clone())
            .build()?;
        Ok(Self { client, resolver, options })
    }

    /// Posts a body once.
    pub(super) async fn send(
        &self,
        url: &str,
        secrets: &[SigningSecret],
        id: &DeliveryId,
        body: &str,
    ) -> Sent {
        let (at, started) = (Timestamp::now(), Instant::now());
        let outcome = self.post(url, secrets, id, at, body).await;
        let took = started.elapsed();
        let label = match &outcome {
            Ok(answer) if answer.status.is_success() => "ok",
            Ok(answer) if answer.status.is_client_error() => "refused",
            Ok(answer) if answer.status.is_redirection() => "redirected",
            Ok(_) => "failed",
            Err(reason) => reason.label,
        };
        histogram!(JOBS_WEBHOOK_ATTEMPT_DURATION_SECONDS, "outcome" => label).record(took);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let noted = |status, error, answer| DeliveryAttempt { at, took_ms, status, error, answer };
        match outcome {
            Err(reason) => {
                let attempt = noted(None, Some(reason.text), None);
                Sent { attempt, verdict: Verdict::Failed, retry_after: None }
            }
            Ok(answer) => {
                let verdict = answer.verdict();
                let status = answer.status.as_u16();
                let good = verdict == Verdict::Delivered;
                let error = (!good).then(|| match answer.status {
                    status if status.is_redirection() => {
                        format!("the receiver redirects ({status}), which is not followed; register the address itself")
                    }
                    status => format!("the receiver answered {status}"),
                });
                let text = (!good && !answer.text.is_empty()).then_some(answer.text);
                let attempt = noted(Some(status), error, text);
                Sent { attempt, verdict, retry_after: answer.retry_after }
            }
        }
    }

    async fn post(
        &self,
        url: &str,
        secrets: &[SigningSecret],
        id: &DeliveryId,
        at: Timestamp,
        body: &str,
    ) -> Result<Answer, Failed> {
        let refused = |error: super::resolver::TargetError| Failed::new("not_allowed", error.to_string());
        let url = parse_url(url).map_err(refused)?;
        self.resolver.check_before(&url).await.map_err(refused)?;
        let seconds = at.as_second();
        let request = self
            .client
            .post(url)
            .timeout(self.options.current().timeout.get())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id.as_str())
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signatures(secrets, id.as_str(), seconds, body))
            .body(body.to_owned());
        let response = request.send().await.map_err(|error| Failed::of(&error))?;
        let (status, retry_after) = (response.status(), retry_after(response.headers(), Timestamp::now()));
        // Read to its end a connection can be used again; of a good answer nothing but that is of interest.
        let is_short = response.content_length().is_some_and(|length| length <= ANSWER_SIZE_MAX as u64);
        let text = if is_short || !status.is_success() { beginning(response).await } else { String::new() };
        Ok(Answer { status, retry_after, text })
    }
}

/// An answer of a receiver.
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    text: String,
}

impl Answer {
    fn verdict(&self) -> Verdict {
        match self.status {
            status if status.is_success() => Verdict::Delivered,
            StatusCode::GONE => Verdict::Gone,
            StatusCode::TOO_MANY_REQUESTS => Verdict::Throttled(self.retry_after.unwrap_or(THROTTLE_DEFAULT)),
            StatusCode::SERVICE_UNAVAILABLE => self.retry_after.map_or(Verdict::Failed, Verdict::Throttled),
            _ => Verdict::Failed,
        }
    }
}

/// There was no answer.
struct Failed {
    label: &'static str,
    text: String,
}

impl Failed {
    fn new(label: &'static str, text: impl Into<String>) -> Self {
        Self { label, text: text.into() }
    }

    fn of(error: &reqwest::Error) -> Self {
        if let Some(refusal) = refusal_in(error) {
            return Self::new("not_allowed", refusal.to_string());
        }
        if error.is_timeout() {
            return Self::new("timed_out", "the receiver did not answer in time");
        }
        let label = if error.is_connect() { "unreachable" } else { "broken" };
        // Without the URL: its path and query may hold what only its owner should see.
        let reason = std::error::Error::source(error).map_or_else(|| "no answer".to_owned(), error_chain);
        Self::new(label, format!("the receiver was not reached: {reason}"))
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Duration::try_from(date.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The beginning of an answer as text, without what would disturb a terminal.
async fn beginning(response: reqwest::Response) -> String {
    let mut parts = response.bytes_stream();
    let mut bytes = BytesMut::new();
    while let Some(Ok(part)) = parts.next().await {
        bytes.extend_from_slice(&part[..part.len().min(ANSWER_SIZE_MAX - bytes.len())]);
        if bytes.len() >= ANSWER_SIZE_MAX {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(ANSWER_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-30T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            ("Mon, 30 Nov 2026 10:01:00 GMT", Some(60)),
            ("Mon, 30 Nov 2026 09:00:00 GMT", Some(0)),
            ("999999999", Some(86_400)),
            ("soon", None),
            ("-5", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            assert_eq!(retry_after(&headers, now).map(|wait| wait.as_secs()), expected, "{text}");
        }
    }

    #[test]
    fn an_answer_says_what_becomes_of_the_webhook() {
        let verdict = |status: u16, seconds: Option<u64>| {
            let retry_after = seconds.map(Duration::from_secs);
            let status = StatusCode::from_u16(status).unwrap();
            Answer { status, retry_after, text: String::new() }.verdict()
        };
        assert_eq!(verdict(204, None), Verdict::Delivered);
        assert_eq!(verdict(302, None), Verdict::Failed);
        assert_eq!(verdict(404, None), Verdict::Failed);
        assert_eq!(verdict(410, None), Verdict::Gone);
        assert_eq!(verdict(429, None), Verdict::Throttled(THROTTLE_DEFAULT));
        assert_eq!(verdict(503, Some(9)), Verdict::Throttled(Duration::from_secs(9)));
        assert_eq!(verdict(503, None), Verdict::Failed);
    }
}
