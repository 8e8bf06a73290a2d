//! `[[llm.routes]]`.

use std::collections::BTreeMap;

use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::one;

/// How a route picks among its targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// By chance, in proportion to weights.
    #[default]
    Weighted,
    /// What costs least for the tokens of the request.
    Cheapest,
    /// What began to answer soonest, lately.
    Fastest,
    /// What has the fewest calls in flight for its weight.
    LeastBusy,
    /// A score of cost, speed, quality and reliability.
    Hybrid,
    /// The same for all of a conversation.
    Sticky,
}

impl Strategy {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Weighted => "weighted",
            Self::Cheapest => "cheapest",
            Self::Fastest => "fastest",
            Self::LeastBusy => "least-busy",
            Self::Hybrid => "hybrid",
            Self::Sticky => "sticky",
        }
    }
}

/// A name for models, and where it leads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteOptions {
    /// The name that callers use, or a prefix of names that ends in `*`.
    pub model: String,
    /// When it holds; of several routes of a name the first that does is taken.
    #[serde(skip_serializing_if = "WhenOptions::is_always")]
    pub when: WhenOptions,
    /// How it picks among its targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Where it leads.
    pub targets: Vec<TargetOptions>,
    /// Names that are tried, in this order, when no target answers.
    pub fallbacks: Vec<String>,
    /// The most that a call may be expected to cost, in US dollars; dearer targets are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_max: Option<f64>,
    /// As `llm.resilience.hedge_after`, for this route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge_after: Option<HumanDuration>,
}

/// A model at a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetOptions {
    /// A provider's name.
    pub provider: String,
    /// The model as the provider names it; as the caller does, where it is left out.
    #[serde(default)]
    pub model: String,
    /// Its part of the calls, beside the other targets' weights.
    #[serde(default = "one")]
    pub weight: f64,
    /// How good its answers are, 0.0 to 1.0, for the strategy `hybrid`.
    #[serde(default = "half")]
    pub quality: f64,
    /// The provider's credentials that are used; empty: all.
    #[serde(default)]
    pub credentials: Vec<String>,
}

const fn half() -> f64 {
    0.5
}

/// How soon an answer is wanted; callers say so in `X-Paddock-Class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Somebody waits.
    Interactive,
    /// Nobody does.
    Batch,
}

/// Something that a model must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Call tools.
    Tools,
    /// See pictures.
    Vision,
    /// Answer in JSON.
    Json,
}

/// When a route holds: when all that is said here is so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WhenOptions {
    /// The caller's tenant is one of these.
    pub tenants: Vec<String>,
    /// The caller's team is one of these.
    pub teams: Vec<String>,
    /// The request has all these tags (`X-Paddock-Tags: a, b`).
    pub tags: Vec<String>,
    /// The request has these headers.
    pub headers: BTreeMap<String, String>,
    /// It has at least about so many tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_min: Option<u64>,
    /// It has at most about so many tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_max: Option<u64>,
    /// It needs all of these.
    pub needs: Vec<Need>,
    /// It is of this class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
}

impl WhenOptions {
    fn is_always(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it holds for a request.
    pub(crate) fn holds(&self, ask: &super::Ask<'_>) -> bool {
        let among = |list: &[String], value: &str| list.is_empty() || list.iter().any(|known| known == value);
        let has_header = |(name, value): (&String, &String)| {
            let found = ask.headers.and_then(|headers| headers.get(name.as_str()));
            found.is_some_and(|found| found.as_bytes() == value.as_bytes())
        };
        let is_needed = |need: &Need| match need {
            Need::Tools => ask.needs.tools,
            Need::Vision => ask.needs.vision,
            Need::Json => ask.needs.json,
        };
        among(&self.tenants, ask.tenant)
            && among(&self.teams, ask.team)
            && self.tags.iter().all(|tag| ask.tags.contains(&tag.as_str()))
            && self.headers.iter().all(has_header)
            && self.tokens_min.is_none_or(|min| ask.tokens_in >= min)
            && self.tokens_max.is_none_or(|max| ask.tokens_in <= max)
            && self.needs.iter().all(is_needed)
            && self.class.is_none_or(|class| ask.class == Some(class))
    }
}
