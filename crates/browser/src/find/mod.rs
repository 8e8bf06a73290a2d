//! Finding an element by what it is called: "login button", "search box not in the header", "second Buy link".
//!
//! Nothing but the words decides: those of the query are compared with those of each element (name, label, placeholder,
//! title, value, role), exactly, by their beginnings, as near misses and as synonyms ("sign in" is "log in"). The
//! likeness of the letters counts as well, so that typing errors and inflections do not matter. There is no model and
//! nothing to wait for. A query of the form of a selector (`role:button Save`) is answered by the page itself.

mod query;
mod words;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use self::query::rank;
use crate::{
    action::ActionError,
    evaluate::EvaluateError,
    frames::LOOK_DEADLINE,
    observe::ObserveError,
    snapshot::{Filter, SnapshotOptions},
    tab::Tab,
};

/// What an action needs of the element that a description finds.
const ACT_SCORE_MIN: f64 = 0.35;
/// How much the words count, and how much the letters.
const WEIGHTS: Weights = Weights { lexical: 0.75, letters: 0.25 };

/// How much each way to compare counts.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// The words.
    pub lexical: f64,
    /// The letters.
    pub letters: f64,
}

impl Default for Weights {
    fn default() -> Self {
        WEIGHTS
    }
}

/// An element that answers to a description.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema, ToSchema)]
pub struct Match {
    /// Its reference.
    pub r#ref: String,
    /// How well it answers, 0 to 1.
    pub score: f64,
    /// Its role.
    pub role: String,
    /// Its name.
    pub name: String,
    /// How the score came about, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explanation>,
}

/// How a score came about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema, ToSchema)]
pub struct Explanation {
    /// By the words.
    pub lexical_score: f64,
    /// By the letters.
    pub embedding_score: f64,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The elements, best first.
    pub matches: Vec<Match>,
    /// `structured` for queries of the form of a selector, else `combined`.
    pub strategy: &'static str,
    /// Elements that were compared.
    pub elements: usize,
}

const FORMS: &[&str] =
    &["role:", "text:", "label:", "placeholder:", "alt:", "title:", "testid:", "first:", "last:", "nth:"];

impl Tab {
    /// Finds elements by a description.
    pub async fn find(
        &self,
        query: &str,
        weights: Weights,
        threshold: f64,
        max: usize,
    ) -> Result<Finding, ActionError> {
        if FORMS.iter().any(|form| query.starts_with(form)) {
            return self.find_structured(query, max).await;
        }
        let options = SnapshotOptions { filter: Filter::Interactive, ..SnapshotOptions::default() };
        let mut snapshot = self.look(&options).await.map_err(not_looked)?;
        let mut matches = rank(&snapshot.nodes, query, weights, threshold, max);
        if matches.is_empty() {
            // Nothing that can be acted on: perhaps a text is meant.
            snapshot = self.look(&SnapshotOptions::default()).await.map_err(not_looked)?;
            matches = rank(&snapshot.nodes, query, weights, threshold, max);
        }
        Ok(Finding { matches, strategy: "combined", elements: snapshot.nodes.len() })
    }

    async fn find_structured(&self, query: &str, max: usize) -> Result<Finding, ActionError> {
        #[derive(Deserialize)]
        struct Named {
            r#ref: String,
            role: String,
            name: String,
            rank: u32,
        }
        #[derive(Deserialize)]
        struct All {
            found: Vec<Named>,
            elements: usize,
        }
        let place = self.place_of(None).unwrap_or_default();
        let all: All = self.in_place(&place, query, "named", json!({ "max": max })).await?;
        let score = |rank: u32| match rank {
            0 => 1.0,
            1 => 0.9,
            2 => 0.8,
            _ => 0.5,
        };
        let matches = all.found.into_iter().map(|found| Match {
            r#ref: found.r#ref,
            score: score(found.rank),
            role: found.role,
            name: found.name,
            explain: None,
        });
        Ok(Finding { matches: matches.collect(), strategy: "structured", elements: all.elements })
    }

    /// The reference of the element that a description fits best, if it fits.
    pub(crate) async fn find_one(&self, query: &str) -> Result<Option<String>, ActionError> {
        let found = tokio::time::timeout(LOOK_DEADLINE, self.find(query, WEIGHTS, ACT_SCORE_MIN, 1)).await;
        let found = found.map_err(|_| ActionError::Page(EvaluateError::Timeout(LOOK_DEADLINE)))??;
        Ok(found.matches.into_iter().next().map(|found| found.r#ref))
    }
}

fn not_looked(error: ObserveError) -> ActionError {
    match error {
        ObserveError::Evaluate(error) => error.into(),
        ObserveError::Snapshot(error) => ActionError::Invalid(error.to_string()),
    }
}
