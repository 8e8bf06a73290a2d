//! Which limits hold for a caller.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use metrics::gauge;
use paddock_platform::{identity::Caller, units::HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Ledger, PICO_PER_DOLLAR, Pico,
    meter::{Meter, MeterClaim},
};
use crate::{
    dialect::Dialect,
    error::{ErrorKind, LlmError},
    metrics::LLM_BUDGET_USED_RATIO,
};

/// Callers whose meters are known at a time; beyond it, they are found again.
const CALLERS_MAX: usize = 10_000;
/// Tells a caller that a soft budget is used up.
const X_BUDGET_WARNING: HeaderName = HeaderName::from_static("x-paddock-budget-warning");

/// What some callers may use and spend. Without `tenant`, `team` and `key` it is about everybody together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitOptions {
    /// A tenant, or `*`: each tenant has these limits for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// A team of `[llm.teams]`, or `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The id of a key, or `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Models that may be used: names as callers write them, or prefixes that end in `*`. Empty: all.
    pub models: Vec<String>,
    /// Requests a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u32>,
    /// Tokens a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u64>,
    /// US dollars a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<BudgetOptions>,
    /// US dollars a month (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month: Option<BudgetOptions>,
}

/// An amount of money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetOptions {
    /// US dollars after which callers are warned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft: Option<f64>,
    /// US dollars after which callers are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard: Option<f64>,
}

impl BudgetOptions {
    pub(super) fn hard_pico(self) -> Option<Pico> {
        self.hard.map(|dollars| (dollars.max(0.0) * PICO_PER_DOLLAR) as Pico)
    }

    pub(super) fn soft_pico(self) -> Option<Pico> {
        self.soft.map(|dollars| (dollars.max(0.0) * PICO_PER_DOLLAR) as Pico)
    }
}

/// Who a caller is to limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    tenant: String,
    key: String,
}

/// The limits of a configuration, and the meters of callers that were seen.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    options: Vec<LimitOptions>,
    /// The team of each key.
    teams: HashMap<String, String>,
    meters: RwLock<HashMap<(usize, String), Arc<Meter>>>,
    callers: RwLock<HashMap<Identity, Arc<[Arc<Meter>]>>>,
}

/// What a call holds of its caller's meters.
#[derive(Debug, Default)]
pub(crate) struct Claim(Vec<MeterClaim>);

impl Claim {
    /// Replaces estimates by what it was.
    pub(crate) fn settle(mut self, tokens: u64, cost: Pico) {
        for claim in self.0.drain(..) {
            claim.settle(tokens, cost);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for claim in self.0.drain(..) {
            claim.settle(0, 0);
        }
    }
}

impl Limits {
    /// The limits of new options. Meters of limits that are as they were keep their counts.
    pub(crate) fn new(
        options: &[LimitOptions],
        teams: &BTreeMap<String, Vec<String>>,
        before: Option<&Self>,
    ) -> Self {
        let of_key = teams.iter().flat_map(|(team, keys)| keys.iter().map(|key| (key.clone(), team.clone())));
        let teams: HashMap<String, String> = of_key.collect();
        let mut meters = HashMap::new();
        if let Some(before) = before.filter(|before| before.teams == teams) {
            for ((index, who), meter) in &*before.meters.read().unwrap_or_else(PoisonError::into_inner) {
                let unchanged = before.options.get(*index);
                if let Some(now) = options.iter().position(|option| Some(option) == unchanged) {
                    meters.insert((now, who.clone()), Arc::clone(meter));
                }
            }
        }
        Self { options: options.to_vec(), teams, meters: RwLock::new(meters), callers: RwLock::default() }
    }

    /// The team of a key; empty for none.
    pub(crate) fn team_of(&self, key: &str) -> &str {
        self.teams.get(key).map_or("", String::as_str)
    }

    /// The meters that hold for a caller.
    pub(crate) fn of(&self, caller: &Caller, ledger: &Ledger) -> Arc<[Arc<Meter>]> {
        if self.options.is_empty() {
            return Arc::from([]);
        }
        let identity = Identity {
            tenant: caller.tenant().as_str().to_owned(),
            key: caller.key_id().unwrap_or_default().to_owned(),
        };
        if let Some(known) = self.callers.read().unwrap_or_else(PoisonError::into_inner).get(&identity) {
            return Arc::clone(known);
        }
        let found: Arc<[Arc<Meter>]> =
            (0..self.options.len()).filter_map(|index| self.meter(index, &identity, ledger)).collect();
        let mut callers = self.callers.write().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= CALLERS_MAX {
            callers.clear();
        }
        callers.insert(identity, Arc::clone(&found));
        found
    }

    /// The meter of a limit for a caller, if the limit is about that caller.
    fn meter(&self, index: usize, identity: &Identity, ledger: &Ledger) -> Option<Arc<Meter>> {
        let options = self.options.get(index)?;
        let team = self.team_of(&identity.key);
        let mut name = Vec::new();
        for (what, selector, actual) in [
            ("tenant", &options.tenant, identity.tenant.as_str()),
            ("team", &options.team, team),
            ("key", &options.key, identity.key.as_str()),
        ] {
            match selector.as_deref() {
                None => {}
                Some("*") if !actual.is_empty() => name.push(format!("{what} {actual}")),
                Some(wanted) if wanted == actual => name.push(format!("{what} {actual}")),
                Some(_) => return None,
            }
        }
        let name = if name.is_empty() { "everybody".to_owned() } else { name.join(", ") };
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        let meter = meters.entry((index, name.clone())).or_insert_with(|| {
            let keys_of_team = |key: &str| options.team.is_none() || self.team_of(key) == team;
            let is_counted = |tenant: &str, key: &str| {
                (options.tenant.is_none() || tenant == identity.tenant)
                    && (options.key.is_none() || key == identity.key)
                    && keys_of_team(key)
            };
            let (of_day, of_month) = ledger.spent_before(is_counted);
            Arc::new(Meter::new(name, options, of_day, of_month))
        });
        Some(Arc::clone(meter))
    }

    /// Takes what a call needs of its caller's limits, before it is made.
    pub(crate) fn claim(meters: &[Arc<Meter>], tokens: u64, cost: Pico) -> Result<Claim, LlmError> {
        let mut claim = Claim(Vec::with_capacity(meters.len()));
        for meter in meters {
            claim.0.push(meter.claim(tokens, cost)?);
        }
        Ok(claim)
    }

    /// Whether the caller may use a model.
    pub(crate) fn check_model(meters: &[Arc<Meter>], model: &str) -> Result<(), LlmError> {
        match meters.iter().find(|meter| !meter.allows(model)) {
            None => Ok(()),
            Some(meter) => Err(LlmError::new(
                ErrorKind::Forbidden,
                format!("{} may not use the model `{model}`", meter.name),
            )),
        }
    }

    /// All meters, for people.
    pub(crate) fn all(&self) -> Vec<Arc<Meter>> {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            meters.iter().map(|((index, name), meter)| (*index, name.clone(), Arc::clone(meter))).collect();
        all.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
        all.into_iter().map(|(_, _, meter)| meter).collect()
    }

    /// Records how full the budgets are.
    pub(crate) fn report(&self) {
        for meter in self.all() {
            if let Some(ratio) = meter.used_ratio() {
                gauge!(LLM_BUDGET_USED_RATIO, "budget" => meter.name.to_string()).set(ratio);
            }
        }
    }
}

/// Tells the caller in the vendor's headers how much is left.
pub(crate) fn write_headers(dialect: Dialect, meters: &[Arc<Meter>], headers: &mut HeaderMap) {
    let least =
        |levels: &mut dyn Iterator<Item = super::meter::Level>| levels.min_by_key(|level| level.remaining);
    let requests = least(&mut meters.iter().filter_map(|meter| meter.requests_level()));
    let tokens = least(&mut meters.iter().filter_map(|meter| meter.tokens_level()));
    for (what, level) in [("requests", requests), ("tokens", tokens)] {
        let Some(level) = level else { continue };
        let fields: [(&str, String); 3] = [
            ("limit", level.limit.to_string()),
            ("remaining", level.remaining.to_string()),
            ("reset", reset(dialect)),
        ];
        for (field, value) in fields {
            let name = match dialect {
                Dialect::Anthropic => format!("anthropic-ratelimit-{what}-{field}"),
                _ => format!("x-ratelimit-{field}-{what}"),
            };
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
    }
    if let Some(warning) = meters.iter().find_map(|meter| meter.warning())
        && let Ok(value) = HeaderValue::try_from(warning)
    {
        headers.insert(X_BUDGET_WARNING, value);
    }
}

/// The window is full again after a minute without calls at the latest.
fn reset(dialect: Dialect) -> String {
    match dialect {
        Dialect::Anthropic => {
            let moment = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(1);
            format!("{moment:.0}")
        }
        _ => HumanDuration::from_secs(60).to_string().replace("1m", "1m0s"),
    }
}
