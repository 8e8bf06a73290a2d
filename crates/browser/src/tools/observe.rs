//! Looking at a page.

use paddock_platform::tool::Tool;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{target, tool};
use crate::{
    ids::TabId,
    service::{
        BrowserService, EvaluateRequest, READ, ScreenshotQuery, SnapshotQuery, SnapshotView, WRITE, picture,
    },
    snapshot::Format,
};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[derive(Default)]
struct Snapshot {
    tab_id: Option<TabId>,
    /// Only what can be acted on, and headings.
    interactive: bool,
    /// Only what changed since the last snapshot.
    diff: bool,
    /// Only what is inside: a reference or CSS.
    selector: Option<String>,
    depth: Option<u32>,
    max_tokens: Option<u32>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Screenshot {
    tab_id: Option<TabId>,
    /// One element: a reference or CSS.
    selector: Option<String>,
    full_page: bool,
    /// PNG instead of JPEG.
    png: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Evaluate {
    /// A promise is awaited.
    expression: String,
    #[serde(default)]
    tab_id: Option<TabId>,
}

pub(super) fn tools(service: &BrowserService) -> Vec<Tool> {
    vec![
        tool(
            service,
            READ,
            "browser_snapshot",
            "Reads a page: one line per element with its reference (e5), role, name and state.",
            |service, context, input: Snapshot| async move {
                let query = SnapshotQuery {
                    interactive: input.interactive,
                    depth: input.depth.and_then(|depth| i32::try_from(depth).ok()),
                    selector: input.selector,
                    max_tokens: input.max_tokens,
                    diff: input.diff,
                    ..SnapshotQuery::default()
                };
                let (rendered, view) =
                    service.snapshot(&target(context, input.tab_id), query, Format::Compact).await?;
                Ok(SnapshotView { snapshot: rendered.body, ..view })
            },
        ),
        tool(
            service,
            READ,
            "browser_screenshot",
            "Takes a picture of what is visible, the whole page or one element. A snapshot costs far less: use this \
             where the looks matter.",
            |service, context, input: Screenshot| async move {
                let query = ScreenshotQuery {
                    format: input.png.then(|| "png".to_owned()),
                    selector: input.selector,
                    beyond_viewport: input.full_page,
                    ..ScreenshotQuery::default()
                };
                let (format, image) = service.screenshot(&target(context, input.tab_id), query).await?;
                Ok(picture(format, &image, None))
            },
        ),
        tool(
            service,
            WRITE,
            "browser_evaluate",
            "Evaluates a JavaScript expression in a page and returns its value.",
            |service, context, input: Evaluate| async move {
                let request = EvaluateRequest { expression: input.expression, tab_id: None, timeout: None };
                service.evaluate(&target(context, input.tab_id), request).await
            },
        ),
    ]
}
