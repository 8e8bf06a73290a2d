//! Finding elements by a description.

use std::time::Instant;

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BrowserService, READ, Target};
use crate::{
    find::{Match, Weights},
    ids::TabId,
};

/// Matches of one request.
const MATCHES_MAX: usize = 100;
/// Longest query, in characters.
const QUERY_LENGTH_MAX: usize = 1000;

/// What to find.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FindRequest {
    /// A description such as `login button`, `second Buy link`, `input not password`; or a selector such as
    /// `role:button Save`.
    pub query: String,
    /// The tab; without one, the current tab.
    pub tab_id: Option<TabId>,
    /// Least score; 0.3 if absent.
    pub threshold: Option<f64>,
    /// Most matches; 3 if absent.
    pub top_k: Option<usize>,
    /// How much the words count.
    pub lexical_weight: Option<f64>,
    /// How much the likeness of the letters counts.
    pub embedding_weight: Option<f64>,
    /// Adds how each score came about.
    pub explain: bool,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Found {
    /// Reference of the best match; empty when there is none.
    pub best_ref: String,
    /// `high`, `medium` or `low`.
    pub confidence: String,
    /// Score of the best match, 0 to 1.
    pub score: f64,
    /// The matches, best first.
    pub matches: Vec<Match>,
    /// `combined`, or `structured` for queries of the form of a selector.
    pub strategy: String,
    /// The least score that was asked for.
    pub threshold: f64,
    /// Milliseconds that it took.
    pub latency_ms: u64,
    /// Elements that were compared.
    pub element_count: usize,
    /// What on the page speaks to a model, if anything does and `[browser] content_guard` is on.
    #[serde(rename = "idpiWarning", skip_serializing_if = "Option::is_none")]
    pub idpi_warning: Option<String>,
}

impl BrowserService {
    /// Finds elements by a description.
    pub async fn find(&self, target: Target, request: FindRequest) -> Result<Found, Problem> {
        let query = request.query.trim();
        if query.is_empty() || query.chars().count() > QUERY_LENGTH_MAX {
            return Err(Problem::invalid_field(
                "query",
                format!("must have 1 to {QUERY_LENGTH_MAX} characters"),
            ));
        }
        let share = |given: Option<f64>, default: f64| {
            given.filter(|given| (0.0..=1.0).contains(given)).unwrap_or(default)
        };
        let threshold = share(request.threshold.filter(|threshold| *threshold > 0.0), 0.3);
        let default = Weights::default();
        let weights = Weights {
            lexical: share(request.lexical_weight, default.lexical),
            letters: share(request.embedding_weight, default.letters),
        };
        let max = request.top_k.filter(|max| *max > 0).unwrap_or(3).min(MATCHES_MAX);
        let tab = self.tab(&target.or(request.tab_id.clone()), READ).await?;
        let started = Instant::now();
        let finding = tab.find(query, weights, threshold, max).await?;
        let mut matches = finding.matches;
        if !request.explain {
            for found in &mut matches {
                found.explain = None;
            }
        }
        let score = matches.first().map_or(0.0, |best| best.score);
        let confidence = match score {
            high if high >= 0.8 => "high",
            medium if medium >= 0.6 => "medium",
            _ => "low",
        };
        Ok(Found {
            best_ref: matches.first().map(|best| best.r#ref.clone()).unwrap_or_default(),
            confidence: confidence.to_owned(),
            score,
            matches,
            strategy: finding.strategy.to_owned(),
            threshold,
            latency_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            element_count: finding.elements,
            idpi_warning: None,
        })
    }
}
