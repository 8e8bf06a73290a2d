//! Domain types for quantities in config files: durations ("30s") and sizes ("2MiB").

use std::{fmt, num::NonZeroUsize, str::FromStr, time::Duration};

use jiff::{SignedDuration, fmt::friendly};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest duration that is read, a century: adding it to a moment does not overflow.
const DURATION_MAX: Duration = Duration::from_hours(24 * 36_525);

/// A span of time as people write it: `500ms`, `30s`, `1h 30m`, `24h`, `7d`. Never negative, and a century at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(Duration);

/// A text that is not a duration.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a duration; write for example `500ms`, `30s` or `1h 30m`")]
pub struct ParseDurationError {
    text: String,
}

impl HumanDuration {
    /// A whole number of milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// A whole number of seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// The span as the standard library's type.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.0
    }
}

impl FromStr for HumanDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDurationError { text: text.to_owned() };
        // Days are not a `SignedDuration` unit, but "7d" is what people write for a retention.
        let (days, rest) = match text.split_once('d') {
            Some((days, rest)) if !days.is_empty() && days.bytes().all(|b| b.is_ascii_digit()) => {
                (days.parse::<u64>().map_err(|_| error())?, rest.trim())
            }
            _ => (0, text.trim()),
        };
        let days = days.checked_mul(86_400).map(Duration::from_secs).ok_or_else(error)?;
        let span = if rest.is_empty() && days > Duration::ZERO {
            Duration::ZERO
        } else {
            let span: SignedDuration =
                friendly::SpanParser::new().parse_duration(rest).map_err(|_| error())?;
            Duration::try_from(span).map_err(|_| error())?
        };
        days.checked_add(span).filter(|whole| *whole <= DURATION_MAX).map(Self).ok_or_else(error)
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printer = friendly::SpanPrinter::new().spacing(friendly::Spacing::BetweenUnits);
        match SignedDuration::try_from(self.0) {
            Ok(span) => f.write_str(&printer.duration_to_string(&span)),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

/// Reads a duration that must not be zero, for `#[serde(deserialize_with = "non_zero_duration")]`: a limit of no time
/// refuses everything.
pub fn non_zero_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HumanDuration, D::Error> {
    let duration = HumanDuration::deserialize(deserializer)?;
    if duration.get() > Duration::ZERO {
        return Ok(duration);
    }
    Err(de::Error::invalid_value(de::Unexpected::Other("no time at all"), &"a duration longer than `0s`"))
}

/// `number`, or one if it is zero: for defaults of options.
pub(crate) const fn non_zero(number: usize) -> NonZeroUsize {
    match NonZeroUsize::new(number) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    }
}

/// A number of bytes as people write it: `512KiB`, `2MiB`, `1GiB`, or a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// A text that is not a size.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a size; write for example `512KiB`, `2MiB` or `1GiB`")]
pub struct ParseSizeError {
    text: String,
}

const SIZE_UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TiB", 1 << 40),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// A number of bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A number of mebibytes.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of bytes as a memory size, saturating on machines with small addresses.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseSizeError { text: text.to_owned() };
        let trimmed = text.trim();
        let (number, factor) = SIZE_UNITS
            .iter()
            .find_map(|(unit, factor)| trimmed.strip_suffix(unit).map(|number| (number, *factor)))
            .unwrap_or((trimmed, 1));
        let number: u64 = number.trim().parse().map_err(|_| error())?;
        number.checked_mul(factor).map(Self).ok_or_else(error)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// Serde and JSON Schema through the text form, so that a config shows what a person would write.
macro_rules! as_text {
    ($name:ident, $expecting:literal, $pattern:literal, $visit_number:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
                        let convert: fn(i64) -> Option<$name> = $visit_number;
                        convert(number)
                            .ok_or_else(|| E::invalid_type(de::Unexpected::Signed(number), &self))
                    }

                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$name, E> {
                        i64::try_from(number)
                            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
                            .and_then(|number| self.visit_i64(number))
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $expecting, "pattern": $pattern })
            }
        }
    };
}

as_text!(HumanDuration, "a duration such as \"30s\" or \"1h 30m\"", r"^\s*[0-9].*[a-z]\s*$", |_| None);
as_text!(
    ByteSize,
    "a size such as \"512KiB\" or \"2MiB\"",
    r"^\s*[0-9]+\s*([KMGT]i?B|kB|B)?\s*$",
    |number| { u64::try_from(number).ok().map(ByteSize) }
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("1h 30m", 5_400_000),
            ("7d", 604_800_000),
            ("1d 2h", 93_600_000),
        ] {
            let parsed: HumanDuration = text.parse().unwrap();
            assert_eq!(parsed.get(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_an_example() {
        for text in ["", "30", "-5s", "soon", "1.5.2s", "99999999999999999999d", "999999d", "99999999999h"] {
            let error = text.parse::<HumanDuration>().unwrap_err().to_string();
            assert!(error.contains("30s"), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [("2MiB", 2 << 20), ("1 GiB", 1 << 30), ("512", 512), ("3kB", 3_000)] {
            assert_eq!(text.parse::<ByteSize>().unwrap().get(), bytes, "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "18446744073709551615KiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_survives_being_printed(millis in 0_u64..10_000_000_000) {
            let duration = HumanDuration::from_millis(millis);
            prop_assert_eq!(duration.to_string().parse::<HumanDuration>().unwrap(), duration);
        }

        #[test]
        fn a_size_survives_being_printed(bytes: u64) {
            let size = ByteSize::bytes(bytes);
            prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,24}") {
            let _ = text.parse::<HumanDuration>();
            let _ = text.parse::<ByteSize>();
        }
    }
}
