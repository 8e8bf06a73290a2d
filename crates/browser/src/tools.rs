//! The tools of the area. They do what the routes do, with defaults that suit a model.

use paddock_platform::{identity::Scope, tool::Tool};

use crate::{
    service::{
        BrowserService, EvaluateRequest, InstanceList, InstanceRequest, NavigateRequest, ScreenshotQuery,
        SnapshotQuery, SnapshotView, StartRequest, Target, WaitFor, picture,
    },
    snapshot::Format,
};

/// All tools of the area.
pub fn tools(service: &BrowserService) -> Vec<Tool> {
    let (read, write) = (Scope::read("browser"), Scope::write("browser"));
    vec![
        {
            let service = service.clone();
            Tool::new(
                "browser_start",
                "Starts an isolated browser with its own cookies and storage. Only needed to keep sessions apart: \
                 `browser_navigate` starts one by itself.",
                write,
                move |context, input: StartRequest| {
                    let service = service.clone();
                    async move { service.start(&context.caller, input).await }
                },
            )
        },
        {
            let service = service.clone();
            Tool::new(
                "browser_stop",
                "Stops a browser, closes its tabs and forgets its cookies and storage.",
                write,
                move |context, input: InstanceRequest| {
                    let service = service.clone();
                    async move { service.stop(&context.caller, &input.instance_id).await }
                },
            )
        },
        {
            let service = service.clone();
            Tool::new(
                "browser_instances",
                "Lists the browsers that run.",
                read,
                move |context, _: NoInput| {
                    let service = service.clone();
                    async move { service.instances(&context.caller).map(|instances| InstanceList { instances }) }
                },
            )
        },
        navigate(service, write),
        snapshot(service, read),
        {
            let service = service.clone();
            Tool::new(
                "browser_screenshot",
                "Takes a picture of a tab: what is visible, the whole page, or one element. A snapshot costs far less \
                 and is enough unless the looks matter.",
                read,
                move |context, input: ScreenshotQuery| {
                    let service = service.clone();
                    async move {
                        let (format, image) = service
                            .screenshot(&Target::new(context.caller, input.tab_id.clone()), input)
                            .await?;
                        Ok(picture(format, &image, None))
                    }
                },
            )
        },
        {
            let service = service.clone();
            Tool::new(
                "browser_evaluate",
                "Evaluates a JavaScript expression in the page of a tab and returns its value as JSON. Promises are \
                 awaited.",
                write,
                move |context, input: EvaluateRequest| {
                    let service = service.clone();
                    async move {
                        service.evaluate(&Target::new(context.caller, input.tab_id.clone()), input).await
                    }
                },
            )
        },
    ]
}

/// A tool without input.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoInput {}

fn navigate(service: &BrowserService, scope: Scope) -> Tool {
    let service = service.clone();
    Tool::new(
        "browser_navigate",
        "Opens a web page in a tab and waits until it has loaded and come to rest. Answers with the tab's id for the \
         other tools. Without `tabId` a new tab is opened.",
        scope,
        move |context, input: NavigateRequest| {
            let service = service.clone();
            async move { service.navigate(Target::new(context.caller, None), input, WaitFor::NetworkIdle).await }
        },
    )
}

fn snapshot(service: &BrowserService, scope: Scope) -> Tool {
    let service = service.clone();
    Tool::new(
        "browser_snapshot",
        "Reads a page as text: one line per element with its reference (`e5`), role and name. Use `interactive` for \
         what can be acted on, `selector` for a part, `diff` for what changed since the last snapshot.",
        scope,
        move |context, input: SnapshotQuery| {
            let service = service.clone();
            async move {
                let target = Target::new(context.caller, input.tab_id.clone());
                let (rendered, view) = service.snapshot(&target, input, Format::Compact).await?;
                Ok(SnapshotView { snapshot: rendered.body, ..view })
            }
        },
    )
}
