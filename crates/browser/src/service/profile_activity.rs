//! What was done with the instances of profiles.

use std::collections::BTreeMap;

use jiff::Timestamp;
use paddock_platform::{identity::Caller, problem::Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::{Position, Url};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ};
use crate::{
    activity::{Event, Filter},
    instance::Instance,
};

/// Which requests about a profile.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct ProfileLogQuery {
    /// Only the last so many.
    pub limit: Option<usize>,
}

/// A request about the instance that uses a profile.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileAction {
    /// When it ended.
    #[schema(value_type = String)]
    pub timestamp: Timestamp,
    /// HTTP method.
    pub method: String,
    /// Path under `/browser`.
    pub endpoint: String,
    /// Where its tab was at the end.
    pub url: String,
    /// The tab; empty if there was none.
    pub tab_id: String,
    /// Milliseconds that it took.
    pub duration_ms: u64,
    /// HTTP status.
    pub status: u16,
}

impl From<Event> for ProfileAction {
    fn from(event: Event) -> Self {
        Self {
            timestamp: event.timestamp,
            method: event.method,
            endpoint: event.path,
            url: event.url,
            tab_id: event.tab_id.map(|tab| tab.as_str().to_owned()).unwrap_or_default(),
            duration_ms: event.duration_ms,
            status: event.status,
        }
    }
}

impl BrowserService {
    /// What the instance that uses a profile was asked for, the latest last, as far as it is remembered.
    pub async fn profile_log(
        &self,
        caller: &Caller,
        name: &str,
        query: ProfileLogQuery,
    ) -> Result<Vec<ProfileAction>, Problem> {
        caller.require(READ)?;
        let profile = self.fleet.0.registry.profile(caller.tenant(), name).await?;
        let user = self.fleet.0.user_of(caller.tenant(), &profile.id);
        let mut actions = self.actions_of(caller, user.as_ref(), query.limit.filter(|limit| *limit > 0));
        actions.reverse();
        Ok(actions.into_iter().map(ProfileAction::from).collect())
    }

    /// The last requests about an instance, the last first.
    fn actions_of(&self, caller: &Caller, instance: Option<&Instance>, limit: Option<usize>) -> Vec<Event> {
        let Some(instance) = instance else { return Vec::new() };
        let instance_id = Some(instance.id().as_str().to_owned());
        let filter = Filter { instance_id, limit: limit.or(Some(usize::MAX)), ..Filter::default() };
        self.shared().activity.list(caller.tenant(), &filter)
    }

    /// What the instance that uses a profile was asked for and where it went, as far as that is remembered.
    pub async fn profile_analytics(&self, caller: &Caller, name: &str) -> Result<Value, Problem> {
        let view = self.profile(caller, name).await?;
        let user = self.fleet.0.user_of(caller.tenant(), &view.id);
        let log = user.as_ref().map(Instance::log).unwrap_or_default();
        let visited: Vec<&str> =
            log.iter().filter_map(|line| Some(line.split_once(" went to ")?.1)).collect();
        let mut hosts: BTreeMap<String, u64> = BTreeMap::new();
        for host in visited.iter().filter_map(|url| host_of(url)) {
            *hosts.entry(host).or_default() += 1;
        }
        let events = self.actions_of(caller, user.as_ref(), None);
        let now = Timestamp::now();
        let last_day =
            events.iter().filter(|event| now.duration_since(event.timestamp).as_hours() < 24).count();
        let mut endpoints: BTreeMap<&str, u64> = BTreeMap::new();
        for event in &events {
            *endpoints.entry(&event.path).or_default() += 1;
        }
        Ok(json!({
            "profile": view.name, "running": view.running, "lastUsed": view.last_used,
            "diskUsage": view.disk_usage, "totalActions": events.len(), "last24h": last_day,
            "commonHosts": hosts, "topEndpoints": endpoints, "navigations": visited.len(),
        }))
    }
}

/// The host of an address, with its port if it has one of its own.
fn host_of(url: &str) -> Option<String> {
    let url: Url = url.parse().ok()?;
    let host = &url[Position::BeforeHost..Position::AfterPort];
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_counted_with_its_port() {
        assert_eq!(host_of("https://shop.example/a").as_deref(), Some("shop.example"));
        assert_eq!(host_of("http://127.0.0.1:8080/").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(host_of("about:blank"), None);
    }
}
