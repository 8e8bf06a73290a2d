//! When a schedule fires: cron in a time zone, or every so often.
//!
//! Between two changes of a zone's offset local time runs as time does, so the question "when next?" is asked of the
//! pattern within one such stretch after the other. What happens at a change is what Vixie's cron does, which people
//! rely on: a pattern with fixed hours and minutes fires once where its time is skipped (right after the gap) and once
//! where its time comes twice (the first time); one that begins its hours or minutes with `*` keeps its pace, so it fires
//! through a repeated hour again and not at all in one that does not exist.

use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::{Cron, parser::CronParser};
use jiff::{Timestamp, tz::TimeZone};

/// Stretches of one offset that are searched: two a year, for a pattern that matches every few centuries.
const STRETCHES_MAX: usize = 1_000;

/// When a schedule fires.
#[derive(Clone, Debug)]
pub enum Rhythm {
    /// By a pattern; see [`Rhythm::cron`].
    Cron {
        /// The pattern.
        cron: Box<Cron>,
        /// Whose local time it means.
        zone: TimeZone,
        /// Whether it goes on at its pace when the clocks change.
        keeps_pace: bool,
    },
    /// Counted from a moment.
    Every {
        /// From one firing to the next.
        every: Duration,
        /// The moment.
        from: Timestamp,
    },
}

impl Rhythm {
    /// Reads a cron pattern: five fields, or six with seconds first, or seven with years last; `L`, `W`, `#`, names and
    /// `@daily` and its like are known.
    pub fn cron(pattern: &str, zone: TimeZone) -> Result<Self, String> {
        let cron = CronParser::new()
            .parse(pattern)
            .map_err(|error| error.to_string().trim_end_matches('.').to_owned())?;
        Ok(Self::Cron { cron: Box::new(cron), zone, keeps_pace: keeps_pace(pattern) })
    }

    /// The first firing after a moment; `None` if there is none.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { cron, zone, keeps_pace } => next_of_cron(cron, zone, *keeps_pace, moment),
            Self::Every { every, from } => {
                let every_ms = i64::try_from(every.as_millis()).ok()?.max(1);
                let since_ms = moment.as_millisecond().saturating_sub(from.as_millisecond());
                let count = since_ms.div_euclid(every_ms).saturating_add(1).max(0);
                let at_ms = from.as_millisecond().checked_add(count.checked_mul(every_ms)?)?;
                Timestamp::from_millisecond(at_ms).ok().filter(|at| *at > moment)
            }
        }
    }

    /// The last `max` firings of those after one moment and up to another, in order, and whether there were more.
    pub(crate) fn last_of(&self, after: Timestamp, until: Timestamp, max: usize) -> (Vec<Timestamp>, bool) {
        let mut span = Duration::from_mins(1);
        loop {
            let begin = until.checked_sub(span).map_or(after, |begin| begin.max(after));
            let mut found = Vec::new();
            let mut at = begin;
            while let Some(next) = self.next_after(at).filter(|next| *next <= until) {
                found.push(next);
                at = next;
            }
            if found.len() > max || begin == after {
                let more = found.len() > max || begin > after;
                let surplus = found.len().saturating_sub(max);
                return (found.split_off(surplus), more);
            }
            span *= 4;
        }
    }
}

/// Whether a pattern says "every", and so keeps its pace when the clocks change.
fn keeps_pace(pattern: &str) -> bool {
    let pattern = pattern.trim().to_ascii_lowercase();
    if pattern.starts_with('@') {
        return pattern == "@hourly";
    }
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    let minutes = usize::from(fields.len() > 5);
    fields.get(minutes..minutes + 2).is_some_and(|fields| fields.iter().any(|field| field.starts_with('*')))
}

/// A stretch of time in which a zone has one offset.
struct Stretch {
    offset_s: i64,
    /// When it begins, and how many seconds local time jumped forth (or back) then.
    begin: Option<(i64, i64)>,
    end_s: Option<i64>,
}

fn stretch_at(zone: &TimeZone, second: i64) -> Option<Stretch> {
    let moment = Timestamp::from_second(second).ok()?;
    let offset = |moment| i64::from(zone.to_offset(moment).seconds());
    // Strictly before the next second: a change at this one counts.
    let begin = zone.preceding(Timestamp::from_second(second + 1).ok()?).next().and_then(|change| {
        let at = change.timestamp();
        let before = Timestamp::from_second(at.as_second() - 1).ok()?;
        Some((at.as_second(), offset(at) - offset(before)))
    });
    let end_s = zone.following(moment).next().map(|change| change.timestamp().as_second());
    Some(Stretch { offset_s: offset(moment), begin, end_s })
}

fn next_of_cron(cron: &Cron, zone: &TimeZone, keeps_pace: bool, moment: Timestamp) -> Option<Timestamp> {
    // Inclusive from here on.
    let mut from_s = moment.as_second() + 1;
    for _ in 0..STRETCHES_MAX {
        let stretch = stretch_at(zone, from_s)?;
        let mut local_s = from_s + stretch.offset_s;
        if let Some((begin_s, jump_s)) = stretch.begin.filter(|_| !keeps_pace) {
            if jump_s < 0 {
                // These times were there before the change already.
                local_s = local_s.max(begin_s + stretch.offset_s - jump_s);
            } else if jump_s > 0 && from_s == begin_s {
                let skipped_s = begin_s + stretch.offset_s - jump_s;
                if matched(cron, skipped_s).is_some_and(|match_s| match_s < begin_s + stretch.offset_s) {
                    return Timestamp::from_second(begin_s).ok();
                }
            }
        }
        let found_s = matched(cron, local_s)? - stretch.offset_s;
        match stretch.end_s {
            Some(end_s) if found_s >= end_s => from_s = end_s,
            _ => return Timestamp::from_second(found_s).ok(),
        }
    }
    None
}

/// The first match at or after a local time, in seconds as if it were UTC.
fn matched(cron: &Cron, local_s: i64) -> Option<i64> {
    let local: DateTime<Utc> = DateTime::from_timestamp(local_s, 0)?;
    cron.find_next_occurrence(&local, true).ok().map(|found| found.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn cron(pattern: &str, name: &str) -> Rhythm {
        Rhythm::cron(pattern, zone(name)).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The next firings, as local times with offsets.
    fn firings(rhythm: &Rhythm, name: &str, from: &str, count: usize) -> Vec<String> {
        let mut moment = at(from);
        (0..count)
            .map(|_| {
                moment = rhythm.next_after(moment).unwrap();
                moment.to_zoned(zone(name)).strftime("%m-%dT%H:%M%:z").to_string()
            })
            .collect()
    }

    const BERLIN: &str = "Europe/Berlin";

    #[test]
    fn a_fixed_time_that_is_skipped_fires_right_after_the_gap() {
        let rhythm = cron("30 2 * * *", BERLIN);
        let expected = ["03-28T02:30+01:00", "03-29T03:00+02:00", "03-30T02:30+02:00"];
        assert_eq!(firings(&rhythm, BERLIN, "2026-03-27T12:00Z", 3), expected);
    }

    #[test]
    fn several_fixed_times_in_a_gap_fire_once() {
        let rhythm = cron("0,15,30,45 2 * * *", BERLIN);
        let expected = ["03-28T02:45+01:00", "03-29T03:00+02:00", "03-30T02:00+02:00"];
        assert_eq!(firings(&rhythm, BERLIN, "2026-03-28T01:30Z", 3), expected);
    }

    #[test]
    fn a_fixed_time_that_comes_twice_fires_the_first_time() {
        let rhythm = cron("30 2 * * *", BERLIN);
        let expected = ["10-24T02:30+02:00", "10-25T02:30+02:00", "10-26T02:30+01:00"];
        assert_eq!(firings(&rhythm, BERLIN, "2026-10-23T12:00Z", 3), expected);
        // Also when the question is asked in the midst of the repeated hour.
        assert_eq!(firings(&rhythm, BERLIN, "2026-10-25T01:10Z", 1), ["10-26T02:30+01:00"]);
    }

    #[test]
    fn what_says_every_keeps_its_pace_through_both_changes() {
        let rhythm = cron("*/30 * * * *", BERLIN);
        let spring = ["03-29T01:30+01:00", "03-29T03:00+02:00", "03-29T03:30+02:00"];
        assert_eq!(firings(&rhythm, BERLIN, "2026-03-29T00:00Z", 3), spring);
        let autumn = [
            "10-25T02:00+02:00",
            "10-25T02:30+02:00",
            "10-25T02:00+01:00",
            "10-25T02:30+01:00",
            "10-25T03:00+01:00",
        ];
        assert_eq!(firings(&rhythm, BERLIN, "2026-10-24T23:30Z", 5), autumn);
    }

    #[test]
    fn half_an_hour_and_a_whole_day_are_changes_too() {
        let lord_howe = "Australia/Lord_Howe";
        assert_eq!(
            firings(&cron("15 2 * * *", lord_howe), lord_howe, "2026-10-02T15:00Z", 2),
            ["10-03T02:15+10:30", "10-04T02:30+11:00"]
        );
        // Samoa left out the 30th of December 2011.
        let apia = "Pacific/Apia";
        assert_eq!(firings(&cron("0 12 30 12 *", apia), apia, "2011-12-29T00:00Z", 1), ["12-31T00:00+14:00"]);
    }

    #[test]
    fn patterns_have_names_seconds_and_last_days() {
        let rhythm = cron("0 9 * * MON-FRI", BERLIN);
        assert_eq!(
            firings(&rhythm, BERLIN, "2026-11-27T09:00Z", 2),
            ["11-30T09:00+01:00", "12-01T09:00+01:00"]
        );
        assert_eq!(firings(&cron("0 0 L * *", "UTC"), "UTC", "2026-02-10T00:00Z", 1), ["02-28T00:00+00:00"]);
        assert_eq!(
            cron("*/10 * * * * *", "UTC").next_after(at("2026-01-01T00:00:03Z")),
            Some(at("2026-01-01T00:00:10Z"))
        );
        assert_eq!(firings(&cron("@daily", "UTC"), "UTC", "2026-02-10T10:00Z", 1), ["02-11T00:00+00:00"]);
    }

    #[test]
    fn what_never_comes_is_told_as_none() {
        assert_eq!(cron("0 0 30 2 *", "UTC").next_after(at("2026-01-01T00:00Z")), None);
        assert!(Rhythm::cron("61 * * * *", TimeZone::UTC).is_err());
        assert!(Rhythm::cron("* * *", TimeZone::UTC).is_err());
    }

    #[test]
    fn intervals_are_counted_from_their_beginning() {
        let rhythm = Rhythm::Every { every: Duration::from_secs(90), from: at("2026-01-01T00:00:00Z") };
        assert_eq!(rhythm.next_after(at("2026-01-01T00:00:00Z")), Some(at("2026-01-01T00:01:30Z")));
        assert_eq!(rhythm.next_after(at("2026-01-01T00:02:59.999Z")), Some(at("2026-01-01T00:03:00Z")));
        assert_eq!(rhythm.next_after(at("2025-12-31T00:00:00Z")), Some(at("2026-01-01T00:00:00Z")));
    }

    #[test]
    fn the_last_firings_of_a_long_time_are_found_without_walking_through_it() {
        let rhythm = cron("* * * * * *", "UTC");
        let until = at("2026-06-01T00:00:00.5Z");
        let (last, more) = rhythm.last_of(at("2020-01-01T00:00Z"), until, 3);
        assert_eq!(
            last,
            [at("2026-05-31T23:59:58Z"), at("2026-05-31T23:59:59Z"), at("2026-06-01T00:00:00Z")]
        );
        assert!(more);
        let (all, more) = cron("0 0 * * *", "UTC").last_of(at("2026-05-29T12:00Z"), until, 10);
        assert_eq!((all.len(), more), (3, false));
    }

    proptest! {
        #[test]
        fn firings_ascend_and_fit_the_pattern(
            start in 0_i64..4_000_000_000, minute in 0_i32..60, hour in 0_i32..24, star: bool, zone_index in 0_usize..5,
        ) {
            let name = [BERLIN, "America/New_York", "Australia/Lord_Howe", "UTC", "Africa/Casablanca"][zone_index];
            let pattern = if star { format!("*/{} * * * *", minute.max(1)) } else { format!("{minute} {hour} * * *") };
            let rhythm = cron(&pattern, name);
            let mut moment = Timestamp::from_second(start).unwrap();
            for _ in 0..10 {
                let next = rhythm.next_after(moment).unwrap();
                prop_assert!(next > moment);
                if !star {
                    let hours = next.duration_since(moment).as_secs() / 3_600;
                    prop_assert!(hours <= 49, "a day was left out after {moment}");
                }
                // Asked from any moment before it, the answer is the same.
                let between = Timestamp::from_second(i64::midpoint(moment.as_second(), next.as_second() - 1)).unwrap();
                if between >= moment {
                    prop_assert_eq!(rhythm.next_after(between), Some(next));
                }
                moment = next;
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-0-9*/,LW#?@a-z ]{0,30}") {
            if let Ok(rhythm) = Rhythm::cron(&text, TimeZone::UTC) {
                let _ = rhythm.next_after(Timestamp::UNIX_EPOCH);
            }
        }
    }
}
