//! The frame that selectors are about.

use paddock_platform::problem::{INVALID_REQUEST, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{BrowserService, READ, Target, WRITE};
use crate::{
    action::ActionError,
    frames::{FrameFacts, FrameScope, LOOK_DEADLINE, Place},
    ids::TabId,
    tab::Tab,
};

/// Chooses the frame that selectors are about.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FrameRequest {
    /// The tab; without one, the current tab.
    pub tab_id: Option<TabId>,
    /// `main`, a reference or selector of a frame's element, or a name or address of a frame.
    pub target: Option<String>,
}

/// The frame that selectors are about.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrameView {
    /// The tab.
    pub tab_id: TabId,
    /// Whether it is another than the page.
    pub scoped: bool,
    /// Chrome's id of the frame, or `main`.
    pub target: String,
    /// The frame, or `main`.
    #[schema(value_type = Object)]
    pub current: serde_json::Value,
    /// The frame, if it is another than the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<FrameScope>,
}

fn view(tab: &Tab, scope: Option<FrameScope>) -> FrameView {
    let main = || "main".to_owned();
    FrameView {
        tab_id: tab.id().clone(),
        scoped: scope.is_some(),
        target: scope.as_ref().map_or_else(main, |scope| scope.frame_id.clone()),
        current: scope.as_ref().map_or_else(|| json!("main"), |scope| json!(scope)),
        frame: scope,
    }
}

impl BrowserService {
    /// The frame that selectors of a tab are about.
    pub async fn frame(&self, target: &Target) -> Result<FrameView, Problem> {
        let tab = self.tab(target, READ).await?;
        Ok(view(&tab, tab.scope()))
    }

    /// Chooses the frame that selectors of a tab are about.
    pub async fn choose_frame(&self, target: Target, request: FrameRequest) -> Result<FrameView, Problem> {
        let wanted = request.target.as_deref().map(str::trim).unwrap_or_default();
        if wanted.is_empty() {
            return Err(Problem::invalid_field("target", "is missing: `main`, or a frame"));
        }
        let tab = self.tab(&target.or(request.tab_id), WRITE).await?;
        if wanted == "main" {
            tab.leave_frame();
            return Ok(view(&tab, None));
        }
        let unknown = |text: String| Problem::new(INVALID_REQUEST, text).with("field", "target");
        let place = tab.place_of(Some(wanted)).unwrap_or_default();
        let facts = match named_frame(&tab, &place, wanted).await? {
            Some(facts) => facts,
            None => tab
                .in_place(&place, wanted, "frameOf", json!({}))
                .await
                .map_err(|error: ActionError| unknown(error.to_string()))?,
        };
        let scope = tab.enter_frame(&place, facts).await.map_err(ActionError::from)?;
        Ok(view(&tab, Some(scope)))
    }
}

/// The one frame with this name or address.
async fn named_frame(tab: &Tab, place: &Place, wanted: &str) -> Result<Option<FrameFacts>, Problem> {
    let within = serde_json::Value::from(place.within.clone());
    let expression = format!("paddockAccessibility.framesIn({within})");
    let frames: Vec<FrameFacts> =
        tab.ask(&place.realm, &expression, LOOK_DEADLINE).await.map_err(ActionError::from)?;
    let mut same = frames.into_iter().filter(|frame| frame.name == wanted || frame.url == wanted);
    Ok(same.next().filter(|_| same.next().is_none()))
}
