//! When an agent is to do something by itself.

use std::{str::FromStr, sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use paddock_jobs::schedule::Rhythm;
use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::message::{
    Address, AgentName, Content, Draft, InvalidField, Label, Message, MessageId, Performative,
};

/// Who sends what is sent on schedule, and the protocol of it.
pub(crate) const SCHEDULE: &str = "schedule";
/// The shortest and the longest time between two requests.
const EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(24 * 366));

/// When an agent gets a request by itself, and what it says.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema, ToSchema)]
pub struct ScheduleDefinition {
    /// `every 5m`, at whole multiples of it, or a cron pattern: five fields, or six with seconds first.
    pub at: String,
    /// The time zone of a pattern, such as `Europe/Berlin`; `UTC` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// What the request says: a text, or any JSON; `{"scheduled_at": …}` when left out.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub content: Value,
    /// Where the answers go; when left out they are in the timeline alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_to: Option<Address>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    at: String,
    #[serde(default)]
    timezone: Option<String>,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    answer_to: Option<Address>,
}

impl<'de> Deserialize<'de> for ScheduleDefinition {
    /// All of it, or a text that says when.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = match Value::deserialize(deserializer)? {
            Value::String(at) => Whole { at, timezone: None, content: Value::Null, answer_to: None },
            value => serde_json::from_value(value).map_err(D::Error::custom)?,
        };
        let Whole { at, timezone, content, answer_to } = whole;
        Ok(Self { at, timezone, content, answer_to })
    }
}

impl ScheduleDefinition {
    fn rhythm(&self) -> Result<Rhythm, InvalidField> {
        let at = self.at.trim();
        let zone = match &self.timezone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| {
                InvalidField::new(
                    "schedule.timezone",
                    format!("there is no time zone `{name}`; write for example `Europe/Berlin`"),
                )
            })?,
        };
        let Some(every) = at.strip_prefix("every ") else {
            return Rhythm::cron(at, zone).map_err(|detail| {
                let hint = "write a cron pattern, such as `0 9 * * MON-FRI`, or `every 5m`";
                InvalidField::new("schedule.at", format!("`{at}`: {detail}; {hint}"))
            });
        };
        let every = HumanDuration::from_str(every)
            .map_err(|error| InvalidField::new("schedule.at", error.to_string()))?
            .get();
        if every < EVERY.0 || every > EVERY.1 {
            return Err(InvalidField::new("schedule.at", "`every` takes 1s to 366d"));
        }
        Ok(Rhythm::Every { every, from: Timestamp::UNIX_EPOCH })
    }

    /// What serde does not check.
    pub(crate) fn check(&self) -> Result<(), InvalidField> {
        match self.rhythm()?.next_after(Timestamp::now()) {
            Some(_) => Ok(()),
            None => Err(InvalidField::new("schedule.at", format!("`{}` never comes", self.at))),
        }
    }

    /// The first time after a moment; `None` if there is none.
    pub(crate) fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        self.rhythm().ok()?.next_after(moment)
    }

    /// What tells a schedule from another: when it fires.
    pub(crate) fn spec(&self) -> String {
        format!("{} {}", self.timezone.as_deref().unwrap_or("UTC"), self.at)
    }

    /// The request of one time. It has the same id whoever makes it.
    pub(crate) fn message(&self, name: &AgentName, key: &str, at: Timestamp) -> Arc<Message> {
        let content = match &self.content {
            Value::Null => Content::json(&json!({ "scheduled_at": at })),
            Value::String(text) => Content::text(text.clone()),
            value => Content::json(value),
        };
        let conversation = format!("{SCHEDULE}-{name}-{}", at.as_millisecond());
        let mut draft = Draft::new(Performative::Request, name.clone())
            .id(MessageId::derived(&[
                SCHEDULE.as_bytes(),
                key.as_bytes(),
                &at.as_millisecond().to_be_bytes(),
            ]))
            .content(content)
            .protocol(Label::of(SCHEDULE))
            .durable();
        if let Ok(conversation) = conversation.parse() {
            draft = draft.conversation(conversation);
        }
        if let Some(address) = &self.answer_to {
            draft = draft.reply_to(address.clone());
        }
        draft.from(Address::Caller(Label::of(SCHEDULE)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: Value) -> ScheduleDefinition {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_text_says_when_and_more_can_be_said() {
        let short = read(json!("every 5m"));
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(short.next_after(now).unwrap().to_string(), "2026-01-01T00:05:00Z");
        let whole = json!({ "at": "0 9 * * *", "timezone": "Europe/Berlin", "content": { "page": 7 } });
        let long = read(whole.clone());
        assert_eq!(long.next_after(now).unwrap().to_string(), "2026-01-01T08:00:00Z");
        assert_eq!(serde_json::to_value(&long).unwrap(), whole);
        long.check().unwrap();
    }

    #[test]
    fn what_cannot_be_parsed_is_refused_with_its_field() {
        for (value, field) in [
            (json!("every so often"), "schedule.at"),
            (json!("every 10ms"), "schedule.at"),
            (json!("61 * * * *"), "schedule.at"),
            (json!("0 0 30 2 *"), "schedule.at"),
            (json!({ "at": "@daily", "timezone": "Mars/Olympus" }), "schedule.timezone"),
        ] {
            assert_eq!(read(value.clone()).check().unwrap_err().field, field, "{value}");
        }
        let unknown = serde_json::from_value::<ScheduleDefinition>(json!({ "at": "@daily", "zone": "UTC" }));
        assert!(unknown.unwrap_err().to_string().contains("zone"));
    }

    #[test]
    fn one_time_has_one_message_whoever_makes_it() {
        let (schedule, name) = (read(json!("@daily")), "a".parse().unwrap());
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        let first = schedule.message(&name, "local/a", at);
        assert_eq!(first.id, schedule.message(&name, "local/a", at).id);
        assert_ne!(first.id, schedule.message(&name, "other/a", at).id);
        assert_ne!(first.id, schedule.message(&name, "local/a", at + Duration::from_secs(1)).id);
        assert_eq!(first.content.read::<Value>().unwrap(), json!({ "scheduled_at": "2026-01-01T00:00:00Z" }));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(at in "(every )?[-0-9*/,LW#?@a-z ]{0,20}", zone in "[A-Za-z/]{0,12}") {
            let schedule = ScheduleDefinition { at, timezone: Some(zone), content: Value::Null, answer_to: None };
            let _ = schedule.check();
        }
    }
}
