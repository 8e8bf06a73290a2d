//! Single facts about a page or an element.

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, Target};
use crate::{action::ActionError, frames::LOOK_DEADLINE, ids::TabId, tab::Tab};

/// Which fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Page,
    Html,
    Styles,
    Value,
    Attr,
    Box,
    Visible,
    Enabled,
    Checked,
}

impl Fact {
    const fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Html => "html",
            Self::Styles => "styles",
            Self::Value => "value",
            Self::Attr => "attr",
            Self::Box => "box",
            Self::Visible => "visible",
            Self::Enabled => "enabled",
            Self::Checked => "checked",
        }
    }
}

/// Which element, and what of it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct InspectQuery {
    /// The tab; without one, the current tab.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// A reference, such as `e5`, or any other selector.
    pub r#ref: Option<String>,
    /// A selector.
    pub selector: Option<String>,
    /// The attribute, for `/attr`.
    pub name: Option<String>,
    /// The property, for `/styles`; all if absent.
    pub prop: Option<String>,
    /// Characters after which HTML is cut.
    pub max_chars: Option<usize>,
    /// A frame by Chrome's id of it, instead of the current one.
    pub frame_id: Option<String>,
}

impl InspectQuery {
    /// What names the element.
    fn selector(&self) -> Option<&str> {
        [&self.r#ref, &self.selector]
            .into_iter()
            .flatten()
            .map(|text| text.trim())
            .find(|text| !text.is_empty())
    }
}

/// The page, and what was asked of it.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageFacts {
    /// The tab.
    pub tab_id: TabId,
    /// Where it is.
    pub url: String,
    /// Its title.
    pub title: String,
    /// Markup of the page or the element.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Computed styles of the page's root or the element.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub styles: Option<Map<String, Value>>,
    /// Whether the markup was cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// How many elements a selector names.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Counted {
    /// The selector.
    pub selector: String,
    /// How many.
    pub count: u32,
}

#[derive(Deserialize)]
struct Told {
    value: Value,
    url: String,
    title: String,
}

impl BrowserService {
    /// Address and title of a page, and its markup or styles.
    pub(crate) async fn page_facts(
        &self,
        target: &Target,
        fact: Fact,
        query: InspectQuery,
    ) -> Result<PageFacts, Problem> {
        let tab = self.tab(target, READ).await?;
        let told = tell(&tab, fact, &query, query.selector()).await?;
        let mut facts = PageFacts {
            tab_id: tab.id().clone(),
            url: told.url,
            title: told.title,
            html: None,
            styles: None,
            truncated: false,
        };
        match (fact, told.value) {
            (Fact::Html, Value::String(mut html)) => {
                if let Some(chars_max) = query.max_chars.filter(|chars_max| *chars_max > 0)
                    && let Some((end, _)) = html.char_indices().nth(chars_max)
                {
                    html.truncate(end);
                    facts.truncated = true;
                }
                facts.html = Some(html);
            }
            (Fact::Html, _) => facts.html = Some(String::new()),
            (Fact::Styles, Value::Object(styles)) => facts.styles = Some(styles),
            _ => {}
        }
        Ok(facts)
    }

    /// A fact about an element: `{ref, <name of the fact>: value}`.
    pub(crate) async fn element_fact(
        &self,
        target: &Target,
        fact: Fact,
        query: InspectQuery,
    ) -> Result<Value, Problem> {
        let Some(selector) = query.selector() else {
            return Err(Problem::invalid_field("ref", "is missing: a reference or selector is required"));
        };
        if fact == Fact::Attr && query.name.as_deref().is_none_or(str::is_empty) {
            return Err(Problem::invalid_field("name", "is missing: which attribute"));
        }
        let tab = self.tab(target, READ).await?;
        let told = tell(&tab, fact, &query, Some(selector)).await?;
        Ok(match fact {
            Fact::Attr => json!({ "ref": selector, "name": query.name, "value": told.value }),
            fact => json!({ "ref": selector, fact.name(): told.value }),
        })
    }

    /// How many elements a selector names.
    pub async fn count(&self, target: &Target, query: InspectQuery) -> Result<Counted, Problem> {
        let Some(selector) = query.selector() else {
            return Err(Problem::invalid_field("selector", "is missing"));
        };
        let tab = self.tab(target, READ).await?;
        let Some(place) = tab.place_of(Some(selector)) else {
            return Ok(Counted { selector: selector.to_owned(), count: 0 });
        };
        if let Some(query) = selector.strip_prefix("find:") {
            let count = u32::from(tab.find_one(query).await?.is_some());
            return Ok(Counted { selector: selector.to_owned(), count });
        }
        let (text, within) = (Value::from(selector), Value::from(place.within.clone()));
        let expression = format!("paddockAccessibility.count({text},{within})");
        let count: i64 =
            tab.ask(&place.realm, &expression, LOOK_DEADLINE).await.map_err(ActionError::from)?;
        match u32::try_from(count) {
            Ok(count) => Ok(Counted { selector: selector.to_owned(), count }),
            Err(_) => Err(ActionError::InvalidSelector { selector: selector.to_owned() }.into()),
        }
    }
}

async fn tell(tab: &Tab, fact: Fact, query: &InspectQuery, selector: Option<&str>) -> Result<Told, Problem> {
    let argument = match fact {
        Fact::Styles => query.prop.clone(),
        Fact::Attr => query.name.clone(),
        _ => None,
    };
    let argument = json!({ "kind": fact.name(), "argument": argument });
    Ok(look(tab, query.frame_id.as_deref(), selector, "fact", argument).await?)
}

/// Calls a function of the script that looks at an element or, without a selector, at the document.
pub(super) async fn look<T: serde::de::DeserializeOwned>(
    tab: &Tab,
    frame_id: Option<&str>,
    selector: Option<&str>,
    function: &str,
    mut argument: Value,
) -> Result<T, ActionError> {
    let described = match selector.and_then(|selector| selector.strip_prefix("find:")) {
        Some(query) => Some(
            tab.find_one(query)
                .await?
                .ok_or_else(|| ActionError::NoElement { selector: format!("find:{query}") })?,
        ),
        None => None,
    };
    let selector = described.as_deref().or(selector);
    let place = match frame_id.filter(|id| !id.is_empty()) {
        Some(id) => tab.place_of_frame(id)?,
        None => tab.place_of(selector).unwrap_or_default(),
    };
    let Some(selector) = selector else {
        if let Some(within) = &place.within {
            argument["within"] = Value::from(within.as_str());
        }
        let expression = format!("paddockAccessibility.{function}({argument})");
        return Ok(tab.ask(&place.realm, &expression, LOOK_DEADLINE).await?);
    };
    let result = tab.in_place(&place, selector, function, argument).await;
    match result {
        Err(ActionError::StaleRef { reference, .. }) => Err(tab.stale(reference).await),
        result => result,
    }
}
