//! What audits and crawls ask of a page beside its text.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    evaluate::EvaluateError,
    frames::{LOOK_DEADLINE, Realm},
    tab::Tab,
};

/// A page, as far as an audit or a crawl wants to know it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Survey {
    pub(crate) title: String,
    /// The language that the page says it is in.
    pub(crate) lang: String,
    pub(crate) description: String,
    /// Levels of the headings that show, in the document's order.
    pub(crate) headings: Vec<u8>,
    pub(crate) forms: Vec<Form>,
    /// Where the links lead, each once.
    pub(crate) links: Vec<String>,
    /// What the page says for machines (JSON-LD).
    pub(crate) structured: Vec<Map<String, Value>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Form {
    /// Where it sends what was entered.
    pub(crate) action: String,
    /// Whether it asks for a password.
    pub(crate) password: bool,
}

impl Tab {
    /// Surveys the page.
    pub(crate) async fn survey(&self) -> Result<Survey, EvaluateError> {
        self.ask(&Realm::PAGE, "paddockAccessibility.survey()", LOOK_DEADLINE).await
    }
}
