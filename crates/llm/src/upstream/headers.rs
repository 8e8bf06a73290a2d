//! What a provider's headers say about its limits.

use std::time::Duration;

use http::{HeaderMap, header};
use jiff::Timestamp;

/// Pairs of what is left and when it is full again, as vendors name them.
const LIMITS: [(&str, &str); 5] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
];

/// When to come back, if the answer says so: `Retry-After` in seconds or as a date, or `retry-after-ms`.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    if let Some(millis) = text(headers, "retry-after-ms").and_then(|text| text.parse::<f64>().ok())
        && millis >= 0.0
    {
        return Some(Duration::from_secs_f64((millis / 1000.0).min(86_400.0)));
    }
    let value = text(headers, header::RETRY_AFTER.as_str())?;
    if let Ok(seconds) = value.parse::<f64>() {
        return (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(86_400.0)));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(until(date))
}

/// How long to rest, because a limit has nothing left.
pub(crate) fn learned_rest(headers: &HeaderMap) -> Option<Duration> {
    let exhausted = LIMITS.iter().filter(|(remaining, _)| text(headers, remaining) == Some("0"));
    exhausted.filter_map(|(_, reset)| duration(text(headers, reset)?)).max()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// `1s`, `6m0s`, `17ms`, `1.5s`, plain seconds, or a moment.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(until(moment));
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return (0.0..=86_400.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds));
    }
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, unit) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let length = unit.find(|character: char| character.is_ascii_digit()).unwrap_or(unit.len());
        total += number
            * match &unit[..length] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &unit[length..];
    }
    (0.0..=86_400.0).contains(&total).then(|| Duration::from_secs_f64(total))
}

fn until(moment: Timestamp) -> Duration {
    Duration::try_from(moment.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn waits_are_read_in_every_form() {
        assert_eq!(retry_after(&headers(&[("retry-after", "7")])), Some(Duration::from_secs(7)));
        let both = headers(&[("retry-after", "7"), ("retry-after-ms", "250")]);
        assert_eq!(retry_after(&both), Some(Duration::from_millis(250)));
        let past = headers(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]);
        assert_eq!(retry_after(&past), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")])), None);
    }

    #[test]
    fn only_an_exhausted_limit_says_to_rest() {
        let some =
            headers(&[("x-ratelimit-remaining-requests", "3"), ("x-ratelimit-reset-requests", "6m0s")]);
        assert_eq!(learned_rest(&some), None);
        let none = headers(&[
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "1m2.5s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "17ms"),
        ]);
        assert_eq!(learned_rest(&none), Some(Duration::from_millis(62_500)));
    }

    proptest! {
        #[test]
        fn no_header_makes_a_reader_panic(value in "[ -~]{0,24}") {
            if let Ok(value) = HeaderValue::from_str(&value) {
                let mut headers = HeaderMap::new();
                for name in ["retry-after", "retry-after-ms", "x-ratelimit-reset-tokens"] {
                    headers.insert(name, value.clone());
                }
                headers.insert("x-ratelimit-remaining-tokens", HeaderValue::from_static("0"));
                let _ = (retry_after(&headers), learned_rest(&headers));
            }
        }
    }
}
