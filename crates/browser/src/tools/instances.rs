//! Instances and tabs.

use paddock_platform::{problem::Problem, tool::Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{target, tool};
use crate::{
    ids::{InstanceId, TabId},
    pool::Isolation,
    service::{
        BrowserService, InstanceList, InstanceRequest, OpenRequest, READ, StartRequest, TabList, WRITE,
    },
};

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Start {
    /// For people.
    #[schemars(length(max = 128))]
    name: String,
    /// A profile whose cookies and storage it keeps.
    profile_id: Option<String>,
    /// A Chrome process of its own.
    own_process: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TabsInput {
    action: TabsAction,
    /// To close; the last used if absent.
    #[serde(default)]
    tab_id: Option<TabId>,
    /// To list or open in.
    #[serde(default)]
    instance_id: Option<InstanceId>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum TabsAction {
    List,
    New,
    Close,
}

pub(super) fn tools(service: &BrowserService) -> Vec<Tool> {
    vec![
        tool(
            service,
            WRITE,
            "browser_tabs",
            "Lists tabs, opens an empty one in an instance, or closes one. Tells what is open afterwards.",
            |service, context, input: TabsInput| async move {
                let caller = context.caller.clone();
                match (input.action, &input.instance_id) {
                    (TabsAction::List, _) => {}
                    (TabsAction::New, Some(id)) => {
                        service.open(&caller, id, OpenRequest::default()).await?;
                    }
                    (TabsAction::New, None) => {
                        return Err(Problem::invalid_field(
                            "instanceId",
                            "is needed to open an empty tab; browser_navigate opens a page without it",
                        ));
                    }
                    (TabsAction::Close, _) => drop(service.close(target(context, input.tab_id)).await?),
                }
                Ok(TabList { tabs: service.tabs(&caller, input.instance_id.as_ref()).await? })
            },
        ),
        tool(
            service,
            READ,
            "browser_instances",
            "Lists the isolated browsers, each with its own cookies and storage.",
            |service, context, _: Nothing| async move {
                Ok(InstanceList { instances: service.instances(&context.caller)? })
            },
        ),
        tool(
            service,
            WRITE,
            "browser_start",
            "Starts an isolated browser. Only needed to keep sessions apart: browser_navigate starts one by itself.",
            |service, context, input: Start| async move {
                let request = StartRequest {
                    name: input.name,
                    profile_id: input.profile_id,
                    isolation: input.own_process.then_some(Isolation::Process),
                    ..StartRequest::default()
                };
                service.start(&context.caller, request).await
            },
        ),
        tool(
            service,
            WRITE,
            "browser_stop",
            "Stops a browser, closes its tabs and forgets the cookies and storage of one without a profile.",
            |service, context, input: InstanceRequest| async move {
                service.stop(&context.caller, &input.instance_id).await
            },
        )
        .destructive(),
    ]
}
