//! Going somewhere.

use paddock_platform::{problem::Problem, tool::Tool};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::{target, tool, view::PageView};
use crate::{
    ids::{InstanceId, TabId},
    service::{BrowserService, NavigateRequest, Navigated, SnapshotQuery, Target, WRITE, WaitFor},
    snapshot::Format,
};

/// About how many tokens the page takes that a navigation answers with.
const TOKENS_DEFAULT: u32 = 2000;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Navigate {
    /// http or https.
    #[schemars(with = "String")]
    url: Url,
    #[serde(default)]
    tab_id: Option<TabId>,
    /// For a new tab.
    #[serde(default)]
    instance_id: Option<InstanceId>,
    #[serde(default)]
    new_tab: bool,
    /// Whether the answer has the page's elements; true by default.
    #[serde(default = "yes")]
    #[schemars(default)]
    snapshot: bool,
}

fn yes() -> bool {
    true
}

pub(super) fn tools(service: &BrowserService) -> Vec<Tool> {
    vec![tool(
        service,
        WRITE,
        "browser_navigate",
        "Opens a web page, waits until it is at rest, and answers with its tab and what can be acted on there.",
        |service, context, input: Navigate| async move {
            let request = NavigateRequest {
                url: input.url,
                tab_id: input.tab_id,
                instance_id: input.instance_id,
                new_tab: input.new_tab,
                timeout: None,
                wait_for: None,
                wait_selector: None,
                wait_title: None,
                block_images: false,
                block_media: false,
                block_ads: false,
                dismiss_banners: false,
                browser: None,
            };
            let target = target(context, None);
            let went = service.navigate(target.clone(), request, WaitFor::NetworkIdle).await?;
            page(&service, target.or(Some(went.tab_id.clone())), went, input.snapshot).await
        },
    )]
}

/// The page, with what can be acted on if asked for.
async fn page(
    service: &BrowserService,
    target: Target,
    went: Navigated,
    with_snapshot: bool,
) -> Result<PageView, Problem> {
    let Navigated { tab_id, instance_id, url, title, .. } = went;
    let snapshot = if with_snapshot {
        let query =
            SnapshotQuery { interactive: true, max_tokens: Some(TOKENS_DEFAULT), ..SnapshotQuery::default() };
        Some(service.snapshot(&target, query, Format::Compact).await?.0.body)
    } else {
        None
    };
    Ok(PageView { tab_id, instance_id, url, title, snapshot })
}
