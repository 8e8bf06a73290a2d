//! `Prefer` (RFC 7240): how long a caller waits for an answer that may take longer.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::problem::Problem;

/// The longest wait that `Prefer: wait=N` may ask for.
pub const WAIT_MAX: Duration = Duration::from_mins(10);
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What of a request's preferences is understood. Others are ignored, as the RFC asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preference {
    /// `wait=N` (section 4.3), cut to [`WAIT_MAX`].
    pub wait: Option<Duration>,
    /// `respond-async` (section 4.1): answer before it is done.
    pub respond_async: bool,
}

impl Preference {
    /// Reads them.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut found = Self::default();
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        for preference in values.flat_map(|value| value.split(',')) {
            let preference = preference.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                // The first of each counts.
                "wait" if found.wait.is_none() => found.wait = Some(seconds(value)?),
                "respond-async" => found.respond_async = true,
                _ => {}
            }
        }
        Ok(found)
    }

    /// Says in an answer what was followed.
    pub fn applied(self, headers: &mut HeaderMap) {
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let applied = self.respond_async.then(|| "respond-async".to_owned()).or(wait);
        let applied = applied.and_then(|applied| HeaderValue::try_from(applied).ok());
        headers.extend(applied.map(|applied| (PREFERENCE_APPLIED, applied)));
    }
}

fn seconds(text: &str) -> Result<Duration, Problem> {
    match text.trim().trim_matches('"').parse::<u32>() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds.into()).min(WAIT_MAX)),
        _ => Err(Problem::invalid_field("Prefer", "`wait` needs a whole number of seconds from 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preference(value: &'static str) -> Result<(Option<u64>, bool), Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(PREFER, HeaderValue::from_static(value));
        let found = Preference::of(&headers)?;
        Ok((found.wait.map(|wait| wait.as_secs()), found.respond_async))
    }

    #[test]
    fn preferences_are_read_among_others() {
        assert_eq!(preference("wait=30").unwrap(), (Some(30), false));
        assert_eq!(preference("respond-async, Wait=30; foo").unwrap(), (Some(30), true));
        assert_eq!(preference("wait=86400").unwrap(), (Some(600), false));
        assert_eq!(preference("respond-async").unwrap(), (None, true));
        for value in ["wait=0", "wait=soon", "wait", "wait=-1"] {
            assert!(preference(value).unwrap_err().detail.contains("Prefer"), "{value}");
        }
    }
}
