//! Doing something on a page, and waiting for it.

use paddock_platform::{problem::Problem, tool::Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    target, tool,
    view::{ActionView, TextView},
};
use crate::{
    history::Turn,
    ids::TabId,
    service::{
        ActionRequest, BrowserService, DialogRequest, DialogVerdict, FindRequest, HistoryQuery, READ, Target,
        TextQuery, WRITE, WaitRequest,
    },
    snapshot::Format,
};

/// Elements that a search names when no number is asked for.
const MATCHES: usize = 5;
/// Characters of a page's text when no number is asked for.
const TEXT_CHARS: usize = 20_000;

/// An element, by its reference in a snapshot or by a selector.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Element {
    /// A reference (e5), CSS, `text:…`, `role:button Save` or `label:…`.
    target: String,
    #[serde(default)]
    tab_id: Option<TabId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Click {
    /// A reference (e5), CSS, `text:…`, `role:button Save` or `label:…`.
    target: String,
    #[serde(default)]
    double: bool,
    /// Waits for the page that it leads to.
    #[serde(default)]
    navigates: bool,
    #[serde(default)]
    tab_id: Option<TabId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Type {
    /// A reference or selector of the field.
    target: String,
    text: String,
    /// Presses Enter afterwards.
    #[serde(default)]
    submit: bool,
    #[serde(default)]
    tab_id: Option<TabId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FillForm {
    fields: Vec<Field>,
    #[serde(default)]
    tab_id: Option<TabId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Field {
    /// A reference or selector.
    target: String,
    /// Text, an option's text, or `true` or `false` for a checkbox.
    value: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PressKey {
    /// `Enter`, `Escape`, `a`, `Control+A`.
    key: String,
    #[serde(default)]
    tab_id: Option<TabId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Select {
    /// A reference or selector.
    target: String,
    /// The option's text or value.
    option: String,
    #[serde(default)]
    tab_id: Option<TabId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Scroll {
    /// An element to bring into view; without one, `pixels` count.
    #[serde(default)]
    target: Option<String>,
    /// Down, or up if negative; 600 if absent.
    #[serde(default)]
    pixels: Option<f64>,
    #[serde(default)]
    tab_id: Option<TabId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Drag {
    /// What is dragged: a reference or selector.
    target: String,
    /// Onto what.
    to: String,
    #[serde(default)]
    tab_id: Option<TabId>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Wait {
    /// A text that shows.
    text: Option<String>,
    /// A text that no longer shows.
    text_gone: Option<String>,
    /// An element that is visible.
    selector: Option<String>,
    /// An address, with `**` for anything.
    url: Option<String>,
    /// The network to be quiet.
    idle: bool,
    /// Seconds, at most 30.
    timeout: Option<f64>,
    tab_id: Option<TabId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Find {
    /// For example `login button`.
    description: String,
    #[serde(default)]
    tab_id: Option<TabId>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Text {
    /// Only the text of this element.
    selector: Option<String>,
    /// All that shows, instead of what a reader would read.
    raw: bool,
    chars_max: Option<usize>,
    tab_id: Option<TabId>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Back {
    /// Loads the page again instead.
    reload: bool,
    tab_id: Option<TabId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Dialog {
    accept: bool,
    /// For a prompt.
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    tab_id: Option<TabId>,
}

pub(super) fn tools(service: &BrowserService) -> Vec<Tool> {
    let mut tools = clicking(service);
    tools.extend(typing(service));
    tools.extend(moving(service));
    tools.extend(reading(service));
    tools
}

/// Does an action and answers with what changed on the page.
async fn act(
    service: &BrowserService,
    target: Target,
    kind: &str,
    element: Option<String>,
    request: ActionRequest,
) -> Result<ActionView, Problem> {
    let request = ActionRequest {
        kind: kind.to_owned(),
        selector: element,
        snapshot: Some(Format::Compact),
        diff: true,
        ..request
    };
    service.act(target, request).await.map(ActionView::of)
}

fn clicking(service: &BrowserService) -> Vec<Tool> {
    vec![
        tool(
            service,
            WRITE,
            "browser_click",
            "Clicks an element once it can be clicked, and answers with what changed.",
            |service, context, input: Click| async move {
                let kind = if input.double { "dblclick" } else { "click" };
                let request = ActionRequest { wait_nav: input.navigates, ..ActionRequest::default() };
                act(&service, target(context, input.tab_id), kind, Some(input.target), request).await
            },
        ),
        tool(
            service,
            WRITE,
            "browser_hover",
            "Moves the mouse over an element.",
            |service, context, input: Element| async move {
                let target = target(context, input.tab_id);
                act(&service, target, "hover", Some(input.target), ActionRequest::default()).await
            },
        ),
        tool(
            service,
            WRITE,
            "browser_drag",
            "Drags one element onto another.",
            |service, context, input: Drag| async move {
                let request = ActionRequest { to: Some(input.to), ..ActionRequest::default() };
                act(&service, target(context, input.tab_id), "drag", Some(input.target), request).await
            },
        ),
        tool(
            service,
            WRITE,
            "browser_dialog",
            "Answers an alert, confirm or prompt that is open.",
            |service, context, input: Dialog| async move {
                let action = if input.accept { DialogVerdict::Accept } else { DialogVerdict::Dismiss };
                let request = DialogRequest { action, text: input.text, tab_id: None };
                let answered = service.answer_dialog(target(context, input.tab_id), request).await?;
                Ok(TextView(format!("answered: {}", answered.dialog.message)))
            },
        ),
    ]
}

fn typing(service: &BrowserService) -> Vec<Tool> {
    vec![
        tool(
            service,
            WRITE,
            "browser_type",
            "Replaces what a field holds with a text.",
            |service, context, input: Type| async move {
                let target = target(context, input.tab_id);
                let request = ActionRequest { text: Some(input.text), ..ActionRequest::default() };
                let filled =
                    act(&service, target.clone(), "fill", Some(input.target.clone()), request).await?;
                if !input.submit {
                    return Ok(filled);
                }
                let enter =
                    ActionRequest { key: Some("Enter".into()), wait_nav: true, ..ActionRequest::default() };
                act(&service, target, "press", Some(input.target), enter).await
            },
        ),
        tool(
            service,
            WRITE,
            "browser_fill_form",
            "Fills in several fields, in order.",
            |service, context, input: FillForm| async move {
                let target = target(context, input.tab_id);
                let mut last = ActionView::default();
                for Field { target: field, value } in input.fields {
                    last = fill(&service, target.clone(), field, value).await?;
                }
                Ok(last)
            },
        ),
        tool(
            service,
            WRITE,
            "browser_press_key",
            "Presses a key, alone or with others held.",
            |service, context, input: PressKey| async move {
                let request = ActionRequest { key: Some(input.key), ..ActionRequest::default() };
                act(&service, target(context, input.tab_id), "press", None, request).await
            },
        ),
        tool(
            service,
            WRITE,
            "browser_select",
            "Chooses an option of a list.",
            |service, context, input: Select| async move {
                let request = ActionRequest { value: Some(input.option), ..ActionRequest::default() };
                act(&service, target(context, input.tab_id), "select", Some(input.target), request).await
            },
        ),
    ]
}

/// Fills in one field, whatever kind it is.
async fn fill(
    service: &BrowserService,
    target: Target,
    field: String,
    value: String,
) -> Result<ActionView, Problem> {
    let kind = match value.as_str() {
        "true" => "check",
        "false" => "uncheck",
        _ => "fill",
    };
    let text = ActionRequest { text: Some(value.clone()), ..ActionRequest::default() };
    match act(service, target.clone(), kind, Some(field.clone()), text).await {
        // Not a field that takes this: perhaps a list, or a text field that is to hold "true".
        Err(problem) if problem.kind.slug == "element-unfit" => {
            let other = if kind == "fill" { "select" } else { "fill" };
            let request =
                ActionRequest { value: Some(value.clone()), text: Some(value), ..ActionRequest::default() };
            act(service, target, other, Some(field), request).await
        }
        outcome => outcome,
    }
}

fn moving(service: &BrowserService) -> Vec<Tool> {
    vec![
        tool(
            service,
            WRITE,
            "browser_scroll",
            "Scrolls the page, or an element into view.",
            |service, context, input: Scroll| async move {
                let tab = target(context, input.tab_id);
                let (kind, scroll_y) = match input.target {
                    Some(_) => ("scrollintoview", None),
                    None => ("scroll", Some(input.pixels.unwrap_or(600.0))),
                };
                let request = ActionRequest { scroll_y, ..ActionRequest::default() };
                act(&service, tab, kind, input.target, request).await
            },
        ),
        tool(
            service,
            WRITE,
            "browser_back",
            "Goes back one page, or reloads.",
            |service, context, input: Back| async move {
                let turn = if input.reload { Turn::Reload } else { Turn::Back };
                let turned =
                    service.turn(&target(context, input.tab_id), turn, HistoryQuery::default()).await?;
                Ok(TextView(format!("tab: {}\n{}", turned.tab_id.as_str(), turned.url)))
            },
        ),
    ]
}

fn reading(service: &BrowserService) -> Vec<Tool> {
    vec![
        tool(
            service,
            READ,
            "browser_wait",
            "Waits for one thing: a text, an element, an address, or a quiet network.",
            |service, context, input: Wait| async move {
                let request = WaitRequest {
                    selector: input.selector,
                    text: input.text,
                    not_text: input.text_gone,
                    url: input.url,
                    load: input.idle.then(|| "network-idle".to_owned()),
                    timeout: input.timeout.map(|secs| (secs * 1000.0) as i64),
                    ..WaitRequest::default()
                };
                let waited = service.wait(target(context, input.tab_id), request).await?;
                let said = if waited.waited { "it is so" } else { "it did not come to be" };
                Ok(TextView(format!("{said} after {} ms", waited.elapsed)))
            },
        ),
        tool(
            service,
            READ,
            "browser_find",
            "Finds elements by a description and answers with their references.",
            |service, context, input: Find| async move {
                let request =
                    FindRequest { query: input.description, top_k: Some(MATCHES), ..FindRequest::default() };
                let found = service.find(target(context, input.tab_id), request).await?;
                let line = |found: &crate::Match| {
                    format!("{} {} \"{}\" ({:.2})", found.r#ref, found.role, found.name, found.score)
                };
                let lines: Vec<String> = found.matches.iter().map(line).collect();
                Ok(TextView(if lines.is_empty() { "nothing fits".to_owned() } else { lines.join("\n") }))
            },
        ),
        tool(
            service,
            READ,
            "browser_text",
            "Reads a page's text as a person would.",
            |service, context, input: Text| async move {
                let query = TextQuery {
                    mode: input.raw.then(|| "raw".to_owned()),
                    max_chars: Some(input.chars_max.unwrap_or(TEXT_CHARS)),
                    selector: input.selector,
                    ..TextQuery::default()
                };
                let page = service.text(&target(context, input.tab_id), query).await?;
                let cut = if page.truncated { "\n… cut; ask for a part with `selector`" } else { "" };
                let warning = page.idpi_warning.map(|warning| format!("! {warning}\n")).unwrap_or_default();
                Ok(TextView(format!("{warning}# {} | {}\n{}{cut}", page.title, page.url, page.text)))
            },
        ),
    ]
}
