//! Attaching to Chromes that somebody else started.

use paddock_platform::{
    identity::{Caller, Scope},
    problem::{CONFLICT, NOT_IMPLEMENTED, Problem},
};
use schemars::JsonSchema;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{BrowserService, InstanceView};
use crate::{attach::socket_of, instance::InstanceSpec};

/// Scope for reaching beyond the browsers that Paddock starts.
const ADMIN: Scope = Scope::admin("browser");

/// Names a Chrome that runs already.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachRequest {
    /// Where its DevTools are: `ws://host:port/devtools/browser/…`, or `http://host:port` to be asked.
    #[serde(default)]
    pub cdp_url: String,
    /// A name for people.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub name: String,
}

impl BrowserService {
    /// Stands for a Chrome that runs already: its pages become tabs.
    pub async fn attach_chrome(
        &self,
        caller: &Caller,
        request: AttachRequest,
    ) -> Result<InstanceView, Problem> {
        caller.require(ADMIN)?;
        if request.cdp_url.is_empty() {
            return Err(Problem::invalid_field("cdpUrl", "cdpUrl is required"));
        }
        if request.name.chars().count() > 128 {
            return Err(Problem::invalid_field("name", "must have at most 128 characters"));
        }
        let socket = socket_of(&request.cdp_url, &self.options().attach_hosts).await?;
        let stands_for = |spec: &InstanceSpec| spec.attached_to.as_deref() == Some(socket.as_str());
        let known = self.fleet.handles().into_iter().find(|instance| stands_for(instance.spec()));
        if known.is_some() {
            return Err(Problem::new(CONFLICT, "an instance stands for this Chrome already"));
        }
        let name = if request.name.is_empty() { "attached".to_owned() } else { request.name };
        let spec = InstanceSpec { name, ..InstanceSpec::new(caller.tenant().clone()) };
        Ok(self.fleet.attach(socket.as_str(), spec).await?.info().into())
    }

    /// Says that bridges of others are not driven, and what to do instead.
    pub fn refuse_bridge(&self, caller: &Caller) -> Result<(), Problem> {
        caller.require(ADMIN)?;
        Err(Problem::new(
            NOT_IMPLEMENTED,
            "requests are not passed on to another server's bridge: attach to its Chrome by `cdpUrl` with POST \
             /browser/instances/attach, or start an instance here",
        ))
    }
}
