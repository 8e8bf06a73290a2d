//! `[agents.nodes]` of the configuration.

use std::{collections::BTreeMap, time::Duration};

use paddock_platform::units::{HumanDuration, non_zero_duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shortest lease: a loaded machine must be able to renew it.
const LEASE_MIN: Duration = Duration::from_secs(2);
/// Its name where the machine has none.
const NAME_DEFAULT: &str = "paddock";

/// Several servers that share a database (PostgreSQL) and its agents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NodesOptions {
    /// What this server is called; the machine's name when empty. The same name after a restart brings the same agents.
    pub name: String,
    /// What this server has; agents that ask for it (`placement`) are run here rather than elsewhere.
    pub labels: BTreeMap<String, String>,
    /// How many agents this server is to run, in proportion to the weights of the others.
    pub weight: u32,
    /// For how long a server that is not heard of keeps its agents; at least 2s. It stops them itself after three quarters
    /// of that, and others take them after the whole.
    #[serde(deserialize_with = "non_zero_duration")]
    pub lease: HumanDuration,
}

impl Default for NodesOptions {
    fn default() -> Self {
        Self { name: String::new(), labels: BTreeMap::new(), weight: 100, lease: HumanDuration::from_secs(8) }
    }
}

impl NodesOptions {
    pub(super) fn name(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let machine = machine.trim();
        if machine.is_empty() { NAME_DEFAULT.to_owned() } else { machine.to_owned() }
    }

    pub(super) fn lease(&self) -> Duration {
        self.lease.get().max(LEASE_MIN)
    }

    /// How long a server runs agents after it asked for its lease.
    pub(super) fn term(&self) -> Duration {
        self.lease() * 3 / 4
    }

    /// How often a lease is renewed.
    pub(super) fn heartbeat(&self) -> Duration {
        self.lease() / 4
    }
}
