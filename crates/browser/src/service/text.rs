//! The text of a page.

use std::time::Duration;

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, Target, inspect::look};
use crate::{guard, ids::TabId};

/// How long a page that is still being parsed is waited for.
const PARSED_MAX: Duration = Duration::from_secs(5);

/// Which text.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct TextQuery {
    /// The tab; without one, the current tab.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// `raw` for all text that shows instead of what a reader would read.
    pub mode: Option<String>,
    /// `text` for the text itself instead of JSON.
    pub format: Option<String>,
    /// Characters after which it is cut.
    pub max_chars: Option<usize>,
    /// A frame by Chrome's id of it, instead of the current one.
    pub frame_id: Option<String>,
    /// Only the text of this element.
    pub selector: Option<String>,
    /// Only the text of the element of this reference.
    pub r#ref: Option<String>,
}

/// The text of a page.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct PageText {
    /// Where it is.
    pub url: String,
    /// Its title.
    pub title: String,
    /// The text.
    pub text: String,
    /// Whether it was cut.
    pub truncated: bool,
    /// What in it speaks to a model, if anything does and `[browser] content_guard` is on.
    #[serde(default, rename = "idpiWarning", skip_serializing_if = "Option::is_none")]
    pub idpi_warning: Option<String>,
}

impl BrowserService {
    /// The text of a page: what a reader would read of it.
    pub async fn text(&self, target: &Target, query: TextQuery) -> Result<PageText, Problem> {
        let tab = self.tab(target, READ).await?;
        tab.parsed(PARSED_MAX).await;
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let selector = given(&query.r#ref).or_else(|| given(&query.selector));
        let mut argument = json!({ "raw": matches!(query.mode.as_deref(), Some("raw" | "full")) });
        if let Some(chars_max) = query.max_chars.filter(|chars_max| *chars_max > 0) {
            argument["lengthMax"] = chars_max.into();
        }
        let page: PageText =
            look(&tab, query.frame_id.as_deref(), selector.as_deref(), "readText", argument).await?;
        let mut text = page.text.clone();
        let mode = self.options().content_guard;
        let idpi_warning = guard::guard(mode, std::iter::once(page.text.as_str()), &mut text, false)?;
        Ok(PageText { text, idpi_warning, ..page })
    }
}
