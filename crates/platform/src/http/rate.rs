//! Rates as people write them ("100/s"), and the meters that count against them.
//!
//! A rate is enforced with the generic cell rate algorithm (`governor`): a caller may send `burst` requests at once and
//! is then let through at the rate, without the cliffs of fixed windows.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    io::Write as _,
    num::NonZeroU32,
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, QuantaClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use http::{HeaderName, HeaderValue};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The unit of time that a rate counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// `/s`
    Second,
    /// `/min`
    Minute,
    /// `/h`
    Hour,
}

impl Period {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    const fn name(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }

    /// Its length.
    pub const fn duration(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_mins(1),
            Self::Hour => Duration::from_hours(1),
        }
    }
}

/// The longest time that earning a whole burst may take.
const REFILL_MAX: Duration = Duration::from_hours(24 * 366);

/// So many requests in a period, and so many of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests in one period.
    pub requests: NonZeroU32,
    /// The period.
    pub period: Period,
    /// Requests that may come at once after a quiet time; the number per period unless said otherwise.
    pub burst: NonZeroU32,
}

impl Rate {
    /// The time in which one request is earned.
    fn interval(self) -> Duration {
        (self.period.duration() / self.requests.get()).max(Duration::from_nanos(1))
    }

    /// The time in which a spent burst is earned again.
    pub fn refill(self) -> Duration {
        self.interval() * self.burst.get()
    }
}

/// A limit of a rate: `100/s`, `600/min`, `100/s burst 20`, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub enum RateLimit {
    /// No limit.
    Unlimited,
    /// At most this.
    AtMost(Rate),
}

impl RateLimit {
    /// So many requests per second, and as many at once. Zero counts as one.
    pub const fn per_second(requests: u32) -> Self {
        let requests = match NonZeroU32::new(requests) {
            Some(requests) => requests,
            None => NonZeroU32::MIN,
        };
        Self::AtMost(Rate { requests, period: Period::Second, burst: requests })
    }

    /// The rate, if there is one.
    pub const fn rate(self) -> Option<Rate> {
        match self {
            Self::Unlimited => None,
            Self::AtMost(rate) => Some(rate),
        }
    }
}

/// A text that is not a rate limit.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a rate; write for example `100/s`, `600/min`, `100/s burst 20` or `unlimited`")]
pub struct ParseRateError {
    text: String,
}

impl FromStr for RateLimit {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseRateError { text: text.to_owned() };
        let trimmed = text.trim();
        if trimmed == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let (rate, burst) = match trimmed.split_once(" burst ") {
            Some((rate, burst)) => (rate, Some(burst.trim().parse().map_err(|_| error())?)),
            None => (trimmed, None),
        };
        let (requests, period) = rate.split_once('/').ok_or_else(error)?;
        let requests: NonZeroU32 = requests.trim().parse().map_err(|_| error())?;
        let period = Period::ALL.into_iter().find(|p| p.name() == period.trim()).ok_or_else(error)?;
        let rate = Rate { requests, period, burst: burst.unwrap_or(requests) };
        // Beyond, the arithmetic of the meters would overflow; and nobody waits for that.
        if rate.refill() > REFILL_MAX {
            return Err(error());
        }
        Ok(Self::AtMost(rate))
    }
}

impl TryFrom<Cow<'_, str>> for RateLimit {
    type Error = ParseRateError;

    fn try_from(text: Cow<'_, str>) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::AtMost(Rate { requests, period, burst }) => {
                write!(f, "{requests}/{}", period.name())?;
                if burst == requests { Ok(()) } else { write!(f, " burst {burst}") }
            }
        }
    }
}

impl From<RateLimit> for String {
    fn from(limit: RateLimit) -> Self {
        limit.to_string()
    }
}

impl JsonSchema for RateLimit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RateLimit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "a rate such as \"100/s\", \"600/min\" or \"100/s burst 20\", or \"unlimited\"",
            "pattern": r"^\s*(unlimited|[1-9][0-9]*\s*/\s*(s|min|h)( burst [1-9][0-9]*)?)\s*$",
        })
    }
}

/// The outcome of counting a request against a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Which limit: `key`, `ip` or `global`.
    pub(super) name: &'static str,
    pub(super) rate: Rate,
    /// Whether the request exceeds it.
    pub(super) refused: bool,
    /// Requests that may still come at once.
    requests: u32,
    /// Refused: until the next request is earned; otherwise until the whole burst is available again.
    pub(super) reset: Duration,
}

impl Taken {
    /// `RateLimit-Policy` and `RateLimit` as the IETF's draft-ietf-httpapi-ratelimit-headers has them: the quota `q`
    /// per window of `w` seconds; the requests `r` left, until `t` seconds from now.
    pub(super) fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        let mut policy = [0_u8; 48];
        let mut state = [0_u8; 48];
        let window = self.rate.period.duration().as_secs();
        let reset = self.reset.as_millis().div_ceil(1000);
        let policy =
            print(&mut policy, format_args!("\"{}\";q={};w={window}", self.name, self.rate.requests));
        let state = print(&mut state, format_args!("\"{}\";r={};t={reset}", self.name, self.requests));
        [(HeaderName::from_static("ratelimit-policy"), policy), (HeaderName::from_static("ratelimit"), state)]
    }
}

/// Formats on the stack: this runs for every request under a limit.
fn print(buffer: &mut [u8], text: fmt::Arguments<'_>) -> HeaderValue {
    let length = buffer.len();
    let mut rest = &mut *buffer;
    let _ = rest.write_fmt(text);
    let left = rest.len();
    HeaderValue::from_bytes(&buffer[..length - left]).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Counts the requests of one caller, address, or of everybody. `used` and the count of requests in flight let an idle
/// meter be forgotten.
pub(super) struct Meter {
    name: &'static str,
    rate: Option<Rate>,
    bucket: Option<RateLimiter<NotKeyed, InMemoryState, QuantaClock, StateInformationMiddleware>>,
    /// Shared with the meter before it, when the limit of a key changes: its requests are in flight all the same.
    in_flight: Arc<AtomicUsize>,
    used_ms: AtomicU64,
}

impl Meter {
    /// A meter whose limit is called `name` in the `RateLimit` headers.
    pub(super) fn new(name: &'static str, limit: RateLimit) -> Self {
        let rate = limit.rate();
        let bucket = rate.and_then(|rate| {
            let quota = Quota::with_period(rate.interval())?.allow_burst(rate.burst);
            Some(RateLimiter::direct(quota).with_middleware::<StateInformationMiddleware>())
        });
        Self { name, rate, bucket, in_flight: Arc::default(), used_ms: AtomicU64::new(0) }
    }

    /// Takes one request and says what is left. `None`: there is no limit.
    pub(super) fn take(&self) -> Option<Taken> {
        let (bucket, rate) = (self.bucket.as_ref()?, self.rate?);
        let (name, refused, requests, reset) = match bucket.check() {
            Ok(state) => {
                let requests = state.remaining_burst_capacity();
                let spent = rate.burst.get().saturating_sub(requests);
                (self.name, false, requests, rate.interval() * spent)
            }
            Err(refused) => (self.name, true, 0, refused.wait_time_from(bucket.clock().now())),
        };
        Some(Taken { name, rate, refused, requests, reset })
    }

    /// Takes one of `max` places until the answer is ready.
    pub(super) fn enter(&self, max: usize) -> Option<InFlight> {
        let taken = self
            .in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < max).then_some(n + 1))
            .is_ok();
        taken.then(|| InFlight(Arc::clone(&self.in_flight)))
    }
}

/// A place among the requests in flight, given back when dropped.
pub(super) struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

const SHARDS: usize = 16;
/// Different limits that newcomers without a place of their own may have, per shard.
const OVERFLOW_MAX: usize = 16;

/// A meter per key or address. Bounded: at the maximum, meters that have recovered are forgotten; if none has, all
/// newcomers share one, so that nobody can buy a fresh allowance by pushing others out.
pub(super) struct Meters<K> {
    shards: [Mutex<Shard<K>>; SHARDS],
    name: &'static str,
    hasher: RandomState,
    epoch: Instant,
    entries_max: usize,
}

struct Shard<K> {
    meters: HashMap<K, Arc<Meter>>,
    /// For newcomers without a place, one per limit.
    overflow: Vec<Arc<Meter>>,
}

impl<K> Shard<K> {
    /// The meter that newcomers with this limit share. Limits come from the configuration and from keys: they are few,
    /// and those beyond the maximum share the last.
    fn overflow(&mut self, name: &'static str, limit: RateLimit) -> Arc<Meter> {
        let same = self.overflow.iter().find(|meter| meter.rate == limit.rate());
        if let Some(meter) = same.or_else(|| self.overflow.get(OVERFLOW_MAX - 1)) {
            return Arc::clone(meter);
        }
        let meter = Arc::new(Meter::new(name, limit));
        self.overflow.push(Arc::clone(&meter));
        meter
    }
}

impl<K: Hash + Eq> Meters<K> {
    pub(super) fn new(name: &'static str, entries_max: usize) -> Self {
        Self {
            name,
            shards: std::array::from_fn(|_| {
                Mutex::new(Shard { meters: HashMap::new(), overflow: Vec::new() })
            }),
            hasher: RandomState::new(),
            epoch: Instant::now(),
            entries_max: (entries_max / SHARDS).max(1),
        }
    }

    /// The meter of `key` for this limit; another limit than before starts afresh, except that what is in flight is.
    pub(super) fn get<Q>(&self, key: &Q, limit: RateLimit, now: Instant) -> Arc<Meter>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let now_ms = u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX);
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        let mut shard = self.shards[index].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = shard.meters.get(key)
            && meter.rate == limit.rate()
        {
            meter.used_ms.store(now_ms, Ordering::Relaxed);
            return Arc::clone(meter);
        }
        if shard.meters.len() >= self.entries_max {
            shard.meters.retain(|_, meter| !is_idle(meter, now_ms));
        }
        if shard.meters.len() >= self.entries_max && !shard.meters.contains_key(key) {
            return shard.overflow(self.name, limit);
        }
        let mut meter = Meter::new(self.name, limit);
        if let Some(before) = shard.meters.get(key) {
            meter.in_flight = Arc::clone(&before.in_flight);
        }
        let meter = Arc::new(meter);
        meter.used_ms.store(now_ms, Ordering::Relaxed);
        shard.meters.insert(key.to_owned(), Arc::clone(&meter));
        meter
    }
}

/// Whether forgetting the meter changes nothing: nothing is in flight and its burst is whole again.
fn is_idle(meter: &Arc<Meter>, now_ms: u64) -> bool {
    let refill_ms = meter.rate.map_or(0, |rate| rate.refill().as_millis() as u64);
    Arc::strong_count(meter) == 1
        && meter.in_flight.load(Ordering::Relaxed) == 0
        && now_ms.saturating_sub(meter.used_ms.load(Ordering::Relaxed)) > refill_ms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        let rate = |text: &str| text.parse::<RateLimit>().unwrap();
        assert_eq!(rate("unlimited"), RateLimit::Unlimited);
        assert_eq!(rate("100/s"), RateLimit::per_second(100));
        let RateLimit::AtMost(parsed) = rate("600/min burst 20") else { unreachable!() };
        assert_eq!((parsed.requests.get(), parsed.period, parsed.burst.get()), (600, Period::Minute, 20));
        assert_eq!(parsed.refill(), Duration::from_secs(2));
    }

    #[test]
    fn what_is_not_a_rate_is_refused_with_an_example() {
        for text in [
            "",
            "100",
            "0/s",
            "-1/s",
            "5/day",
            "5/s burst 0",
            "5/s burst",
            "99999999999/s",
            "1/h burst 4294967295",
        ] {
            let error = text.parse::<RateLimit>().unwrap_err().to_string();
            assert!(error.contains("100/s"), "{text}: {error}");
        }
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_wait_is_named() {
        let meter = Meter::new("key", "60/min burst 2".parse().unwrap());
        assert_eq!(meter.take().unwrap().requests, 1);
        let last = meter.take().unwrap();
        assert_eq!((last.refused, last.requests), (false, 0));
        assert_eq!(last.headers()[0].1, "\"key\";q=60;w=60");
        assert_eq!(last.headers()[1].1, "\"key\";r=0;t=2");
        let refused = meter.take().unwrap();
        assert!(refused.refused);
        assert!(refused.reset > Duration::ZERO && refused.reset <= Duration::from_secs(1), "{refused:?}");
    }

    #[test]
    fn places_are_given_back() {
        let meter = Arc::new(Meter::new("global", RateLimit::Unlimited));
        let first = meter.enter(1).unwrap();
        assert!(meter.enter(1).is_none());
        drop(first);
        assert!(meter.enter(1).is_some());
    }

    #[test]
    fn newcomers_share_one_meter_when_all_places_are_taken() {
        let meters = Meters::<u32>::new("ip", SHARDS);
        let (limit, now) = (RateLimit::per_second(1), Instant::now());
        let held: Vec<_> = (0..1_000).map(|key| meters.get(&key, limit, now)).collect();
        let kept: usize = meters.shards.iter().map(|shard| shard.lock().unwrap().meters.len()).sum();
        assert!(kept <= SHARDS, "{kept}");
        let passed = held.iter().filter(|meter| !meter.take().unwrap().refused).count();
        assert!(passed <= 2 * SHARDS, "{passed}: who has no place of its own shares one per shard");
        let other = meters.get(&7_000, RateLimit::per_second(5), now);
        assert_eq!(
            other.take().unwrap().rate,
            RateLimit::per_second(5).rate().unwrap(),
            "not the first one's limit"
        );
        drop((held, other));
        let later = now + Duration::from_secs(5);
        let fresh = meters.get(&5_000, limit, later);
        assert!(!fresh.take().unwrap().refused);
    }

    #[test]
    fn a_changed_limit_starts_afresh() {
        let meters = Meters::<u32>::new("ip", 64);
        let now = Instant::now();
        assert!(!meters.get(&1, RateLimit::per_second(1), now).take().unwrap().refused);
        assert!(meters.get(&1, RateLimit::per_second(1), now).take().unwrap().refused);
        assert!(!meters.get(&1, RateLimit::per_second(2), now).take().unwrap().refused);
    }

    #[test]
    fn a_changed_rate_does_not_forget_what_is_in_flight() {
        let meters = Meters::<u32>::new("key", 64);
        let now = Instant::now();
        let first = meters.get(&1, RateLimit::per_second(1), now).enter(1).unwrap();
        let changed = meters.get(&1, RateLimit::per_second(2), now);
        assert!(changed.enter(1).is_none());
        drop(first);
        assert!(changed.enter(1).is_some());
    }

    proptest! {
        #[test]
        fn a_rate_survives_being_printed(requests in 1_u32.., burst in 1_u32.., period in 0_usize..3) {
            let rate = Rate {
                requests: NonZeroU32::new(requests).unwrap(),
                period: Period::ALL[period],
                burst: NonZeroU32::new(burst).unwrap(),
            };
            prop_assume!(rate.refill() <= REFILL_MAX);
            let limit = RateLimit::AtMost(rate);
            prop_assert_eq!(limit.to_string().parse::<RateLimit>().unwrap(), limit);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,24}") {
            let _ = text.parse::<RateLimit>();
        }

        #[test]
        fn every_limit_that_is_read_can_be_counted_against(
            requests in 1_u32..,
            burst in 1_u32..,
            period in prop::sample::select(vec!["s", "min", "h"]),
        ) {
            if let Ok(limit) = format!("{requests}/{period} burst {burst}").parse() {
                prop_assert!(!Meter::new("key", limit).take().unwrap().refused);
            }
        }
    }
}
