//! Which events a watcher gets.

use std::sync::Arc;

use super::{Event, Events};
use crate::{
    identity::{AREAS, Caller, Scope, Tenant},
    problem::Problem,
};

/// Which events a watcher gets: of its tenant, of topics that it may read, and about what it asks for.
#[derive(Clone, Debug)]
pub struct EventFilter {
    tenant: Tenant,
    topics: Vec<&'static str>,
    kinds: Vec<String>,
    about: Vec<(&'static str, Arc<str>)>,
}

impl EventFilter {
    /// The topics that the caller asks for, separated by commas: `jobs` stands for `jobs.states` and all others under
    /// it. All that the caller may read when it asks for none.
    pub fn new(events: &Events, caller: &Caller, topics: Option<&str>) -> Result<Self, Problem> {
        let known = events.topics();
        let mut wanted = Vec::new();
        let asked: Vec<&str> = topics.map(words).unwrap_or_default();
        if asked.is_empty() {
            wanted.extend(known.iter().map(|topic| topic.name).filter(|name| may_read(caller, name)));
        }
        for word in asked {
            let before = wanted.len();
            wanted.extend(known.iter().map(|topic| topic.name).filter(|name| is_within(name, word)));
            if wanted.len() == before {
                let names: Vec<&str> = known.iter().map(|topic| topic.name).collect();
                let reason = format!("there is no `{word}`; there are {}", names.join(", "));
                return Err(Problem::invalid_field("topics", reason));
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        if let Some(name) = wanted.iter().find(|name| !may_read(caller, name)) {
            caller.require(Scope::read(area_of(name)))?;
        }
        if wanted.is_empty() && !known.is_empty() {
            caller.require(Scope::read(area_of(known[0].name)))?;
        }
        Ok(Self { tenant: caller.tenant().clone(), topics: wanted, kinds: Vec::new(), about: Vec::new() })
    }

    /// Of these types alone, separated by commas; all when there are none.
    #[must_use]
    pub fn of_types(mut self, types: Option<&str>) -> Self {
        self.kinds = types.map(words).unwrap_or_default().into_iter().map(str::to_owned).collect();
        self
    }

    /// About this alone: the event has a member of this name and value.
    #[must_use]
    pub fn about(mut self, name: &'static str, value: Option<impl Into<Arc<str>>>) -> Self {
        self.about.extend(value.map(|value| (name, value.into())));
        self
    }

    /// The topics that it is about.
    pub fn topics(&self) -> &[&'static str] {
        &self.topics
    }

    /// Whether the watcher gets this event.
    pub fn admits(&self, event: &Event) -> bool {
        if event.tenant.is_none() {
            return self.topics.contains(&event.topic);
        }
        event.tenant.as_ref() == Some(&self.tenant)
            && self.topics.contains(&event.topic)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == event.kind))
            && self.about.iter().all(|wanted| event.about.contains(wanted))
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
}

fn is_within(name: &str, word: &str) -> bool {
    name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The area whose scope a topic needs; of a topic without an area nobody may read anything.
fn area_of(topic: &str) -> &'static str {
    let area = topic.split('.').next().unwrap_or_default();
    AREAS.iter().find(|known| **known == area).copied().unwrap_or("debug")
}

fn may_read(caller: &Caller, topic: &str) -> bool {
    caller.may(Scope::read(area_of(topic)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Topic;

    fn events() -> Events {
        let events = Events::default();
        let topic = |name| Topic { name, about: "" };
        events.declare(&["jobs.states", "jobs.progress", "browser.tabs"].map(topic));
        events
    }

    fn topics_of(caller: &Caller, asked: Option<&str>) -> Result<Vec<&'static str>, Problem> {
        EventFilter::new(&events(), caller, asked).map(|filter| filter.topics().to_vec())
    }

    #[test]
    fn a_topic_stands_for_all_within_it() {
        let local = Caller::local();
        assert_eq!(topics_of(&local, Some("jobs")).unwrap(), ["jobs.progress", "jobs.states"]);
        assert_eq!(
            topics_of(&local, Some(" browser.tabs, jobs.states,")).unwrap(),
            ["browser.tabs", "jobs.states"]
        );
        assert_eq!(topics_of(&local, None).unwrap().len(), 3);
        let problem = topics_of(&local, Some("job")).unwrap_err();
        assert!(problem.detail.contains("jobs.states"), "{problem}");
    }

    #[test]
    fn nobody_gets_the_topics_of_an_area_that_it_may_not_read() {
        let caller = Caller::with_key("key", Tenant::local(), vec![Scope::read("browser")]);
        assert_eq!(topics_of(&caller, None).unwrap(), ["browser.tabs"]);
        assert_eq!(topics_of(&caller, Some("jobs")).unwrap_err().kind.slug, "forbidden");
        assert_eq!(topics_of(&Caller::anonymous(), None).unwrap_err().kind.slug, "forbidden");
    }
}
