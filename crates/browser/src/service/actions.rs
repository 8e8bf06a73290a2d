//! Acting on a page.

use std::time::Duration;

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::{
    BrowserService, DialogVerdict, TabInUse, Target, WRITE, browser_choice::check_browser, timeout_of,
};
use crate::{
    action::{Action, ActionError, ActionKind, Aim, Button, ClickMode, DialogAnswer, Outcome},
    coordination::TAB_PAUSED_HANDOFF,
    ids::TabId,
    snapshot::{Filter, Format, SnapshotOptions},
    tab::Tab,
};

/// Actions of one request.
const ACTIONS_MAX: usize = 200;
/// How long an action may take when the request names no time.
const ACTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a window that an action opened may take to become a tab.
const WINDOW_MAX: Duration = Duration::from_secs(5);
/// Pixels that `left` and `right` scroll.
const ACROSS: f64 = 600.0;

/// Which way to scroll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To what is above.
    Up,
    /// To what is below.
    Down,
    /// To what is on the left.
    Left,
    /// To what is on the right.
    Right,
}

/// One action. `kind` says which; an element is named by `ref`, `selector` or `nodeId`, a point by `x` and `y`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct ActionRequest {
    /// `click`, `dblclick`, `type`, `fill`, `press`, `focus`, `hover`, `select`, `scroll`, `mouse-move`, `mouse-down`,
    /// `mouse-up`, `mouse-wheel`, `drag`, `check`, `uncheck`, `keyboard-type`, `keyboard-inserttext`, `keydown`,
    /// `keyup` or `scrollintoview`.
    #[serde(alias = "action")]
    pub kind: String,
    /// The tab; without one, the current tab.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// Who acts, on a tab that is locked.
    pub owner: Option<String>,
    /// A reference of a snapshot, such as `e5`, or a selector.
    pub r#ref: Option<String>,
    /// `#id` and other CSS, `//xpath`, `text:…`, `role:button Save`, `label:…`, `placeholder:…`, `alt:…`, `title:…`,
    /// `testid:…`, `find:…`, or one of these after `first:`, `last:` or `nth:2:`.
    pub selector: Option<String>,
    /// Chrome's number of a node.
    pub node_id: Option<i64>,
    /// A point of the viewport, in CSS pixels.
    pub x: Option<f64>,
    /// The same from the top.
    pub y: Option<f64>,
    /// Width of the picture that the point is of, where that is not the viewport's.
    #[serde(rename = "frameW")]
    pub frame_width: Option<f64>,
    /// Height of that picture.
    #[serde(rename = "frameH")]
    pub frame_height: Option<f64>,
    /// What is typed or filled in.
    pub text: Option<String>,
    /// The option to select: its value, text, or part of its text.
    pub value: Option<String>,
    /// The key to press: `Enter`, `a`, `Control+A`.
    pub key: Option<String>,
    /// `left`, `middle` or `right`.
    #[param(inline)]
    pub button: Option<Button>,
    /// Keys held meanwhile: the sum of Alt 1, Ctrl 2, Meta 4, Shift 8.
    pub modifiers: Option<u8>,
    /// Pixels to scroll to the right.
    pub scroll_x: Option<f64>,
    /// Pixels to scroll down.
    pub scroll_y: Option<f64>,
    /// Pixels to turn the wheel to the right.
    pub delta_x: Option<f64>,
    /// Pixels to turn it down.
    pub delta_y: Option<f64>,
    /// Pixels to drag to the right.
    pub drag_x: Option<f64>,
    /// Pixels to drag down.
    pub drag_y: Option<f64>,
    /// The element to drag onto, instead of a distance.
    pub to: Option<String>,
    /// Scrolls almost one viewport.
    #[param(inline)]
    pub direction: Option<Direction>,
    /// Waits for the document that the action goes to.
    pub wait_nav: bool,
    /// How a click is delivered: with the mouse if absent, or past what covers the element (`dom`, `dispatch`).
    #[param(inline)]
    pub mode: Option<ClickMode>,
    /// `chrome`: every instance has the same browser.
    pub browser: Option<String>,
    /// Accepted and not used: all input is that of a real mouse and keyboard.
    pub humanize: bool,
    /// Accepted and not used, as `humanize`.
    pub fast: bool,
    /// Whether a tab that the action opens becomes the current one (the default); otherwise it is closed.
    pub auto_switch: Option<bool>,
    /// Closes cookie and consent banners after a navigation that was waited for.
    pub dismiss_banners: bool,
    /// How a dialog that the action opens is answered. Without it, the action fails with `dialog_blocking`.
    #[param(inline)]
    pub dialog_action: Option<DialogVerdict>,
    /// What is entered into a prompt.
    pub dialog_text: Option<String>,
    /// Seconds that it may take; 30 if absent.
    #[schemars(range(min = 0.001, max = 120))]
    pub timeout: Option<f64>,
    /// Adds a snapshot of the page after the action: `compact`, `text`, `json` or `yaml`.
    #[param(inline)]
    pub snapshot: Option<Format>,
    /// Has the snapshot show only what changed since the last one.
    pub diff: bool,
    /// What the snapshot holds; `interactive` if absent.
    #[param(inline)]
    pub filter: Option<Filter>,
    /// About how many tokens the snapshot may take.
    pub max_tokens: Option<u32>,
}

/// An action was done.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionDone {
    /// True.
    pub success: bool,
    /// What it did.
    pub result: Outcome,
    /// The tab.
    pub tab_id: TabId,
    /// The page after it, if asked for: a text, or the document of `json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    #[schema(value_type = Option<Object>)]
    pub snapshot: Option<Box<RawValue>>,
}

/// Several actions, one after another.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionsRequest {
    /// The tab of those that name none; without one, the current tab.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// Who acts, on a tab that is locked.
    #[serde(default)]
    pub owner: Option<String>,
    /// The actions.
    #[schemars(length(min = 1, max = 200))]
    pub actions: Vec<ActionRequest>,
    /// Whether the first that fails is the last.
    #[serde(default)]
    pub stop_on_error: bool,
}

/// How one of several actions went.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionResult {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Whether it was done.
    pub success: bool,
    /// What it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Outcome>,
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The reason as clients branch on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The page after it, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    #[schema(value_type = Option<Object>)]
    pub snapshot: Option<Box<RawValue>>,
}

/// How several actions went.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionsDone {
    /// One for each that was tried.
    pub results: Vec<ActionResult>,
    /// Actions in the request.
    pub total: usize,
    /// Those that were done.
    pub successful: usize,
    /// Those that failed or were not tried.
    pub failed: usize,
}

impl ActionResult {
    pub(super) fn done(index: usize, done: ActionDone) -> Self {
        let ActionDone { result, snapshot, .. } = done;
        Self { index, success: true, result: Some(result), error: None, code: None, snapshot }
    }

    pub(super) fn failed(index: usize, problem: &Problem) -> Self {
        let code = Some(problem.kind.slug.replace('-', "_"));
        let error = Some(problem.detail.clone());
        Self { index, success: false, result: None, error, code, snapshot: None }
    }
}

impl ActionsDone {
    pub(super) fn of(results: Vec<ActionResult>, total: usize) -> Self {
        let successful = results.iter().filter(|result| result.success).count();
        Self { results, total, successful, failed: total - successful }
    }
}

fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).map(str::trim).filter(|text| !text.is_empty())
}

impl ActionRequest {
    fn aim(&self) -> Result<Aim, Problem> {
        if let Some(node_id) = self.node_id.filter(|node_id| *node_id != 0) {
            return Ok(Aim::Node(node_id));
        }
        if let Some(selector) = given(self.r#ref.as_ref()).or(given(self.selector.as_ref())) {
            return Ok(Aim::Element(selector.to_owned()));
        }
        match (self.x, self.y) {
            (None, None) => Ok(Aim::Present),
            (x, y) => {
                let (x, y) = (x.unwrap_or(0.0), y.unwrap_or(0.0));
                if x.is_finite() && y.is_finite() && x.abs() <= 1e6 && y.abs() <= 1e6 {
                    Ok(Aim::Point { x, y })
                } else {
                    Err(Problem::invalid_field("x", "must be a number of pixels up to a million"))
                }
            }
        }
    }

    fn distance(&self, kind: ActionKind) -> Option<(f64, f64)> {
        let wheel = (self.delta_x.or(self.scroll_x), self.delta_y.or(self.scroll_y));
        let (right, down) = match kind {
            ActionKind::Drag => (self.drag_x.or(self.delta_x), self.drag_y.or(self.delta_y)),
            ActionKind::Scroll => match self.direction {
                Some(Direction::Left) => (Some(-ACROSS), None),
                Some(Direction::Right) => (Some(ACROSS), None),
                Some(Direction::Up | Direction::Down) => (None, None),
                None => (self.scroll_x.or(self.delta_x), self.scroll_y.or(self.delta_y)),
            },
            _ => wheel,
        };
        if right.is_none() && down.is_none() {
            return None;
        }
        let sane =
            |pixels: Option<f64>| pixels.filter(|pixels| pixels.is_finite()).unwrap_or(0.0).clamp(-1e6, 1e6);
        Some((sane(right), sane(down)))
    }

    /// The action that is asked for.
    pub(super) fn action(&self) -> Result<Action, Problem> {
        if self.kind.trim().is_empty() {
            // The name of the field is what Pinchtab's clients look for.
            return Err(Problem::invalid_field(
                "kind",
                "missing required field `kind`; a valid action has a kind and, for most, a selector",
            ));
        }
        let kind: ActionKind = self
            .kind
            .parse()
            .map_err(|error: crate::action::UnknownActionError| Problem::invalid_field("kind", error))?;
        let pages = match self.direction {
            Some(Direction::Down) => 1.0,
            Some(Direction::Up) => -1.0,
            _ => 0.0,
        };
        Ok(Action {
            text: self.text.clone().unwrap_or_default(),
            value: self.value.clone().unwrap_or_default(),
            key: self.key.clone().or_else(|| self.text.clone()).unwrap_or_default(),
            button: self.button.unwrap_or_default(),
            modifiers: self.modifiers.unwrap_or_default() & 15,
            mode: self.mode.unwrap_or_default(),
            distance: self.distance(kind),
            pages,
            destination: given(self.to.as_ref()).map_or(Aim::Present, |to| Aim::Element(to.to_owned())),
            wait_navigation: self.wait_nav,
            switch_tab: self.auto_switch.unwrap_or(true),
            dialog: self.dialog_action.map(|verdict| DialogAnswer {
                accept: verdict == DialogVerdict::Accept,
                text: self.dialog_text.clone(),
            }),
            timeout: timeout_of(self.timeout, ACTION_TIMEOUT)?,
            ..Action::new(kind, self.aim()?)
        })
    }
}

impl BrowserService {
    /// Does one action.
    pub async fn act(&self, target: Target, request: ActionRequest) -> Result<ActionDone, Problem> {
        target.caller.require(WRITE)?;
        check_browser(request.browser.as_deref())?;
        let action = request.action()?;
        let target = target.or(request.tab_id.clone()).owned_by(request.owner.clone());
        let tab = self.tab(&target, WRITE).await?;
        self.act_in(&tab, &target, &request, action).await
    }

    /// Does several actions, one after another. A tab that one of them opens is where the next ones happen.
    pub async fn act_in_turn(&self, target: Target, request: ActionsRequest) -> Result<ActionsDone, Problem> {
        target.caller.require(WRITE)?;
        let total = request.actions.len();
        if total == 0 || total > ACTIONS_MAX {
            return Err(Problem::invalid_field("actions", format!("must be 1 to {ACTIONS_MAX} actions")));
        }
        let mut target = target.or(request.tab_id).owned_by(request.owner);
        // Unknown tabs fail the request, not each of its actions; a tab that a person works in fails each of them.
        match self.tab(&target, WRITE).await {
            Ok(tab) => target.tab = Some(tab.id().clone()),
            Err(problem) if problem.kind == TAB_PAUSED_HANDOFF => {
                let tried = if request.stop_on_error { 1 } else { total };
                let results = (0..tried).map(|index| ActionResult::failed(index, &problem));
                return Ok(ActionsDone::of(results.collect(), total));
            }
            Err(problem) => return Err(problem),
        }
        let mut results = Vec::with_capacity(total);
        for (index, action) in request.actions.into_iter().enumerate() {
            let result = self.act_step(&mut target, index, action).await;
            let stop = request.stop_on_error && !result.success;
            results.push(result);
            if stop {
                break;
            }
        }
        Ok(ActionsDone::of(results, total))
    }

    /// One of several actions; the target follows it into a tab that it opened.
    pub(super) async fn act_step(
        &self,
        target: &mut Target,
        index: usize,
        request: ActionRequest,
    ) -> ActionResult {
        let mut at = target.clone();
        if request.tab_id.is_some() {
            at.tab.clone_from(&request.tab_id);
        }
        match self.act(at, request).await {
            Ok(done) => {
                if let Some(opened) = &done.result.switched_to_tab {
                    target.tab = Some(opened.clone());
                }
                ActionResult::done(index, done)
            }
            Err(problem) => ActionResult::failed(index, &problem),
        }
    }

    async fn act_in(
        &self,
        tab: &TabInUse,
        target: &Target,
        request: &ActionRequest,
        mut action: Action,
    ) -> Result<ActionDone, Problem> {
        let instance = self.own(&target.caller, tab.instance_id())?;
        let known: Vec<TabId> = instance.tabs().iter().map(|tab| tab.id().clone()).collect();
        for aim in [&mut action.aim, &mut action.destination] {
            self.resolve_aim(tab, aim).await?;
        }
        if let (Some(width), Some(height)) = (request.frame_width, request.frame_height) {
            tab.scale_point(&mut action.aim, width, height).await?;
        }
        let done = tab.act_and_tell(&action).await?;
        let mut outcome = done.outcome;
        let mut shown: Tab = (**tab).clone();
        if done.opened_window
            && let Ok(opened) = timeout(WINDOW_MAX, instance.tab_opened_by(tab, &known)).await
        {
            if action.switch_tab {
                opened.parsed(WINDOW_MAX).await;
                opened.touch();
                outcome.switched_to_tab = Some(opened.id().clone());
                shown = opened;
            } else {
                opened.close().await;
                tab.touch();
            }
        }
        let snapshot = match request.snapshot {
            Some(format) => Some(snapshot_of(&shown, request, format, outcome.navigated).await?),
            None => None,
        };
        Ok(ActionDone { success: true, result: outcome, tab_id: shown.id().clone(), snapshot })
    }
}

/// The page after an action, as the request wants it.
async fn snapshot_of(
    tab: &Tab,
    request: &ActionRequest,
    format: Format,
    navigated: bool,
) -> Result<Box<RawValue>, Problem> {
    if navigated {
        tab.parsed(WINDOW_MAX).await;
    }
    let filter = request.filter.unwrap_or(Filter::Interactive);
    let (snapshot, previous) = tab.snapshot(SnapshotOptions { filter, ..SnapshotOptions::default() }).await?;
    let rendered = match previous.filter(|_| request.diff) {
        Some(previous) => snapshot.render_diff(&previous, format, request.max_tokens),
        None => snapshot.render(format, request.max_tokens),
    };
    let text = if rendered.content_type == Format::Json.content_type() {
        rendered.body
    } else {
        serde_json::Value::String(rendered.body).to_string()
    };
    RawValue::from_string(text).map_err(|error| Problem::internal("rendering a snapshot", &error))
}

impl BrowserService {
    /// Turns a description (`find:…`) into the reference of what it describes.
    pub(super) async fn resolve_aim(&self, tab: &Tab, aim: &mut Aim) -> Result<(), Problem> {
        let Aim::Element(selector) = aim else { return Ok(()) };
        let Some(query) = selector.trim().strip_prefix("find:") else { return Ok(()) };
        let found = tab.find_one(query).await?;
        *selector = found.ok_or_else(|| ActionError::NoElement { selector: selector.clone() })?;
        Ok(())
    }
}
